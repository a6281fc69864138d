"""Series of VTK files on unstructured meshes, with the volume that stands for each point."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np
import xarray as xr
from jaxtyping import Float64, Int

from sciml.modes.layout import TIME, VOLUME
from sciml.modes.readers.options import ReadOptions

if TYPE_CHECKING:
    import meshio

__all__ = ["SUFFIXES", "read_series", "series_of"]

SUFFIXES = (".vtu", ".vtk")
"""Files of one snapshot each."""

SIMPLICES: Mapping[str, Sequence[Sequence[int]]] = {
    "line": [(0, 1)],
    "triangle": [(0, 1, 2)],
    "quad": [(0, 1, 2), (0, 2, 3)],
    "tetra": [(0, 1, 2, 3)],
    "pyramid": [(0, 1, 2, 4), (0, 2, 3, 4)],
    "wedge": [(0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5)],
    "hexahedron": [(0, 1, 3, 4), (1, 2, 3, 6), (1, 3, 4, 6), (1, 4, 5, 6), (3, 4, 6, 7)],
}
"""Corners of the simplices that a cell is cut into."""


def series_of(path: Path) -> list[tuple[float | None, Path]]:
    """The files of a series with their times, in order; None where nothing tells the time.

    A series is a ParaView collection (`.pvd`), a list (`.series`), a folder, or one of the files
    of a folder, which stands for those that differ from it in a number only.

    Raises:
        ValueError: there is no such file.
    """
    if path.suffix == ".pvd":
        entries = ElementTree.parse(path).getroot().iter("DataSet")
        return [(float(e.attrib["timestep"]), path.parent / e.attrib["file"]) for e in entries]
    if path.suffix == ".series":
        listed = json.loads(path.read_text(encoding="utf-8"))["files"]
        return [(float(e["time"]), path.parent / e["name"]) for e in listed]
    if path.is_dir():
        found = [p for p in path.iterdir() if p.suffix in SUFFIXES]
    else:
        stem = _without_number(path)
        found = [p for p in path.parent.glob(f"*{path.suffix}") if _without_number(p) == stem]
    if not found:
        raise ValueError(f"{path} holds no files {', '.join(SUFFIXES)}")
    return [(None, p) for p in sorted(found, key=_number)]


def read_series(path: Path, options: ReadOptions) -> xr.Dataset:
    """Labelled snapshots of a series of VTK files.

    Fields on points are read, or those in cells if points have none. Each weighs the volume about
    it: that of its cell, or its share of the cells that touch it.

    Raises:
        ValueError: no files, another mesh in one of them, or a variable is missing.
    """
    series = series_of(path)
    first = _read(series[0][1])
    on_points = _on_points(first, options)
    given = None if any(t is None for t, _ in series) else np.array([t for t, _ in series])
    times = options.times(given, len(series))
    names = _chosen(first, on_points, options)
    each = sum(values.nbytes for values in _fields(first, on_points, names).values())
    kept = options.kept(times, each)
    snapshots = list(_snapshots([series[k][1] for k in kept], names, on_points, len(first.points)))
    units = {"units": "1"}
    ds = xr.Dataset(
        {
            name: ((TIME, "cell", "i")[: snapshots[0][name].ndim + 1], values, units)
            for name in names
            if (values := np.stack([one[name] for one in snapshots])) is not None
        },
        coords={TIME: (TIME, times[kept], {"units": "s" if given is not None else "1"})},
    )
    return _placed(ds, first, on_points)


def _without_number(path: Path) -> str:
    return re.sub(r"\d+(?=\D*$)", "", path.stem)


def _number(path: Path) -> tuple[int, str]:
    found = re.findall(r"\d+", path.stem)
    return (int(found[-1]) if found else -1, path.stem)


def _read(path: Path) -> meshio.Mesh:
    import meshio

    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        return meshio.read(path)
    except (meshio.ReadError, ElementTree.ParseError, KeyError) as error:
        raise ValueError(f"{path} cannot be read as a mesh: {error}") from error


def _on_points(mesh: meshio.Mesh, options: ReadOptions) -> bool:
    if options.variables:
        return set(options.variables) <= set(mesh.point_data)
    return bool(mesh.point_data)


def _chosen(mesh: meshio.Mesh, on_points: bool, options: ReadOptions) -> list[str]:
    held = list(mesh.point_data if on_points else mesh.cell_data)
    names = list(options.variables or held)
    missing = [name for name in names if name not in held]
    if missing or not names:
        every = [*mesh.point_data, *mesh.cell_data]
        raise ValueError(
            f"there is no field {', '.join(missing) or 'on points or in cells'}; the first file "
            f"holds {', '.join(every) or 'none'}"
        )
    return names


def _fields(mesh: meshio.Mesh, on_points: bool, names: Sequence[str]) -> dict[str, np.ndarray]:
    if on_points:
        return {name: np.asarray(mesh.point_data[name]) for name in names}
    return {name: np.concatenate([np.asarray(p) for p in mesh.cell_data[name]]) for name in names}


def _snapshots(
    paths: Sequence[Path], names: Sequence[str], on_points: bool, points: int
) -> Iterator[dict[str, np.ndarray]]:
    for path in paths:
        mesh = _read(path)
        data = mesh.point_data if on_points else mesh.cell_data
        if len(mesh.points) != points or not set(names) <= set(data):
            raise ValueError(
                f"{path} has another mesh or other fields than the first file of its series; "
                "modes need one mesh throughout"
            )
        yield _fields(mesh, on_points, names)


def _placed(ds: xr.Dataset, mesh: meshio.Mesh, on_points: bool) -> xr.Dataset:
    """With coordinates and volumes of the points or cells."""
    places, volume = (_point_measure if on_points else _cell_measure)(mesh)
    for axis, column in zip("xyz", np.asarray(places).T, strict=False):
        if np.ptp(column) > 0:
            ds = ds.assign_coords({axis: ("cell", column, {"units": "m"})})
    if volume is not None:
        ds[VOLUME] = ("cell", volume, {"units": "m3"})
    return ds


def _point_measure(mesh: meshio.Mesh) -> tuple[np.ndarray, Float64[np.ndarray, " _"] | None]:
    blocks = _full_dimensional(mesh)
    if blocks is None:
        return mesh.points, None
    volume = np.zeros(len(mesh.points))
    for block in blocks:
        for corners, size in _pieces(mesh.points, block):
            share = np.repeat(size / corners.shape[1], corners.shape[1])
            volume += np.bincount(corners.ravel(), share, len(volume))
    return mesh.points, volume


def _cell_measure(mesh: meshio.Mesh) -> tuple[np.ndarray, Float64[np.ndarray, " _"] | None]:
    places = np.concatenate([mesh.points[block.data].mean(1) for block in mesh.cells])
    if not _known(mesh.cells):
        return places, None
    sizes = [sum(size for _, size in _pieces(mesh.points, block)) for block in mesh.cells]
    return places, np.concatenate(sizes)


def _full_dimensional(mesh: meshio.Mesh) -> list[Any] | None:
    """The blocks of cells of the highest dimension; None where the size of one is not known."""
    top = max(block.dim for block in mesh.cells)
    blocks = [block for block in mesh.cells if block.dim == top]
    return blocks if _known(blocks) else None


def _known(blocks: Sequence[Any]) -> bool:
    """Whether the size of all cells is known; said aloud where it is not."""
    kinds = sorted({block.type for block in blocks} - set(SIMPLICES))
    if kinds:
        warnings.warn(
            f"the size of cells of kind {', '.join(kinds)} is not known: all points weigh the same",
            stacklevel=4,
        )
    return not kinds


def _pieces(
    points: np.ndarray, block: Any
) -> Iterator[tuple[Int[np.ndarray, "cell corner"], Float64[np.ndarray, " cell"]]]:
    """Corners and size of the simplices that the cells of a block are cut into."""
    for corners in SIMPLICES[block.type]:
        chosen = np.asarray(block.data)[:, list(corners)]
        edges = (points[chosen[:, 1:]] - points[chosen[:, :1]]).astype(np.float64)
        gram = edges @ edges.transpose(0, 2, 1)
        factorial = float(np.prod(np.arange(1, edges.shape[1] + 1)))
        yield chosen, np.sqrt(np.clip(np.linalg.det(gram), 0.0, None)) / factorial
