"""Affine scalings per channel, in buffers that travel with the weights, and a power transform."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sciml.kernels.mixture.step import boxcox, unboxcox

Values = Tensor | np.ndarray


class Scaling(nn.Module):
    r"""Per-channel affine map $z = (x - a)/s$ and its inverse $x = z s + a$.

    The offset $a$ and scale $s$ are float64 buffers, cast to the type of what they scale, so that
    float64 data keep their precision and float32 networks stay float32. A new scaling is the
    identity; `Standardize` and `MinMax` say how it is fitted. A channel without spread has
    $s = 1$: it maps to the constant zero and back, and never divides by zero.

    Args:
        channels: number of channels.
        axis: axis of the channels in what is scaled.

    Example:
        >>> scaling = Standardize(2)
        >>> x = torch.randn(8, 2, 4, 4, dtype=torch.float64)
        >>> bool(torch.allclose(scaling.fit(x).inverse(scaling(x)), x, rtol=1e-15, atol=1e-15))
        True
    """

    offset: Tensor
    scale: Tensor

    def __init__(self, channels: int, *, axis: int = 1) -> None:
        super().__init__()
        self.axis = axis
        self.register_buffer("offset", torch.zeros(channels, dtype=torch.float64))
        self.register_buffer("scale", torch.ones(channels, dtype=torch.float64))

    def forward(self, x: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Scaled values of the physical values `x`."""
        offset, scale = self._shaped(x)
        return (x - offset) / scale

    def inverse(self, z: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Physical values of the scaled values `z`."""
        offset, scale = self._shaped(z)
        return z * scale + offset

    def _shaped(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if x.shape[self.axis] != self.offset.numel():
            raise ValueError(
                f"axis {self.axis} of shape {tuple(x.shape)} has {x.shape[self.axis]} channels, "
                f"expected {self.offset.numel()}: pass the channels the scaling was built for"
            )
        shape = [1] * x.ndim
        shape[self.axis] = -1
        return self.offset.to(x.dtype).view(shape), self.scale.to(x.dtype).view(shape)

    def _columns(self, values: Values, where: Values | None) -> list[Tensor]:
        """The finite float64 values of every channel, of the places where `where` holds."""
        x = torch.as_tensor(values)
        self._shaped(x)
        mask = torch.ones_like(x, dtype=torch.bool) if where is None else torch.as_tensor(where)
        mask = mask.to(torch.bool).expand(x.shape)
        pairs = zip(x.unbind(self.axis), mask.unbind(self.axis), strict=True)
        columns = [column[kept].to(torch.float64) for column, kept in pairs]
        for channel, column in enumerate(columns):
            _check(column, channel)
        return columns

    def _set(self, offset: Tensor, spread: Tensor, magnitude: Tensor) -> None:
        """Store the map; spread within rounding of the magnitude counts as none."""
        constant = spread <= 1e-12 * magnitude
        self.offset.copy_(offset)
        self.scale.copy_(torch.where(constant, torch.ones_like(spread), spread))


class Standardize(Scaling):
    r"""Scaling to mean zero and variance one.

    $a_c = \bar x_c$ and $s_c^2 = \overline{(x_c - a_c)^2}$ for channel $c$.

    Example:
        >>> scaling = Standardize(1).fit(np.array([[1.0], [3.0]]))
        >>> scaling.offset.item(), scaling.scale.item()
        (2.0, 1.0)
    """

    def fit(
        self, values: Values, *, where: Values | None = None, center: bool = True
    ) -> Standardize:
        r"""Take offset and scale from data and return the scaling.

        Args:
            values: data, channels along `axis`.
            where: boolean, broadcastable to `values`: the places that count (the fluid, say).
            center: False keeps $a = 0$ and divides by the root mean square, so that odd
                functions stay odd (mirror symmetry of a velocity).

        Raises:
            ValueError: a channel has no value, or one that is not finite.
        """
        columns = self._columns(values, where)
        mean = torch.stack([c.mean() for c in columns])
        offset = mean if center else torch.zeros_like(mean)
        spread = torch.stack(
            [(c - a).square().mean().sqrt() for c, a in zip(columns, offset, strict=True)]
        )
        self._set(offset, spread, torch.stack([c.abs().max() for c in columns]))
        return self


class MinMax(Scaling):
    r"""Scaling to [-1, 1]: $a_c = (\max x_c + \min x_c)/2$, $s_c = (\max x_c - \min x_c)/2$.

    Example:
        >>> MinMax(1).fit(np.array([[1.0], [5.0]]))(torch.tensor([[1.0], [3.0]])).tolist()
        [[-1.0], [0.0]]
    """

    def fit(self, values: Values, *, where: Values | None = None) -> MinMax:
        """Take offset and scale from data and return the scaling; see `Standardize.fit`."""
        columns = self._columns(values, where)
        low = torch.stack([c.min() for c in columns])
        high = torch.stack([c.max() for c in columns])
        self._set((high + low) / 2, (high - low) / 2, torch.maximum(low.abs(), high.abs()))
        return self


class BoxCox(nn.Module):
    r"""Power transform of non-negative numbers over many decades and its inverse.

    $z = (x^\lambda - 1)/\lambda$, the logarithm in the limit $\lambda = 0$; a small positive
    $\lambda$ keeps zero finite, at $-1/\lambda$. Box and Cox, "An analysis of transformations",
    J. R. Stat. Soc. B 26 (1964) 211, doi:10.1111/j.2517-6161.1964.tb00553.x.

    Args:
        exponent: $\lambda$, from 0 to 1.
        floor: least $x$ that is told from zero, so that values and slopes stay finite.

    Raises:
        ValueError: an exponent out of that range, or a floor that is not positive.

    Example:
        >>> transform = BoxCox(0.1)
        >>> z = transform(torch.tensor([1e-12, 1e-6, 1.0], dtype=torch.float64))
        >>> [round(value, 2) for value in z.tolist()]
        [-9.37, -7.49, 0.0]
        >>> [f"{value:.0e}" for value in transform.inverse(z).tolist()]
        ['1e-12', '1e-06', '1e+00']
    """

    def __init__(self, exponent: float = 0.1, *, floor: float = 1e-30) -> None:
        super().__init__()
        if not 0 <= exponent <= 1 or floor <= 0:
            raise ValueError(
                f"exponent {exponent} and floor {floor} were given; give an exponent from 0 to 1 "
                "and a positive floor"
            )
        self.exponent, self.floor = exponent, floor

    def forward(self, x: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Transformed values of `x`."""
        return boxcox(x, self.exponent, floor=self.floor)

    def inverse(self, z: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Values, never negative, of the transformed `z`."""
        return unboxcox(z, self.exponent)


def _check(column: Float[Tensor, " value"] | Bool[Tensor, " value"], channel: int) -> None:
    if column.numel() == 0:
        raise ValueError(f"channel {channel} has no value to fit a scaling on: widen `where`")
    if not torch.isfinite(column).all():
        raise ValueError(f"channel {channel} has values that are not finite: clean the data first")
