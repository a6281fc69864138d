"""A body in a wind tunnel: the steady flow past a shape, as one labelled sample."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from sciml.flow.grid import Grid, check_body
from sciml.flow.shapes import Shape
from sciml.flow.solver import LatticeProblem, SolverOptions, SteadyState, solve_steady
from sciml.kernels.lattice_boltzmann import PressureOutlet, Sides, Slip, Velocity

__all__ = ["Tunnel", "solve_flow"]

LATTICE_SPEED = 0.1
"""Inlet velocity in cells per step: a Mach number of 0.17, which a steady state does not feel."""


@dataclass(frozen=True, kw_only=True)
class Tunnel:
    """A channel with a uniform inlet on the left, slip sides, and a pressure outlet on the right.

    Lengths are in metres, with an inlet velocity U of 1 m/s and a density of 1 kg/m³, so that
    values are the dimensionless ones for any other U, ρ and height H.

    Attributes:
        cells: across the height of 1 m; the length of 2 m has twice as many.
        solver: how the steady state is sought.
    """

    cells: int = 128
    solver: SolverOptions = field(default_factory=SolverOptions)

    def __post_init__(self) -> None:
        coarsest = 2 ** (self.solver.levels - 1)
        if self.cells < 8 * coarsest or self.cells % coarsest:
            raise ValueError(
                f"{self.cells} cells across were given; {self.solver.levels} grids need a "
                f"multiple of {coarsest}, at least {8 * coarsest}"
            )

    @property
    def grid(self) -> Grid:
        return self.grid_of(self.cells)

    @staticmethod
    def grid_of(cells: int) -> Grid:
        """The domain of 2 m x 1 m with so many cells across."""
        return Grid(shape=(cells, 2 * cells), spacing=1 / cells)


def solve_flow(shape: Shape, reynolds_number: float, tunnel: Tunnel | None = None) -> xr.Dataset:
    """The steady flow past a shape that stands in the tunnel.

    Args:
        shape: the body, placed in the domain of 2 m x 1 m.
        reynolds_number: Re = U L / ν with L the body's diameter, its largest extent.
        tunnel: the domain and the solver.

    Returns:
        A sample with `velocity` [m s-1] and `pressure` [Pa] (zero in the solid),
        `signed_distance` [m], `force` [N m-1], `reynolds_number`, `diameter` [m], `viscosity`
        [m2 s-1], `steps`, `residual`, `family` and `shape` (as JSON).

    Raises:
        ValueError: a body that does not stand in the domain, a Reynolds number not positive.
        sciml.flow.solver.Unsteady: no steady state was found.
    """
    tunnel = tunnel or Tunnel()
    if not reynolds_number > 0:
        raise ValueError(f"a Reynolds number of {reynolds_number} was given; it must be positive")
    check_body(shape, tunnel.grid)
    state = solve_steady(
        lambda factor: _pose(shape, reynolds_number, tunnel, factor), tunnel.solver
    )
    return _label(shape, reynolds_number, tunnel, state)


def _pose(shape: Shape, reynolds_number: float, tunnel: Tunnel, factor: int) -> LatticeProblem:
    grid = tunnel.grid_of(tunnel.cells // factor)
    length = shape.diameter / grid.spacing
    return LatticeProblem(
        signed_distance=grid.signed_distance(shape) / grid.spacing,
        sides=Sides(
            left=Velocity(x=LATTICE_SPEED), right=PressureOutlet(), bottom=Slip(), top=Slip()
        ),
        viscosity=LATTICE_SPEED * length / reynolds_number,
        length=length,
        speed=LATTICE_SPEED,
    )


def _label(shape: Shape, reynolds_number: float, tunnel: Tunnel, state: SteadyState) -> xr.Dataset:
    grid = tunnel.grid
    scale = 1 / LATTICE_SPEED
    image = ("y", "x")
    numbers = {
        "reynolds_number": (reynolds_number, "1", "Reynolds number U L / nu"),
        "diameter": (shape.diameter, "m", "largest extent of the body L"),
        "viscosity": (shape.diameter / reynolds_number, "m2 s-1", "kinematic viscosity"),
        "residual": (state.residual, "1", "relative change of velocity in one convective time"),
    }
    return xr.Dataset(
        {
            "signed_distance": (
                image,
                grid.signed_distance(shape).astype(np.float32),
                {"units": "m", "long_name": "distance to the body, positive in the fluid"},
            ),
            "velocity": (
                ("component", *image),
                (state.velocity * scale).astype(np.float32),
                {"units": "m s-1", "long_name": "velocity, zero in the solid"},
            ),
            "pressure": (
                image,
                (state.pressure * scale**2).astype(np.float32),
                {
                    "units": "Pa",
                    "long_name": "pressure above the outlet's at a density of 1 kg m-3",
                },
            ),
            "force": (
                "component",
                state.force * scale**2 * grid.spacing,
                {"units": "N m-1", "long_name": "force on the body: drag and lift"},
            ),
            **{
                name: ((), value, {"units": units, "long_name": text})
                for name, (value, units, text) in numbers.items()
            },
            "steps": ((), state.steps, {"units": "1", "long_name": "steps on the finest grid"}),
            "family": ((), shape.family, {"long_name": "family of the shape"}),
            "shape": ((), shape.to_json(), {"long_name": "outline and parameters"}),
        },
        coords={
            "x": ("x", grid.x, {"units": "m", "standard_name": "projection_x_coordinate"}),
            "y": ("y", grid.y, {"units": "m", "standard_name": "projection_y_coordinate"}),
            "component": ("component", [0, 1], {"units": "1", "long_name": "0 along x, 1 along y"}),
        },
    )
