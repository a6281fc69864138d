"""Every side and every wall as one list of links, so that the kernels stay free of branches.

A population that streams into a fluid cell from outside (the halo of one cell around the grid, or
a solid cell) is called incoming. Before each step its slot is filled with

    F[target] = near_weight · F[near] + far_weight · F[far] + source,

which covers half-way and interpolated bounce-back, a moving wall, a velocity inlet, a slip side
and a periodic side. Each slot feeds one fluid cell only, so filling needs no order. An outlet on
the right is the one condition that is not such a list and is filled first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sciml.kernels.lattice_boltzmann.lattice import OPPOSITE, VELOCITIES, WEIGHTS

__all__ = [
    "Boundary",
    "ConvectiveOutlet",
    "Periodic",
    "PressureOutlet",
    "Side",
    "Sides",
    "Slip",
    "Velocity",
    "boundary_of",
]

HALO = 1
"""Cells around the grid that hold what streams in."""


@dataclass(frozen=True, kw_only=True)
class Velocity:
    """A side where the velocity is given: an inlet, a moving wall, or a no-slip wall at rest.

    Half-way bounce-back with momentum (Ladd 1994, doi:10.1017/S0022112094001771): the side lies
    half a cell outside the outermost cell centres. `x` and `y` are numbers or one value a cell
    along the side, in cells per step.
    """

    x: float | np.ndarray = 0.0
    y: float | np.ndarray = 0.0


@dataclass(frozen=True, kw_only=True)
class Slip:
    """A side without friction: populations are mirrored."""


@dataclass(frozen=True, kw_only=True)
class Periodic:
    """A side that continues on the opposite one, which must be periodic too."""


@dataclass(frozen=True, kw_only=True)
class PressureOutlet:
    """A right side at a given density (pressure over c_s²) by anti-bounce-back.

    Ginzburg, Verhaeghe, d'Humières, Commun. Comput. Phys. 3 (2008) 427. `density` is the
    deviation from one.
    """

    density: float = 0.0


@dataclass(frozen=True, kw_only=True)
class ConvectiveOutlet:
    """A right side that lets populations leave at `speed` (cells per step): ∂f/∂t + c ∂f/∂x = 0."""

    speed: float


Side = Velocity | Slip | Periodic | PressureOutlet | ConvectiveOutlet


@dataclass(frozen=True, kw_only=True)
class Sides:
    """The four sides of the domain; a wall at rest where nothing else is said."""

    left: Side = field(default_factory=Velocity)
    right: Side = field(default_factory=Velocity)
    bottom: Side = field(default_factory=Velocity)
    top: Side = field(default_factory=Velocity)

    def __post_init__(self) -> None:
        outlets = (PressureOutlet, ConvectiveOutlet)
        for name in ("left", "bottom", "top"):
            if isinstance(getattr(self, name), outlets):
                raise ValueError(f"the {name} side is an outlet; only the right side can be one")
        for one, other in (("left", "right"), ("bottom", "top")):
            if isinstance(getattr(self, one), Periodic) != isinstance(
                getattr(self, other), Periodic
            ):
                raise ValueError(f"the {one} and {other} sides must be periodic together")


@dataclass(frozen=True, kw_only=True, eq=False)
class Boundary:
    """The links of a batch of grids, as flat indices into populations [batch, 9, y + 2, x + 2].

    The first `bodies` links belong to bodies inside the domain: they carry the force.
    """

    shape: tuple[int, int, int]
    target: Int[Tensor, " links"]
    near: Int[Tensor, " links"]
    far: Int[Tensor, " links"]
    near_weight: Float[Tensor, " links"]
    far_weight: Float[Tensor, " links"]
    source: Float[Tensor, " links"]
    bodies: int
    outlet: Literal["none", "pressure", "convective"] = "none"
    outlet_value: float = 0.0

    @property
    def populations_shape(self) -> tuple[int, int, int, int]:
        batch, ny, nx = self.shape
        return batch, len(VELOCITIES), ny + 2 * HALO, nx + 2 * HALO

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Boundary:
        """The same links on another device, or with weights of another precision."""
        moved: dict[str, Any] = {}
        for entry in fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, Tensor):
                cast = dtype if value.is_floating_point() else None
                moved[entry.name] = value.to(device=device, dtype=cast)
        return replace(self, **moved)


@dataclass(frozen=True)
class _Links:
    """Links of one kind before they are joined: cells (batch, y, x) counted in the halo'd grid."""

    target: np.ndarray
    near: np.ndarray
    far: np.ndarray
    near_weight: np.ndarray
    far_weight: np.ndarray
    source: np.ndarray


