"""Steady flow by lattice Boltzmann: march in time until nothing changes, coarse grids first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sciml.kernels.backend import Backend
from sciml.kernels.lattice_boltzmann import (
    SOUND_SPEED_SQUARED,
    Boundary,
    Sides,
    advance,
    at_equilibrium,
    boundary_of,
    force,
    moments,
    relaxation_rates,
)

__all__ = [
    "LatticeProblem",
    "SolverOptions",
    "SteadyState",
    "Unsteady",
    "solve_steady",
]


@dataclass(frozen=True, kw_only=True)
class LatticeProblem:
    """A flow in lattice units: cells and steps.

    Attributes:
        signed_distance: d at the cell centres in cells, positive in the fluid.
        sides: what holds on the four sides.
        viscosity: ν in cells² per step.
        length, speed: L in cells and U in cells per step; L/U is the unit of time below.
    """

    signed_distance: Float[np.ndarray, "y x"]
    sides: Sides
    viscosity: float
    length: float
    speed: float

    @property
    def reynolds_number(self) -> float:
        """Re = U L / ν."""
        return self.speed * self.length / self.viscosity


@dataclass(frozen=True, kw_only=True)
class SolverOptions:
    """How a steady state is sought.

    Attributes:
        tolerance: steady when ‖u(t) − u(t − Δt)‖ / ‖u(t)‖ · (L/U)/Δt, the relative change in one
            convective time, is below it.
        interval: Δt between two looks, in convective times.
        patience: give up after this many convective times on one grid.
        levels: grids, each twice as fine as the one before; the last is the problem's own.
        collision: two relaxation times with Λ = 3/16, or one (BGK).
        precision: `float32` for data, `float64` for reference.
        backend: see :func:`sciml.kernels.lattice_boltzmann.advance`.
    """

    tolerance: float = 1e-4
    interval: float = 1.0
    patience: float = 200.0
    levels: int = 3
    collision: Literal["trt", "bgk"] = "trt"
    precision: Literal["float32", "float64"] = "float32"
    backend: Backend = "auto"


class Unsteady(ArithmeticError):
    """The march diverged, or was still changing when patience ended."""


@dataclass(frozen=True, kw_only=True)
class SteadyState:
    """A steady flow in lattice units.

    Attributes:
        velocity: u in cells per step, zero in the solid.
        pressure: p/ρ = c_s² ρ', in (cells per step)², zero in the solid.
        force: on the bodies, by momentum exchange.
        steps: on the finest grid.
        residual: relative change in the last convective time.
    """

    velocity: Float[np.ndarray, "2 y x"]
    pressure: Float[np.ndarray, "y x"]
    force: Float[np.ndarray, " 2"]
    steps: int
    residual: float


def solve_steady(
    problem: Callable[[int], LatticeProblem], options: SolverOptions | None = None
) -> SteadyState:
    """The steady state of a flow that can be posed on coarser grids.

    Args:
        problem: the flow on a grid coarser by a factor 1, 2, 4, ... (1 is the grid wanted). Each
            has the same Reynolds number and the same `speed`.
        options: tolerance, grids, collision, precision.

    Raises:
        Unsteady: diverged (velocities beyond the speed of sound or not finite), or not steady
            within the patience.

    >>> from sciml.kernels.lattice_boltzmann import Velocity
    >>> def cavity(factor):
    ...     n = 32 // factor
    ...     return LatticeProblem(signed_distance=np.full((n, n), 9.0), length=float(n), speed=0.1,
    ...                           sides=Sides(top=Velocity(x=0.1)), viscosity=0.1 * n / 100)
    >>> state = solve_steady(cavity, SolverOptions(levels=2))
    >>> bool(-0.22 < state.velocity[0, :, 16].min() / 0.1 < -0.17)  # Ghia et al.: -0.211
    True
    """
    options = options or SolverOptions()
    start: tuple[Tensor, Tensor] | None = None
    for level in reversed(range(options.levels)):
        posed = problem(2**level)
        march = _March(posed, start, options)
        march.run()
        density, velocity = moments(march.populations)
        if level:
            start = _finer(density, velocity, problem(2 ** (level - 1)))
    return _state(march, posed)


class _March:
    """Populations on one grid on their way to a steady state."""

    def __init__(
        self,
        problem: LatticeProblem,
        start: tuple[Tensor, Tensor] | None,
        options: SolverOptions,
    ) -> None:
        self.problem, self.options = problem, options
        dtype = getattr(torch, options.precision)
        self.boundary: Boundary = boundary_of(
            problem.signed_distance[None], problem.sides, dtype=dtype
        )
        magic = 3 / 16 if options.collision == "trt" else None
        self.rates = relaxation_rates([problem.viscosity], magic=magic)
        self.fluid = torch.from_numpy(problem.signed_distance > 0)
        shape = problem.signed_distance.shape
        density, velocity = start or (torch.zeros(1, *shape), torch.zeros(1, 2, *shape))
        self.populations = at_equilibrium(density.to(dtype), velocity.to(dtype), self.boundary)
        self.steps = 0
        self.residual = float("inf")

    def run(self) -> None:
        unit = self.problem.length / self.problem.speed
        every = max(1, round(self.options.interval * unit))
        before = self._velocity()
        for _ in self._looks(every, unit):
            self.populations = advance(
                self.populations,
                self.boundary,
                self.rates,
                steps=every,
                backend=self.options.backend,
            )
            self.steps += every
            now = self._velocity()
            self.residual = float((now - before).norm() / now.norm()) * unit / every
            before = now
            self._refuse_divergence(now)
            if self.residual < self.options.tolerance:
                return
        raise Unsteady(
            f"still changing by {self.residual:.1e} per convective time after {self.steps} steps "
            f"at Re = {self.problem.reynolds_number:.3g} on {before.shape[-1]} x "
            f"{before.shape[-2]} cells (tolerance {self.options.tolerance:.1e})"
        )

    def _looks(self, every: int, unit: float) -> Iterator[int]:
        yield from range(max(1, round(self.options.patience * unit / every)))

    def _velocity(self) -> Tensor:
        return moments(self.populations)[1][0] * self.fluid

    def _refuse_divergence(self, velocity: Tensor) -> None:
        fastest = float(velocity.abs().max())
        if not fastest < SOUND_SPEED_SQUARED**0.5:
            raise Unsteady(
                f"diverged: velocity {fastest:.3g} cells per step after {self.steps} steps at "
                f"Re = {self.problem.reynolds_number:.3g}, viscosity {self.problem.viscosity:.3g}"
            )


def _finer(
    density: Float[Tensor, "1 y x"], velocity: Float[Tensor, "1 2 y x"], finer: LatticeProblem
) -> tuple[Float[Tensor, "1 fine_y fine_x"], Float[Tensor, "1 2 fine_y fine_x"]]:
    """The moments on the next grid, by linear interpolation."""
    both = torch.cat([density[:, None], velocity], dim=1)
    shape = finer.signed_distance.shape
    fine = torch.nn.functional.interpolate(both, size=shape, mode="bilinear")
    fine = fine * torch.from_numpy(finer.signed_distance > 0)
    return fine[:, 0], fine[:, 1:]


def _state(march: _March, problem: LatticeProblem) -> SteadyState:
    density, velocity = moments(march.populations)
    fluid = problem.signed_distance > 0
    return SteadyState(
        velocity=velocity[0].numpy() * fluid,
        pressure=SOUND_SPEED_SQUARED * density[0].numpy() * fluid,
        force=force(march.populations, march.boundary)[0].numpy(),
        steps=march.steps,
        residual=march.residual,
    )
