"""Snapshots out of files: NetCDF, HDF5, NumPy, MATLAB, Zarr and series of VTK files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import xarray as xr

from sciml.modes.readers.arrays import hdf5_arrays, matlab_arrays, numpy_arrays
from sciml.modes.readers.expansions import (
    expanded,
    galerkin_snapshots,
    is_expansion,
    is_galerkin,
)
from sciml.modes.readers.finish import finished
from sciml.modes.readers.gridded import has_dimensions, read_gridded
from sciml.modes.readers.labels import labelled
from sciml.modes.readers.meshes import read_series
from sciml.modes.readers.options import ReadOptions

__all__ = [
    "ReadOptions",
    "expanded",
    "finished",
    "galerkin_snapshots",
    "labelled",
    "read_snapshots",
]

KINDS = {
    "NetCDF": (".nc", ".nc4", ".cdf"),
    "HDF5": (".h5", ".hdf5", ".hdf"),
    "NumPy": (".npy", ".npz"),
    "MATLAB": (".mat",),
    "Zarr": (".zarr",),
    "VTK": (".vtu", ".vtk", ".pvd", ".series"),
}


def read_snapshots(path: str | os.PathLike[str], options: ReadOptions | None = None) -> xr.Dataset:
    """Labelled snapshots out of a file or folder, whose extension says how to read it.

    NetCDF (`.nc`), HDF5 (`.h5`), NumPy (`.npy`, `.npz`), MATLAB (`.mat`, 7.3 too), Zarr
    (`.zarr`), and series of VTK files (`.vtu`, `.vtk`, a folder of them, `.pvd`, `.series`).
    Arrays called mean, modes and a are an expansion, whose snapshots are rebuilt (`expanded`);
    C, L and Q are a Galerkin model, which is integrated (`galerkin_snapshots`). Points that never
    have a value get a `mask`, grids that are not evenly spaced a `cell_volume`.

    Args:
        path: the file or folder.
        options: what is read, and what the file does not say itself.

    Returns:
        variables over `time` and the mesh, in memory or read when they are used.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: another extension, a file that cannot be read, or nothing tells what in it is
            time; the sentence says what to do.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "wave.npz"
    >>> np.savez(path, u=np.ones((8, 5)), t=np.arange(5.0), x=np.arange(8.0))
    >>> dict(read_snapshots(path)["u"].sizes)
    {'time': 5, 'x': 8}
    """
    path = Path(path)
    options = ReadOptions() if options is None else options
    if not path.exists():
        raise FileNotFoundError(f"there is no file or folder {path}")
    ds = finished(_read(path, options))
    ds.attrs.setdefault("origin", path.name)
    return ds


def _read(path: Path, options: ReadOptions) -> xr.Dataset:
    kind = _kind(path)
    if kind in ("NetCDF", "Zarr") or (kind == "HDF5" and has_dimensions(path)):
        return read_gridded(path, options)
    if kind == "VTK":
        return read_series(path, options)
    read = {"HDF5": hdf5_arrays, "NumPy": numpy_arrays, "MATLAB": matlab_arrays}[kind]
    try:
        return _of_arrays(read(path), options)
    except ValueError as error:
        raise error if str(path) in str(error) else ValueError(f"{path}: {error}") from error


def _kind(path: Path) -> str:
    suffix = path.suffix.lower()
    found = next((kind for kind, suffixes in KINDS.items() if suffix in suffixes), None)
    if found is None and path.is_dir():
        return "Zarr" if any((path / f).is_file() for f in (".zgroup", "zarr.json")) else "VTK"
    if found is None:
        known = ", ".join(f"{k} ({', '.join(s)})" for k, s in KINDS.items())
        raise ValueError(f"{path} has the extension {suffix!r}; snapshots are read from {known}")
    return found


def _of_arrays(arrays: Mapping[str, np.ndarray], options: ReadOptions) -> xr.Dataset:
    if is_expansion(arrays):
        return expanded(arrays, options)
    if is_galerkin(arrays):
        return galerkin_snapshots(arrays, options)
    return labelled(arrays, options)
