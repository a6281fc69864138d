"""Fully connected network."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from sciml.nn.activation import Activation, activation_layer


class MLP(nn.Module):
    r"""Fully connected network: $h_{l+1} = \sigma(W_l h_l + b_l)$, the last layer linear.

    Args:
        inputs: number of input features.
        outputs: number of output features.
        hidden: width of every hidden layer; none gives a linear map.
        activation: the function $\sigma$.

    Example:
        >>> import torch
        >>> net = MLP(3, 2, hidden=(32, 32), activation="tanh")
        >>> net(torch.zeros(5, 3)).shape
        torch.Size([5, 2])
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        hidden: Sequence[int] = (64, 64),
        activation: Activation = "gelu",
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = inputs
        for size in hidden:
            layers += [nn.Linear(width, size), activation_layer(activation)]
            width = size
        self.layers = nn.Sequential(*layers, nn.Linear(width, outputs))

    def forward(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        """Values of the network, feature axis last."""
        return self.layers(x)
