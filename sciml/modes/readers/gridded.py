"""Snapshots out of files that know their dimensions: NetCDF, Zarr, and HDF5 with scales."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from sciml.modes.layout import MASK, TIME, VOLUME
from sciml.modes.readers.labels import TIMES, VOLUMES
from sciml.modes.readers.options import ReadOptions

__all__ = ["has_dimensions", "read_gridded"]


def has_dimensions(path: Path) -> bool:
    """Whether an HDF5 file says which dimensions its arrays lie over.

    Raises:
        ValueError: the file is not HDF5.
    """
    import h5py

    try:
        with h5py.File(path) as file:
            return any(
                isinstance(entry, h5py.Dataset) and "DIMENSION_LIST" in entry.attrs
                for entry in file.values()
            )
    except OSError as error:
        raise ValueError(f"{path} is no HDF5 file: {error}") from error


def read_gridded(path: Path, options: ReadOptions) -> xr.Dataset:
    """Labelled snapshots of a NetCDF file (3 or 4) or a Zarr folder.

    Raises:
        ValueError: the file cannot be read, no dimension is time, or a variable is missing.
    """
    ds = _opened(path)
    time = _time_dimension(ds, options)
    ds = ds.rename({time: TIME}) if time != TIME else ds
    names = _chosen(ds, options)
    seconds, attrs = _seconds(ds)
    times = options.times(seconds, ds.sizes[TIME])
    each = sum(ds[name].nbytes for name in names) // ds.sizes[TIME]
    kept = options.kept(times, each)
    found = ds[names].isel({TIME: kept}).assign_coords({TIME: (TIME, times[kept], attrs)})
    for name in _about_the_mesh(ds, found):
        found[name] = ds[name]
    return _renamed(found)


def _opened(path: Path) -> xr.Dataset:
    try:
        if path.is_dir():
            return xr.open_zarr(path, chunks=None)
        with open(path, "rb") as file:
            classic = file.read(3) == b"CDF"
        return xr.open_dataset(path, engine="scipy" if classic else "h5netcdf")
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{path} cannot be read as NetCDF, HDF5 or Zarr: {error}") from error


def _time_dimension(ds: xr.Dataset, options: ReadOptions) -> str:
    dims = [str(name) for name in ds.dims]
    asked = options.time_dimension
    if asked is not None:
        if asked not in dims:
            raise ValueError(f"there is no dimension {asked}, only {', '.join(dims)}")
        return str(asked)
    for name in dims:
        if name.lower() in TIMES or (name in ds.coords and ds[name].dtype.kind in "Mm"):
            return name
    raise ValueError(
        f"none of the dimensions {', '.join(dims)} is called time; say which one it is with "
        "time_dimension (--time-dimension)"
    )


def _chosen(ds: xr.Dataset, options: ReadOptions) -> list[str]:
    over = [
        str(name)
        for name in ds.data_vars
        if TIME in ds[name].dims and ds[name].ndim > 1 and ds[name].dtype.kind in "fiuc"
    ]
    missing = [name for name in options.variables or () if name not in over]
    if missing or not over:
        raise ValueError(
            f"there is no variable {', '.join(missing) or 'over time and a mesh'}; "
            f"over time and a mesh stand: {', '.join(over) or 'none'}"
        )
    return list(options.variables or over)


def _seconds(ds: xr.Dataset) -> tuple[np.ndarray | None, dict[str, str]]:
    """Times as numbers: dates become seconds after the first."""
    if TIME not in ds.coords:
        return None, {"units": "1"}
    times = ds[TIME].values
    if times.dtype.kind in "Mm":
        passed = (times - times[0]) / np.timedelta64(1, "ns") * 1e-9
        return passed, {"units": "s", "long_name": f"time after {times[0]}"}
    return times, {"units": str(ds[TIME].attrs.get("units", "1"))}


def _about_the_mesh(ds: xr.Dataset, found: xr.Dataset) -> list[str]:
    """Mask and volumes: variables of the mesh that are not over time."""
    return [
        str(name)
        for name in ds.data_vars
        if str(name).lower() in (MASK, *VOLUMES) and set(ds[name].dims) <= set(found.dims) - {TIME}
    ]


def _renamed(ds: xr.Dataset) -> xr.Dataset:
    """Mask and volume under the names that a layout looks for."""
    names = {str(name): str(name).lower() for name in ds.data_vars if TIME not in ds[name].dims}
    new = {name: VOLUME for name, small in names.items() if small in VOLUMES}
    new |= {name: MASK for name, small in names.items() if small == MASK}
    ds = ds.rename({name: to for name, to in new.items() if name != to})
    if MASK in ds:
        ds[MASK] = ds[MASK].astype(bool)
    return ds
