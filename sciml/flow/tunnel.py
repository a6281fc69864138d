"""A body in a wind tunnel: the steady flow past a shape, as one labelled sample."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import xarray as xr
from jaxtyping import Float

from sciml.flow.grid import Grid, check_body
from sciml.flow.shapes import Shape
from sciml.flow.solver import LatticeProblem, SolverOptions, SteadyState, solve_steady
from sciml.kernels.lattice_boltzmann import PressureOutlet, Sides, Slip, Velocity

__all__ = ["LATTICE_SPEED", "Tunnel", "coarser", "flow_inputs", "solve_distance", "solve_flow"]

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
        """The domain of 2 m x 1 m."""
        return Grid(shape=(self.cells, 2 * self.cells), spacing=1 / self.cells)


def solve_flow(shape: Shape, reynolds_number: float, tunnel: Tunnel | None = None) -> xr.Dataset:
    """The steady flow past a shape that stands in the tunnel.

    Args:
        shape: the body, placed in the domain of 2 m x 1 m.
        reynolds_number: Re = U L / ν with L the body's diameter, its largest extent.
        tunnel: the domain and the solver.

    Returns:
        A sample with `velocity` [m s-1] and `pressure` [Pa] (zero in the solid),
        `signed_distance` [m], `force` [N m-1], `reynolds_number`, `diameter` [m], `viscosity`
        [m2 s-1], `steps`, `residual`, `steady`, `family` and `shape` (as JSON).

    Raises:
        ValueError: a body that does not stand in the domain, a Reynolds number not positive.
        sciml.flow.solver.Unsteady: no steady state was found.
    """
    tunnel = tunnel or Tunnel()
    inputs = flow_inputs(shape, reynolds_number, tunnel.grid).isel(sample=0)
    distance = tunnel.grid.signed_distance(shape)
    state = solve_distance(distance, reynolds_number, shape.diameter, tunnel.solver)
    return _with_flow(inputs, state, tunnel.grid.spacing)


def solve_distance(
    signed_distance: Float[np.ndarray, "y x"],
    reynolds_number: float,
    diameter: float,
    options: SolverOptions | None = None,
) -> SteadyState:
    """The steady flow past a body that is known by its signed distance.

    Args:
        signed_distance: d [m] at the cell centres of the tunnel, positive in the fluid.
        reynolds_number: Re = U L / ν.
        diameter: L [m].
        options: how the steady state is sought.

    Returns:
        The flow in lattice units, with an inlet velocity of `LATTICE_SPEED`.
    """
    cells = signed_distance.shape[0]

    def problem(factor: int) -> LatticeProblem:
        length = diameter * cells / factor
        return LatticeProblem(
            signed_distance=coarser(signed_distance, factor) * (cells // factor),
            sides=Sides(
                left=Velocity(x=LATTICE_SPEED), right=PressureOutlet(), bottom=Slip(), top=Slip()
            ),
            viscosity=LATTICE_SPEED * length / reynolds_number,
            length=length,
            speed=LATTICE_SPEED,
        )

    return solve_steady(problem, options)


def coarser(image: Float[np.ndarray, "y x"], factor: int) -> Float[np.ndarray, "_ _"]:
    """Means over squares of cells: second-order values at the centres of coarser ones."""
    ny, nx = image.shape
    return image.reshape(ny // factor, factor, nx // factor, factor).mean((1, 3))


def flow_inputs(shape: Shape, reynolds_number: float, grid: Grid) -> xr.Dataset:
    """What a surrogate is asked: one sample without its flow.

    Raises:
        ValueError: a body that does not stand in the domain, a Reynolds number not positive.
    """
    if not reynolds_number > 0:
        raise ValueError(f"a Reynolds number of {reynolds_number} was given; it must be positive")
    check_body(shape, grid)
    numbers = {
        "reynolds_number": (reynolds_number, "1", "Reynolds number U L / nu"),
        "diameter": (shape.diameter, "m", "largest extent of the body L"),
        "viscosity": (shape.diameter / reynolds_number, "m2 s-1", "kinematic viscosity"),
    }
    distance = grid.signed_distance(shape).astype(np.float32)
    sample = xr.Dataset(
        {
            "signed_distance": (
                ("y", "x"),
                distance,
                {"units": "m", "long_name": "distance to the body, positive in the fluid"},
            ),
            **{
                name: ((), value, {"units": units, "long_name": text})
                for name, (value, units, text) in numbers.items()
            },
            "family": ((), shape.family, {"long_name": "family of the shape"}),
            "shape": ((), shape.to_json(), {"long_name": "outline and parameters"}),
        },
        coords={
            "x": ("x", grid.x, {"units": "m", "standard_name": "projection_x_coordinate"}),
            "y": ("y", grid.y, {"units": "m", "standard_name": "projection_y_coordinate"}),
        },
    )
    return sample.expand_dims("sample")


def _with_flow(inputs: xr.Dataset, state: SteadyState, spacing: float) -> xr.Dataset:
    """The sample with its flow, in SI units."""
    scale = 1 / LATTICE_SPEED
    image = ("y", "x")
    return inputs.assign(
        velocity=(
            ("component", *image),
            (state.velocity * scale).astype(np.float32),
            {"units": "m s-1", "long_name": "velocity, zero in the solid"},
        ),
        pressure=(
            image,
            (state.pressure * scale**2).astype(np.float32),
            {"units": "Pa", "long_name": "pressure above the outlet's at a density of 1 kg m-3"},
        ),
        force=(
            "component",
            state.force * scale**2 * spacing,
            {"units": "N m-1", "long_name": "force on the body: drag and lift"},
        ),
        residual=(
            (),
            state.residual,
            {"units": "1", "long_name": "relative change of velocity in one convective time"},
        ),
        steps=((), state.steps, {"units": "1", "long_name": "steps on the finest grid"}),
        steady=((), np.int8(1), {"units": "1", "long_name": "1 where a steady state was found"}),
        component=("component", [0, 1], {"units": "1", "long_name": "0 along x, 1 along y"}),
    )
