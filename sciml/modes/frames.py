"""The numbers a network is given of a snapshot: an image, or coordinates among the snapshots."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

import numpy as np
import xarray as xr
from jaxtyping import Float, Float64, Int

from sciml.modes.layout import Layout

__all__ = ["Body", "Frame", "image_frame", "span_frame", "structured"]

Body = Literal["dense", "convolutional"]

CHANNELS = frozenset({"i", "j", "species", "reaction", "component"})
"""Dimensions that are no place."""

LISTS = frozenset({"cell", "point", "node", "vertex"})
"""Dimensions along which neighbours are anywhere."""

AXES = 3

SMALL = 1e-10
"""Part of the largest direction below which a direction of the snapshots is rounding."""

ROUNDING = 1e-13
"""Relative deviation from the mean that is none."""

Rows = Float[np.ndarray, "time point"]


@dataclass(frozen=True, kw_only=True)
class Frame:
    r"""From rows of a :class:`Layout` to what a network sees, and back.

    $z_p = (x_p - m_p) / s_p$ at each point, then its coordinates $z B$ in an orthonormal basis, or
    an image with zeros in the solid. In both $\sum_k \omega_k z_k^2$ is the energy of the
    deviation in the layout's inner product, over that of the training snapshots on average: what
    a basis leaves out is not counted.

    Attributes:
        mean: m.
        scale: s.
        weight: ω, of the shape of what the network sees.
        basis: B (point, direction); None for an image.
        places: where each point stands in the flattened image.
    """

    mean: Float64[np.ndarray, " point"]
    scale: Float64[np.ndarray, " point"]
    weight: Float64[np.ndarray, "..."]
    basis: Float[np.ndarray, "point direction"] | None = None
    places: Int[np.ndarray, " point"] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what the network sees of one snapshot: directions, or channels and pixels."""
        return self.weight.shape

    def inputs(self, rows: Rows) -> Float64[np.ndarray, "time ..."]:
        """What the network sees of rows.

        Raises:
            ValueError: a number is not finite.
        """
        z = (np.asarray(rows, dtype=np.float64) - self.mean) / self.scale
        if not np.isfinite(z).all():
            raise ValueError(
                f"{int((~np.isfinite(z)).any(0).sum())} numbers of a snapshot are not finite at "
                "some time: mark points without flow by a variable `mask`, true in the fluid"
            )
        if self.basis is not None:
            return z @ self.basis
        images = np.zeros((len(z), prod(self.shape)))
        images[:, self.places] = z
        return images.reshape(len(z), *self.shape)

    def rows(self, seen: Float[np.ndarray, "time ..."], *, mean: bool = True) -> Rows:
        """Rows of what a network gives; without the mean, deviations from it."""
        flat = seen.reshape(len(seen), -1).astype(np.float64)
        z = flat[:, self.places] if self.basis is None else flat @ self.basis.T
        return z * self.scale + self.mean if mean else z * self.scale

    def labelled(self) -> xr.Dataset:
        """All of it in a data set, to be written to a file."""
        seen = [f"seen_{n}" for n in range(len(self.shape))]
        ds = xr.Dataset(
            {
                "mean": ("point", self.mean),
                "scale": ("point", self.scale),
                "weight": (seen, self.weight),
            }
        )
        if self.basis is not None:
            return ds.assign(basis=(("point", seen[0]), self.basis))
        return ds.assign(places=("point", self.places))

    @classmethod
    def from_labelled(cls, ds: xr.Dataset) -> Frame:
        """What `labelled` made a data set of."""
        return cls(**{str(name): variable.values for name, variable in ds.data_vars.items()})


def structured(layout: Layout) -> tuple[Hashable, ...]:
    """Dimensions of the grid that all variables share; none where the mesh is a list of cells."""
    grids = {
        tuple(d for d in one.dims if d not in CHANNELS)
        for one in layout.template.data_vars.values()
    }
    first = next(iter(grids))
    fits = len(grids) == 1 and 1 <= len(first) <= AXES
    return first if fits and not LISTS.intersection(map(str, first)) else ()


def image_frame(layout: Layout, rows: Rows) -> Frame:
    """Images: a channel for each variable or component, of mean zero and deviation one.

    Raises:
        ValueError: the snapshots do not change.
    """
    grid = structured(layout)
    places, channels, sizes = _places(layout, grid)
    mean = rows.mean(0, dtype=np.float64)
    variance = rows.var(0, dtype=np.float64)
    channel = places // prod(sizes)
    weights = layout.weights
    held = np.bincount(channel, weights * variance, channels)
    volume = np.bincount(channel, weights, channels)
    spread = np.sqrt(held / np.where(volume > 0, volume, 1.0))
    scale = np.where(spread > 0, spread, 1.0)[channel]
    weight = np.zeros(channels * prod(sizes))
    weight[places] = weights * scale**2 / _changing(held.sum(), mean, layout)
    shape = (channels, *sizes)
    return Frame(mean=mean, scale=scale, weight=weight.reshape(shape), places=places)


def span_frame(layout: Layout, rows: Rows, *, span: int, seed: int) -> Frame:
    r"""Coordinates in an orthonormal basis of the snapshots' deviations from their mean.

    Gradients of a network's outer layers lie in the span of the snapshots, so nothing is lost by
    leaving out the rest, and the work no longer depends on the mesh. More than `span` directions
    are replaced by as many random combinations of the snapshots, after one multiplication with
    their Gram matrix: these hold the leading part (Halko, Martinsson, Tropp, SIAM Rev. 53 (2011),
    doi:10.1137/090771806). No direction is
    preferred: the basis is not that of POD.

    Raises:
        ValueError: the snapshots do not change.
    """
    mean = rows.mean(0, dtype=np.float64)
    root = np.sqrt(np.where(layout.weights > 0, layout.weights, 1.0))
    z = (rows - mean) * np.sqrt(layout.weights)
    norm = np.sqrt(_changing(np.square(z).sum() / len(z), mean, layout))
    count = min(*z.shape, span)
    mixed = np.random.default_rng(seed).standard_normal((count, len(z))) @ z
    if count < len(z):
        mixed = (mixed @ z.T / norm**2) @ z
    basis, triangle = np.linalg.qr(mixed.T / norm)
    size = np.abs(np.diag(triangle))
    basis = np.ascontiguousarray(basis[:, size > SMALL * size.max()])
    return Frame(mean=mean, scale=norm / root, weight=np.ones(basis.shape[1]), basis=basis)


def _changing(energy: float, mean: Float64[np.ndarray, " point"], layout: Layout) -> float:
    if not energy > ROUNDING**2 * (layout.weights @ mean**2):
        raise ValueError("the snapshots do not change in time: there is nothing to learn")
    return float(energy)


def _places(
    layout: Layout, grid: Sequence[Hashable]
) -> tuple[Int[np.ndarray, " point"], int, tuple[int, ...]]:
    """Where the points of a row stand in a flattened image, its channels and its pixels."""
    template = layout.template
    sizes = tuple(template.sizes[d] for d in grid)
    pixel = xr.DataArray(np.arange(prod(sizes)).reshape(sizes), dims=list(grid))
    places, channels = [], 0
    for one in template.data_vars.values():
        others = [d for d in one.dims if d not in grid]
        shape = [one.sizes[d] for d in others]
        channel = xr.DataArray(np.arange(prod(shape)).reshape(shape) + channels, dims=others)
        places.append((channel * prod(sizes) + pixel).transpose(*one.dims).values.ravel())
        channels += prod(shape)
    whole = np.concatenate(places)
    return (whole if layout.kept is None else whole[layout.kept]), channels, sizes
