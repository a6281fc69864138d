"""The rows of a data set as arrays, read straight from the file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import h5py
import numpy as np
import xarray as xr
from jaxtyping import Float32

__all__ = ["Samples"]

PROBES = 5


class Samples:
    """The samples of a data set, each a tuple of float32 arrays in the order asked for.

    A variable that still lies in its NetCDF4 file is read row by row with h5py,
    which is an order of magnitude faster than through xarray; one that is in
    memory, or that was changed since it was opened, is taken from the data set.
    Each process opens the file for itself, so samples may be passed to loader
    workers whether forked or spawned.

    Args:
        ds: data with a `sample` dimension, from `sciml.data.load` (possibly after
            `isel` over samples) or built in memory.
        names: the variables wanted.

    Raises:
        ValueError: a name is not in the data set, or varies not by sample.

    >>> ds = xr.Dataset({"reynolds_number": ("sample", [10.0, 20.0], {"units": "1"})})
    >>> samples = Samples(ds, ("reynolds_number",))
    >>> len(samples), samples[1]
    (2, (array(20., dtype=float32),))
    """

    def __init__(self, ds: xr.Dataset, names: Sequence[str]) -> None:
        self.names = tuple(names)
        _require_variables(ds, self.names)
        self._length = ds.sizes["sample"]
        self._rows: list[int] = []
        self._sources: dict[str, str] = {}
        self._arrays: dict[str, np.ndarray] = {}
        if "sample" in ds.coords:
            self._rows = [int(row) for row in ds["sample"].values]
        for name in self.names:
            if self._rows and _is_as_in_file(ds[name]):
                self._sources[name] = ds[name].encoding["source"]
            else:
                self._arrays[name] = _rows_first(ds[name]).astype(np.float32)
        self._stored: dict[str, h5py.Dataset] = {}
        self._process = os.getpid()

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> tuple[Float32[np.ndarray, "..."], ...]:
        if not -self._length <= index < self._length:
            raise IndexError(f"sample {index} of {self._length}")
        return tuple(self._read(name, index % self._length) for name in self.names)

    def __iter__(self) -> Iterator[tuple[Float32[np.ndarray, "..."], ...]]:
        return (self[index] for index in range(self._length))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_stored": {}}

    def _read(self, name: str, index: int) -> np.ndarray:
        if name in self._arrays:
            return self._arrays[name][index, ...]
        return np.asarray(self._open(name)[self._rows[index]], dtype=np.float32)

    def _open(self, name: str) -> h5py.Dataset:
        if self._process != os.getpid():  # an HDF5 handle does not survive a fork
            self._stored, self._process = {}, os.getpid()
        if name not in self._stored:
            self._stored[name] = h5py.File(self._sources[name], "r")[name]
        return self._stored[name]


def _require_variables(ds: xr.Dataset, names: Sequence[str]) -> None:
    if "sample" not in ds.dims:
        raise ValueError(f"the data set has no sample dimension, only {tuple(ds.sizes)}")
    for name in names:
        if name not in ds.variables:
            raise ValueError(f"the data set has no variable {name!r}, only {sorted(map(str, ds))}")
        if "sample" not in ds[name].dims:
            raise ValueError(f"variable {name!r} has no sample dimension, only {ds[name].dims}")


def _rows_first(array: xr.DataArray) -> np.ndarray:
    return array.transpose("sample", ...).to_numpy()


def _is_as_in_file(array: xr.DataArray) -> bool:
    """Whether the rows named by the `sample` coordinate hold these values in the file.

    xarray carries the name of the file through operations that change the values
    (concatenation, a flipped axis), so the name alone proves nothing: the values
    must still be unread, and some rows are compared.
    """
    source = array.encoding.get("source")
    if source is None or array.variable._in_memory or array.dims[0] != "sample" or not array.size:
        return False
    rows = array["sample"].values
    probes = np.unique(np.linspace(0, len(rows) - 1, PROBES).astype(int))
    with h5py.File(source, "r") as file:
        stored = file.get(array.name)
        if stored is None or stored.shape[1:] != array.shape[1:] or rows.max() >= len(stored):
            return False
        return all(
            np.array_equal(stored[rows[i]], array.isel(sample=i).to_numpy(), equal_nan=True)
            for i in probes
        )
