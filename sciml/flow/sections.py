"""The section of a closed surface by a plane."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import shapely
from jaxtyping import Float64

from sciml.flow.shapes import Shape

__all__ = ["read_stl"]

Axis = Literal["x", "y", "z"]

# The two coordinates that are left, as x and y of the section.
PLANE: dict[Axis, tuple[int, int]] = {"x": (1, 2), "y": (0, 2), "z": (0, 1)}
WELD = 1e-9  # of the extent: vertices nearer than this are one


def read_stl(path: Path | str, *, axis: Axis = "z", position: float | None = None) -> Shape:
    """The section of an STL surface by a plane at right angles to an axis.

    Args:
        path: an ASCII or binary STL file of a closed surface.
        axis: the axis at right angles to the plane; the section's (x, y) are (x, y) for ``z``,
            (x, z) for ``y`` and (y, z) for ``x``.
        position: where the plane cuts the axis [m], half way up unless given.

    Raises:
        ValueError: without trimesh, saying how to install it; for a file that is no surface, a
            plane that misses it, or a surface that is open there.
    """
    if axis not in PLANE:
        raise ValueError(f"The axis of a section is x, y or z, not {axis!r}.")
    triangles = _triangles(Path(path))
    number = "xyz".index(axis)
    low, high = triangles[..., number].min(), triangles[..., number].max()
    height = 0.5 * (low + high) if position is None else position
    if not low < height < high:
        raise ValueError(f"The plane {axis} = {height:g} misses the surface, {low:g} to {high:g}.")
    segments = _cut(triangles, number, float(height))
    return Shape.of_region(_region(segments[..., PLANE[axis]]), family="section")


def _triangles(path: Path) -> Float64[np.ndarray, "triangles 3 3"]:
    try:
        import trimesh
    except ImportError as error:
        raise ValueError("Reading STL needs trimesh; install sciml-cfd[stl].") from error
    with path.open("rb") as stream:
        mesh = trimesh.load_mesh(stream, file_type="stl")
    triangles = np.asarray(mesh.triangles, dtype=np.float64)
    if len(triangles) == 0:
        raise ValueError("It holds no triangle.")
    if not np.isfinite(triangles).all():
        raise ValueError("A vertex of its surface is not finite.")
    return triangles


def _cut(
    triangles: Float64[np.ndarray, "triangles 3 3"], axis: int, height: float
) -> Float64[np.ndarray, "segments 2 3"]:
    """Where a plane cuts triangles; a vertex on the plane counts as above it.

    So every cut triangle has one vertex alone on its side, and gives the segment between its two
    edges from there. Both triangles at an edge reckon the same point, bit for bit.
    """
    above = triangles[..., axis] >= height
    count = above.sum(axis=1)
    cut = (count == 1) | (count == 2)
    triangles, above, count = triangles[cut], above[cut], count[cut]
    alone = np.argmax(above == (count == 1)[:, None], axis=1)
    rows = np.arange(len(triangles))
    apex = triangles[rows, alone]
    ends = [_crossing(apex, triangles[rows, (alone + k) % 3], axis, height) for k in (1, 2)]
    return np.stack(ends, axis=1)


def _crossing(
    a: Float64[np.ndarray, "points 3"], b: Float64[np.ndarray, "points 3"], axis: int, height: float
) -> Float64[np.ndarray, "points 3"]:
    """The point of the edge at the height, reckoned from its lower end."""
    swap = (a[:, axis] > b[:, axis])[:, None]
    low, high = np.where(swap, b, a), np.where(swap, a, b)
    t = (height - low[:, axis]) / (high[:, axis] - low[:, axis])
    return low + t[:, None] * (high - low)


def _region(segments: Float64[np.ndarray, "segments 2 2"]) -> shapely.Geometry:
    extent = np.ptp(segments, axis=(0, 1)).max() if len(segments) else 0.0
    if extent == 0.0:
        raise ValueError("The plane touches the surface in a point only.")
    grid = WELD * extent
    welded = np.round(segments / grid) * grid
    lines = welded[np.any(welded[:, 0] != welded[:, 1], axis=1)]
    collection = shapely.geometrycollections(shapely.linestrings(lines))
    _, *flaws = shapely.polygonize_full([collection])
    loose = shapely.get_coordinates(flaws)
    if len(loose):
        x, y = loose[0]
        raise ValueError(f"The surface is open: its section has a loose end near ({x:g}, {y:g}).")
    return shapely.simplify(shapely.build_area(shapely.multilinestrings(list(lines))), 0.0)
