"""A flow through a duct as a labelled data set, and back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from jaxtyping import Float

from sciml.rans.propagation.march import Flow, Iteration, Solver
from sciml.rans.propagation.pressure import pressure_of
from sciml.rans.propagation.sst import BETA_STAR, Turbulence
from sciml.rans.propagation.stress import Remainder

__all__ = ["as_dataset", "turbulence_of", "velocity_gradient"]

Cells = Float[np.ndarray, " cell"]
Tensors = Float[np.ndarray, "cell 3 3"]

_LABELS = {
    "position": ("m", "centres of the cells; x along the duct"),
    "cell_volume": ("m3", "area of the cells times one metre"),
    "velocity": ("m s-1", "mean velocity"),
    "velocity_gradient": ("s-1", "dU_i/dx_j"),
    "pressure": ("m2 s-2", "pressure over density with 2/3 k in it, without the driving force"),
    "pressure_gradient": ("m s-2", "its gradient"),
    "turbulent_kinetic_energy": ("m2 s-2", "k of the turbulence model"),
    "turbulent_kinetic_energy_gradient": ("m s-2", "its gradient"),
    "specific_dissipation_rate": ("s-1", "omega of the turbulence model"),
    "dissipation_rate": ("m2 s-3", "0.09 k omega"),
    "eddy_viscosity": ("m2 s-1", "of the implicit part of the stress"),
    "kinematic_viscosity": ("m2 s-1", "of the fluid"),
    "wall_distance": ("m", "to the nearest wall"),
    "reynolds_stress": ("m2 s-2", "-2 nu_t S + 2 k b_perp + 2/3 k I"),
    "driving_force": ("m s-2", "-dp/dx over density"),
    "bulk_velocity": ("m s-1", "mean velocity over the section"),
    "change_of_velocity": ("1", "largest change of U in an iteration over the bulk velocity"),
    "change_of_secondary_velocity": ("1", "largest change of V, W over the bulk velocity"),
    "change_of_eddy_viscosity": ("1", "largest change of nu_t over its maximum"),
}


def velocity_gradient(solver: Solver, flow: Flow) -> Tensors:
    """∂Uᵢ/∂xⱼ at the cells, s⁻¹, free of divergence to rounding."""
    op = solver.operators
    along_y, along_z = op.face_value
    v, w = solver.velocity(flow)
    gradient = np.zeros((solver.duct.section.size, 3, 3))
    gradient[:, 0, 1:] = op.cell_gradient((along_y @ flow.speed, along_z @ flow.speed)).T
    cell_v, cell_w = op.at_cells((v, w))
    gradient[:, 1, 2] = op.cell_gradient((0 * v, along_z @ cell_v))[1]
    gradient[:, 2, 1] = op.cell_gradient((along_y @ cell_w, 0 * w))[0]
    gradient[:, 1, 1], gradient[:, 2, 2] = op.cell_gradient((v, w))
    return gradient


def turbulence_of(state: xr.Dataset, *, size: int) -> Turbulence:
    """k, ω and ν_t of a data set.

    Raises:
        ValueError: one of them is missing, has another number of cells, or is not positive.
    """
    names = ("turbulent_kinetic_energy", "specific_dissipation_rate", "eddy_viscosity")
    arrays = []
    for name in names:
        if name not in state:
            raise ValueError(f"a state without {name} was given; solve one with k-omega SST first")
        values = state[name].values.astype(np.float64)
        if values.shape != (size,) or not (np.isfinite(values).all() and values.min() >= 0):
            raise ValueError(
                f"{name} of shape {values.shape} was given; it should have {size} finite values, "
                "none of them negative"
            )
        arrays.append(values)
    return Turbulence(energy=arrays[0], frequency=arrays[1], viscosity=arrays[2])


def as_dataset(
    solver: Solver,
    flow: Flow,
    remainder: Remainder,
    history: Sequence[Iteration],
    energy: Cells | None = None,
) -> xr.Dataset:
    """The flow over `cell`, with the history of its convergence over `iteration`.

    Args:
        solver: of the duct.
        flow: to be labelled.
        remainder: 2 k b⊥ with which it was found.
        history: of the iterations.
        energy: k of the stress where it is not that of the turbulence model, m² s⁻².
    """
    op, section = solver.operators, solver.duct.section
    k = flow.turbulence.energy
    gradient = velocity_gradient(solver, flow)
    pressure = _pressure(solver, flow, remainder)
    strain = gradient + gradient.transpose(0, 2, 1)
    isotropic = 2 / 3 * (k if energy is None else energy)[:, None, None] * np.eye(3)
    stress = remainder.tensor + isotropic - flow.turbulence.viscosity[:, None, None] * strain
    cells = {
        "position": section.positions,
        "cell_volume": section.areas,
        "velocity": np.column_stack([flow.speed, *op.at_cells(solver.velocity(flow))]),
        "velocity_gradient": gradient,
        "pressure": pressure,
        "pressure_gradient": _gradient(op.face_mean, solver, pressure),
        "turbulent_kinetic_energy": k,
        "turbulent_kinetic_energy_gradient": _gradient(op.face_value, solver, k),
        "specific_dissipation_rate": flow.turbulence.frequency,
        "dissipation_rate": BETA_STAR * k * flow.turbulence.frequency,
        "eddy_viscosity": flow.turbulence.viscosity,
        "kinematic_viscosity": np.full(section.size, solver.duct.viscosity),
        "wall_distance": section.wall_distance,
        "reynolds_stress": stress,
    }
    iterations = {
        "change_of_velocity": [one.speed for one in history],
        "change_of_secondary_velocity": [one.secondary for one in history],
        "change_of_eddy_viscosity": [one.viscosity for one in history],
    }
    numbers = {"driving_force": flow.force, "bulk_velocity": solver.duct.bulk_velocity}
    dims = ("cell", "i", "j")
    return xr.Dataset(
        {
            **{n: (dims[: a.ndim], a, _attributes(n)) for n, a in cells.items()},
            **{n: ("iteration", np.array(a), _attributes(n)) for n, a in iterations.items()},
            **{n: ((), a, _attributes(n)) for n, a in numbers.items()},
        },
        attrs=_verdict(solver, history),
    )


def _attributes(name: str) -> dict[str, str]:
    units, text = _LABELS[name]
    return {"units": units, "long_name": text}


def _verdict(solver: Solver, history: Sequence[Iteration]) -> dict[str, str | int]:
    if not history:
        return {"family": "duct", "converged": 0, "verdict": "not yet solved"}
    last, options = history[-1].largest, solver.options
    converged = last < options.tolerance
    verdict = f"changes of {last:.1e} after {len(history)} iterations"
    if not converged:
        falling = last < 0.5 * history[max(0, len(history) - 20)].largest
        trend = "were still falling" if falling else "did not fall any more"
        verdict += f", which {trend}; {options.tolerance:.1e} was asked"
    return {"family": "duct", "converged": int(converged), "verdict": verdict}


def _gradient(
    to_faces: tuple[object, object], solver: Solver, values: Cells
) -> Float[np.ndarray, "cell 3"]:
    y, z = to_faces
    along = solver.operators.cell_gradient((y @ values, z @ values))
    return np.column_stack([np.zeros(values.size), *along])


def _pressure(solver: Solver, flow: Flow, remainder: Remainder) -> Cells:
    nu_t = flow.turbulence.viscosity
    nu = solver.duct.viscosity
    stress = remainder.tensor[:, 1, 1], remainder.tensor[:, 2, 2], remainder.shear
    imbalance = solver.secondary.imbalance(
        flow.streamfunction, (nu + nu_t, nu + solver.operators.vertex_value @ nu_t), stress
    )
    return pressure_of(solver.operators, imbalance)
