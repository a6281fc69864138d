"""Random shapes of unit extent, family by family."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import shapely
from jaxtyping import Float64

from sciml.flow.shapes import outlines
from sciml.flow.shapes.airfoils import naca
from sciml.flow.shapes.shape import Shape

__all__ = ["FAMILIES", "random_shape"]

Points = Float64[np.ndarray, "_ 2"]
Sampler = Callable[[np.random.Generator], Shape]

SLENDEREST = 0.2  # least aspect ratio of ellipses and rectangles
LEAST_AREA = 0.12  # of the squared extent, for triangles, polygons and blobs
LARGEST_INCIDENCE = math.radians(20.0)


def random_shape(family: str, rng: np.random.Generator) -> Shape:
    """A random shape of a family, with unit diameter and its centroid at the origin.

    It is turned by a uniformly random angle; an airfoil, leading edge first in a flow along +x,
    by an angle of attack of at most 20 degrees. The angle is recorded as ``rotation`` [rad],
    counter-clockwise, so that an airfoil with the nose up has a negative one.

    Args:
        family: one of :data:`FAMILIES`.
        rng: where the random numbers come from.

    Raises:
        ValueError: for a family that is not one of these.

    Example:
        >>> blob = random_shape("bezier_blob", np.random.default_rng(0))
        >>> round(blob.diameter, 12), sorted(blob.parameters)
        (1.0, ['anchors', 'rotation', 'smoothness'])
    """
    if family not in FAMILIES:
        raise ValueError(f"No family of shapes is called {family!r}; there are {_names()}.")
    shape = FAMILIES[family](rng)
    largest = LARGEST_INCIDENCE if family == "naca" else math.pi
    angle = float(rng.uniform(-largest, largest))
    shape = shape.rotate(angle).scale(1.0 / shape.diameter)
    x, y = shape.centroid
    shape = shape.translate(-x, -y)
    return replace(shape, parameters={**shape.parameters, "rotation": angle})


def _circle(rng: np.random.Generator) -> Shape:
    return outlines.circle()


def _ellipse(rng: np.random.Generator) -> Shape:
    return outlines.ellipse(1.0, float(rng.uniform(SLENDEREST, 1.0)))


def _rectangle(rng: np.random.Generator) -> Shape:
    return outlines.rectangle(1.0, float(rng.uniform(SLENDEREST, 1.0)))


def _triangle(rng: np.random.Generator) -> Shape:
    """Angles uniform over all triangles, the flat ones left out."""

    def draw() -> Points:
        first, second, _ = math.pi * rng.dirichlet([1.0, 1.0, 1.0])
        apex = np.array([math.cos(first), math.sin(first)]) * math.sin(second)
        return np.array([[0.0, 0.0], [math.sin(first + second), 0.0], apex])

    base, end, apex = _until_stout(draw)
    first = math.atan2(apex[1] - base[1], apex[0] - base[0])
    second = math.atan2(apex[1] - end[1], end[0] - apex[0])
    return outlines.triangle(first, second)


def _regular_polygon(rng: np.random.Generator) -> Shape:
    return outlines.regular_polygon(int(rng.integers(5, 11)))


def _convex_polygon(rng: np.random.Generator) -> Shape:
    vertices = int(rng.integers(5, 10))
    return outlines.convex_polygon(_until_stout(lambda: _random_convex(vertices, rng)))


def _bezier_blob(rng: np.random.Generator) -> Shape:
    anchors = int(rng.integers(4, 9))
    smoothness = float(rng.uniform(0.8, 1.3))

    def draw() -> Points:
        return _random_star(anchors, rng)

    def curve(points: Points) -> Points:
        return outlines.bezier_curve(points, smoothness=smoothness, segments=24)

    return outlines.bezier_blob(_until_stout(draw, curve), smoothness=smoothness)


def _naca(rng: np.random.Generator) -> Shape:
    thickness = int(rng.integers(10, 25))
    if rng.random() < 0.7:
        camber, position = int(rng.integers(0, 7)), int(rng.integers(2, 7))
        return naca(f"{camber}{position if camber else 0}{thickness:02d}")
    lift, position, reflex = rng.integers([1, 2, 0], [5, 6, 2])
    return naca(f"{lift}{position}{reflex}{thickness:02d}")


FAMILIES: Mapping[str, Sampler] = MappingProxyType(
    {
        "circle": _circle,
        "ellipse": _ellipse,
        "rectangle": _rectangle,
        "triangle": _triangle,
        "regular_polygon": _regular_polygon,
        "convex_polygon": _convex_polygon,
        "bezier_blob": _bezier_blob,
        "naca": _naca,
    }
)
"""The families of shapes that :func:`random_shape` draws from, by name."""


def _names() -> str:
    return ", ".join(FAMILIES)


def _until_stout(
    draw: Callable[[], Points], outline: Callable[[Points], Points] | None = None
) -> Points:
    """Draw until the outline is simple and fills enough of its extent."""
    while True:
        points = draw()
        area = shapely.polygons(outline(points) if outline else points)
        if area.is_valid and area.area >= LEAST_AREA * _extent(area) ** 2:
            return points


def _extent(area: shapely.Polygon) -> float:
    hull = shapely.get_coordinates(area.convex_hull)
    return float(np.linalg.norm(hull[:, None] - hull, axis=-1).max())


def _random_star(anchors: int, rng: np.random.Generator) -> Points:
    """Points about the origin, in order of angle, at radii of 0.3 to 1."""
    jitter = rng.uniform(-0.4, 0.4, anchors)
    angle = 2.0 * np.pi * (np.arange(anchors) + jitter) / anchors
    radius = rng.uniform(0.3, 1.0, anchors)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _random_convex(vertices: int, rng: np.random.Generator) -> Points:
    """A convex polygon by Valtr's way (doi:10.1007/BF01271274): edge vectors sorted by angle."""
    edges = np.stack([_closed_steps(vertices, rng), _closed_steps(vertices, rng)], axis=1)
    edges = edges[np.argsort(np.arctan2(edges[:, 1], edges[:, 0]))]
    return np.cumsum(edges, axis=0)


def _closed_steps(count: int, rng: np.random.Generator) -> Float64[np.ndarray, " steps"]:
    """Random steps that go up along one chain of sorted numbers and back along another."""
    low, *inner, high = np.sort(rng.random(count))
    rising = rng.random(len(inner)) < 0.5
    up = np.diff([low, *(v for v, r in zip(inner, rising, strict=True) if r), high])
    down = np.diff([low, *(v for v, r in zip(inner, rising, strict=True) if not r), high])
    return rng.permutation(np.concatenate([up, -down]))
