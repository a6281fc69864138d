"""What makes closed rings fit to bound a body, and the sentences that refuse others."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import shapely
from jaxtyping import Float64

__all__ = ["arrange", "check_points", "clean"]

Ring = Float64[np.ndarray, "_ 2"]
FLAT = 1e-12  # of the squared extent: less area than this is none


def clean(points: np.ndarray, number: int = 0) -> Ring:
    """A ring without repeated neighbours, or a ValueError that says what is wrong and where.

    Args:
        points: vertices in order, the first repeated at the end or not.
        number: which ring of the shape it is, for the message.

    Example:
        >>> clean(np.array([[0.0, 0], [1, 0], [1, 0], [0, 1], [0, 0]]))
        array([[0., 0.],
               [1., 0.],
               [0., 1.]])
    """
    ring = np.array(points, dtype=np.float64)
    check_points(ring, number)
    ring = ring[np.any(ring != np.roll(ring, -1, axis=0), axis=1)]
    if len(ring) < 3:
        raise ValueError(
            f"Ring {number} has {len(ring)} distinct points, the others being repeated; "
            "a closed outline needs three."
        )
    _check_simple(ring, number)
    return ring


def check_points(ring: np.ndarray, number: int = 0) -> None:
    """Refuse an array that is not three or more finite points of the plane."""
    if ring.ndim != 2 or ring.shape[1] != 2:
        raise ValueError(f"Ring {number} is an array of shape {ring.shape}; expected (points, 2).")
    if len(ring) < 3:
        raise ValueError(f"Ring {number} has {len(ring)} points; a closed outline needs three.")
    bad = ~np.isfinite(ring).all(axis=1)
    if bad.any():
        row = int(np.argmax(bad))
        x, y = ring[row]
        raise ValueError(f"Ring {number} is not finite: point {row} is ({x}, {y}).")


def arrange(rings: Sequence[Ring]) -> list[Ring]:
    """The rings with outlines counter-clockwise and holes clockwise, if none crosses another.

    Example:
        >>> hole = np.array([[1.0, 1], [2, 1], [1, 2]])
        >>> outline, hole = arrange([np.array([[0.0, 0], [0, 9], [9, 0]]), hole])
        >>> outline.tolist(), hole.tolist()
        ([[9.0, 0.0], [0.0, 9.0], [0.0, 0.0]], [[1.0, 2.0], [2.0, 1.0], [1.0, 1.0]])
    """
    if not rings:
        raise ValueError("A shape needs at least one ring; none was given.")
    areas = [shapely.polygons(ring) for ring in rings]
    for (i, a), (j, b) in combinations(enumerate(areas), 2):
        _check_apart(i, a, j, b)
    holes = [sum(other.contains(a) for other in areas if other is not a) % 2 == 1 for a in areas]
    clockwise = [not shapely.is_ccw(area.exterior) for area in areas]
    return [
        ring if turned == hole else ring[::-1].copy()
        for ring, hole, turned in zip(rings, holes, clockwise, strict=True)
    ]


def _check_simple(ring: Ring, number: int) -> None:
    area = shapely.polygons(ring)
    extent = float(np.ptp(ring, axis=0).max())
    if np.linalg.matrix_rank(ring - ring[0], tol=FLAT * extent) < 2:
        raise ValueError(f"Ring {number} encloses no area: all its points lie on one line.")
    reason = shapely.is_valid_reason(area)
    if reason != "Valid Geometry":
        raise ValueError(
            f"Ring {number} crosses or touches itself{_place(reason)}; "
            "an outline is one simple closed curve."
        )
    if area.area <= FLAT * extent**2:
        raise ValueError(f"Ring {number} encloses no area near {_round(*ring[0])}.")


def _check_apart(i: int, a: shapely.Polygon, j: int, b: shapely.Polygon) -> None:
    if not a.exterior.intersects(b.exterior):
        return
    common = a.exterior.intersection(b.exterior)
    if common.length > 0 or a.overlaps(b):
        x, y = shapely.get_coordinates(common)[0]
        raise ValueError(
            f"Rings {i} and {j} overlap or share an edge near {_round(x, y)}; "
            "make a shape of each and join them with union."
        )


def _place(reason: str) -> str:
    """' near (x, y)' out of shapely's 'Self-intersection[x y]'."""
    found = re.search(r"\[(\S+) (\S+)\]", reason)
    return f" near {_round(float(found[1]), float(found[2]))}" if found else ""


def _round(x: float, y: float) -> str:
    return f"({x:.6g}, {y:.6g})"
