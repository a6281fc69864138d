"""Labelled data sets on disk: NetCDF4 files that `xarray.open_dataset` reads."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import xarray as xr

from sciml.data.files import atomic

__all__ = ["load", "save"]

ROW = {"units": "1", "long_name": "row in the file"}


def save(ds: xr.Dataset, path: str | os.PathLike[str]) -> Path:
    """Write a data set as NetCDF4 (HDF5), uncompressed and contiguous, atomically.

    Contiguous variables are what `sciml.data.Samples` reads fastest. The `sample`
    coordinate is not written: it is the row in the file, which `load` gives anew.

    Args:
        ds: the data; every number has a `units` attribute (`"1"` if dimensionless).
        path: the file to write.

    Returns:
        the path written.

    Raises:
        ValueError: a variable lacks `units`; the sentence names it.

    >>> import tempfile
    >>> ds = xr.Dataset({"drag": ("sample", [1.0, 2.0], {"units": "1"})})
    >>> load(save(ds, Path(tempfile.mkdtemp()) / "drag.nc")).drag.values
    array([1., 2.])
    """
    path = Path(path)
    ds = ds.drop_vars("sample", errors="ignore").drop_encoding()
    require_units(ds, path)
    encoding = {
        name: {"_FillValue": None} for name, v in ds.variables.items() if v.dtype.kind == "f"
    }
    with atomic(path) as part:
        ds.to_netcdf(part, engine="h5netcdf", encoding=encoding)
    return path


def require_units(ds: xr.Dataset, path: Path) -> None:
    """Refuse a number without `units` before it is written.

    Raises:
        ValueError: a variable lacks `units`; the sentence names it.
    """
    for name, variable in ds.variables.items():
        if variable.dtype.kind in "biufc" and "units" not in variable.attrs:
            raise ValueError(
                f"variable {name!r} has no units and is not written to {path}; "
                f'set ds[{name!r}].attrs["units"], "1" if it is dimensionless'
            )


def load(path: str | os.PathLike[str]) -> xr.Dataset:
    """Open a NetCDF4 file lazily; the values are read when they are used.

    A data set with a `sample` dimension gets the coordinate `sample`, the row in
    the file, which stays with each sample through `isel` and `sel`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not NetCDF4.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no data file {path}")
    try:
        ds = xr.open_dataset(path, engine="h5netcdf", decode_times=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is not a NetCDF4 (HDF5) file: {error}") from error
    if "sample" not in ds.dims:
        return ds
    return ds.assign_coords(sample=("sample", np.arange(ds.sizes["sample"]), ROW))
