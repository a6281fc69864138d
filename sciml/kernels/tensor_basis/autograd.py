"""Derivatives of the forms for the CPU by their hand-written adjoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sciml.kernels.tensor_basis import cpu

__all__ = ["contraction", "invariants", "tensor_basis"]

State = Sequence[Tensor]
"""Velocity gradient, turbulent kinetic energy and dissipation rate."""


def tensor_basis(state: State, inverse_square: float) -> tuple[Tensor, Tensor]:
    """Invariants and tensors."""
    return _TensorBasis.apply(inverse_square, *state)


def invariants(state: State, inverse_square: float) -> Tensor:
    """The invariants alone."""
    return _Invariants.apply(inverse_square, *state)


def contraction(state: State, coefficients: Tensor, inverse_square: float) -> Tensor:
    """Σ g_n T_n."""
    return _Contraction.apply(inverse_square, *state, coefficients)


class _TensorBasis(torch.autograd.Function):
    """Keeps its inputs alone; what nobody asks a derivative by costs nothing on the way back."""

    @staticmethod
    def forward(ctx: Any, inverse_square: float, *state: Tensor) -> tuple[Tensor, Tensor]:
        ctx.inverse_square = inverse_square
        ctx.save_for_backward(*state)
        ctx.set_materialize_grads(False)
        return cpu.tensor_basis(state, inverse_square)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_found: Tensor | None, by_basis: Tensor | None) -> tuple:
        state, limit = ctx.saved_tensors, ctx.inverse_square
        found = [] if by_found is None else [cpu.invariants_back(by_found, state, limit)]
        found += [] if by_basis is None else [cpu.tensors_back(by_basis, state, limit)]
        return None, *(map(sum, zip(*found, strict=True)) if found else (None,) * 3)


class _Invariants(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inverse_square: float, *state: Tensor) -> Tensor:
        ctx.inverse_square = inverse_square
        ctx.save_for_backward(*state)
        return cpu.invariants(state, inverse_square)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, bar: Tensor) -> tuple:
        return None, *cpu.invariants_back(bar, ctx.saved_tensors, ctx.inverse_square)


class _Contraction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inverse_square: float, *given: Tensor) -> Tensor:
        ctx.inverse_square = inverse_square
        ctx.save_for_backward(*given)
        *state, coefficients = given
        return cpu.contraction(state, coefficients, inverse_square)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, bar: Tensor) -> tuple:
        *state, coefficients = ctx.saved_tensors
        found = cpu.contraction_back(bar, state, coefficients, ctx.inverse_square)
        return None, *found
