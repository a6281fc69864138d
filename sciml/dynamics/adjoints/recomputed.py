"""Exact discrete gradients with few kept states: per-step and binomial checkpointing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sciml.dynamics.adjoints.parameters import accumulate, trainable
from sciml.dynamics.adjoints.revolve import placements, split
from sciml.dynamics.integrators.scheme import Field, Plan, Scheme, assemble, covector_of


def recomputed(
    scheme: Scheme, field: Field, state: Tensor, plan: Plan, slots: int | None
) -> Tensor:
    """The states of a plan; backward, each step is done again from a kept state and reversed.

    Args:
        scheme: the scheme.
        field: the vector field.
        state: states at the first time.
        plan: the steps.
        slots: number of states kept; None keeps one before every step.
    """
    march = _March(scheme=scheme, field=field, plan=plan, slots=slots or max(1, len(plan.steps)))
    return _Recomputed.apply(march, state, *trainable(field, scheme, state))


@dataclass(frozen=True, kw_only=True)
class _March:
    scheme: Scheme
    field: Field
    plan: Plan
    slots: int

    def advance(self, state: Tensor, begin: int, end: int) -> Tensor:
        """From before step `begin` to before step `end`."""
        with torch.no_grad():
            for step in self.plan.steps[begin:end]:
                state, _ = self.scheme.move(self.field, state, step)
        return state


class _Recomputed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, march: _March, state: Tensor, *parameters: Tensor) -> Tensor:
        keep = set(placements(len(march.plan.steps), march.slots))
        kept, values, now = {}, [], state
        for j, step in enumerate(march.plan.steps):
            if j in keep or j + 1 == len(march.plan.steps):
                kept[j] = now  # the state before the last step is at hand, and needs no slot
            now, value = march.scheme.move(march.field, now, step)
            if value is not None:
                values.append(value)
        ctx.march, ctx.kept = march, kept
        ctx.save_for_backward(state, *parameters)
        return assemble(state, values, march.plan)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, covectors: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        _, *parameters = ctx.saved_tensors
        sweep = _Sweep(ctx.march, dict(ctx.kept), parameters, covectors)
        sweep.reverse(len(ctx.march.plan.steps), ctx.march.slots)
        return None, sweep.adjoint + covectors[:, 0], *sweep.gradients


class _Sweep:
    """The way back: the adjoint of the state, and the parameters' gradients so far."""

    def __init__(
        self, march: _March, kept: dict[int, Tensor], parameters: list[Tensor], covectors: Tensor
    ) -> None:
        self.march, self.kept, self.parameters = march, kept, parameters
        self.covectors, self.adjoint = covectors, torch.zeros_like(covectors[:, 0])
        self.gradients: list[Tensor | None] = [None] * len(parameters)

    def reverse(self, steps: int, slots: int) -> None:
        """Reverse all steps, always the part behind the last kept state first."""
        parts: list[tuple[int, int, int, int | None]] = [(0, steps, slots, None)]
        while parts:
            begin, steps, slots, done = parts.pop()
            if done is not None:
                del self.kept[done]
            if slots == 1 or slots >= steps - 1:
                self._reverse_part(begin, steps, keep=slots > 1)
                continue
            middle = begin + split(steps, slots)
            if middle not in self.kept:
                self.kept[middle] = self.march.advance(self.kept[begin], begin, middle)
            parts.append((begin, middle - begin, slots, middle))
            parts.append((middle, begin + steps - middle, slots - 1, None))

    def _reverse_part(self, begin: int, steps: int, *, keep: bool) -> None:
        """Reverse the steps behind a kept state, from states all kept or each computed anew."""
        for j in range(begin + 1, begin + steps) if keep else ():
            if j not in self.kept:
                self.kept[j] = self.march.advance(self.kept[j - 1], j - 1, j)
        for j in range(begin + steps - 1, begin - 1, -1):
            state = self.kept[j] if j == begin else self.kept.pop(j, None)
            if state is None:
                state = self.march.advance(self.kept[begin], begin, j)
            self._pull_back(j, state)

    def _pull_back(self, j: int, state: Tensor) -> None:
        """The vector-Jacobian product of step `j`."""
        step = self.march.plan.steps[j]
        with torch.enable_grad():
            state = state.detach().requires_grad_()
            end, value = self.march.scheme.move(self.march.field, state, step)
        outputs, covectors = [end], [self.adjoint]
        asked = covector_of(step, self.covectors)
        if value is not None and asked is not None:
            outputs.append(value)
            covectors.append(asked)
        gradients = torch.autograd.grad(
            outputs, (state, *self.parameters), covectors, allow_unused=True
        )
        self.adjoint = gradients[0]
        self.gradients = accumulate(self.gradients, gradients[1:])
