"""Shifts along a periodic line of points: how large they are, and how they are made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Complex128, Float64

from sciml.modes.layout import MASK, TIME, VOLUME, Layout

__all__ = ["Line", "find_shifts", "shifted"]

OVERSAMPLED = 4
NEWTON = 8
UNEVEN = 1e-3

Series = Complex128[np.ndarray, "time line wave"]


@dataclass(frozen=True, kw_only=True)
class Line:
    """A periodic dimension of a mesh.

    Attributes:
        dim: its name.
        points: along it.
        spacing: between them, in units of its coordinate; one without a coordinate.
        weights: of each line along it, in the inner product of the layout; zero in the solid.
        attrs: of the coordinate.
    """

    dim: str
    points: int
    spacing: float
    weights: Float64[np.ndarray, " line"]
    attrs: dict[str, str]

    @classmethod
    def of(cls, ds: xr.Dataset, layout: Layout, dim: str) -> Line:
        """A dimension of a layout.

        Raises:
            ValueError: a variable does not lie along it, it is not evenly spaced, or volumes or the
                mask change along it.
        """
        for name in layout.variables:
            if dim not in layout.template[name].dims:
                raise ValueError(
                    f"{name} is over {layout.template[name].dims}, which lacks {dim}: snapshots "
                    "can be shifted along a dimension of a grid only"
                )
        for name in (VOLUME, MASK):
            if name in ds and dim in ds[name].dims and not _same(ds[name], dim):
                raise ValueError(
                    f"{name} changes along {dim}: snapshots can be shifted only along a dimension "
                    "along which the mesh is the same everywhere"
                )
        weights = layout.fields(layout.weights[None], "row").isel(row=0)
        lines = [weights[name].isel({dim: 0}).values.ravel() for name in layout.variables]
        return cls(
            dim=dim,
            points=ds.sizes[dim],
            spacing=_spacing(ds, dim),
            weights=np.nan_to_num(np.concatenate(lines)),
            attrs={"units": str(ds[dim].attrs.get("units", "1")) if dim in ds.coords else "1"},
        )

    @property
    def period(self) -> float:
        """Length of the line, in units of its coordinate."""
        return self.points * self.spacing

    def fields(self, ds: xr.Dataset, layout: Layout) -> Series:
        """Fourier series along the line, over (time, line, wave); zero in the solid."""
        parts = []
        for name in layout.variables:
            dims = [d for d in layout.template[name].dims if d != self.dim]
            values = ds[name].transpose(TIME, *dims, self.dim).values.astype(np.float64)
            parts.append(values.reshape(len(values), -1, self.points))
        lines = np.concatenate(parts, axis=1)
        inside = self.weights > 0
        if not np.isfinite(lines[:, inside]).all():
            raise ValueError(
                "snapshots hold what is not finite: mark points without flow by a variable "
                "`mask`, true in the fluid"
            )
        return np.fft.rfft(np.where(inside[:, None], lines, 0.0), axis=-1)

    def labelled(self) -> xr.Dataset:
        """What `from_labelled` makes this line from, to be kept in a file."""
        attrs = {"dim": self.dim, "points": self.points, "spacing": self.spacing}
        return xr.Dataset({"weights": ("line", self.weights, self.attrs)}, attrs=attrs)

    @classmethod
    def from_labelled(cls, ds: xr.Dataset) -> Line:
        """The line of which `labelled` gave the weights."""
        return cls(
            dim=ds.attrs["dim"],
            points=int(ds.attrs["points"]),
            spacing=float(ds.attrs["spacing"]),
            weights=ds["weights"].values,
            attrs={"units": ds["weights"].attrs["units"]},
        )


def find_shifts(
    fields: Series,
    template: Complex128[np.ndarray, "line wave"],
    weights: Float64[np.ndarray, " line"],
) -> Float64[np.ndarray, " time"]:
    r"""How far each snapshot lies to the right of a template, as a share of the period.

    The s that maximises $c(s) = \langle q(x + s), T(x)\rangle$: the highest of a fine grid,
    polished by Newton's method on the Fourier series of c.

    Args:
        fields: Fourier series of snapshots along a line.
        template: that of T.
        weights: of each line.
    """
    spectrum = np.einsum("tlk,lk,l->tk", fields, template.conj(), weights)
    waves = np.arange(spectrum.shape[1])
    fine = OVERSAMPLED * 2 * spectrum.shape[1]
    angle = 2 * np.pi * np.fft.irfft(spectrum, fine, axis=1).argmax(1) / fine
    widest = 2 * np.pi / fine
    for _ in range(NEWTON):
        turned = spectrum * np.exp(1j * angle[:, None] * waves)
        slope, bend = -(turned.imag @ waves), -(turned.real @ waves**2)
        step = np.divide(slope, bend, out=np.zeros_like(slope), where=bend < 0)
        angle = angle - np.clip(step, -widest, widest)
    return (angle / (2 * np.pi)) % 1.0


def shifted(field: xr.DataArray, dim: str, shifts: Float64[np.ndarray, " time"]) -> xr.DataArray:
    """Snapshots moved to the right by shares of the period, between points by Fourier series.

    >>> field = xr.DataArray(np.eye(4)[:2], dims=("time", "x"))
    >>> shifted(field, "x", np.array([0.25, 0.0])).argmax("x").values
    array([1, 1])
    """
    ordered = field.transpose(TIME, ..., dim)
    count = field.sizes[dim]
    series = np.fft.rfft(ordered.values, axis=-1)
    turn = np.exp(-2j * np.pi * np.outer(shifts, np.arange(series.shape[-1])))
    series *= turn.reshape(len(shifts), *[1] * (field.ndim - 2), -1)
    moved = np.fft.irfft(series, count, axis=-1).astype(ordered.dtype, copy=False)
    return ordered.copy(data=moved).transpose(*field.dims)


def _same(field: xr.DataArray, dim: str) -> bool:
    """Whether a field is the same all along a dimension, but for rounding."""
    first = field.isel({dim: 0})
    if field.dtype == bool:
        return bool((field == first).all())
    return bool((abs(field - first) <= UNEVEN * abs(first)).all())


def _spacing(ds: xr.Dataset, dim: str) -> float:
    if dim not in ds.coords or ds[dim].ndim != 1:
        return 1.0
    steps = np.diff(ds[dim].values.astype(np.float64))
    if not len(steps) or np.abs(steps - steps.mean()).max() > UNEVEN * abs(steps.mean()):
        raise ValueError(
            f"{dim} is not evenly spaced, and must be for snapshots to be shifted along it: "
            f"interpolate with ds.interp({dim}=...)"
        )
    return float(steps.mean())
