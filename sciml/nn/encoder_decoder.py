"""The convolutional encoder with one decoder per field of Guo, Li and Iorio."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciml.nn.activation import Activation, activation_layer
from sciml.nn.size import at_any_size


class EncoderDecoder(nn.Module):
    r"""Shared convolutional encoder, one deconvolutional decoder per output field.

    Guo, Li and Iorio, "Convolutional neural networks for steady flow approximation", KDD 2016,
    doi:10.1145/2939672.2939738: $y_f = D_f(F(E(x)))$. The encoder $E$ folds the image in strides
    that do not overlap (16 and then 4 in the paper, here `strides`, from 128 to 512 channels,
    here `channels`); the bottleneck $F$ mixes the channels of each coarse pixel; every decoder
    $D_f$ mirrors the encoder with transposed convolutions for one field $f$. The paper's
    bottleneck is fully connected over the whole image, which fixes the image size; here
    `mixers` residual 3x3 convolutions on the coarse grid keep the size free, and their receptive
    field covers the domain when `mixers` times the product of the strides does.

    Args:
        inputs: channels in.
        outputs: number of output fields, one decoder each.
        channels: channels after every stage of the encoder.
        strides: edge of the pixel squares folded by every stage.
        mixers: 3x3 convolutions in the bottleneck.
        activation: activation between layers.
        conditions: number of scalars per sample, joined to the bottleneck as constant channels.

    Raises:
        ValueError: strides and channels differ in number.

    Example:
        >>> net = EncoderDecoder(1, 2, channels=(8, 16), strides=(8, 4))
        >>> net(torch.zeros(3, 1, 70, 40)).shape
        torch.Size([3, 2, 70, 40])
        >>> net.multiple
        32
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        channels: Sequence[int] = (128, 512),
        strides: Sequence[int] = (16, 4),
        mixers: int = 2,
        activation: Activation = "relu",
        conditions: int = 0,
    ) -> None:
        super().__init__()
        if len(channels) != len(strides) or not channels:
            raise ValueError(
                f"{len(channels)} channel counts and {len(strides)} strides were given: "
                "give one of each for every stage"
            )
        self.multiple = int(torch.tensor(strides).prod())
        self.conditions = conditions
        sizes = [inputs, *channels]
        self.encoder = nn.Sequential()
        for (a, b), stride in zip(pairwise(sizes), strides, strict=True):
            self.encoder.extend([nn.Conv2d(a, b, stride, stride), activation_layer(activation)])
        self.join = nn.Conv2d(channels[-1] + conditions, channels[-1], 1)
        self.mixers = nn.ModuleList(
            nn.Sequential(
                activation_layer(activation), nn.Conv2d(channels[-1], channels[-1], 3, padding=1)
            )
            for _ in range(mixers)
        )
        self.decoders = nn.ModuleList(
            _decoder([*reversed(channels), 1], list(reversed(strides)), activation)
            for _ in range(outputs)
        )

    def forward(
        self,
        x: Float[Tensor, "batch inputs y x"],
        conditions: Float[Tensor, "batch condition"] | None = None,
    ) -> Float[Tensor, "batch outputs y x"]:
        """Fields at the size of the input.

        Raises:
            ValueError: conditions missing, or given to a network without them.
        """
        given = 0 if conditions is None else conditions.shape[-1]
        if given != self.conditions:
            raise ValueError(
                f"{given} conditions per sample were given, expected {self.conditions}: "
                "pass what the network was built for"
            )
        return at_any_size(lambda padded: self._run(padded, conditions), x, self.multiple)

    def _run(self, x: Tensor, conditions: Tensor | None) -> Tensor:
        code = self.encoder(x)
        if conditions is not None:
            planes = conditions[:, :, None, None].expand(-1, -1, *code.shape[-2:])
            code = torch.cat([code, planes.to(code.dtype)], dim=1)
        code = self.join(code)
        for mixer in self.mixers:
            code = code + mixer(code)
        return torch.cat([decoder(code) for decoder in self.decoders], dim=1)


def _decoder(
    channels: Sequence[int], strides: Sequence[int], activation: Activation
) -> nn.Sequential:
    layers: list[nn.Module] = []
    for (a, b), stride in zip(pairwise(channels), strides, strict=True):
        layers += [activation_layer(activation), nn.ConvTranspose2d(a, b, stride, stride)]
    return nn.Sequential(*layers)
