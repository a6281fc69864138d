"""The files of an OpenFOAM case: time folders, fields, dictionaries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Float64

__all__ = ["Field", "expanded", "present", "read_dictionary", "read_field", "time_folder"]

COMPONENTS = {
    "volScalarField": 1,
    "volVectorField": 3,
    "volSymmTensorField": 6,
    "volTensorField": 9,
}
"""Numbers in each cell."""


def load_foamlib() -> ModuleType:
    """foamlib, or a sentence that says how to get it."""
    try:
        import foamlib
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "OpenFOAM's files are read with foamlib, which is not installed; install it with "
            "pip install 'sciml-cfd[openfoam]'"
        ) from error
    return foamlib


@dataclass(frozen=True, kw_only=True)
class Field:
    """A field as its file has it.

    Attributes:
        path: the file.
        header: its `FoamFile` entries.
        values: in the cells, (cell,) or (cell, component).
        boundary: entries of each patch, group or pattern of names.
        macros: the entries of the file, to which `$name` refers.
    """

    path: Path
    header: Mapping[str, Any]
    values: Float64[np.ndarray, "cell ..."]
    boundary: Mapping[str, Any]
    macros: Mapping[str, Any]


def present(folder: Path, name: str) -> Path | None:
    """The file of a name, compressed or not, if there is one."""
    paths = (folder / name, folder / f"{name}.gz")
    return next((path for path in paths if path.is_file()), None)


def time_folder(case: Path, time: float | None) -> Path:
    """The folder of a time, the latest if none is given.

    Raises:
        FileNotFoundError: no such case, no time folder, or not that one.
    """
    if not case.is_dir():
        raise FileNotFoundError(f"there is no folder {case}; give that of an OpenFOAM case")
    times = {value: path for path in case.iterdir() if (value := _time(path)) is not None}
    if not times:
        hint = (
            "put its parts together first: reconstructPar -latestTime"
            if (case / "processor0").is_dir()
            else "run the solver first, or give the folder of a case"
        )
        raise FileNotFoundError(f"{case} has no time folder such as 0 or 100; {hint}")
    wanted = max(times) if time is None else time
    if wanted not in times:
        told = ", ".join(times[value].name for value in sorted(times))
        raise FileNotFoundError(f"{case} has no time {wanted:g}; give one of {told}")
    return times[wanted]


def _time(path: Path) -> float | None:
    digits = path.name.replace(".", "", 1).replace("e-", "", 1).replace("e+", "", 1)
    return float(path.name) if digits.isdecimal() and path.is_dir() else None


def read_dictionary(path: Path) -> Mapping[Any, Any]:
    """The entries of a file, its header among them."""
    foamlib = load_foamlib()
    try:
        entries: Mapping[Any, Any] = foamlib.FoamFile(path).as_dict(include_header=True)
    except foamlib.FoamFileDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ValueError(
            f"{path} is no OpenFOAM file that can be read: {where}; write it anew, without code"
        ) from error
    return entries


def read_field(path: Path, kind: str, dimensions: tuple[int, int, int], cells: int) -> Field:
    """A field over the cells of a mesh.

    Args:
        path: its file.
        kind: the class in its header, such as `volScalarField`.
        dimensions: powers of mass, length and time.
        cells: how many cells the mesh has.

    Raises:
        ValueError: another class, other dimensions or another number of cells.
    """
    entries = read_dictionary(path)
    header = entries.get("FoamFile", {})
    if header.get("class") != kind or "internalField" not in entries:
        raise ValueError(
            f"{path} is a {header.get('class', 'file without a class')}, and {kind} is expected; "
            "give a case whose file of that name is one"
        )
    if "MSB" in str(header.get("arch", "")):
        raise ValueError(f"{path} was written big-endian; write it as ASCII: foamFormatConvert")
    _check_dimensions(path, entries.get("dimensions", ()), dimensions)
    try:
        values = expanded(entries["internalField"], cells, COMPONENTS[kind])
    except ValueError as error:
        raise ValueError(
            f"{path} does not fit the mesh of {cells} cells: {error}; take both from one case"
        ) from error
    boundary = entries.get("boundaryField", {})
    return Field(path=path, header=header, values=values, boundary=boundary, macros=entries)


def _check_dimensions(path: Path, given: Any, wanted: tuple[int, int, int]) -> None:
    expected = (*wanted, 0, 0, 0, 0)
    if tuple(given) == expected:
        return
    shown, needed = (" ".join(f"{power:g}" for power in powers) for powers in (given, expected))
    raise ValueError(
        f"{path} has the dimensions [{shown}], and [{needed}] is expected: only incompressible "
        "flow of one phase is read, with pressure and stress divided by the density"
    )


def expanded(value: Any, size: int, components: int) -> Float64[np.ndarray, "size ..."]:
    """One row for each cell or face, of a list or of what is the same everywhere.

    Raises:
        ValueError: it is neither.

    >>> expanded(1.5, 2, 1)
    array([1.5, 1.5])
    """
    if not isinstance(value, int | float | np.ndarray):
        raise ValueError(f"{value!r} is no list of numbers")
    array = np.asarray(value, dtype=np.float64)
    row = () if components == 1 else (components,)
    if array.shape == (size, *row):
        return array
    if array.shape == row:
        return np.full((size, *row), array)
    raise ValueError(f"it has numbers of the shape {array.shape}, and {(size, *row)} is needed")
