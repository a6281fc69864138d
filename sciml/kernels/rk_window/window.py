"""The window as a function that torch differentiates, over the march of a fast backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from sciml.kernels.rk_window.fields import Field

__all__ = ["Pack", "Problem", "rk_window"]


@runtime_checkable
class Problem(Protocol):
    """A field, a tableau and a step as a backend packs them."""

    def march(self, state: Tensor, steps: int) -> Tensor:
        """The state and all `steps` that follow it, [batch, time, component]."""

    def adjoint(
        self, states: Tensor, bar: Tensor, every: int, weights: bool
    ) -> tuple[Tensor | None, ...]:
        """The derivatives by the first state, a, b and, if asked for, the field's tensors.

        Args:
            states: what `march` gave.
            bar: the derivatives by the first state and each `every`-th after it.
            every: see `bar`.
            weights: whether those by the field's tensors are needed.
        """


Pack = Callable[[Field, Tensor, Tensor, float], Problem]
"""From a field, the tableau (a, b) and the step."""


def rk_window(
    pack: Pack,
    state: Float[Tensor, "batch component"],
    field: Field,
    a: Float[Tensor, "stage stage"],
    b: Float[Tensor, " stage"],
    step: float,
    steps: int,
    every: int,
) -> Float[Tensor, "batch time component"]:
    """The state and each `every`-th of the `steps` that follow it."""
    return _Window.apply(pack, field, step, steps, every, state, a, b, *field.parameters)


class _Window(torch.autograd.Function):
    """Keeps the states of the steps, which are the result itself if every one is asked for."""

    @staticmethod
    def forward(
        ctx: Any,
        pack: Pack,
        field: Field,
        step: float,
        steps: int,
        every: int,
        state: Tensor,
        a: Tensor,
        b: Tensor,
        *parameters: Tensor,
    ) -> Tensor:
        states = pack(field.like(parameters), a, b, step).march(state, steps)
        ctx.save_for_backward(states, a, b, *parameters)
        ctx.pack, ctx.like, ctx.step, ctx.every = pack, field.like, step, every
        return states if every == 1 else states[:, ::every].contiguous()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, bar: Tensor) -> tuple[Any, ...]:
        states, a, b, *parameters = ctx.saved_tensors
        problem = ctx.pack(ctx.like(tuple(parameters)), a, b, ctx.step)
        weights = any(ctx.needs_input_grad[8:])
        return (None,) * 5 + problem.adjoint(states, bar, ctx.every, weights)
