"""Convolution blocks: convolution with normalisation and activation, and the residual block."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciml.nn.activation import Activation, activation_layer

Padding = Literal["zeros", "replicate"]
Norm = Literal["none", "group"]


def convolution(
    inputs: int, outputs: int, *, kernel: int = 3, padding: Padding = "zeros"
) -> nn.Conv2d:
    """A convolution that keeps the spatial size.

    Args:
        inputs: channels in.
        outputs: channels out.
        kernel: odd kernel size in pixels.
        padding: what stands beyond the border: zeros, or the border value repeated.

    Raises:
        ValueError: the kernel size is even or below one.

    Example:
        >>> convolution(2, 4, kernel=5)(torch.zeros(1, 2, 7, 9)).shape
        torch.Size([1, 4, 7, 9])
    """
    if kernel < 1 or kernel % 2 == 0:
        raise ValueError(f"the kernel size is {kernel}, expected an odd number: choose 1, 3, 5 ...")
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, padding_mode=padding)


def normalisation(norm: Norm, channels: int) -> nn.Module:
    """Group normalisation in groups of eight channels, or the identity.

    Wu and He, "Group normalization", ECCV 2018, doi:10.1007/978-3-030-01261-8_1. Batch
    normalisation is left out on purpose: it ties a prediction to its neighbours in the batch.

    Example:
        >>> normalisation("group", 32).num_groups
        4
    """
    if norm == "none":
        return nn.Identity()
    return nn.GroupNorm(max(1, channels // 8) if channels % 8 == 0 else 1, channels)


class ConvBlock(nn.Module):
    r"""Convolution, normalisation, activation: $y = \sigma(N(K * x + b))$.

    Args:
        inputs: channels in.
        outputs: channels out.
        kernel: odd kernel size in pixels.
        padding: border treatment, see `convolution`.
        norm: normalisation $N$.
        activation: the function $\sigma$.

    Example:
        >>> ConvBlock(3, 8)(torch.zeros(2, 3, 16, 10)).shape
        torch.Size([2, 8, 16, 10])
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        kernel: int = 3,
        padding: Padding = "zeros",
        norm: Norm = "none",
        activation: Activation = "gelu",
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            convolution(inputs, outputs, kernel=kernel, padding=padding),
            normalisation(norm, outputs),
            activation_layer(activation),
        )

    def forward(self, x: Float[Tensor, "batch inputs y x"]) -> Float[Tensor, "batch outputs y x"]:
        """Apply the block; the spatial size is kept."""
        return self.layers(x)


class Film(nn.Module):
    r"""Feature-wise linear modulation: $y_c = (1 + \gamma_c(e))\,x_c + \beta_c(e)$.

    Perez et al., "FiLM: visual reasoning with a general conditioning layer", AAAI 2018,
    doi:10.1609/aaai.v32i1.11671. Starts as the identity.

    Args:
        embedding: number of features of the condition's embedding $e$.
        channels: number of channels modulated.

    Example:
        >>> x = torch.ones(2, 4, 3, 3)
        >>> bool((Film(8, 4)(x, torch.ones(2, 8)) == x).all())
        True
    """

    def __init__(self, embedding: int, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(embedding, 2 * channels)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(
        self, x: Float[Tensor, "batch channel y x"], embedding: Float[Tensor, "batch feature"]
    ) -> Float[Tensor, "batch channel y x"]:
        """Scale and shift every channel by what the embedding says."""
        scale, shift = self.linear(embedding)[:, :, None, None].chunk(2, dim=1)
        return torch.addcmul(x + shift, x, scale)


class ResidualBlock(nn.Module):
    r"""Pre-activation residual block, optionally conditioned by FiLM.

    $y = x + K_2 * \sigma(F(N(K_1 * \sigma(N(x)))))$ (He et al. 2016,
    doi:10.1007/978-3-319-46493-0_38); $K_2$ starts at zero, so that a deep stack without
    normalisation starts as the identity (Zhang, Dauphin and Ma, "Fixup", ICLR 2019,
    doi:10.48550/arXiv.1901.09321).

    Args:
        channels: channels in and out.
        kernel: odd kernel size in pixels.
        padding: border treatment, see `convolution`.
        norm: normalisation $N$.
        activation: the function $\sigma$.
        embedding: features of the condition's embedding; 0 for no condition.

    Example:
        >>> x = torch.randn(1, 8, 6, 5)
        >>> bool((ResidualBlock(8)(x) == x).all())
        True
    """

    def __init__(
        self,
        channels: int,
        *,
        kernel: int = 3,
        padding: Padding = "zeros",
        norm: Norm = "none",
        activation: Activation = "gelu",
        embedding: int = 0,
    ) -> None:
        super().__init__()
        self.first = nn.Sequential(
            normalisation(norm, channels),
            activation_layer(activation),
            convolution(channels, channels, kernel=kernel, padding=padding),
            normalisation(norm, channels),
        )
        self.film = Film(embedding, channels) if embedding else None
        last = convolution(channels, channels, kernel=kernel, padding=padding)
        nn.init.zeros_(last.weight)
        assert last.bias is not None
        nn.init.zeros_(last.bias)
        self.second = nn.Sequential(activation_layer(activation), last)

    def forward(
        self,
        x: Float[Tensor, "batch channel y x"],
        embedding: Float[Tensor, "batch feature"] | None = None,
    ) -> Float[Tensor, "batch channel y x"]:
        """Apply the block; the spatial size is kept."""
        h = self.first(x)
        if self.film is not None:
            assert embedding is not None
            h = self.film(h, embedding)
        return x + self.second(h)
