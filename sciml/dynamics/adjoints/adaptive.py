"""The adjoint equation integrated backward by Dormand-Prince, with steps of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sciml.dynamics.adjoints.parameters import accumulate, trainable
from sciml.dynamics.integrators.adaptive import NODES, PAIR, Attempt, Control, solve
from sciml.dynamics.integrators.dormand_prince import DormandPrince, Solution
from sciml.dynamics.integrators.scheme import Field

ROWS = 65536
"""Rows of a batch in which the parameters' gradients are evaluated."""


def adaptive_backward_ode(
    scheme: DormandPrince, field: Field, state: Tensor, times: Tensor, *, interpolated: bool
) -> Tensor:
    r"""The states at `times`; backward, the adjoint equation is solved with its own error control.

    The solver runs from the last time to the first once. Where a covector is not zero, a step ends,
    $\lambda$ jumps, and one evaluation gives its new rate; the step size goes on as it was, so
    nothing is restarted. Times without a covector cost nothing. The tolerances hold for $\lambda$
    relative to its largest component, whatever the scale of the loss. The state is taken at the
    beginning of every step from the forward solution's dense output and integrated backward in it,
    or taken from the dense output throughout.

    Args:
        scheme: the scheme.
        field: the vector field.
        state: states at the first time.
        times: times [time] or [batch, time].
        interpolated: whether the state comes from the dense output throughout.
    """
    way = _Way(scheme=scheme, field=field, times=times, interpolated=interpolated)
    return _AdaptiveBackwardODE.apply(way, state, *trainable(field, scheme, state))


@dataclass(frozen=True, kw_only=True)
class _Way:
    scheme: DormandPrince
    field: Field
    times: Tensor
    interpolated: bool


class _AdaptiveBackwardODE(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, way: _Way, state: Tensor, *parameters: Tensor) -> Tensor:
        solution = way.scheme.solve(way.field, state, way.times)
        ctx.way, ctx.solution = way, solution
        ctx.save_for_backward(state, *parameters)
        return solution.states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, covectors: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        _, *parameters = ctx.saved_tensors
        sweep = _Sweep(ctx.way, ctx.solution, parameters, covectors)
        return None, sweep.run(), *sweep.gradients()


@dataclass
class _Collected:
    """Stage states and weighted adjoints of accepted steps, for the parameters' gradients."""

    states: list[Tensor] = field(default_factory=list)
    costates: list[Tensor] = field(default_factory=list)


class _Sweep:
    """The way back in the time that is left, $s = t_\\text{end} - t$, for each sample its own."""

    def __init__(
        self, way: _Way, solution: Solution, parameters: list[Tensor], covectors: Tensor
    ) -> None:
        self.way, self.solution, self.parameters = way, solution, parameters
        self.covectors, self.components = covectors, covectors.shape[2]
        times = way.times.to(torch.float64)
        self.times = times.to(covectors.device).expand(len(covectors), -1)
        self.end = self.times[:, -1]
        self.left = self.end[:, None] - self.times
        self.loud = (covectors != 0).any(2)
        self.loud[:, 0] = self.loud[:, -1] = False  # where the way begins and ends
        never = torch.full_like(self.left[:, :1], torch.inf)
        stops = torch.where(self.loud, self.left, never)
        self.stops = torch.cat([stops, never], 1).sort(1).values
        self.collected = _Collected()

    def run(self) -> Tensor:
        """The adjoint at the first time."""
        start = self.covectors[:, -1]
        state = start
        if not self.way.interpolated:
            state = torch.cat([self.forward(torch.zeros_like(self.end)), start], 1)
        before_last = (self.solution.sizes > 0).sum(1, keepdim=True).sub(2).clamp(min=0)
        last = self.solution.sizes.gather(1, before_last)[:, 0]
        state = solve(
            self.rate,
            state,
            torch.zeros_like(self.end),
            self.left[:, 0],
            control=self.control(),
            size=last,
            limit=self.next_stop,
            accept=self.accept,
        )
        return state[:, -self.components :] + self.covectors[:, 0]

    def forward(self, left: Tensor) -> Tensor:
        """The forward state when `left` time is left."""
        return self.solution.at(torch.maximum(self.end - left, self.times[:, 0]))

    def parts(self, left: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Forward state and adjoint."""
        if self.way.interpolated:
            return self.forward(left), state
        return state[:, : self.components], state[:, self.components :]

    def rate(self, left: Tensor, state: Tensor) -> Tensor:
        r"""$\mathrm{d}\lambda/\mathrm{d}s = (\partial F/\partial X)^T \lambda$, and $-F$."""
        x, costate = self.parts(left, state)
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            forward = self.way.field(x)
        (pull,) = torch.autograd.grad(forward, x, costate)
        return pull if self.way.interpolated else torch.cat([-forward.detach(), pull], 1)

    def control(self) -> Control:
        """Tolerances of the forward solver; those of the adjoint scale with it."""
        given = self.way.scheme.control()
        atol, rtol = self.way.scheme.atol, self.way.scheme.rtol

        def scale(old: Tensor, new: Tensor) -> Tensor:
            size = torch.maximum(old.abs(), new.abs())
            costate = size[:, -self.components :]
            least = costate.amax(1, keepdim=True).clamp(min=torch.finfo(size.dtype).tiny)
            allowed = rtol * costate + rtol * least
            if self.way.interpolated:
                return allowed
            return torch.cat([atol + rtol * size[:, : self.components], allowed], 1)

        return Control(scale=scale, smallest=given.smallest, most=given.most, advice=given.advice)

    def next_stop(self, left: Tensor) -> Tensor:
        """The next place with a covector."""
        place = torch.searchsorted(self.stops, left[:, None].contiguous(), right=True)
        return self.stops.gather(1, place)[:, 0]

    def accept(self, attempt: Attempt, after: Tensor) -> tuple[Tensor, bool] | None:
        """Collect the stages of an accepted step, and let the adjoint jump where it ends."""
        self._collect(attempt)
        accepted = attempt.accepted[:, None]
        state = torch.where(accepted, attempt.end, attempt.state)
        if not self.way.interpolated:
            adjoint = state[:, self.components :]
            state = torch.cat([self.forward(after), adjoint], 1)
        here = self.loud & accepted & (self.left == after[:, None])
        jumps = bool(here.any())
        if jumps:
            samples, positions = here.nonzero(as_tuple=True)
            state = state.clone()
            state[samples, -self.components :] += self.covectors[samples, positions]
        return state, jumps

    def _collect(self, attempt: Attempt) -> None:
        """Keep where the stages stood, and what their parts in the parameters' gradients are."""
        rows = attempt.accepted.nonzero()[:, 0]
        for i, weight in enumerate(PAIR.weights):
            if weight == 0 or not self.parameters:
                continue
            left = attempt.time + NODES[i] * attempt.size
            x, costate = self.parts(left, attempt.stage(i))
            size = (weight * attempt.size[rows])[:, None].to(costate)
            self.collected.states.append(x[rows])
            self.collected.costates.append(size * costate[rows])

    def gradients(self) -> list[Tensor | None]:
        """Integral of the parameters' gradients, by large batches of the collected stages."""
        totals: list[Tensor | None] = [None] * len(self.parameters)
        if not self.collected.states:
            return totals
        states, costates = torch.cat(self.collected.states), torch.cat(self.collected.costates)
        for x, costate in zip(states.split(ROWS), costates.split(ROWS), strict=True):
            with torch.enable_grad():
                rate = self.way.field(x)
            parts = torch.autograd.grad(rate, self.parameters, costate, allow_unused=True)
            totals = accumulate(totals, parts)
        return totals
