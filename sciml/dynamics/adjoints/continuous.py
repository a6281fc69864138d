"""The adjoint equation integrated backward by a scheme of fixed steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sciml.dynamics.adjoints.parameters import accumulate, trainable
from sciml.dynamics.integrators.runge_kutta import ExplicitScheme, combine
from sciml.dynamics.integrators.scheme import Field, Plan, Step, assemble


def backward_ode(
    scheme: ExplicitScheme, field: Field, state: Tensor, plan: Plan, *, interpolated: bool
) -> Tensor:
    r"""The states of a plan; backward, $\dot\lambda = -(\partial F/\partial X)^T \lambda$.

    The same scheme takes the same steps backward. At a time that was asked for, $\lambda$ jumps by
    the covector given there, and goes on. The state on the way is, within each step, integrated
    backward from the state kept at its end, or taken from the cubic Hermite interpolant of the
    states and rates kept at both ends. It is never carried over from step to step: on a chaotic
    attractor the backward equation is unstable, and a state carried along is wrong by per cents
    after a Lyapunov time.

    Args:
        scheme: the scheme, without parameters of its own to be trained.
        field: the vector field.
        state: states at the first time.
        plan: the steps.
        interpolated: whether the state comes from the interpolant.
    """
    way = _Way(scheme=scheme, field=field, plan=plan, interpolated=interpolated)
    return _BackwardODE.apply(way, state, *trainable(field, scheme, state))


@dataclass(frozen=True, kw_only=True)
class _Way:
    scheme: ExplicitScheme
    field: Field
    plan: Plan
    interpolated: bool


class _BackwardODE(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, way: _Way, state: Tensor, *parameters: Tensor) -> Tensor:
        kept, values = [state], []
        for step in way.plan.steps:
            end, value = way.scheme.move(way.field, kept[-1], step)
            kept.append(end)
            if value is not None:
                values.append(value)
        ctx.way, ctx.kept = way, kept
        ctx.save_for_backward(state, *parameters)
        return assemble(state, values, way.plan)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, covectors: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        way, kept = ctx.way, ctx.kept
        _, *parameters = ctx.saved_tensors
        adjoint = torch.zeros_like(covectors[:, 0])
        gradients: list[Tensor | None] = [None] * len(parameters)
        rates = _Ends(way.field, kept) if way.interpolated else None
        for j in range(len(way.plan.steps) - 1, -1, -1):
            step = way.plan.steps[j]
            if step.arrives is not None:
                adjoint = adjoint + covectors[:, step.arrives]
            ends = (rates.of(j), rates.of(j + 1)) if rates is not None else (None, None)
            path = _Path(kept[j], kept[j + 1], *ends)
            adjoint, parts = _step_back(way, step, path, adjoint, parameters)
            gradients = accumulate(gradients, parts)
        return None, adjoint + covectors[:, 0], *gradients


class _Ends:
    """Rates at the kept states, each evaluated once."""

    def __init__(self, field: Field, kept: list[Tensor]) -> None:
        self.field, self.kept, self.known = field, kept, dict[int, Tensor]()

    def of(self, j: int) -> Tensor:
        if j not in self.known:
            self.known[j] = self.field(self.kept[j])
            self.known.pop(j + 2, None)
        return self.known[j]


@dataclass(frozen=True)
class _Path:
    """The two ends of a step, with their rates where these are known."""

    begin: Tensor
    end: Tensor
    begin_rate: Tensor | None
    end_rate: Tensor | None

    def inside(self, size: Any, fraction: float) -> Tensor:
        """Cubic Hermite interpolant."""
        s = fraction
        if self.begin_rate is None or self.end_rate is None:
            raise TypeError("a path without rates at its ends has no interpolant")
        return (
            (1 + 2 * s) * (1 - s) ** 2 * self.begin
            + s**2 * (3 - 2 * s) * self.end
            + size * (s * (1 - s) ** 2 * self.begin_rate - s**2 * (1 - s) * self.end_rate)
        )


def _step_back(
    way: _Way, step: Step, path: _Path, adjoint: Tensor, parameters: list[Tensor]
) -> tuple[Tensor, list[Tensor | None]]:
    r"""One step of $(X, \lambda)$ backward, and its part of the parameters' gradients.

    That part is $h \sum_i b_i (\partial F/\partial\theta)^T \lambda_i$.
    Each vector-Jacobian product is taken of $h \lambda_i$, so that the parameters' part of a
    batch whose samples have steps of their own is their sum.
    """
    rows, weights = way.scheme.coefficients(adjoint.dtype)
    rates: list[Tensor] = []
    pulls: list[Tensor] = []
    gradients: list[Tensor | None] = [None] * len(parameters)
    for row, weight in zip(rows, weights, strict=True):
        if way.interpolated:
            state = path.inside(step.size, 1 - float(sum(row)))
        else:
            state = path.end - step.size * combine(row, rates) if rates else path.end
        costate = adjoint + combine(row, pulls) if pulls else adjoint
        with torch.enable_grad():
            state = state.detach().requires_grad_()
            rate = way.field(state)
        pull, *parts = torch.autograd.grad(
            rate, (state, *parameters), step.size * costate, allow_unused=True
        )
        rates.append(rate.detach())
        pulls.append(torch.zeros_like(state) if pull is None else pull)
        gradients = accumulate(gradients, [None if p is None else weight * p for p in parts])
    return adjoint + combine(weights, pulls), gradients
