"""Tangent-linear and adjoint operators of a discrete integration."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciml.dynamics.integrators.checks import checked_times
from sciml.dynamics.integrators.runge_kutta import RungeKutta
from sciml.dynamics.integrators.scheme import (
    Field,
    Plan,
    Scheme,
    Step,
    assemble,
    covector_of,
)


def tangent(
    field: Field,
    state: Float[Tensor, "batch component"],
    direction: Float[Tensor, "batch component"],
    times: Float[Tensor, "*samples time"],
    *,
    scheme: Scheme | None = None,
    parameter_direction: Mapping[str, Tensor] | None = None,
    plan: Plan | None = None,
) -> Float[Tensor, "batch time component"]:
    r"""Derivative of an integration along a direction: $M u$, exactly that of the discrete steps.

    $M = \partial (X_0, \dots, X_n) / \partial (X_0, \theta)$, by a Jacobian-vector product of every
    step. The steps of an adaptive scheme are those it takes from `state`, held fixed.

    Args:
        field: the vector field $F$.
        state: states $X_0$ at the first time.
        direction: direction $u$ in the state's unit.
        times: increasing times, the same for all samples or each its own.
        scheme: the integration scheme; None is RK4, one step from each time to the next.
        parameter_direction: directions of parameters, by their names as `adjoint` gives them;
            those not named do not move.
        plan: the steps, where these are known.

    Returns:
        $M u$ at all times, the first of them the direction itself.

    Raises:
        ValueError: times that do not increase, or names of no parameter.

    Example:
        >>> field = lambda x: x**2  # x' = x^2 from 1: dx(t)/dx(0) = 1 / (1 - t)^2
        >>> one, times = torch.ones(1, 1), torch.linspace(0, 0.5, 11)
        >>> tangent(field, one, one, times)[0, -1]
        tensor([4.0000])
    """
    move = _Move(scheme or RungeKutta(), field)
    given = dict(parameter_direction or {})
    plan = plan or move.plan(state, times)
    values = dict(move.named_parameters())
    unknown = set(given) - set(values)
    if unknown:
        raise ValueError(
            f"directions of {', '.join(sorted(unknown))} given: the parameters are "
            f"{', '.join(values) or 'none'}"
        )
    moving = {name: values[name].detach() for name in given}
    state, initial, tangents = state.detach(), direction, []
    for step in plan.steps:

        def advanced(
            x: Tensor, parameters: dict[str, Tensor], step: Step = step
        ) -> tuple[Tensor, ...]:
            return torch.func.functional_call(move, parameters, (x, step))

        end, ends, *_ = torch.func.jvp(advanced, (state, moving), (direction, given))
        state, direction = end[0].detach(), ends[0].detach()
        if len(ends) == 2:
            tangents.append(ends[1].detach())
    return assemble(initial, tangents, plan)


def adjoint(
    field: Field,
    state: Float[Tensor, "batch component"],
    covector: Float[Tensor, "batch time component"],
    times: Float[Tensor, "*samples time"],
    *,
    scheme: Scheme | None = None,
    plan: Plan | None = None,
) -> tuple[Float[Tensor, "batch component"], dict[str, Tensor]]:
    r"""Transpose of `tangent`: $M^T v$, exactly that of the discrete steps.

    By a vector-Jacobian product of every step, from the last to the first; the states are kept.

    Args:
        field: the vector field $F$.
        state: states $X_0$ at the first time.
        covector: $v$ at all times, in the inverse of the state's unit for a scalar.
        times: increasing times, the same for all samples or each its own.
        scheme: the integration scheme; None is RK4, one step from each time to the next.
        plan: the steps, where these are known.

    Returns:
        The part of $M^T v$ that belongs to the state, and those of the parameters by name:
        `field.` and `scheme.` before the name in the module.

    Raises:
        ValueError: times that do not increase.

    Example:
        >>> field = lambda x: x**2
        >>> one, times = torch.ones(1, 1), torch.linspace(0, 0.5, 11)
        >>> last = torch.zeros(1, 11, 1)
        >>> last[0, -1] = 1
        >>> adjoint(field, one, last, times)[0]
        tensor([[4.0000]])
    """
    move = _Move(scheme or RungeKutta(), field)
    plan = plan or move.plan(state, times)
    parameters = {name: value.detach() for name, value in move.named_parameters()}
    states = [state.detach()]
    with torch.no_grad():
        for step in plan.steps:
            states.append(move(states[-1], step)[0])
    back = torch.zeros_like(covector[:, 0])
    gradients = {name: torch.zeros_like(value) for name, value in parameters.items()}
    for step, start in zip(reversed(plan.steps), reversed(states[:-1]), strict=True):

        def advanced(x: Tensor, values: dict[str, Tensor], step: Step = step) -> tuple[Tensor, ...]:
            return torch.func.functional_call(move, values, (x, step))

        _, pull, *_ = torch.func.vjp(advanced, start, parameters)
        asked = covector_of(step, covector)
        back, parts = pull((back,) if asked is None else (back, asked))
        gradients = {name: gradients[name] + parts[name] for name in gradients}
    return back + covector[:, 0], gradients


class _Move(nn.Module):
    """One step as a function of state and parameters."""

    def __init__(self, scheme: Scheme, field: Field) -> None:
        super().__init__()
        self.scheme, self.field = scheme, field

    def plan(self, state: Tensor, times: Tensor) -> Plan:
        return self.scheme.plan(self.field, state, checked_times(state, times))

    def forward(self, state: Tensor, step: Step) -> tuple[Tensor, ...]:
        end, value = self.scheme.move(self.field, state, step)
        return (end,) if value is None else (end, value)
