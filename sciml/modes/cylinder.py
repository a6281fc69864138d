"""The flow past a cylinder by lattice Boltzmann: its steady state, and its march away from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sciml.kernels.backend import Backend
from sciml.kernels.lattice_boltzmann import (
    SOUND_SPEED_SQUARED,
    VELOCITIES,
    Boundary,
    PressureOutlet,
    Sides,
    Slip,
    Velocity,
    advance,
    at_equilibrium,
    boundary_of,
    force,
    moments,
    relaxation_rates,
)

__all__ = ["CylinderFlow", "WakeOptions"]

SYMMETRIC = 20
"""Times D/U after which the settling flow is made symmetric again; meanwhile what rounding brings
grows by a factor of about ten."""

PUFF = (2.5, 0.5)
"""Centre behind the cylinder and width of the disturbance, in diameters."""


@dataclass(frozen=True, kw_only=True)
class WakeOptions:
    """The flow and what is recorded of it. Lengths are in diameters D, times in D/U.

    Attributes:
        reynolds_number: Re = U D / ν.
        cells: across the cylinder; even, and a multiple of `coarsening`.
        upstream, downstream: from the cylinder's centre to inlet and outlet.
        width: between the slip sides. Blockage raises the Strouhal number: at Re = 100 it is
            0.179 in a box 10 D wide.
        speed: U in cells per step; the Mach number is 1.7 times that.
        settling: time that the symmetric flow is given on each of the grids; on the last one it
            is what the `residual` says.
        disturbance: largest velocity of what disturbs it, over U.
        duration: of the record, and `interval` between two snapshots.
        forces: values of the force for each snapshot.
        window: x from, x to, y from, y to of what is recorded.
        coarsening: cells that are averaged along x and y into one of the record.
        precision: of the populations.
        backend: see :func:`sciml.kernels.lattice_boltzmann.advance`.
    """

    reynolds_number: float = 100.0
    cells: int = 24
    upstream: int = 15
    downstream: int = 25
    width: int = 40
    speed: float = 0.1
    settling: tuple[float, ...] = (200.0, 60.0)
    disturbance: float = 2e-3
    duration: float = 200.0
    interval: float = 0.25
    forces: int = 2
    window: tuple[int, int, int, int] = (-2, 12, -3, 3)
    coarsening: int = 3
    precision: Literal["float32", "float64"] = "float32"
    backend: Backend = "auto"

    def __post_init__(self) -> None:
        coarsest = 2 ** (len(self.settling) - 1)
        if self.cells % (2 * self.coarsening) or self.cells // coarsest * coarsest != self.cells:
            raise ValueError(
                f"{self.cells} cells a diameter were given; an even multiple of the coarsening "
                f"{self.coarsening} and a multiple of {coarsest} is needed"
            )
        left, right, bottom, top = self.window
        inside = -self.upstream <= left < right <= self.downstream
        if not inside or not -self.width / 2 <= bottom < top <= self.width / 2 or self.width % 2:
            raise ValueError(
                f"the window {self.window} must lie in x from {-self.upstream} to "
                f"{self.downstream} and y within {self.width} / 2, an even width"
            )
        if min(self.reynolds_number, self.duration, self.interval, self.speed) <= 0:
            raise ValueError("Reynolds number, duration, interval and speed must be positive")
        if self.steps % self.forces:
            raise ValueError(
                f"{self.steps} steps from one snapshot to the next do not divide into "
                f"{self.forces} values of the force"
            )

    @property
    def unit(self) -> float:
        """Steps in one unit of time, D/U."""
        return self.cells / self.speed

    @property
    def steps(self) -> int:
        """Steps from one snapshot to the next."""
        return max(1, round(self.interval * self.unit))

    @property
    def snapshots(self) -> int:
        """Of the record, the disturbed steady flow first."""
        return 1 + round(self.duration * self.unit / self.steps)


class CylinderFlow:
    """A cylinder in a uniform stream between slip sides, with a pressure outlet.

    The wall is a circle, not a staircase: links are cut where the distance to it is zero. The
    populations march from the steady flow to the limit cycle.

    Attributes:
        populations: of the whole domain.
        done: snapshots taken.
    """

    def __init__(self, options: WakeOptions) -> None:
        self.options = options
        self.x, self.y = self._axes(options.cells)
        distance = _distance(self.x, self.y)
        self.window = _Window(options, distance > 0)
        self.boundary = self._boundary(distance, options.cells)
        self.rates = self._rates(options.cells)
        self.populations = torch.empty(0)
        self.done = 0

    def settle(self) -> float:
        """Bring the domain to the symmetric flow; the change that it still made in a time D/U."""
        start = None
        for level in reversed(range(len(self.options.settling))):
            settled, residual = self._settled(level, start)
            start = moments(settled)
        self.populations = settled
        return residual

    def disturb(self) -> None:
        """Add the antisymmetric puff, free of divergence, to the flow as it is."""
        density, velocity = moments(self.populations)
        puff = self.options.disturbance * self.options.speed * _puff(self.x, self.y)
        disturbed = velocity + torch.from_numpy(puff).to(velocity)
        before = at_equilibrium(density, velocity, self.boundary)
        self.populations += at_equilibrium(density, disturbed, self.boundary) - before

    def record(self, count: int) -> dict[str, np.ndarray]:
        """The next `count` snapshots, or what is left of them, and the forces up to the last.

        Raises:
            ArithmeticError: the march diverged.
        """
        snapshots: list[dict[str, np.ndarray]] = []
        forces: list[np.ndarray] = []
        for number in range(self.done, min(self.done + count, self.options.snapshots)):
            forces += self._forces() if number else []
            snapshots.append(self.seen())
        self.done += len(snapshots)
        fields = {name: np.stack([one[name] for one in snapshots]) for name in snapshots[0]}
        return {**fields, "force": np.array(forces).reshape(-1, 2)}

    def seen(self) -> dict[str, np.ndarray]:
        """Velocity over U and pressure over ρU² in the window.

        Raises:
            ArithmeticError: the march diverged.
        """
        density, velocity = self.window.moments(self.populations)
        speed = self.options.speed
        if not np.abs(velocity).max() < SOUND_SPEED_SQUARED**0.5:
            raise ArithmeticError(
                f"the march diverged: velocity {np.abs(velocity).max():.3g} cells per step at "
                f"{self.options.cells} cells a diameter; give more cells or less speed"
            )
        return {
            "velocity": velocity / np.float32(speed),
            "pressure": SOUND_SPEED_SQUARED * density / np.float32(speed**2),
        }

    def _forces(self) -> Iterator[np.ndarray]:
        """March to the next snapshot; the force coefficients on the way."""
        options = self.options
        for _ in range(options.forces):
            self.populations = self._advance(
                self.populations, self.boundary, self.rates, options.steps // options.forces
            )
            drag_and_lift = force(self.populations, self.boundary)[0].numpy()
            yield 2 * drag_and_lift / (options.cells * options.speed**2)

    def _settled(self, level: int, start: tuple[Tensor, Tensor] | None) -> tuple[Tensor, float]:
        """The symmetric flow on a grid coarser by 2^level, and its change in a time D/U.

        Rounding would break the symmetry in the end; that is undone before it can grow.
        """
        cells = self.options.cells // 2**level
        x, y = self._axes(cells)
        boundary = self._boundary(_distance(x, y), cells)
        rates, unit = self._rates(cells), round(cells / self.options.speed)
        populations = at_equilibrium(*self._start(start, len(y), len(x)), boundary)
        left = round(self.options.settling[-1 - level] * unit) - unit
        while left > 0:
            steps = min(left, SYMMETRIC * unit)
            populations = _symmetric(self._advance(populations, boundary, rates, steps))
            left -= steps
        last = self._advance(populations, boundary, rates, unit)
        before, after = moments(populations)[1], moments(last)[1]
        return _symmetric(last), float((after - before).norm() / after.norm())

    def _start(
        self, coarse: tuple[Tensor, Tensor] | None, rows: int, columns: int
    ) -> tuple[Tensor, Tensor]:
        """The free stream, or what a coarser grid found, interpolated linearly."""
        kind = getattr(torch, self.options.precision)
        if coarse is None:
            velocity = torch.zeros(1, 2, rows, columns, dtype=kind)
            velocity[:, 0] = self.options.speed
            return torch.zeros(1, rows, columns, dtype=kind), velocity
        both = torch.cat([coarse[0][:, None], coarse[1]], dim=1)
        fine = torch.nn.functional.interpolate(both, size=(rows, columns), mode="bilinear")
        return fine[:, 0], fine[:, 1:]

    def _boundary(self, distance: Float[np.ndarray, "y x"], cells: int) -> Boundary:
        inlet = Velocity(x=self.options.speed)
        sides = Sides(left=inlet, right=PressureOutlet(), bottom=Slip(), top=Slip())
        kind = getattr(torch, self.options.precision)
        return boundary_of(distance[None] * cells, sides, dtype=kind)

    def _rates(self, cells: int) -> Float[Tensor, "1 2"]:
        return relaxation_rates([self.options.speed * cells / self.options.reynolds_number])

    def _advance(
        self, populations: Tensor, boundary: Boundary, rates: Tensor, steps: int
    ) -> Tensor:
        return advance(populations, boundary, rates, steps=steps, backend=self.options.backend)

    def _axes(self, cells: int) -> tuple[Float[np.ndarray, " x"], Float[np.ndarray, " y"]]:
        """Centres of a grid's cells, from the cylinder's centre."""
        options = self.options
        x = _centres((options.upstream + options.downstream) * cells, cells) - options.upstream
        return x, _centres(options.width * cells, cells) - options.width / 2


def _centres(count: int, cells: int) -> Float[np.ndarray, " count"]:
    """Of cells from zero on, in diameters."""
    return (np.arange(count) + 0.5) / cells


def _distance(x: Float[np.ndarray, " x"], y: Float[np.ndarray, " y"]) -> Float[np.ndarray, "y x"]:
    """To a circle of diameter one about the origin."""
    return np.hypot(x[None], y[:, None]) - 0.5


def _symmetric(populations: Float[Tensor, "1 9 y x"]) -> Float[Tensor, "1 9 y x"]:
    """The mean of a flow and its mirror image."""
    image = [VELOCITIES.index((cx, -cy)) for cx, cy in VELOCITIES]
    return (populations + populations[:, image].flip(-2)) / 2


def _puff(x: Float[np.ndarray, " x"], y: Float[np.ndarray, " y"]) -> Float[np.ndarray, "2 y x"]:
    """Velocity of the stream function exp(−r²/2s²), at most one; u odd in y and v even."""
    centre, width = PUFF
    along, across = (x[None] - centre) / width, y[:, None] / width
    bell = np.exp(0.5 - (along**2 + across**2) / 2)
    return np.stack([-across * bell, along * bell])


# What is recorded.


class _Window:
    """The part of the domain that is recorded, its cells averaged into coarser ones."""

    def __init__(self, options: WakeOptions, fluid: Bool[np.ndarray, "y x"]) -> None:
        left, right, bottom, top = options.window
        origin, cells = (options.upstream, options.width // 2), options.cells
        self.rows = slice((bottom + origin[1]) * cells, (top + origin[1]) * cells)
        self.columns = slice((left + origin[0]) * cells, (right + origin[0]) * cells)
        self.coarsening = options.coarsening
        self.fluid = fluid[self.rows, self.columns]
        self.share = self._mean(self.fluid.astype(np.float32))
        spacing = options.coarsening / cells
        self.volume = self.share.astype(np.float64) * spacing**2
        self.x = left + _centres(self.share.shape[1], 1) * spacing
        self.y = bottom + _centres(self.share.shape[0], 1) * spacing

    def moments(
        self, populations: Float[Tensor, "1 9 height width"]
    ) -> tuple[Float[np.ndarray, "y x"], Float[np.ndarray, "2 y x"]]:
        """Density and velocity, means over the fluid of each coarse cell, zero in the solid."""
        rows = slice(self.rows.start, self.rows.stop + 2)
        columns = slice(self.columns.start, self.columns.stop + 2)
        density, velocity = moments(populations[..., rows, columns])
        return self._over_fluid(density[0].numpy()), self._over_fluid(velocity[0].numpy())

    def _over_fluid(self, field: Float[np.ndarray, "*c y x"]) -> Float[np.ndarray, "*c sy sx"]:
        share = np.where(self.share > 0, self.share, 1)
        return self._mean(np.where(self.fluid, field, 0)) / share

    def _mean(self, field: Float[np.ndarray, "*c y x"]) -> Float[np.ndarray, "*c sy sx"]:
        *lead, ny, nx = field.shape
        c = self.coarsening
        return field.reshape(*lead, ny // c, c, nx // c, c).mean((-3, -1), dtype=np.float32)
