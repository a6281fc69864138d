"""Derivatives of the compiled forms, forward and backward."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from sciml.kernels.kinetics.mechanism import Mechanism

__all__ = ["production_rates"]


def production_rates(
    implementation: ModuleType, mechanism: Mechanism, temperature: Tensor, concentrations: Tensor
) -> tuple[Tensor, Tensor]:
    """By the `values` of a module, whose `tangents` and `adjoints` give the derivatives."""
    return _ProductionRates.apply(temperature, concentrations, mechanism, implementation)


class _ProductionRates(torch.autograd.Function):
    @staticmethod
    def forward(
        temperature: Tensor,
        concentrations: Tensor,
        mechanism: Mechanism,
        implementation: ModuleType,
    ) -> tuple[Tensor, Tensor]:
        return implementation.values(mechanism, temperature, concentrations)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
        temperature, concentrations, ctx.mechanism, ctx.implementation = inputs
        ctx.save_for_backward(temperature, concentrations)
        ctx.save_for_forward(temperature, concentrations)

    @staticmethod
    def backward(ctx: Any, *of: Tensor) -> tuple:
        found = _Once.apply(ctx.implementation.adjoints, ctx.mechanism, *ctx.saved_tensors, *of)
        return *found, None, None

    @staticmethod
    def jvp(ctx: Any, *by: Tensor | None) -> tuple:
        at = ctx.saved_tensors
        changes = (torch.zeros_like(x) if d is None else d for x, d in zip(at, by[:2], strict=True))
        return _Once.apply(ctx.implementation.tangents, ctx.mechanism, *at, *changes)


class _Once(torch.autograd.Function):
    """A function of plain tensors, without derivatives of its own; `torch.func` unwraps them."""

    @staticmethod
    def forward(function: Callable[..., tuple], *arguments: Any) -> tuple:
        return function(*arguments)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple) -> None:
        """Nothing is kept."""

    @staticmethod
    def backward(ctx: Any, *of: Tensor) -> tuple:
        raise RuntimeError(
            "the compiled rates of production are once differentiable; "
            'give backend="reference" for second derivatives'
        )
