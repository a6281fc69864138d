"""A whole window of explicit Runge-Kutta steps of a small field in one call, with its adjoint."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sciml.kernels.backend import Backend, choose
from sciml.kernels.rk_window import reference, window
from sciml.kernels.rk_window.fields import BilinearField, Field, MLPField

__all__ = ["RK4", "BilinearField", "Field", "MLPField", "Tableau", "rk_window"]

Coefficients = Sequence[Sequence[float]] | Sequence[float] | np.ndarray | Tensor
Tableau = tuple[Coefficients, Coefficients]

RK4: Tableau = (
    ((0.0, 0.0, 0.0, 0.0), (0.5, 0.0, 0.0, 0.0), (0.0, 0.5, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0)),
    (1 / 6, 1 / 3, 1 / 3, 1 / 6),
)
"""The tableau (a, b) of the classical Runge-Kutta scheme of order four."""


def rk_window(
    state: Float[Tensor, "batch component"],
    field: Field,
    *,
    step: float,
    steps: int,
    tableau: Tableau = RK4,
    every: int = 1,
    backend: Backend = "auto",
) -> Float[Tensor, "batch time component"]:
    r"""Advance a batch of states by `steps` explicit Runge-Kutta steps of an autonomous field.

    With the tableau (a, b) and the step h,

        Y_i = y + h Σ_{j<i} a_ij f(Y_j),   y ← y + h Σ_i b_i f(Y_i).

    Gradients by the state, the field's tensors and the tableau, where it is given as tensors, are
    those of this very scheme (the discrete adjoint): the fast backends keep the states of the
    steps and nothing else, and compute the stages of a step anew on the way back. They are once
    differentiable; the reference is plain torch and any number of times.

    Args:
        state: y, float32 or float64.
        field: f, an :class:`MLPField` or a :class:`BilinearField` of the same precision.
        step: h, in the unit of time of the field.
        steps: how many.
        tableau: a [stage, stage], strictly lower triangular, and b [stage].
        every: the states of each so many steps are given back; it divides `steps`.
        backend: `reference` (torch, any device), `cpu` (numba, one thread), `triton` (CUDA,
            float32), or `auto`, the fastest that can run where the state is.

    Returns:
        The states, `state` itself the first: steps / every + 1 of them.

    Raises:
        ValueError: shapes or precisions that do not fit, an implicit tableau, or a number of steps
            that `every` does not divide.
        RuntimeError: a backend that cannot run here, saying what is missing.

    >>> decay = MLPField(weights=(-torch.eye(1),), biases=(torch.zeros(1),))
    >>> rk_window(torch.ones(1, 1), decay, step=0.1, steps=10, every=5).flatten()
    tensor([1.0000, 0.6065, 0.3679])
    """
    a, b = (torch.as_tensor(x, dtype=state.dtype, device=state.device) for x in tableau)
    _check(state, field, a, b, steps, every)
    chosen = _chosen(backend, state, field, len(b))
    if chosen == "cpu":
        from sciml.kernels.rk_window import cpu

        return window.rk_window(cpu.Problem, state, field, a, b, step, steps, every)
    if chosen == "triton":
        from sciml.kernels.rk_window import triton

        return window.rk_window(triton.Problem, state, field, a, b, step, steps, every)
    return reference.rk_window(state, field, a, b, step, steps, every)


def _chosen(backend: Backend, state: Tensor, field: Field, stages: int) -> str:
    chosen = choose(backend, state.detach())
    if chosen != "triton":
        return chosen
    from sciml.kernels.rk_window.triton import unfit

    reason = unfit(field, stages)
    if reason is None:
        return chosen
    if backend == "auto":
        return "reference"
    raise RuntimeError(f"the triton backend cannot run here: {reason}")


def _check(state: Tensor, field: Field, a: Tensor, b: Tensor, steps: int, every: int) -> None:
    if state.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"a state of {state.dtype} was given; convert it to float32 or float64")
    if state.shape[1] != field.components:
        raise ValueError(
            f"states of {state.shape[1]} components were given to a field of {field.components}; "
            "give both the same number"
        )
    for tensor in field.parameters:
        if tensor.dtype != state.dtype or tensor.device != state.device:
            raise ValueError(
                f"the field holds {tensor.dtype} on {tensor.device} and the state {state.dtype} on "
                f"{state.device}; convert one to the other"
            )
    if a.shape != (len(b), len(b)) or bool((a.detach().triu() != 0).any()):
        raise ValueError(
            f"a tableau a of shape {tuple(a.shape)} was given with {b.numel()} weights b; give an "
            "explicit one, with a square and zero on and above its diagonal"
        )
    if steps < 0 or every < 1 or steps % every:
        raise ValueError(
            f"{steps} steps were asked for, of which every {every} is kept; "
            "give zero or more, and a positive number that divides them"
        )
