"""The two vector fields that a window kernel takes, as plain tensors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["BilinearField", "Field", "MLPField"]


@dataclass(frozen=True, kw_only=True)
class MLPField:
    """f(x) = W_L tanh(… tanh(W_1 x + b_1) …) + b_L, a multilayer perceptron.

    Args:
        weights: W_l [width after, width before] of each layer, first to last.
        biases: b_l [width after] of each layer.

    Raises:
        ValueError: layers that do not fit each other, or that do not lead back to as many
            components as they begin with.

    >>> field = MLPField(weights=(torch.eye(2), torch.eye(2)), biases=(torch.zeros(2),) * 2)
    >>> field(torch.zeros(1, 2))
    tensor([[0., 0.]])
    """

    weights: tuple[Float[Tensor, "_ _"], ...]
    biases: tuple[Float[Tensor, " _"], ...]

    def __post_init__(self) -> None:
        shapes = [tuple(w.shape) for w in self.weights]
        if not shapes or len(shapes) != len(self.biases):
            raise ValueError(
                f"{len(shapes)} weights and {len(self.biases)} biases were given; "
                "give one of each for every layer, at least one"
            )
        befores = [shapes[-1][0], *(after for after, _ in shapes[:-1])]
        for n, ((after, before), expected) in enumerate(zip(shapes, befores, strict=True)):
            if before != expected:
                raise ValueError(
                    f"the weights of layer {n} take {before} numbers and are given {expected}; "
                    "each layer takes what the one before gives, the first what the last gives"
                )
            if tuple(self.biases[n].shape) != (after,):
                raise ValueError(
                    f"the bias of layer {n} has shape {tuple(self.biases[n].shape)}; "
                    f"its weights give {after} numbers, so give as many"
                )

    @property
    def components(self) -> int:
        return self.weights[0].shape[1]

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """The tensors of the field in a fixed order: all weights, then all biases."""
        return (*self.weights, *self.biases)

    def like(self, parameters: tuple[Tensor, ...]) -> MLPField:
        """The same kind of field with other tensors, in the order of `parameters`."""
        layers = len(self.weights)
        return MLPField(weights=parameters[:layers], biases=parameters[layers:])

    def __call__(self, state: Float[Tensor, "batch component"]) -> Float[Tensor, "batch component"]:
        *hidden, last = zip(self.weights, self.biases, strict=True)
        for weight, bias in hidden:
            state = torch.tanh(torch.nn.functional.linear(state, weight, bias))
        return torch.nn.functional.linear(state, *last)


@dataclass(frozen=True, kw_only=True)
class BilinearField:
    """f(x) = A x + c + D [(P x) ∘ (Q x)], linear terms and products of linear maps.

    The field of Fablet, Ouala and Herzet (2018, doi:10.48550/arXiv.1712.07003).

    Args:
        linear: A [component, component].
        constant: c [component].
        mixing: D [component, product].
        left: P [product, component].
        right: Q [product, component].

    Raises:
        ValueError: shapes that do not fit each other.

    >>> one = torch.ones(1, 1)
    >>> logistic = BilinearField(
    ...     linear=one, constant=torch.zeros(1), mixing=-one, left=one, right=one
    ... )
    >>> logistic(torch.tensor([[0.5]]))
    tensor([[0.2500]])
    """

    linear: Float[Tensor, "_ _"]
    constant: Float[Tensor, " _"]
    mixing: Float[Tensor, "_ _"]
    left: Float[Tensor, "_ _"]
    right: Float[Tensor, "_ _"]

    def __post_init__(self) -> None:
        components, products = self.mixing.shape
        expected = {
            "linear": (components, components),
            "constant": (components,),
            "left": (products, components),
            "right": (products, components),
        }
        for name, shape in expected.items():
            given = tuple(getattr(self, name).shape)
            if given != shape:
                raise ValueError(
                    f"{name} has shape {given} beside a mixing of shape "
                    f"{(components, products)}; give it the shape {shape}"
                )

    @property
    def components(self) -> int:
        return self.mixing.shape[0]

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """The tensors of the field in the order of its arguments."""
        return self.linear, self.constant, self.mixing, self.left, self.right

    def like(self, parameters: tuple[Tensor, ...]) -> BilinearField:
        """The same kind of field with other tensors, in the order of `parameters`."""
        linear, constant, mixing, left, right = parameters
        return BilinearField(
            linear=linear, constant=constant, mixing=mixing, left=left, right=right
        )

    def __call__(self, state: Float[Tensor, "batch component"]) -> Float[Tensor, "batch component"]:
        product = (state @ self.left.T) * (state @ self.right.T)
        return state @ self.linear.T + self.constant + product @ self.mixing.T


Field = MLPField | BilinearField
