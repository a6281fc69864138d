"""What a learned step of chemistry must beat: a table, frozen rates, and direct integration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from scipy.spatial import cKDTree

from sciml.chemistry.surrogate import Stepped
from sciml.kernels.kinetics import Mechanism
from sciml.kernels.mixture import close_step, explicit_step, reactive_species
from sciml.kernels.mixture.step import boxcox

__all__ = ["ExplicitStep", "NearestState"]

EXPONENT = 0.1

Cells = Float[np.ndarray, " cell"]
Species = Float[np.ndarray, "cell species"]


class ExplicitStep:
    """Rates as they are at the beginning of the step, in the positive form of `explicit_step`.

    Args:
        mechanism: species and reactions.
    """

    def __init__(self, mechanism: Mechanism) -> None:
        self.mechanism = mechanism

    def advance(
        self, temperature: Cells, pressure: Cells, mass_fractions: Species, time_step: Cells
    ) -> Stepped:
        """The state after the step, with elements and enthalpy kept."""
        T, p, Y, dt = map(torch.from_numpy, (temperature, pressure, mass_fractions, time_step))
        z, change = explicit_step(self.mechanism, T, p, Y, dt, exponent=EXPONENT)
        T, Y, failed = close_step(self.mechanism, T, Y, z + change, exponent=EXPONENT)
        return Stepped(T.numpy(), pressure, Y.numpy(), ~failed.numpy())


class NearestState:
    """A table: the change that the nearest known state underwent, found by a k-d tree.

    Near is meant in T, ln p and the transformed mass fractions, each over its deviation. As in
    situ adaptive tabulation without its linear corrections (Pope, Combust. Theory Modelling 1
    (1997) 41, doi:10.1080/713665229); elements and enthalpy are kept as by the surrogates.

    Args:
        mechanism: species and reactions.
    """

    def __init__(self, mechanism: Mechanism) -> None:
        self.mechanism = mechanism
        self._reactive = torch.from_numpy(reactive_species(mechanism))

    def fit(
        self,
        train: xr.Dataset,
        valid: xr.Dataset | None = None,
        *,
        folder: Path | None = None,
        resume: bool = False,
    ) -> NearestState:
        """Take up the labelled states; they need one time step."""
        T, p = train["temperature"].values, train["pressure"].values
        Y, Y_after = (
            torch.from_numpy(train[name].transpose("sample", "species").values)
            for name in ("mass_fraction", "mass_fraction_after")
        )
        z = boxcox(Y[:, self._reactive], EXPONENT)
        self._change = boxcox(Y_after[:, self._reactive], EXPONENT) - z
        features = _features(T, p, z)
        self._scale = np.where(np.ptp(features, axis=0) > 0, features.std(0), 1.0)
        self._tree = cKDTree(features / self._scale)
        return self

    def advance(
        self, temperature: Cells, pressure: Cells, mass_fractions: Species, time_step: Any
    ) -> Stepped:
        """The state after the step, whose size is that of the table."""
        T, Y = torch.from_numpy(temperature), torch.from_numpy(mass_fractions)
        z = boxcox(Y[:, self._reactive], EXPONENT)
        _, at = self._tree.query(_features(temperature, pressure, z) / self._scale)
        T, Y, failed = close_step(
            self.mechanism, T, Y, z + self._change[torch.from_numpy(at)], exponent=EXPONENT
        )
        return Stepped(T.numpy(), pressure, Y.numpy(), ~failed.numpy())


def _features(T: Cells, p: Cells, z: torch.Tensor) -> Float[np.ndarray, "cell feature"]:
    return np.column_stack([T, np.log(p), z.numpy()])
