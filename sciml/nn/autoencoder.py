"""Autoencoders: few latents from a field, and the field from the latents."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from sciml.nn.activation import Activation, activation_layer

__all__ = ["AutoencoderNetwork", "ConvDecoder", "ConvEncoder", "kl_divergence"]

SMALLEST = 4
"""Edges of fewer pixels are not halved."""

_CONVOLUTIONS: dict[int, type[nn.Conv1d] | type[nn.Conv2d] | type[nn.Conv3d]] = {
    1: nn.Conv1d,
    2: nn.Conv2d,
    3: nn.Conv3d,
}

LIMIT = 20.0
"""Bound of the logarithm of a variance: beyond, its exponential is not finite in float32."""


class AutoencoderNetwork(nn.Module):
    r"""$\hat x = \sum_d D_d(z)$ with $z = E(x)$.

    With one decoder it takes all latents. With one decoder a latent, $D_d$ is given $z_d$ alone,
    and the field falls into as many parts: the mode-decomposing autoencoder of Murata, Fukami and
    Fukagata, J. Fluid Mech. 882 (2020) A13, doi:10.1017/jfm.2019.822. A variational one has
    latents $z \sim N(\mu(x), \sigma^2(x))$ while it is trained, and $z = \mu$ afterwards
    (Kingma and Welling, ICLR 2014, doi:10.48550/arXiv.1312.6114).

    Args:
        encoder: from fields to latents; with `variational` to $\mu$ and $\log\sigma^2$ side by
            side.
        decoders: one for all latents, or one for each.
        latents: number of latents.
        variational: see above.

    Raises:
        ValueError: neither one decoder nor one a latent.

    Example:
        >>> net = AutoencoderNetwork(nn.Linear(5, 2), [nn.Linear(1, 5), nn.Linear(1, 5)], latents=2)
        >>> x = torch.randn(3, 5)
        >>> net.parts(net.encode(x)).shape
        torch.Size([3, 2, 5])
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoders: Sequence[nn.Module],
        *,
        latents: int,
        variational: bool = False,
    ) -> None:
        super().__init__()
        if len(decoders) not in (1, latents):
            raise ValueError(
                f"{len(decoders)} decoders were given for {latents} latents: give one for all, or "
                "one for each"
            )
        self.encoder, self.decoders = encoder, nn.ModuleList(decoders)
        self.latents, self.variational = latents, variational

    def posterior(
        self, x: Float[Tensor, "batch ..."]
    ) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, "batch latent"]]:
        r"""$\mu$ and $\log\sigma^2$; the latter is minus infinity where there is no chance."""
        code = self.encoder(x)
        if not self.variational:
            return code, torch.full_like(code, -torch.inf)
        mean, log_variance = code.chunk(2, dim=-1)
        return mean, log_variance.clamp(-LIMIT, LIMIT)

    def encode(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch latent"]:
        """Latents of fields, without chance."""
        return self.posterior(x)[0]

    def parts(self, z: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch part ..."]:
        """What each decoder adds to the field."""
        if len(self.decoders) == 1:
            return self.decoders[0](z)[:, None]
        each = z.split(1, dim=1)
        return torch.stack([d(part) for d, part in zip(self.decoders, each, strict=True)], dim=1)

    def decode(self, z: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch ..."]:
        """Fields of latents."""
        return self.parts(z).sum(1)

    def forward(
        self, x: Float[Tensor, "batch ..."]
    ) -> tuple[
        Float[Tensor, "batch ..."], Float[Tensor, "batch latent"], Float[Tensor, "batch latent"]
    ]:
        r"""The field again, $\mu$ and $\log\sigma^2$; latents are drawn while in training."""
        mean, log_variance = self.posterior(x)
        z = mean
        if self.training and self.variational:
            z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        return self.decode(z), mean, log_variance


def kl_divergence(
    mean: Float[Tensor, "batch latent"], log_variance: Float[Tensor, "batch latent"]
) -> Float[Tensor, ""]:
    r"""$\mathrm{KL}(N(\mu, \sigma^2) \,|\, N(0, 1))$ in nats, mean over samples and latents.

    $\tfrac12(\mu^2 + \sigma^2 - 1 - \log\sigma^2)$.

    Example:
        >>> kl_divergence(torch.ones(4, 2), torch.zeros(4, 2))
        tensor(0.5000)
    """
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()


class ConvEncoder(nn.Module):
    r"""Features of a field on a grid: convolutions that halve its edges, then a linear map.

    $h_l = \sigma(K_l * h_{l-1})$ with stride 2 along every edge of at least four pixels.

    Args:
        channels: of the field.
        shape: pixels along each of one to three axes.
        features: numbers out.
        widths: channels of each level.
        activation: the function $\sigma$.

    Raises:
        ValueError: no level, or more than three axes.

    Example:
        >>> ConvEncoder(2, (24, 33), 4, widths=(8, 16))(torch.zeros(5, 2, 24, 33)).shape
        torch.Size([5, 4])
    """

    def __init__(
        self,
        channels: int,
        shape: Sequence[int],
        features: int,
        *,
        widths: Sequence[int] = (16, 32),
        activation: Activation = "gelu",
    ) -> None:
        super().__init__()
        kind, sizes = _convolution(shape), _sizes(shape, widths)
        layers: list[nn.Module] = []
        for (a, b), size in zip(pairwise([channels, *widths]), sizes[:-1], strict=True):
            layers += [kind(a, b, 3, stride=_strides(size), padding=1)]  # type: ignore[arg-type]
            layers += [activation_layer(activation)]
        self.levels = nn.Sequential(*layers)
        self.last = nn.Linear(widths[-1] * prod(sizes[-1]), features)

    def forward(self, x: Float[Tensor, "batch channel ..."]) -> Float[Tensor, "batch feature"]:
        """Features of each field."""
        return self.last(self.levels(x).flatten(1))


class ConvDecoder(nn.Module):
    r"""A field on a grid from features: what `ConvEncoder` does, backwards.

    A linear map, then on each level a convolution and $\sigma$, and each pixel repeated until the
    level above is filled; a last convolution gives the channels. Repeated pixels leave no pattern
    of the stride in the field, as transposed convolutions do.

    Args:
        features: numbers in.
        channels: of the field.
        shape: pixels along each of one to three axes.
        widths: channels of each level, as for the encoder: the last ones are the coarsest.
        activation: the function $\sigma$.

    Raises:
        ValueError: no level, or more than three axes.

    Example:
        >>> ConvDecoder(4, 2, (24, 33), widths=(8, 16))(torch.zeros(5, 4)).shape
        torch.Size([5, 2, 24, 33])
    """

    def __init__(
        self,
        features: int,
        channels: int,
        shape: Sequence[int],
        *,
        widths: Sequence[int] = (16, 32),
        activation: Activation = "gelu",
    ) -> None:
        super().__init__()
        kind, self.sizes = _convolution(shape), _sizes(shape, widths)
        self.first = nn.Linear(features, widths[-1] * prod(self.sizes[-1]))
        self.act = activation_layer(activation)
        down = list(reversed(widths))
        self.levels = nn.ModuleList(
            kind(a, b, 3, padding=1) for a, b in pairwise([down[0], *down[1:], down[-1]])
        )
        self.last = kind(down[-1], channels, 3, padding=1)

    def forward(self, z: Float[Tensor, "batch feature"]) -> Float[Tensor, "batch channel ..."]:
        """The field of each row of features."""
        h = self.act(self.first(z).unflatten(1, (-1, *self.sizes[-1])))
        for level, size in zip(self.levels, reversed(self.sizes[:-1]), strict=True):
            h = functional.interpolate(self.act(level(h)), size=size, mode="nearest")
        return self.last(h)


def _convolution(
    shape: Sequence[int],
) -> type[nn.Conv1d] | type[nn.Conv2d] | type[nn.Conv3d]:
    if len(shape) not in _CONVOLUTIONS:
        raise ValueError(f"a grid of shape {tuple(shape)} was given, expected one to three axes")
    return _CONVOLUTIONS[len(shape)]


def _sizes(shape: Sequence[int], widths: Sequence[int]) -> list[tuple[int, ...]]:
    """Pixels on every level, the finest first."""
    if not widths:
        raise ValueError("no widths were given, expected one for every level: give at least one")
    sizes = [tuple(shape)]
    for _ in widths:
        last = sizes[-1]
        sizes.append(tuple(-(-n // s) for n, s in zip(last, _strides(last), strict=True)))
    return sizes


def _strides(size: Sequence[int]) -> tuple[int, ...]:
    return tuple(2 if n >= SMALLEST else 1 for n in size)