class _Addresses:
    """Flat addresses of populations in an array [batch, 9, y + 2, x + 2]."""

    def __init__(self, batch: int, ny: int, nx: int) -> None:
        self.extents = (batch, len(VELOCITIES), ny + 2 * HALO, nx + 2 * HALO)

    def __call__(
        self, b: np.ndarray, q: np.ndarray | int, y: np.ndarray, x: np.ndarray
    ) -> np.ndarray:
        return np.ravel_multi_index((b, np.broadcast_to(q, b.shape), y, x), self.extents)


def boundary_of(
    signed_distance: Float[np.ndarray, "batch y x"],
    sides: Sides,
    *,
    dtype: torch.dtype = torch.float32,
) -> Boundary:
    """The links of bodies and sides.

    Where a link from a fluid cell in direction q meets a wall at the fraction
    Δ = d_fluid / (d_fluid − d_solid) of its length, the population that comes back is interpolated
    linearly (Bouzidi, Firdaouss, Lallemand 2001, doi:10.1063/1.1399290), so that the wall stands
    where the signed distance is zero and not on a staircase.

    Args:
        signed_distance: d in cells at the cell centres, positive in the fluid.
        sides: what holds on the four sides.
        dtype: of weights and sources.

    Raises:
        ValueError: a grid without fluid, fewer than three cells a side, NaN.

    >>> square = np.full((1, 8, 8), 3.0)
    >>> boundary_of(square, Sides()).target.shape  # three links a side cell, corners shared
    torch.Size([92])
    """
    batch, ny, nx = _checked(signed_distance)
    fluid = np.zeros((batch, ny + 2 * HALO, nx + 2 * HALO), dtype=bool)
    distance = np.full(fluid.shape, np.nan)
    fluid[:, 1:-1, 1:-1] = signed_distance > 0
    distance[:, 1:-1, 1:-1] = signed_distance
    addresses = _Addresses(batch, ny, nx)
    walls = [_wall_links(q, fluid, distance, addresses) for q in range(1, 9)]
    edges = [_side_links(q, fluid, sides, addresses) for q in range(1, 9)]
    joined = _join([*walls, *edges])
    outlet, value = _outlet(sides.right)
    return Boundary(
        shape=(batch, ny, nx),
        target=torch.from_numpy(joined.target),
        near=torch.from_numpy(joined.near),
        far=torch.from_numpy(joined.far),
        near_weight=torch.from_numpy(joined.near_weight).to(dtype),
        far_weight=torch.from_numpy(joined.far_weight).to(dtype),
        source=torch.from_numpy(joined.source).to(dtype),
        bodies=sum(links.target.size for links in walls),
        outlet=outlet,
        outlet_value=value,
    )


def _checked(signed_distance: np.ndarray) -> tuple[int, int, int]:
    batch, ny, nx = signed_distance.shape
    if min(ny, nx) < 3:
        raise ValueError(f"a grid of {nx} x {ny} cells was given; at least 3 x 3 are needed")
    if not np.isfinite(signed_distance).all():
        raise ValueError("the signed distance has values that are not finite; give every cell one")
    for b in range(batch):
        if not (signed_distance[b] > 0).any():
            raise ValueError(f"grid {b} has no fluid: its signed distance is nowhere positive")
    return batch, ny, nx


def _wall_links(
    q: int,
    fluid: Bool[np.ndarray, "batch y x"],
    distance: Float[np.ndarray, "batch y x"],
    addresses: _Addresses,
) -> _Links:
    """Interpolated bounce-back between fluid cells and the solid cells that c_q points to."""
    cx, cy = VELOCITIES[q]
    b, y, x = np.nonzero(fluid[:, 1:-1, 1:-1])
    y, x = y + 1, x + 1
    solid = ~fluid[b, y + cy, x + cx] & np.isfinite(distance[b, y + cy, x + cx])
    b, y, x = b[solid], y[solid], x[solid]
    here, there = distance[b, y, x], distance[b, y + cy, x + cx]
    fraction = here / (here - there)
    behind = fluid[b, y - cy, x - cx]
    fraction = np.where((fraction < 0.5) & ~behind, 0.5, fraction)
    short = fraction < 0.5
    far = np.where(
        short,
        addresses(b, q, np.where(short, y - cy, y), np.where(short, x - cx, x)),
        addresses(b, OPPOSITE[q], y, x),
    )
    near_weight = np.where(short, 2 * fraction, 1 / (2 * np.maximum(fraction, 0.5)))
    return _Links(
        target=addresses(b, OPPOSITE[q], y + cy, x + cx),
        near=addresses(b, q, y, x),
        far=far,
        near_weight=near_weight,
        far_weight=1 - near_weight,
        source=np.zeros(b.size),
    )


