"""The small network of a closure, as plain tensors: what its coefficients are of the invariants."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["ACTIVATIONS", "Activation", "CoefficientNetwork"]

Activation = Literal["gelu", "silu", "relu", "tanh"]

ACTIVATIONS: Mapping[Activation, Callable[[Tensor], Tensor]] = MappingProxyType(
    {
        "gelu": torch.nn.functional.gelu,
        "silu": torch.nn.functional.silu,
        "relu": torch.relu,
        "tanh": torch.tanh,
    }
)


@dataclass(frozen=True, kw_only=True)
class CoefficientNetwork:
    """g(λ) = W_L σ(… σ(W_1 λ + b_1) …) + b_L, from five invariants to ten coefficients.

    A shift and a scale of the invariants or the coefficients belong into the first and the last
    layer.

    Args:
        weights: W_l [width after, width before] of each layer, first to last.
        biases: b_l [width after] of each layer.
        activation: σ.

    Raises:
        ValueError: an unknown activation, layers that do not fit each other, or that do not lead
            from five numbers to ten.

    >>> network = CoefficientNetwork(weights=(torch.ones(10, 5),), biases=(torch.zeros(10),))
    >>> network(torch.ones(5, 3)).shape
    torch.Size([10, 3])
    """

    weights: tuple[Float[Tensor, "_ _"], ...]
    biases: tuple[Float[Tensor, " _"], ...]
    activation: Activation = "gelu"

    def __post_init__(self) -> None:
        if self.activation not in ACTIVATIONS:
            known = ", ".join(ACTIVATIONS)
            raise ValueError(f"activation {self.activation!r} is unknown; choose one of {known}")
        shapes = [tuple(w.shape) for w in self.weights]
        if not shapes or len(shapes) != len(self.biases):
            raise ValueError(
                f"{len(shapes)} weights and {len(self.biases)} biases were given; "
                "give one of each for every layer, at least one"
            )
        widths = [5, *(after for after, _ in shapes[:-1]), 10]
        for n, (given, bias) in enumerate(zip(shapes, self.biases, strict=True)):
            fitting = (widths[n + 1], widths[n])
            if given != fitting or tuple(bias.shape) != fitting[:1]:
                raise ValueError(
                    f"layer {n} has weights {given} and a bias {tuple(bias.shape)}; from five "
                    f"invariants to ten coefficients they are to be {fitting} and {fitting[:1]}"
                )

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """All weights, then all biases."""
        return (*self.weights, *self.biases)

    def like(self, parameters: tuple[Tensor, ...]) -> CoefficientNetwork:
        """The same network with other tensors, in the order of `parameters`."""
        layers = len(self.weights)
        return CoefficientNetwork(
            weights=parameters[:layers], biases=parameters[layers:], activation=self.activation
        )

    def __call__(self, invariants: Float[Tensor, "5 cell"]) -> Float[Tensor, "10 cell"]:
        *hidden, (weight, bias) = zip(self.weights, self.biases, strict=True)
        value = invariants
        for w, b in hidden:
            value = ACTIVATIONS[self.activation](torch.addmm(b[:, None], w, value))
        return torch.addmm(bias[:, None], weight, value)
