"""Arrays by name out of files that know no dimensions: NumPy, MATLAB and plain HDF5."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

__all__ = ["hdf5_arrays", "matlab_arrays", "numpy_arrays"]

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def numpy_arrays(path: Path) -> Mapping[str, np.ndarray]:
    """The arrays of a `.npz`, or the one of a `.npy`, which has no name and is called `field`.

    Raises:
        ValueError: the file is none of NumPy's, or holds Python objects.
    """
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"field": loaded}
        with loaded as archive:
            return {name: archive[name] for name in archive.files}
    except (BadZipFile, EOFError, ValueError) as error:
        raise ValueError(f"{path} is no file of NumPy arrays: {error}") from error


def matlab_arrays(path: Path) -> Mapping[str, np.ndarray]:
    """The numeric arrays of a `.mat`, of version 7.3 (HDF5) too.

    Version 7.3 stores the dimensions in reverse; they are turned back.

    Raises:
        ValueError: the file is none of MATLAB's.
    """
    with open(path, "rb") as file:
        head = file.read(520)
    if HDF5_SIGNATURE in (head[:8], head[512:520]):
        return {name: array.T for name, array in hdf5_arrays(path).items()}
    import scipy.io
    from scipy.io.matlab import MatReadError

    try:
        found = scipy.io.loadmat(path)
    except (MatReadError, ValueError, NotImplementedError) as error:
        raise ValueError(f"{path} is no file of MATLAB arrays: {error}") from error
    return {name: array for name, array in found.items() if _numeric(array)}


def hdf5_arrays(path: Path) -> Mapping[str, np.ndarray]:
    """The numeric data sets of an HDF5 file; groups stand before names, as in `flow/velocity`.

    MATLAB's complex numbers, pairs of `real` and `imag`, become complex.

    Raises:
        ValueError: the file is not HDF5.
    """
    import h5py

    found: dict[str, np.ndarray] = {}

    def visit(name: str, entry: object) -> None:
        if isinstance(entry, h5py.Dataset) and not name.startswith("#"):
            array = _complex(entry[()])
            if _numeric(array):
                found[name] = array

    try:
        with h5py.File(path) as file:
            file.visititems(visit)
    except OSError as error:
        raise ValueError(f"{path} is no HDF5 file: {error}") from error
    return found


def _complex(array: np.ndarray) -> np.ndarray:
    if getattr(array, "dtype", np.dtype("O")).names == ("real", "imag"):
        return array["real"] + 1j * array["imag"]
    return array


def _numeric(array: object) -> bool:
    return isinstance(array, np.ndarray) and array.dtype.kind in "biufc" and array.size > 0
