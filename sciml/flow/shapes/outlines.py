"""Shapes by formula: circles, polygons and smooth blobs, centred on the origin unless they say."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float64
from numpy.typing import ArrayLike

from sciml.flow.shapes.rings import check_points
from sciml.flow.shapes.shape import Shape

__all__ = [
    "bezier_blob",
    "circle",
    "convex_polygon",
    "ellipse",
    "polygon",
    "rectangle",
    "regular_polygon",
    "triangle",
]

SEGMENTS = 256  # straight edges of a full turn: off the circle by 7.5e-5 of its radius
OPEN = 3.0  # a closing edge so many times as long as any other betrays an open curve


def polygon(
    points: ArrayLike,
    *,
    family: str = "polygon",
    parameters: Mapping[str, float] | None = None,
    largest_gap: float | None = None,
) -> Shape:
    """The polygon with the given vertices [m], in either direction.

    Args:
        points: vertices, (points, 2); the first may be repeated at the end.
        family: the kind of shape it is recorded as.
        parameters: the numbers it is recorded with.
        largest_gap: for points that sample a curve, how far its ends may stand apart, as a share
            of its extent; a wider gap is refused unless it is short for the other edges too.

    Raises:
        ValueError: for an outline that is open, crosses itself, or is no outline at all.

    Example:
        >>> polygon([[0, 0], [3, 0], [0, 4]]).area
        6.0
    """
    ring = np.asarray(points, dtype=np.float64)
    check_points(ring)
    if largest_gap is not None:
        _check_closed(ring, largest_gap)
    return Shape(rings=(ring,), family=family, parameters=parameters or {})


def circle(diameter: float = 1.0, *, segments: int = SEGMENTS) -> Shape:
    """A circle, as the regular polygon inscribed in it.

    Example:
        >>> round(circle(2.0).area / math.pi, 3)
        1.0
    """
    _check_positive(diameter=diameter)
    return polygon(0.5 * diameter * _unit_circle(segments), family="circle")


def ellipse(width: float, height: float, *, segments: int = SEGMENTS) -> Shape:
    """An ellipse with axes along x and y, as an inscribed polygon.

    Example:
        >>> ellipse(2.0, 1.0).diameter
        2.0
    """
    _check_positive(width=width, height=height)
    points = 0.5 * _unit_circle(segments) * [width, height]
    return polygon(points, family="ellipse", parameters={"aspect_ratio": height / width})


def rectangle(width: float, height: float) -> Shape:
    """A rectangle with sides along x and y.

    Example:
        >>> rectangle(2.0, 1.0).bounds
        (-1.0, -0.5, 1.0, 0.5)
    """
    _check_positive(width=width, height=height)
    points = 0.5 * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * [width, height]
    return polygon(points, family="rectangle", parameters={"aspect_ratio": height / width})


def triangle(first: float, second: float, *, side: float = 1.0) -> Shape:
    """A triangle standing on a horizontal side, with its angles at the two ends of that [rad].

    The side runs from the origin to (side, 0).

    Example:
        >>> equilateral = triangle(math.pi / 3, math.pi / 3)
        >>> round(equilateral.diameter, 6), round(equilateral.area, 6)
        (1.0, 0.433013)
    """
    _check_positive(first=first, second=second, side=side)
    if first + second >= math.pi:
        raise ValueError(f"Two angles of a triangle sum to less than pi, not {first + second}.")
    length = side * math.sin(second) / math.sin(first + second)
    points = np.array(
        [[0.0, 0.0], [side, 0.0], [length * math.cos(first), length * math.sin(first)]]
    )
    angles = {"first_angle": first, "second_angle": second}
    return polygon(points, family="triangle", parameters=angles)


def regular_polygon(sides: int, *, diameter: float = 1.0) -> Shape:
    """A regular polygon inscribed in a circle of the given diameter, one corner on +x.

    Example:
        >>> round(regular_polygon(6, diameter=2.0).area, 6)
        2.598076
    """
    _check_positive(diameter=diameter)
    if sides < 3:
        raise ValueError(f"A regular polygon has at least three sides, not {sides}.")
    points = 0.5 * diameter * _unit_circle(sides)
    return polygon(points, family="regular_polygon", parameters={"sides": float(sides)})


def convex_polygon(points: ArrayLike) -> Shape:
    """A polygon that must be convex.

    Raises:
        ValueError: where it is not, naming the corner.

    Example:
        >>> convex_polygon([[0, 0], [2, 0], [0.5, 0.5], [0, 2]])
        Traceback (most recent call last):
        ValueError: The polygon is not convex at (0.5, 0.5).
    """
    shape = polygon(points, family="convex_polygon")
    (ring,) = shape.rings
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    turn = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    if turn.min() < 0:
        x, y = ring[turn.argmin()]
        raise ValueError(f"The polygon is not convex at ({x:g}, {y:g}).")
    return polygon(ring, family="convex_polygon", parameters={"vertices": float(len(ring))})


def bezier_blob(anchors: ArrayLike, *, smoothness: float = 1.0, segments: int = 24) -> Shape:
    r"""A smooth closed curve of cubic Bézier arcs through anchor points.

    The arc from anchor :math:`a_i` to :math:`a_{i+1}` has the control points
    :math:`a_i + \tfrac{s}{6}(a_{i+1} - a_{i-1})` and
    :math:`a_{i+1} - \tfrac{s}{6}(a_{i+2} - a_i)`, so the tangent is continuous
    (shapes of this kind: Viquerat et al., doi:10.1016/j.jcp.2020.110080).

    Args:
        anchors: the points (n, 2) in order around the curve [m].
        smoothness: s; 0 gives the polygon of the anchors, 1 a Catmull-Rom spline.
        segments: straight edges of each arc.

    Raises:
        ValueError: for a curve that crosses itself.

    Example:
        >>> round(bezier_blob([[1, 0], [0, 1], [-1, 0], [0, -1]]).area, 3)
        2.732
    """
    a = np.asarray(anchors, dtype=np.float64)
    if a.ndim != 2 or a.shape[1] != 2 or len(a) < 3:
        raise ValueError(f"A blob needs anchors of shape (3 or more, 2), not {a.shape}.")
    points = bezier_curve(a, smoothness=smoothness, segments=segments)
    numbers = {"anchors": float(len(a)), "smoothness": float(smoothness)}
    return polygon(points, family="bezier_blob", parameters=numbers)


def bezier_curve(
    anchors: Float64[np.ndarray, "anchors 2"], *, smoothness: float, segments: int
) -> Float64[np.ndarray, "points 2"]:
    """Points of the closed curve of :func:`bezier_blob`, whether it crosses itself or not."""
    tangent = smoothness / 6.0 * (np.roll(anchors, -1, axis=0) - np.roll(anchors, 1, axis=0))
    end, end_tangent = np.roll(anchors, -1, axis=0), np.roll(tangent, -1, axis=0)
    control = np.stack([anchors, anchors + tangent, end - end_tangent, end], axis=1)
    t = np.arange(segments) / segments
    basis = np.stack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3], axis=1)
    return np.einsum("sb,abd->asd", basis, control).reshape(-1, 2)


def _unit_circle(segments: int) -> Float64[np.ndarray, "points 2"]:
    angle = 2.0 * np.pi * np.arange(segments) / segments
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _check_positive(**lengths: float) -> None:
    for name, value in lengths.items():
        if not (value > 0 and math.isfinite(value)):
            raise ValueError(f"The {name} of a shape is positive and finite, not {value}.")


def _check_closed(ring: Float64[np.ndarray, "points 2"], largest_gap: float) -> None:
    edges = np.linalg.norm(np.diff(ring, axis=0), axis=1)
    gap = float(np.linalg.norm(ring[-1] - ring[0]))
    if gap > max(OPEN * edges.max(), largest_gap * np.ptp(ring, axis=0).max()):
        (x0, y0), (x1, y1) = ring[0], ring[-1]
        raise ValueError(
            f"The curve is open: it starts at ({x0:.6g}, {y0:.6g}) and ends at "
            f"({x1:.6g}, {y1:.6g}); repeat its first point at the end if a straight edge closes it."
        )
