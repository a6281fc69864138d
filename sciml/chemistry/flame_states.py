"""Labelled states along free flames and beside them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from sciml.chemistry.flames import free_flame
from sciml.chemistry.generation import KINDS, label, mechanism_of_solver
from sciml.chemistry.integration import DirectIntegration
from sciml.chemistry.sampling import States, along, join, mix, perturb
from sciml.data import SampleFailure

__all__ = ["FlameStates"]


@dataclass(frozen=True, kw_only=True)
class FlameStates:
    """States along one freely propagating flame and beside it: a `SampleTask`.

    In a flame species diffuse against each other, so that its states lie on no trajectory of a
    homogeneous mixture.

    Args:
        solver: of the labels.
        fuel: composition in moles.
        oxidizer: likewise.
        temperature: range of the unburnt gas, K.
        pressure: range, Pa.
        equivalence_ratio: range.
        time_step: range, s, uniform in its logarithm.
        width: of the domain, m.
        along: states along the flame.
        near: perturbed states.
        mixed: mixtures of two states of the flame.
    """

    solver: DirectIntegration
    fuel: str
    oxidizer: str = "O2:1, N2:3.76"
    temperature: tuple[float, float] = (295.0, 305.0)
    pressure: tuple[float, float] = (101325.0, 101325.0)
    equivalence_ratio: tuple[float, float]
    time_step: tuple[float, float] = (1e-6, 1e-6)
    width: float = 0.02
    along: int = 400
    near: int = 400
    mixed: int = 200

    def __call__(self, index: int, rng: np.random.Generator) -> xr.Dataset:
        """The states of one flame."""
        import cantera

        try:
            flame = free_flame(
                self.solver.mechanism,
                fuel=self.fuel,
                oxidizer=self.oxidizer,
                equivalence_ratio=rng.uniform(*self.equivalence_ratio),
                temperature=rng.uniform(*self.temperature),
                pressure=rng.uniform(*self.pressure),
                width=self.width,
            )
        except cantera.CanteraError as error:
            raise SampleFailure("no flame was found") from error
        mechanism = mechanism_of_solver(self.solver)
        seen = along(between(flame.states, rng, count=4 * self.along), self.along)
        chosen = rng.integers(self.along, size=self.near)
        near = perturb(States(*(array[chosen] for array in seen)), mechanism, rng, composition=0.3)
        partners = rng.integers(self.along, size=(self.mixed, 2))
        mixed = mix(seen, mechanism, rng, partners=partners)
        kinds = np.repeat(np.arange(len(KINDS), dtype=np.int8), (self.along, self.near, self.mixed))
        low, high = np.log(self.time_step)
        steps = np.exp(rng.uniform(low, high, len(kinds)))
        return label(self.solver, join(seen, near, mixed), steps, kind=kinds)


def between(states: States, rng: np.random.Generator, *, count: int) -> States:
    """States at random places between the points of a profile."""
    places = np.sort(rng.uniform(0, len(states.temperature) - 1, count))
    left = places.astype(int).clip(max=len(states.temperature) - 2)
    share = places - left

    def at(values: np.ndarray) -> np.ndarray:
        weight = share.reshape(-1, *[1] * (values.ndim - 1))
        return (1 - weight) * values[left] + weight * values[left + 1]

    Y = at(states.mass_fractions).clip(0)
    return States(at(states.temperature), at(states.pressure), Y / Y.sum(1, keepdims=True))
