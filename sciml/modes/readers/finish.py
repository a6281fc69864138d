"""What snapshots of any origin need before modes are sought."""

from __future__ import annotations

import warnings

import numpy as np
import xarray as xr

from sciml.modes.layout import MASK, TIME, VOLUME

__all__ = ["finished"]

NEGLIGIBLE = 1e-5
"""An imaginary part below this share of the largest value is rounding."""

UNEVEN = 1e-3
"""Coordinates whose spacing differs by more than this share are not evenly spaced."""


def finished(ds: xr.Dataset) -> xr.Dataset:
    """Real numbers in order of time, with a mask where there is no data and volumes of the grid.

    Raises:
        ValueError: a value is missing at some times and not at others, or times do not increase.
    """
    ds = _in_time(_real(ds))
    ds = _masked(ds)
    return ds if VOLUME in ds else _with_volumes(ds)


def _real(ds: xr.Dataset) -> xr.Dataset:
    """Complex variables as their real part, or as two variables."""
    for name in [str(n) for n in ds.data_vars]:
        field = ds[name]
        if field.dtype.kind in "iub" and TIME in field.dims:
            ds[name] = field.astype(np.float64)
        if field.dtype.kind != "c":
            continue
        if float(abs(field.imag).max()) <= NEGLIGIBLE * float(abs(field).max()):
            ds[name] = field.real.assign_attrs(field.attrs)
            continue
        ds = ds.assign({f"{name}_real": field.real, f"{name}_imaginary": field.imag}).drop_vars(
            name
        )
    return ds


def _in_time(ds: xr.Dataset) -> xr.Dataset:
    steps = np.diff(ds[TIME].values)
    if len(steps) and not (steps > 0).all():
        k = int(np.argmin(steps > 0))
        first, second = ds[TIME].values[k : k + 2]
        raise ValueError(f"times must increase, and {first:g} is followed by {second:g}")
    for name in ds.data_vars:
        ds[name].attrs.setdefault("units", "1")
    first = [name for name in ds.data_vars if TIME in ds[name].dims]
    return ds.assign({name: ds[name].transpose(TIME, ...) for name in first})


def _masked(ds: xr.Dataset) -> xr.Dataset:
    """A mask of the points that never have a value."""
    holes = None
    for name, field in ds.data_vars.items():
        if TIME not in field.dims or field.dtype.kind != "f":
            continue
        missing = field.isnull()
        if MASK in ds:
            missing = missing & ds[MASK]
        if not bool(missing.any()):
            continue
        always = missing.all(TIME)
        if not bool((missing.any(TIME) == always).all()):
            count = int((missing.any(TIME) & ~always).sum())
            raise ValueError(
                f"{name} has no value at some times in {count} points; fill the gaps, leave these "
                "snapshots out, or leave the points out with a variable called mask"
            )
        always = always.any("i") if "i" in always.dims else always
        holes = always if holes is None else holes | always
    if holes is None:
        return ds
    fluid = ~holes if MASK not in ds else ds[MASK] & ~holes
    return ds.assign({MASK: fluid.assign_attrs(units="1")})


def _with_volumes(ds: xr.Dataset) -> xr.Dataset:
    """The extent about each point of a grid whose coordinates are not evenly spaced."""
    widths = None
    for dim in dict.fromkeys(d for v in ds.data_vars.values() for d in v.dims):
        if dim == TIME or dim not in ds.coords or ds[dim].dtype.kind != "f" or ds.sizes[dim] < 3:
            continue
        spacing = abs(np.diff(ds[dim].values.astype(np.float64)))
        if spacing.min() <= 0 or np.ptp(spacing) <= UNEVEN * spacing.mean():
            continue
        width = np.pad(spacing, 1)[:-1] / 2 + np.pad(spacing, 1)[1:] / 2
        along = xr.DataArray(width, coords={dim: ds[dim].values}, dims=[dim])
        widths = along if widths is None else widths * along
    if widths is None:
        return ds
    warnings.warn("the grid is not evenly spaced: points weigh the extent about them", stacklevel=3)
    return ds.assign({VOLUME: widths.assign_attrs(units="1")})
