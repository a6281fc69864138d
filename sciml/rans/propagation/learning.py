"""What a network has to learn so that the mean velocity comes out right."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from sciml.rans.flows import load_flow
from sciml.rans.propagation.duct import Duct, duct_of
from sciml.rans.propagation.grid import channel
from sciml.rans.propagation.march import SolverOptions
from sciml.rans.propagation.solve import Closure, PropagationOptions, propagate, solve_sst
from sciml.surrogate import Ensemble

__all__ = [
    "Propagated",
    "PropagatedNetwork",
    "channel_state",
    "fluctuation_scale",
    "with_remainder",
]

Cells = Float[np.ndarray, " cell"]
Tensors = Float[np.ndarray, "cell 3 3"]

_BEYOND = PropagationOptions(gives="remainder")
_SOLVER = SolverOptions(tolerance=1e-5, iterations=200)
_GROWTH = 60.0
"""Width of the middle cell of a channel over that at the wall, at least."""


def fluctuation_scale(state: xr.Dataset) -> Cells:
    """K = k + ν |G|, m²/s²: a scale of the stress that does not vanish before it, at walls.

    k of a RANS model falls faster towards a wall than that of the simulation, and a stress over
    this k grows without bound. ν |G| is the square of the friction velocity there.

    Args:
        state: of a RANS model over `cell`.
    """
    G = np.sqrt((state["velocity_gradient"].values ** 2).sum((1, 2)))
    return state["turbulent_kinetic_energy"].values + state["kinematic_viscosity"].values * G


def with_remainder(state: xr.Dataset, stress: Tensors, gradient: Tensors) -> xr.Dataset:
    r"""A state with what its eddy viscosity leaves of a stress in the place of `anisotropy`.

        b⊥ = (⟨uᵢuⱼ⟩ - ⅓ ⟨uₖuₖ⟩ δᵢⱼ + 2 ν_t Sᵢⱼ) / (2 K),    K of :func:`fluctuation_scale`

    With S of the simulation, 2 K b⊥ beside ν_t has the mean velocity of the simulation as its
    solution, whatever ν_t is. So this, and not b, is what is learned for a solver.

    Args:
        state: of the RANS model over `cell`, with `eddy_viscosity`.
        stress: Reynolds stress of the simulation, m²/s².
        gradient: velocity gradient of the simulation, 1/s.
    """
    deviator = stress - np.trace(stress, axis1=1, axis2=2)[:, None, None] * np.eye(3) / 3
    strain = (gradient + gradient.transpose(0, 2, 1)) / 2
    total = deviator + 2 * state["eddy_viscosity"].values[:, None, None] * strain
    b = total / (2 * fluctuation_scale(state))[:, None, None]
    return state.assign(anisotropy=(("cell", "i", "j"), b, {"units": "1"}))


def channel_state(name: str, *, cells: int = 90) -> xr.Dataset:
    """A plane channel by k-omega SST, with the remainder of its simulation.

    Channels are what is known at several Reynolds numbers: they teach how the stress near a wall
    changes with it. Lengths are in half heights and velocities in the friction velocity of the
    simulation, whose bulk velocity drives the flow.

    Args:
        name: one of the flows `channel_*` of :data:`sciml.rans.FLOWS`.
        cells: from the wall to the middle.
    """
    profile = load_flow(name)
    y, speed = profile["position"].values[:, 1], profile["velocity"].values[:, 0]
    reynolds = float(y[-1])
    duct = Duct(
        section=channel(1.0, cells=cells, growth=max(_GROWTH, reynolds / 3)),
        viscosity=1 / reynolds,
        bulk_velocity=float(np.trapezoid(speed, y) / reynolds),
    )
    state = solve_sst(duct, options=SolverOptions(tolerance=1e-4))
    place = state["wall_distance"].values * reynolds
    turn = _axes_of_wall(state["velocity_gradient"].values)
    stress, gradient = (
        turn @ _interpolated(place, y, profile[variable].values) @ turn.T
        for variable in ("reynolds_stress", "velocity_gradient")
    )
    state = state.drop_dims("iteration").assign_attrs(flow=name, family="channel")
    return with_remainder(state, stress, gradient * reynolds)


def _axes_of_wall(gradient: Tensors) -> Float[np.ndarray, "3 3"]:
    """From axes with the wall at y = 0 to those of a section, whose walls lie elsewhere."""
    mean = gradient.mean(0)[0]
    normal = int(abs(mean).argmax())
    turn = np.eye(3) if normal == 1 else np.eye(3)[[0, 2, 1]]
    turn[normal] *= np.sign(mean[normal])
    return turn


def _interpolated(
    place: Cells,
    y: Float[np.ndarray, " point"],
    tensors: Float[np.ndarray, "point 3 3"],
) -> Tensors:
    flat = tensors.reshape(len(y), 9)
    columns = [np.interp(place, y, column) for column in flat.T]
    return np.stack(columns, 1).reshape(-1, 3, 3)


@dataclass(eq=False)
class Propagated:
    """A closure of b⊥ in a solver: its predictions are mean velocities.

    Args:
        closure: the state of a duct over `cell` to b⊥.
        options: of the solver.
    """

    closure: Closure
    options: SolverOptions = field(default_factory=lambda: _SOLVER)

    def fit(
        self,
        train: xr.Dataset,
        valid: xr.Dataset | None = None,
        *,
        folder: Path | None = None,
        resume: bool = False,
    ) -> Any:
        """Nothing is learned."""

    def predict(self, ds: xr.Dataset) -> xr.Dataset:
        """Mean velocity in the cells of a duct, in which the stress of the closure acts."""
        return _mean_flow(ds, self.closure(ds.rename(sample="cell")), self.options)


@dataclass(eq=False)
class PropagatedNetwork:
    """Networks for b⊥, their mean in a solver: its predictions are mean velocities.

    Args:
        ensemble: of closures; what they are fitted on has b⊥ as `anisotropy`.
        options: of the solver.
    """

    ensemble: Ensemble[Any]
    options: SolverOptions = field(default_factory=lambda: _SOLVER)

    def fit(
        self,
        train: xr.Dataset,
        valid: xr.Dataset | None = None,
        *,
        folder: Path | None = None,
        resume: bool = False,
    ) -> Any:
        """Fit the networks."""
        return self.ensemble.fit(train, valid, folder=folder, resume=resume)

    def predict(self, ds: xr.Dataset) -> xr.Dataset:
        """Mean velocity in the cells of a duct, in which the stress of the networks acts."""
        return _mean_flow(ds, self.ensemble.predict(ds)["anisotropy"].values, self.options)

    def save(self, folder: Path) -> None:
        """Save the networks."""
        self.ensemble.save(folder)

    def load(self, folder: Path) -> PropagatedNetwork:
        """Bring back what `save` wrote."""
        return replace(self, ensemble=Ensemble.load(folder))


def _mean_flow(ds: xr.Dataset, b: Tensors, options: SolverOptions) -> xr.Dataset:
    state = ds.rename(sample="cell")
    energy = fluctuation_scale(state)
    flow = propagate(duct_of(state), state, b, energy=energy, options=_BEYOND, solver=options)
    converged = np.full(ds.sizes["sample"], float(flow.attrs["converged"]))
    return xr.Dataset(
        {
            "velocity": (("sample", "i"), flow["velocity"].values, {"units": "m s-1"}),
            "converged": ("sample", converged, {"units": "1"}),
        }
    )
