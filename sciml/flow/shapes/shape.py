"""One body: closed outlines in the plane, and what can be done to them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import shapely
from jaxtyping import Float64

from sciml.flow.shapes.rings import arrange, clean

__all__ = ["Shape"]

Ring = Float64[np.ndarray, "_ 2"]
Point = tuple[float, float]
ORIGIN: Point = (0.0, 0.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Shape:
    """A body bounded by closed rings of straight edges.

    Outlines run counter-clockwise and holes clockwise, whatever the order they were given in: a
    ring inside an odd number of others is a hole. The last point is joined to the first and not
    repeated. Rings that cross or share an edge are refused; :meth:`union` joins shapes.

    Args:
        rings: vertices of each ring [m].
        family: the kind of shape, as in :data:`sciml.flow.shapes.FAMILIES`.
        parameters: the dimensionless numbers that, up to position and size, make the shape.

    Raises:
        ValueError: for a ring of fewer than three distinct points, a coordinate that is not
            finite, a ring that crosses itself or another, or one that encloses no area.

    Example:
        >>> unit = Shape(rings=(np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]]),))
        >>> unit.area, round(unit.diameter, 6), unit.scale(2.0).bounds
        (1.0, 1.414214, (0.0, 0.0, 2.0, 2.0))
    """

    rings: tuple[Ring, ...]
    family: str = "polygon"
    parameters: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rings = arrange([clean(ring, number) for number, ring in enumerate(self.rings)])
        for ring in rings:
            ring.setflags(write=False)
        object.__setattr__(self, "rings", tuple(rings))
        object.__setattr__(self, "parameters", dict(self.parameters))

    @property
    def points(self) -> Float64[np.ndarray, "points 2"]:
        """The vertices of all rings [m]."""
        return np.concatenate(self.rings)

    @property
    def region(self) -> shapely.Geometry:
        """The body as a shapely polygon or multipolygon."""
        rings = [shapely.linearrings(ring) for ring in self.rings]
        return shapely.build_area(shapely.multilinestrings(rings))

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Lowest x, lowest y, highest x, highest y [m]."""
        low, high = self.points.min(axis=0), self.points.max(axis=0)
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])

    @property
    def area(self) -> float:
        """Area of the body [m²]."""
        return float(self.region.area)

    @property
    def centroid(self) -> Point:
        """Centre of the area [m]."""
        return float(self.region.centroid.x), float(self.region.centroid.y)

    @property
    def diameter(self) -> float:
        """The largest distance between two points of the body [m], the Reynolds number's length."""
        hull = shapely.get_coordinates(shapely.convex_hull(shapely.multipoints(self.points)))
        return float(np.linalg.norm(hull[:, None] - hull, axis=-1).max())

    def translate(self, dx: float, dy: float) -> Shape:
        """The shape moved by (dx, dy) [m]."""
        return self._map(lambda ring: ring + np.array([dx, dy]))

    def rotate(self, angle: float, about: Point = ORIGIN) -> Shape:
        """The shape turned counter-clockwise by an angle [rad] about a point [m]."""
        c, s = math.cos(angle), math.sin(angle)
        turn = np.array([[c, s], [-s, c]])
        return self._map(lambda ring: (ring - about) @ turn + about)

    def scale(self, factor: float, about: Point = ORIGIN) -> Shape:
        """The shape enlarged by a positive factor about a point [m]."""
        if not (factor > 0 and math.isfinite(factor)):
            raise ValueError(f"A shape is scaled by a positive finite factor, not {factor}.")
        return self._map(lambda ring: (ring - about) * factor + about)

    def mirror(self, axis: Literal["x", "y"] = "y", at: float = 0.0) -> Shape:
        """The shape reflected in y (or x) in the line where that coordinate equals ``at`` [m]."""
        sign, offset = np.ones(2), np.zeros(2)
        sign["xy".index(axis)], offset["xy".index(axis)] = -1.0, 2.0 * at
        return self._map(lambda ring: ring * sign + offset)

    def union(self, *others: Shape) -> Shape:
        """The body that covers this shape and the others.

        Example:
            >>> from sciml.flow.shapes import rectangle
            >>> bar = rectangle(2.0, 1.0)
            >>> bar.union(bar.translate(1.0, 0.0)).area
            3.0
        """
        joined = shapely.union_all([self.region, *(other.region for other in others)])
        return Shape.of_region(joined, family="union")

    def filled(self) -> Shape:
        """The shape with its holes filled, which hold fluid that cannot flow."""
        parts = [shapely.polygons(part.exterior) for part in shapely.get_parts(self.region)]
        whole = shapely.union_all(parts)
        return Shape.of_region(whole, family=self.family, parameters=self.parameters)

    @classmethod
    def of_region(
        cls,
        region: shapely.Geometry,
        *,
        family: str = "polygon",
        parameters: Mapping[str, float] | None = None,
    ) -> Shape:
        """The shape of a shapely polygon or multipolygon."""
        rings = [r for part in shapely.get_parts(region) for r in (part.exterior, *part.interiors)]
        outlines = tuple(shapely.get_coordinates(ring) for ring in rings)
        return cls(rings=outlines, family=family, parameters=parameters or {})

    def to_json(self) -> str:
        """The shape as JSON text, from which :meth:`from_json` makes it again bit for bit."""
        value = {
            "family": self.family,
            "parameters": dict(self.parameters),
            "rings": [ring.tolist() for ring in self.rings],
        }
        return json.dumps(value, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Shape:
        """The shape that :meth:`to_json` wrote.

        Raises:
            ValueError: for text that is not such JSON, or a shape that is not valid.
        """
        value = json.loads(text)
        if not isinstance(value, dict) or not {"family", "parameters", "rings"} <= value.keys():
            raise ValueError("A shape in JSON is an object with family, parameters and rings.")
        rings = tuple(np.asarray(ring, dtype=np.float64) for ring in value["rings"])
        return cls(rings=rings, family=value["family"], parameters=value["parameters"])

    def _map(self, move: Callable[[Ring], Ring]) -> Shape:
        return replace(self, rings=tuple(move(ring) for ring in self.rings))
