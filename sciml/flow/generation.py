"""Samples of flow past many shapes: random ones of chosen families, or given ones."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from sciml.data import SampleFailure
from sciml.flow.shapes import Shape, random_shape
from sciml.flow.solver import Unsteady
from sciml.flow.tunnel import Tunnel, solve_flow

__all__ = ["GivenShapes", "Ranges", "ShapeSamples"]


@dataclass(frozen=True, kw_only=True)
class Ranges:
    """Where a shape is put, and how fast the flow is; each is drawn uniformly.

    Attributes:
        reynolds_number: Re = U L / ν, L the largest extent of the body. Bodies of every family
            shed no vortices up to 30.
        diameter: L in metres, the tunnel being 1 m high.
        x, y: of the centroid, in metres.
    """

    reynolds_number: tuple[float, float] = (5.0, 30.0)
    diameter: tuple[float, float] = (0.18, 0.32)
    x: tuple[float, float] = (0.5, 0.7)
    y: tuple[float, float] = (0.42, 0.58)


@dataclass(frozen=True, kw_only=True)
class ShapeSamples:
    """Random shapes in the tunnel; the family goes round with the number of the sample.

    Attributes:
        families: names from :data:`sciml.flow.shapes.FAMILIES`.
        ranges: of size, place and Reynolds number.
        tunnel: the domain and the solver.
    """

    families: tuple[str, ...]
    ranges: Ranges = field(default_factory=Ranges)
    tunnel: Tunnel = field(default_factory=Tunnel)

    def __call__(self, index: int, rng: np.random.Generator) -> xr.Dataset:
        shape = random_shape(self.families[index % len(self.families)], rng)
        return _sample(shape, self.ranges, self.tunnel, rng)


@dataclass(frozen=True, kw_only=True)
class GivenShapes:
    """Shapes from files in the tunnel, one sample each.

    Attributes:
        shapes: as :meth:`sciml.flow.shapes.Shape.to_json` writes them.
        ranges, tunnel: as for :class:`ShapeSamples`.
    """

    shapes: tuple[str, ...]
    ranges: Ranges = field(default_factory=Ranges)
    tunnel: Tunnel = field(default_factory=Tunnel)

    def __call__(self, index: int, rng: np.random.Generator) -> xr.Dataset:
        shape = Shape.from_json(self.shapes[index])
        x, y = shape.centroid
        unit = shape.translate(-x, -y).scale(1 / shape.diameter)
        return _sample(unit, self.ranges, self.tunnel, rng)


def _sample(unit: Shape, ranges: Ranges, tunnel: Tunnel, rng: np.random.Generator) -> xr.Dataset:
    shape = unit.scale(float(rng.uniform(*ranges.diameter)))
    shape = shape.translate(float(rng.uniform(*ranges.x)), float(rng.uniform(*ranges.y)))
    try:
        return solve_flow(shape, float(rng.uniform(*ranges.reynolds_number)), tunnel)
    except (Unsteady, ValueError) as error:
        raise SampleFailure(str(error)) from error
