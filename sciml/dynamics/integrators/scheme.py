"""What an integration scheme is: a plan of steps, and how one step is done."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

Field = Callable[[Tensor], Tensor]
"""A vector field: states [batch, component] to rates [batch, component]."""

Size = Tensor | float
"""Size of a step: one number, or one for each sample [batch, 1]."""


@dataclass(frozen=True, kw_only=True)
class Passes:
    """The times that samples pass inside a step, one row each.

    Args:
        samples: index of the sample.
        positions: position in its times.
        fractions: fraction of the step done at that time, in (0, 1].
    """

    samples: Int[Tensor, " passes"]
    positions: Int[Tensor, " passes"]
    fractions: Float[Tensor, "passes 1"]


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of a plan.

    Args:
        size: the step $h$ in time; zero for a sample that waits for the others.
        arrives: position in the times that every sample reaches at its end.
        passes: what samples pass inside it.
    """

    size: Size
    arrives: int | None = None
    passes: Passes | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All steps of an integration, fixed.

    Args:
        steps: the steps in their order.
        times: the times [time] or [batch, time], float64.
    """

    steps: tuple[Step, ...]
    times: Float[Tensor, "*samples time"]


class Scheme(nn.Module, ABC):
    """Integration scheme: abstract.

    Attributes:
        order: order of convergence.
        stages: evaluations of the field in a step.
    """

    order: int
    stages: int

    @abstractmethod
    def plan(self, field: Field, state: Tensor, times: Tensor) -> Plan:
        """The steps from the first of `times` to the last."""

    @abstractmethod
    def advance(
        self, field: Field, state: Float[Tensor, "batch component"], size: Size
    ) -> Float[Tensor, "batch component"]:
        """The state one step of `size` later."""

    @abstractmethod
    def move(self, field: Field, state: Tensor, step: Step) -> tuple[Tensor, Tensor | None]:
        """The state after the step, and the states asked for: at its end, or where it passes."""


class FixedStep(Scheme, ABC):
    """Scheme whose steps follow from the times alone: abstract.

    Args:
        step: the largest step in time; each sample's way from one time to the next is divided into
            equal steps that do not exceed it but by rounding of the times. None takes one step.

    Raises:
        ValueError: the step is not positive.
    """

    def __init__(self, *, step: float | None = None) -> None:
        super().__init__()
        if step is not None and not step > 0:
            raise ValueError(f"step {step} given: a step must be positive, or None for one a time")
        self.step = step

    def plan(self, field: Field, state: Tensor, times: Tensor) -> Plan:
        """Equal steps in every interval; a sample that needs fewer than others waits."""
        gaps = times.diff(dim=-1)
        counts = torch.ones_like(gaps) if self.step is None else (gaps / self.step - 1e-6).ceil()
        sizes = gaps / counts
        steps = []
        for k in range(gaps.shape[-1]):
            count, size = counts[..., k : k + 1], sizes[..., k : k + 1]
            total = int(count.max())
            for done in range(total):
                h: Size = float(size) if times.ndim == 1 else (size * (done < count)).to(state)
                steps.append(Step(size=h, arrives=k + 1 if done + 1 == total else None))
        return Plan(steps=tuple(steps), times=times)

    def move(self, field: Field, state: Tensor, step: Step) -> tuple[Tensor, Tensor | None]:
        """One step; its end is what is asked for, if anything is."""
        state = self.advance(field, state, step.size)
        return state, None if step.arrives is None else state


def march(
    scheme: Scheme, field: Field, state: Float[Tensor, "batch component"], plan: Plan
) -> Float[Tensor, "batch time component"]:
    """The states at the times of a plan, by its very steps: the plain loop.

    Example:
        >>> from sciml.dynamics.integrators import RungeKutta
        >>> scheme, state = RungeKutta(), torch.ones(1, 1)
        >>> plan = scheme.plan(torch.neg, state, torch.tensor([0.0, 1.0, 2.0]).double())
        >>> march(scheme, torch.neg, state, plan).flatten()
        tensor([1.0000, 0.3750, 0.1406])
    """
    values, initial = [], state
    for step in plan.steps:
        state, value = scheme.move(field, state, step)
        if value is not None:
            values.append(value)
    return assemble(initial, values, plan)


def assemble(initial: Tensor, values: list[Tensor], plan: Plan) -> Tensor:
    """The states at all times, from those of the steps that reached any, in their order."""
    if all(step.passes is None for step in plan.steps):
        return torch.stack([initial, *values], 1)
    passes = [step.passes for step in plan.steps if step.passes is not None]
    samples = torch.cat([p.samples for p in passes])
    positions = torch.cat([p.positions for p in passes])
    states = initial[:, None].repeat(1, plan.times.shape[-1], 1)
    return states.index_put((samples, positions), torch.cat(values))


def covector_of(step: Step, covectors: Tensor) -> Tensor | None:
    """The part of `covectors` [batch, time, component] that meets what a step was asked for."""
    if step.arrives is not None:
        return covectors[:, step.arrives]
    if step.passes is not None:
        return covectors[step.passes.samples, step.passes.positions]
    return None
