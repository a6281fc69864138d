"""Dormand-Prince 5(4) with a step of its own for each sample, and dense output."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.dynamics.integrators.adaptive import PAIR, Attempt, Control, dense_sum, solve
from sciml.dynamics.integrators.runge_kutta import combine
from sciml.dynamics.integrators.scheme import Field, Passes, Plan, Scheme, Size, Step


@dataclass(frozen=True, kw_only=True)
class Solution:
    """An adaptive integration: the states asked for, and all that a gradient may need.

    Args:
        states: the states at the times [batch, time, component].
        plan: the accepted steps, which repeat the integration without their choice.
        starts: time at which each accepted step begins, +inf beyond a sample's last [batch, step].
        sizes: their sizes, zero beyond [batch, step].
        origins: the states there [batch, step, component].
        rates: the rates of their seven stages [batch, step, 7, component].
    """

    states: Tensor
    plan: Plan
    starts: Tensor
    sizes: Tensor
    origins: Tensor
    rates: Tensor

    def at(self, time: Tensor) -> Tensor:
        """The states at one time for each sample [batch], by the dense output."""
        step = (torch.searchsorted(self.starts, time[:, None].contiguous(), right=True) - 1).clamp(
            min=0
        )
        rows = torch.arange(len(time), device=time.device)
        step = step[:, 0]
        size = self.sizes[rows, step]
        fraction = ((time - self.starts[rows, step]) / size)[:, None].to(self.origins)
        size = size[:, None].to(self.origins)
        return self.origins[rows, step] + size * dense_sum(fraction, self.rates[rows, step])


class DormandPrince(Scheme):
    r"""Dormand-Prince 5(4): each sample chooses its own steps, and no output costs an evaluation.

    The error of a step, the difference of the two orders, is kept below
    $\text{atol} + \text{rtol}\,|X|$ in the root mean square over the components of each sample. All
    samples step together, each with its size; a sample that has arrived waits. Output times are
    met by the scheme's interpolant of order 4, or, with `stops`, by steps that end on them; in
    either way the solver goes on with the step it had and the rate it has.

    A gradient through the discrete steps takes the accepted steps as given (their sizes do not
    depend on the state), as do `tangent` and `adjoint`: the steps are found first, then done again.
    Under `torch.no_grad` and for a backward equation they are done once.

    Args:
        rtol: relative tolerance.
        atol: absolute tolerance, in the state's unit.
        stops: end a step on every output time instead of interpolating.
        first: first step in time; None chooses one by an evaluation.
        smallest: smallest step in time; None takes 16 units in the last place of the time.
        most: most steps, rejected ones included.

    Raises:
        ValueError: a tolerance is not positive.

    References:
        J. R. Dormand, P. J. Prince, 1980, https://doi.org/10.1016/0771-050X(80)90013-3

    Example:
        >>> times = torch.tensor([0.0, 0.3, 1.0])
        >>> solution = DormandPrince().solve(torch.neg, torch.ones(1, 1), times)
        >>> solution.states.flatten()  # 1, e^-0.3, e^-1
        tensor([1.0000, 0.7408, 0.3679])
    """

    order = 5
    stages = 6

    def __init__(
        self,
        *,
        rtol: float = 1e-6,
        atol: float = 1e-9,
        stops: bool = False,
        first: float | None = None,
        smallest: float | None = None,
        most: int = 100_000,
    ) -> None:
        super().__init__()
        if not (rtol > 0 and atol > 0):
            raise ValueError(f"rtol {rtol} and atol {atol} given: both must be positive")
        self.rtol, self.atol, self.stops = rtol, atol, stops
        self.first, self.smallest, self.most = first, smallest, most

    def control(self) -> Control:
        """The tolerances in the form that the solver asks for."""
        return Control(
            scale=lambda old, new: self.atol + self.rtol * torch.maximum(old.abs(), new.abs()),
            smallest=self.smallest,
            most=self.most,
            advice="raise rtol and atol, shorten the time span, use float64, or see whether the "
            "field is stiff or its solution grows without bound there",
        )

    @torch.no_grad()
    def solve(
        self, field: Field, state: Float[Tensor, "batch component"], times: Tensor
    ) -> Solution:
        """Integrate without a gradient, and keep every accepted step.

        Args:
            field: the vector field.
            state: states at the first times.
            times: increasing times [time] or [batch, time].

        Returns:
            The states at the times and the steps.

        Raises:
            StepTooSmall: a sample needs steps below the smallest, or too many; it is named.
            NonFiniteState: the field is not finite at the start.
        """
        every = times.to(device=state.device, dtype=torch.float64).expand(len(state), -1)
        every = every.contiguous()
        record = _Record(every, state)
        first = None if self.first is None else torch.full_like(every[:, 0], self.first)
        solve(
            lambda _, x: field(x),
            state,
            every[:, 0],
            every[:, -1],
            control=self.control(),
            size=first,
            limit=record.next_time if self.stops else None,
            accept=record.accept,
        )
        return record.solution(times)

    def plan(self, field: Field, state: Tensor, times: Tensor) -> Plan:
        """The steps that an integration accepts."""
        return self.solve(field, state.detach(), times).plan

    def advance(
        self, field: Field, state: Float[Tensor, "batch component"], size: Size
    ) -> Float[Tensor, "batch component"]:
        """The state one step of a given size later, by the scheme of order 5."""
        return state + size * combine(PAIR.weights, _rates(field, state, size))

    def move(self, field: Field, state: Tensor, step: Step) -> tuple[Tensor, Tensor | None]:
        """One given step, and the states that samples pass inside it."""
        rates = _rates(field, state, step.size)
        end = state + step.size * combine(PAIR.weights, rates)
        if step.passes is None:
            return end, None
        samples, fractions = step.passes.samples, step.passes.fractions
        if bool((fractions == 1).all()):
            return end, end[samples]
        rates.append(field(end))
        size = step.size[samples] if isinstance(step.size, Tensor) else step.size
        inside = dense_sum(fractions, torch.stack(rates, 1)[samples])
        return end, state[samples] + size * inside

    def extra_repr(self) -> str:
        """Tolerances."""
        return f"rtol={self.rtol}, atol={self.atol}, stops={self.stops}"


def _rates(field: Field, state: Tensor, size: Size) -> list[Tensor]:
    """The six rates of a step."""
    rates = [field(state)]
    for row in PAIR.rows[1:]:
        rates.append(field(state + size * combine(row, rates)))
    return rates


class _Record:
    """Collects the accepted steps, and the states at the times they pass."""

    def __init__(self, times: Tensor, state: Tensor) -> None:
        self.times, self.initial = times, state
        self.states = state[:, None].repeat(1, times.shape[1], 1)
        self.attempts: list[Attempt] = []
        self.passed: list[tuple[Tensor, Tensor, Tensor]] = []

    def next_time(self, now: Tensor) -> Tensor:
        """The first of each sample's times after `now`."""
        place = torch.searchsorted(self.times, now[:, None].contiguous(), right=True)
        return self.times.gather(1, place.clamp(max=self.times.shape[1] - 1))[:, 0]

    def accept(self, attempt: Attempt, after: Tensor) -> None:
        """Keep the attempt, and interpolate at the times between its two ends."""
        before = attempt.time[:, None]
        reached = (self.times > before) & (self.times <= after[:, None])
        samples, positions = reached.nonzero(as_tuple=True)
        size = attempt.size[samples]
        span = (self.times[samples, positions] - attempt.time[samples]) / size
        at_end = self.times[samples, positions] >= after[samples]
        fractions = torch.where(at_end, torch.ones_like(span), span)[:, None].to(attempt.state)
        inside = dense_sum(fractions, torch.stack(attempt.rates, 1)[samples])
        inside = attempt.state[samples] + size[:, None].to(attempt.state) * inside
        inside = torch.where(fractions == 1, attempt.end[samples], inside)
        self.states[samples, positions] = inside
        self.attempts.append(attempt)
        self.passed.append((samples, positions, fractions))

    def solution(self, times: Tensor) -> Solution:
        """The accepted steps, moved up so that each sample's stand side by side."""
        accepted = torch.stack([a.accepted for a in self.attempts])
        ranks = accepted.cumsum(0) - 1
        count = int(accepted.sum(0).max())
        attempts, samples = accepted.nonzero(as_tuple=True)
        places = (samples, ranks[attempts, samples])

        def gathered(parts: list[Tensor], blank: float) -> Tensor:
            stacked = torch.stack(parts)
            shape = (len(self.initial), count, *stacked.shape[2:])
            out = stacked.new_full(shape, blank)
            out[places] = stacked[attempts, samples]
            return out

        sizes = gathered([a.size for a in self.attempts], 0.0)
        return Solution(
            states=self.states,
            plan=Plan(steps=self._steps(sizes, ranks), times=times),
            starts=gathered([a.time for a in self.attempts], torch.inf),
            sizes=sizes,
            origins=gathered([a.state for a in self.attempts], 0.0),
            rates=gathered([torch.stack(a.rates, 1) for a in self.attempts], 0.0),
        )

    def _steps(self, sizes: Tensor, ranks: Tensor) -> tuple[Step, ...]:
        """The accepted steps in the order of each sample's own."""
        samples = torch.cat([s for s, _, _ in self.passed])
        positions = torch.cat([p for _, p, _ in self.passed])
        fractions = torch.cat([f for _, _, f in self.passed])
        places = torch.cat([ranks[i, s] for i, (s, _, _) in enumerate(self.passed)])
        steps = []
        for j in range(sizes.shape[1]):
            here = (places == j).nonzero()[:, 0]
            passes = Passes(
                samples=samples[here], positions=positions[here], fractions=fractions[here]
            )
            size = sizes[:, j, None].to(self.initial)
            steps.append(Step(size=size, passes=passes if len(here) else None))
        return tuple(steps)
