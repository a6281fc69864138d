"""The time folders of an OpenFOAM case as labelled snapshots."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float64

from sciml.coupling.openfoam.files import COMPONENTS, expanded, present, read_dictionary
from sciml.coupling.openfoam.mesh import Mesh, read_mesh
from sciml.modes.readers import ReadOptions, finished

__all__ = ["is_case", "read_snapshots"]

NAMES: Mapping[str, str] = {"U": "velocity", "p": "pressure", "T": "temperature"}
"""Fields that bear a name of this package; others keep their own."""

UNITS: Mapping[str, str] = {"U": "m s-1", "p": "m2 s-2", "T": "K"}


def is_case(path: str | os.PathLike[str]) -> bool:
    """Whether a folder holds an OpenFOAM mesh."""
    return (Path(path) / "constant" / "polyMesh").is_dir()


def read_snapshots(case: str | os.PathLike[str], options: ReadOptions | None = None) -> xr.Dataset:
    """Scalar and vector fields of all time folders, with the centres and volumes of the cells.

    Args:
        case: the folder of a case, reconstructed if it was run in parallel.
        options: `variables` by their names here or in OpenFOAM, and the times that are read.

    Returns:
        `velocity`, `pressure` and so on over (time, cell) and `i`, with `cell_volume`; the time
        folder 0 is left out if it lacks a field of the others.

    Raises:
        FileNotFoundError: no mesh, or no time folders.
        ValueError: no such field, or files that do not fit the mesh.
    """
    case = Path(case)
    options = ReadOptions() if options is None else options
    mesh = read_mesh(case)
    folders = _time_folders(case)
    names = _chosen(folders, options)
    folders = {t: p for t, p in folders.items() if t or all(present(p, n) for n in names)}
    times = np.array(list(folders))
    kept = options.kept(times, sum(_components(folders, n) for n in names) * mesh.cells * 8)
    chosen = [list(folders.values())[k] for k in kept]
    ds = xr.Dataset(
        {
            NAMES.get(name, name): (
                ("time", "cell", "i")[: values.ndim],
                values,
                {"units": UNITS.get(name, "1")},
            )
            for name in names
            if len(values := np.stack([_values(p, name, mesh.cells) for p in chosen]))
        },
        coords={"time": ("time", times[kept], {"units": "s"})},
    )
    return finished(_placed(ds, mesh)).assign_attrs(origin=case.name)


def _time_folders(case: Path) -> dict[float, Path]:
    found = {}
    for path in case.iterdir():
        with suppress(ValueError):
            if path.is_dir():
                found[float(path.name)] = path
    if not found:
        hint = "; put its parts together first: reconstructPar"
        raise FileNotFoundError(
            f"{case} has no time folders{hint if (case / 'processor0').is_dir() else ''}"
        )
    return dict(sorted(found.items()))


def _chosen(folders: Mapping[float, Path], options: ReadOptions) -> list[str]:
    """Names of the fields in OpenFOAM."""
    last = list(folders.values())[-1]
    held = [p.name.removesuffix(".gz") for p in sorted(last.iterdir()) if p.is_file()]
    held = [name for name in held if _kind(last, name) in ("volScalarField", "volVectorField")]
    if options.variables is None:
        names = [name for name in held if name in NAMES] or held
    else:
        own = {mine: theirs for theirs, mine in NAMES.items()}
        names = [own.get(name, name) for name in options.variables]
    missing = [name for name in names if name not in held]
    if missing or not names:
        raise ValueError(
            f"{last} has no scalar or vector field {', '.join(missing)}; "
            f"it has {', '.join(held) or 'none'}"
        )
    return names


def _kind(folder: Path, name: str) -> str:
    path = present(folder, name)
    assert path is not None
    return str(read_dictionary(path).get("FoamFile", {}).get("class", ""))


def _components(folders: Mapping[float, Path], name: str) -> int:
    return COMPONENTS[_kind(list(folders.values())[-1], name)]


def _values(folder: Path, name: str, cells: int) -> Float64[np.ndarray, "cell ..."]:
    path = present(folder, name)
    if path is None:
        raise ValueError(f"{folder} has no field {name}, which other times have")
    entries: Mapping[Any, Any] = read_dictionary(path)
    try:
        kind = entries["FoamFile"]["class"]
        return expanded(entries["internalField"], cells, COMPONENTS[kind])
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path} is no field on the mesh of {cells} cells: {error}") from error


def _placed(ds: xr.Dataset, mesh: Mesh) -> xr.Dataset:
    """With volumes, and the centres along the directions that the mesh has cells in."""
    centres = mesh.cell_centres
    axes: Sequence[str] = [a for a, c in zip("xyz", centres.T, strict=True) if np.ptp(c) > 1e-12]
    columns = dict(zip("xyz", centres.T, strict=True))
    places = {axis: ("cell", columns[axis], {"units": "m"}) for axis in axes}
    return ds.assign_coords(places).assign(cell_volume=("cell", mesh.cell_volumes, {"units": "m3"}))
