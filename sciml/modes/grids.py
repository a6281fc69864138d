"""Fields of any mesh on an evenly spaced grid, for pictures, spectra and transformations."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import xarray as xr

from sciml.modes.layout import MASK, TIME

__all__ = ["axes_of", "gridded", "spacing"]

AXES = ("z", "y", "x")
POINTS = 128
"""Along the longer side of a grid that cells are brought to."""

UNEVEN = 0.02
"""Of the spacing: what grids may differ from even ones."""


def axes_of(ds: xr.Dataset, names: Sequence[str]) -> tuple[str, ...] | None:
    """The spatial dimensions of variables on a grid, in the order z, y, x; None off a grid."""
    dims = {d for name in names for d in ds[name].dims} - {TIME, "i", "mode"}
    found = tuple(axis for axis in AXES if axis in dims)
    return found if found and dims == set(found) else None


def spacing(ds: xr.Dataset, axis: Hashable) -> float | None:
    """Distance between neighbours along an axis, 1 without coordinates; None if it varies."""
    if axis not in ds.coords:
        return 1.0
    steps = np.diff(ds[axis].values.astype(np.float64))
    mean = float(abs(steps.mean()))
    return mean if len(steps) and np.ptp(steps) <= UNEVEN * mean else None


def gridded(ds: xr.Dataset, names: Sequence[str]) -> xr.Dataset | None:
    """Variables on an evenly spaced grid, with `mask` where it is solid.

    Those that are on such a grid stay as they are. Cells with `x` and `y` give each point of a
    grid the value of the nearest; uneven grids are interpolated.

    Returns:
        variables and mask; None where the mesh has no coordinates, or three dimensions of cells.
    """
    axes = axes_of(ds, names)
    chosen = ds[[*names, *([MASK] if MASK in ds else [])]]
    if axes is not None:
        return _even(chosen, axes)
    places = [axis for axis in ("x", "y", "z") if axis in ds.coords and ds[axis].dims == ("cell",)]
    if places != ["x", "y"]:
        return None
    return _nearest(chosen, names)


def _even(ds: xr.Dataset, axes: Sequence[str]) -> xr.Dataset | None:
    targets = {}
    for axis in axes:
        if ds.sizes[axis] < 4:
            return None
        if spacing(ds, axis) is None:
            values = ds[axis].values
            targets[axis] = np.linspace(values[0], values[-1], len(values))
    if not targets:
        return ds
    solid = ds[MASK].astype(float) if MASK in ds else None
    moved = ds.drop_vars(MASK, errors="ignore").interp(targets)
    return moved if solid is None else moved.assign({MASK: solid.interp(targets) > 0.5})


def _nearest(ds: xr.Dataset, names: Sequence[str]) -> xr.Dataset:
    from scipy.spatial import cKDTree

    fluid = ds[MASK].values if MASK in ds else np.ones(ds.sizes["cell"], bool)
    places = np.stack([ds["x"].values, ds["y"].values], 1)[fluid].astype(np.float64)
    low, high = places.min(0), places.max(0)
    width = float((high - low).max()) / POINTS
    x, y = (np.arange(a + width / 2, b, width) for a, b in zip(low, high, strict=True))
    grid = np.stack(np.meshgrid(x, y), -1)
    distance, nearest = cKDTree(places).query(grid.reshape(-1, 2))
    cells = np.flatnonzero(fluid)[nearest]
    found = {}
    for name in names:
        field = ds[name].transpose(..., "cell")
        values = field.values[..., cells].reshape(*field.shape[:-1], len(y), len(x))
        found[name] = ((*field.dims[:-1], "y", "x"), values, field.attrs)
    out = xr.Dataset(found, coords={"x": x, "y": y})
    if TIME in ds.coords:
        out = out.assign_coords({TIME: ds[TIME]})
    inside = (distance < 1.5 * width).reshape(len(y), len(x))
    return out.assign({MASK: (("y", "x"), inside, {"units": "1"})})
