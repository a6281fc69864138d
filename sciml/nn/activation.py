"""Activation functions by name."""

from __future__ import annotations

from typing import Literal

from torch import nn

Activation = Literal["gelu", "silu", "relu", "leaky_relu", "tanh", "identity"]

_LAYERS: dict[str, type[nn.Module]] = {
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "tanh": nn.Tanh,
    "identity": nn.Identity,
}


def activation_layer(name: Activation) -> nn.Module:
    """The layer that applies the activation `name`.

    Raises:
        ValueError: the name is not one of `Activation`.

    Example:
        >>> activation_layer("relu")
        ReLU()
    """
    if name not in _LAYERS:
        raise ValueError(f"unknown activation {name!r}: choose one of {', '.join(_LAYERS)}")
    return _LAYERS[name]()
