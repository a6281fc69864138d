"""Labelled states: where a reactor is after a time step, along ignitions and beside them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from sciml.chemistry.integration import DirectIntegration
from sciml.chemistry.loading import load_mechanism
from sciml.chemistry.sampling import States, along, join, mix, perturb
from sciml.data import SampleFailure
from sciml.kernels.kinetics import Mechanism

__all__ = ["KINDS", "IgnitionStates", "label", "provenance", "states_of"]

KINDS = ("along", "near", "mixed")
"""Where states come from: a trajectory, its neighbourhood, mixtures with unburnt and burnt gas."""

NEARLY = 5.0
"""How far from its equilibrium temperature a trajectory may end, K."""


@dataclass(frozen=True, kw_only=True)
class IgnitionStates:
    """States along one ignition and beside it, each with the state that it becomes.

    A sample is an adiabatic ignition of a fuel and an oxidizer at a random temperature, pressure
    and equivalence ratio, so that all states of a sample belong together when data are split.

    Args:
        solver: of the trajectory and of the labels.
        fuel: composition in moles.
        oxidizer: likewise.
        temperature: range of the unburnt gas, K.
        pressure: range, Pa, uniform in its logarithm.
        equivalence_ratio: range.
        time_step: range, s, uniform in its logarithm; twice the same for one step alone.
        longest: time in which equilibrium must be reached, s.
        along: states along the trajectory.
        near: perturbed states.
        mixed: mixtures of two states of the trajectory, or with the unburnt and the burnt gas.
    """

    solver: DirectIntegration
    fuel: str
    oxidizer: str = "O2:1, N2:3.76"
    temperature: tuple[float, float]
    pressure: tuple[float, float]
    equivalence_ratio: tuple[float, float]
    time_step: tuple[float, float] = (1e-6, 1e-6)
    longest: float = 1e-2
    along: int = 100
    near: int = 200
    mixed: int = 100

    def __call__(self, index: int, rng: np.random.Generator) -> xr.Dataset:
        """The states of one ignition."""
        fresh = self.unburnt(rng)
        trajectory = self._trajectory(fresh)
        mechanism = mechanism_of_solver(self.solver)
        seen = along(trajectory, self.along)
        chosen = rng.integers(self.along, size=self.near)
        near = perturb(States(*(array[chosen] for array in seen)), mechanism, rng)
        ends = States(*(array[[0, -1]] for array in trajectory))
        mixed = mix(join(seen, ends), mechanism, rng, partners=self._partners(rng))
        kinds = np.repeat(np.arange(len(KINDS), dtype=np.int8), (self.along, self.near, self.mixed))
        low, high = np.log(self.time_step)
        steps = np.exp(rng.uniform(low, high, len(kinds)))
        return label(self.solver, join(seen, near, mixed), steps, kind=kinds)

    def unburnt(self, rng: np.random.Generator) -> States:
        """A random condition."""
        Y = self.solver.mixture(
            fuel=self.fuel,
            oxidizer=self.oxidizer,
            equivalence_ratio=rng.uniform(*self.equivalence_ratio),
        )
        low, high = np.log(self.pressure)
        p = np.exp(rng.uniform(low, high, 1))
        return States(rng.uniform(*self.temperature, 1), p, Y[None])

    def _trajectory(self, fresh: States) -> States:
        import cantera

        T, p, Y = (array[0] for array in fresh)
        try:
            found = self.solver.trajectory(float(T), float(p), Y, duration=self.longest)
        except cantera.CanteraError as error:
            raise SampleFailure("the ignition could not be integrated") from error
        final = self.solver.equilibrium(float(T), float(p), Y)[0]
        if abs(found.temperature[-1] - final) > NEARLY:
            raise SampleFailure(f"no equilibrium in {self.longest:g} s")
        return States(*found[1:])

    def _partners(self, rng: np.random.Generator) -> Int[np.ndarray, "mixed 2"]:
        """Two states of the trajectory, or one and, in every other mixture, one of its ends."""
        first, second = rng.integers(self.along, size=(2, self.mixed))
        second[::2] = self.along + rng.integers(2, size=len(second[::2]))
        return np.stack([first, second], axis=1)


def label(
    solver: DirectIntegration,
    states: States,
    time_step: Float[np.ndarray, " cell"],
    *,
    kind: Int[np.ndarray, " cell"] | None = None,
) -> xr.Dataset:
    """States and what they become, as a data set over `state` and `species`.

    Cells that could not be integrated are marked in `failed`, and what they become is NaN.

    Args:
        solver: direct integration.
        states: to begin from.
        time_step: of each, s.
        kind: index into `KINDS`; none leaves the variable out.
    """
    after = solver.advance(*states, time_step)
    mechanism = mechanism_of_solver(solver)
    both = ("state", "species")
    variables = {
        "temperature": ("state", states.temperature, {"units": "K"}),
        "pressure": ("state", states.pressure, {"units": "Pa"}),
        "mass_fraction": (both, states.mass_fractions, {"units": "1"}),
        "time_step": ("state", time_step, {"units": "s"}),
        "temperature_after": ("state", after.temperature, {"units": "K"}),
        "pressure_after": ("state", after.pressure, {"units": "Pa"}),
        "mass_fraction_after": (both, after.mass_fractions, {"units": "1"}),
        "failed": ("state", after.failed.astype(np.int8), {"units": "1"}),
    }
    if kind is not None:
        told = {
            "units": "1",
            "flag_meanings": " ".join(KINDS),
        }
        variables["kind"] = ("state", kind.astype(np.int8), told)
    return xr.Dataset(
        variables,
        coords={"species": list(mechanism.names)},
        attrs=provenance(solver),
    )


def provenance(solver: DirectIntegration) -> dict[str, str | float]:
    """What a file of labelled states says about them, for the `attributes` of `generate`."""
    mechanism = mechanism_of_solver(solver)
    return {
        "mechanism": mechanism.name,
        "mechanism_checksum": mechanism.checksum,
        "constant": solver.constant,
        "relative_tolerance": solver.relative,
        "absolute_tolerance": solver.absolute,
    }


def states_of(ds: xr.Dataset) -> xr.Dataset:
    """The states of all samples in one row, without those whose integration failed.

    Args:
        ds: of dimensions `sample`, `state` and `species`, as generated from `IgnitionStates`.

    Returns:
        A data set over `sample`, a state each, and `species`; `group` says which ignition a state
        comes from, and the attribute `failed_states` how many were left out.
    """
    kept = [name for name in ds.data_vars if "state" in ds[name].dims]
    group = xr.DataArray(np.arange(ds.sizes["sample"]), dims="sample", attrs={"units": "1"})
    rows = ds[kept].assign(group=group.broadcast_like(ds["failed"]))
    rows = rows.rename(sample="ignition").stack(sample=("ignition", "state"), create_index=False)
    rows = rows.drop_vars(["ignition", "state"], errors="ignore").transpose("sample", ...)
    fine = rows["failed"].values == 0
    rows = rows.isel(sample=fine).drop_vars("failed")
    return rows.assign_attrs(ds.attrs, failed_states=int((~fine).sum()))


@lru_cache(maxsize=4)
def mechanism_of_solver(solver: DirectIntegration) -> Mechanism:
    return load_mechanism(solver.mechanism, phase=solver.phase)
