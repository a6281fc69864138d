"""Residual U-Net for images of any size, with scalar conditions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from sciml.nn.activation import Activation
from sciml.nn.conv import Norm, Padding, ResidualBlock, convolution
from sciml.nn.mlp import MLP
from sciml.nn.size import at_any_size


class UNet(nn.Module):
    r"""Residual U-Net: fields on a grid in, fields on the same grid out.

    Ronneberger, Fischer and Brox, MICCAI 2015, doi:10.1007/978-3-319-24574-4_28. Level $l$ works
    on $c_l$ channels at $1/(p\,2^l)$ of the resolution, $l = 0 \dots$ `depth`:

    $d_0 = E(x)$, $d_l = B_l(D_l d_{l-1})$, $u_{depth} = d_{depth}$,
    $u_{l-1} = B'_{l-1}(d_{l-1} + \uparrow P_l u_l)$, $y = H(u_0)$

    with $E$ space-to-depth by $p$ = `patch` and a convolution, $B$ residual blocks, $D$ a strided
    2x2 convolution, $P$ a 1x1 convolution followed by nearest upsampling, and $H$ a convolution
    and depth-to-space. Skips are added, which costs a third less than concatenation. Any size
    is padded by replication to a multiple of `multiple` and cropped back.

    Args:
        inputs: channels in.
        outputs: channels out.
        width: channels of the finest level.
        depth: number of halvings of the resolution.
        blocks: residual blocks per level, on the way down and on the way up.
        multipliers: $c_l$ / width for $l = 0 \dots$ depth; by default 1, 2, 4, 8, 8, 8 ...
        patch: edge of the pixel squares that the stem folds into channels; the cost falls
            with its square.
        kernel: odd kernel size in pixels of the residual blocks.
        padding: border treatment, see `sciml.nn.conv.convolution`.
        norm: normalisation in the blocks. "group" averages over the whole image.
        activation: activation in the blocks.
        conditions: number of scalars per sample; they reach every block by FiLM.

    Attributes:
        multiple: the sizes that need no padding are multiples of this.
        receptive_field: edge in pixels of the square of inputs that can reach one output pixel
            ("group" norm reaches everywhere); it should cover the domain.

    Raises:
        ValueError: depth below 1, or a multiplier missing.

    Example:
        >>> import torch
        >>> net = UNet(3, 2, width=8, depth=2, patch=2, conditions=1)
        >>> net(torch.zeros(4, 3, 33, 50), torch.zeros(4, 1)).shape
        torch.Size([4, 2, 33, 50])
        >>> net.multiple
        8
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        width: int = 32,
        depth: int = 4,
        blocks: int = 1,
        multipliers: Sequence[int] | None = None,
        patch: int = 1,
        kernel: int = 3,
        padding: Padding = "zeros",
        norm: Norm = "none",
        activation: Activation = "gelu",
        conditions: int = 0,
    ) -> None:
        super().__init__()
        channels = [width * m for m in _multipliers(depth, multipliers)]
        self.multiple = patch * 2**depth
        self.receptive_field = _receptive_field(depth, blocks, kernel, patch)
        self.conditions = conditions
        embedding = 64 if conditions else 0
        self.embed = (
            MLP(conditions, embedding, hidden=(embedding,), activation="silu")
            if conditions
            else None
        )

        def level(size: int) -> nn.ModuleList:
            return nn.ModuleList(
                ResidualBlock(
                    size,
                    kernel=kernel,
                    padding=padding,
                    norm=norm,
                    activation=activation,
                    embedding=embedding,
                )
                for _ in range(blocks)
            )

        self.stem = nn.Sequential(
            nn.PixelUnshuffle(patch), convolution(inputs * patch**2, width, padding=padding)
        )
        self.down = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in _pairs(channels))
        self.up = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in _pairs(channels))
        self.encoder = nn.ModuleList(level(c) for c in channels)
        self.decoder = nn.ModuleList(level(c) for c in channels[:-1])
        self.head = nn.Sequential(
            convolution(width, outputs * patch**2, padding=padding), nn.PixelShuffle(patch)
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
        embedding = self._embedding(conditions)
        return at_any_size(lambda padded: self._run(padded, embedding), x, self.multiple)

    def _embedding(self, conditions: Tensor | None) -> Tensor | None:
        given = 0 if conditions is None else conditions.shape[-1]
        if given != self.conditions:
            raise ValueError(
                f"{given} conditions per sample were given, expected {self.conditions}: "
                "pass what the network was built for"
            )
        return None if self.embed is None else self.embed(conditions)

    def _run(self, x: Tensor, embedding: Tensor | None) -> Tensor:
        x = _apply(self.encoder[0], self.stem(x), embedding)
        skips = []
        for down, level in zip(self.down, self.encoder[1:], strict=True):
            skips.append(x)
            x = _apply(level, down(x), embedding)
        for up, level in zip(reversed(self.up), reversed(self.decoder), strict=True):
            x = skips.pop() + functional.interpolate(up(x), scale_factor=2, mode="nearest")
            x = _apply(level, x, embedding)
        return self.head(x)


def _apply(level: nn.Module, x: Tensor, embedding: Tensor | None) -> Tensor:
    assert isinstance(level, nn.ModuleList)
    for block in level:
        x = block(x, embedding)
    return x


def _pairs(channels: Sequence[int]) -> list[tuple[int, int]]:
    return list(pairwise(channels))


def _receptive_field(depth: int, blocks: int, kernel: int, patch: int) -> int:
    """Edge in pixels of the square of inputs that can reach one output pixel."""
    reach, widest = blocks * 2 * (kernel // 2), 0
    for pixel in range(2**depth):
        low, high = pixel - 1, pixel + 1
        for _ in range(depth):
            low, high = (low - reach) // 2, (high + reach) // 2
        for _ in range(depth):
            low, high = 2 * (low - reach), 2 * (high + reach) + 1
        widest = max(widest, high - low + 1 + 2 * (reach + 1))
    return patch * widest


def _multipliers(depth: int, given: Sequence[int] | None) -> list[int]:
    if depth < 1:
        raise ValueError(f"the depth is {depth}, expected at least 1: choose 3 to 6")
    multipliers = (
        list(given) if given is not None else [min(2**level, 8) for level in range(depth + 1)]
    )
    if len(multipliers) != depth + 1:
        raise ValueError(
            f"{len(multipliers)} multipliers were given for depth {depth}, expected {depth + 1}: "
            "one for every level"
        )
    return multipliers