def _side_links(
    q: int, fluid: Bool[np.ndarray, "batch y x"], sides: Sides, addresses: _Addresses
) -> _Links:
    """What comes back over the sides that c_q points across."""
    cx, cy = VELOCITIES[q]
    _, height, width = fluid.shape
    b, y, x = np.nonzero(fluid[:, 1:-1, 1:-1])
    y, x = y + 1, x + 1
    over_x = (x + cx == 0) | (x + cx == width - 1)
    over_y = (y + cy == 0) | (y + cy == height - 1)
    parts = []
    across: tuple[Side | None, ...] = (
        (sides.right if cx > 0 else sides.left) if cx else None,
        (sides.top if cy > 0 else sides.bottom) if cy else None,
    )
    for crossed_x, crossed_y in ((True, False), (False, True), (True, True)):
        chosen = (over_x == crossed_x) & (over_y == crossed_y)
        if not chosen.any():
            continue
        pair = (across[0] if crossed_x else None, across[1] if crossed_y else None)
        cells = (b[chosen], y[chosen], x[chosen])
        parts.append(_crossing(q, cells, pair, (height - 2, width - 2), addresses))
    return _join(parts)


def _crossing(
    q: int,
    cells: tuple[np.ndarray, np.ndarray, np.ndarray],
    sides: tuple[Side | None, Side | None],
    extents: tuple[int, int],
    addresses: _Addresses,
) -> _Links:
    """Links of cells whose direction q leaves the grid over one side, or over two at a corner.

    At a corner a given velocity takes precedence, then the outlet, then slip, then periodicity.
    """
    b, y, x = cells
    cx, cy = VELOCITIES[q]
    ny, nx = extents
    slot = addresses(b, OPPOSITE[q], y + cy, x + cx)
    velocities = [(axis, s) for axis, s in enumerate(sides) if isinstance(s, Velocity)]
    if velocities:
        axis, side = velocities[-1]  # a horizontal wall before an inlet
        halfway = (y + cy / 2 if axis == 0 else x + cx / 2) - 1
        ux, uy = (_along(u, halfway, (ny, nx)[axis]) for u in (side.x, side.y))
        source = -6 * WEIGHTS[q] * (cx * ux + cy * uy)
        return _copies(slot, addresses(b, q, y, x), source)
    if isinstance(sides[0], PressureOutlet | ConvectiveOutlet):
        return _join([])
    # The ghost at (y + cy, x + cx) holds the population that an image of the ghost cell sends.
    from_y, from_x, back_x, back_y = y + cy, x + cx, -cx, -cy
    if isinstance(sides[0], Slip):
        from_x, back_x = x, cx
    elif isinstance(sides[0], Periodic):
        from_x = (x + cx - 1) % nx + 1
    if isinstance(sides[1], Slip):
        from_y, back_y = y, cy
    elif isinstance(sides[1], Periodic):
        from_y = (y + cy - 1) % ny + 1
    return _copies(slot, addresses(b, VELOCITIES.index((back_x, back_y)), from_y, from_x))


def _along(
    value: float | np.ndarray, position: Float[np.ndarray, " links"], extent: int
) -> Float[np.ndarray, " links"]:
    """A profile where its links cross the side, between cell centres if they are diagonal.

    With the value of the cell itself instead, an inlet would carry a wrong shear stress and the
    lift on a body behind it would converge at first order only.
    """
    profile = np.asarray(value, dtype=float)
    if profile.ndim and profile.shape != (extent,):
        raise ValueError(
            f"a velocity profile of shape {profile.shape} was given on a side of {extent} cells; "
            "give a number or one value a cell"
        )
    values = np.broadcast_to(profile, (extent,))
    ends = (2 * values[0] - values[1], 2 * values[-1] - values[-2])
    return np.interp(position, np.arange(-1, extent + 1), [ends[0], *values, ends[1]])


def _copies(target: np.ndarray, near: np.ndarray, source: np.ndarray | float = 0.0) -> _Links:
    ones, zeros = np.ones(target.size), np.zeros(target.size)
    return _Links(target, near, near, ones, zeros, zeros + source)


def _join(parts: Sequence[_Links]) -> _Links:
    kinds = (np.int64, np.int64, np.int64, np.float64, np.float64, np.float64)
    return _Links(
        *(
            np.concatenate([np.zeros(0, kind), *(getattr(p, e.name) for p in parts)])
            for e, kind in zip(fields(_Links), kinds, strict=True)
        )
    )


def _outlet(side: Side) -> tuple[Literal["none", "pressure", "convective"], float]:
    if isinstance(side, PressureOutlet):
        return "pressure", side.density
    if isinstance(side, ConvectiveOutlet):
        return "convective", side.speed
    return "none", 0.0
