"""What a surrogate of steady flow must beat: no model, a lookup, and a solver as quick as it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch.nn import functional

from sciml.flow.fields import images, label_fields
from sciml.flow.solver import SolverOptions, Unsteady
from sciml.flow.tunnel import LATTICE_SPEED, coarser, solve_distance

__all__ = ["CoarseSolver", "FreeStream", "NearestShape"]


def _learn_nothing(
    self: object,
    train: xr.Dataset,
    valid: xr.Dataset | None = None,
    *,
    folder: Path | None = None,
    resume: bool = False,
) -> None:
    """Nothing is learned."""


class FreeStream:
    """The inlet velocity everywhere in the fluid, and no pressure."""

    fit = _learn_nothing

    def predict(self, ds: xr.Dataset) -> xr.Dataset:
        """u = (1, 0) m/s in the fluid."""
        fluid = (ds["signed_distance"].values > 0).astype(np.float32)
        velocity = np.stack([fluid, np.zeros_like(fluid)], axis=1)
        return label_fields(ds, velocity, np.zeros_like(fluid))


class NearestShape:
    """The flow of the training sample whose signed distance is nearest, cut to the new body.

    Distances between bodies are root mean squares of the difference of their signed distances on
    a grid coarser by eight, in units of its spread over the training samples; the logarithm of Re
    counts as one more cell-average of the same weight.
    """

    def __init__(self) -> None:
        self._keys = np.zeros((0, 0))
        self._train: xr.Dataset | None = None

    def fit(
        self,
        train: xr.Dataset,
        valid: xr.Dataset | None = None,
        *,
        folder: Path | None = None,
        resume: bool = False,
    ) -> None:
        """Keep the keys of the training samples; their fields stay where they are."""
        self._spread = float(train["signed_distance"].values.std())
        self._keys, self._train = self._key(train), train

    def predict(self, ds: xr.Dataset) -> xr.Dataset:
        """Fields of the nearest training samples, zero in the new solid.

        Raises:
            ValueError: not fitted.
        """
        if self._train is None:
            raise ValueError("this NearestShape is not fitted: call fit")
        keys = self._key(ds)
        gaps = (keys**2).sum(1)[:, None] - 2 * keys @ self._keys.T + (self._keys**2).sum(1)[None]
        nearest, order = np.unique(gaps.argmin(1), return_inverse=True)
        found = self._train.isel(sample=nearest)
        fluid = ds["signed_distance"].values > 0
        velocity = images(found["velocity"])[order] * fluid[:, None]
        return label_fields(ds, velocity, found["pressure"].values[order] * fluid)

    def _key(self, ds: xr.Dataset) -> Float[np.ndarray, "sample features"]:
        distance = torch.from_numpy(ds["signed_distance"].values)
        coarse = functional.avg_pool2d(distance, 8).flatten(1).numpy() / self._spread
        reynolds = np.log(ds["reynolds_number"].values)[:, None]
        return np.concatenate([coarse / np.sqrt(coarse.shape[1]), reynolds], axis=1)


@dataclass(frozen=True, kw_only=True)
class CoarseSolver:
    """Our own solver on a coarser grid, interpolated: what else the same time could buy.

    Attributes:
        factor: how much coarser than the grid of the data.
        solver: how the steady state is sought there.
    """

    factor: int = 4
    solver: SolverOptions = field(default_factory=lambda: SolverOptions(tolerance=3e-3, levels=2))

    fit = _learn_nothing

    def predict(self, ds: xr.Dataset) -> xr.Dataset:
        """Solve each sample on the coarse grid; where no steady state is found, NaN."""
        samples = [
            self._solve(d.astype(float), float(re), float(length))
            for d, re, length in zip(
                ds["signed_distance"].values,
                ds["reynolds_number"].values,
                ds["diameter"].values,
                strict=True,
            )
        ]
        fluid = ds["signed_distance"].values > 0
        velocity, pressure = np.stack([s[:2] for s in samples]), np.stack([s[2] for s in samples])
        return label_fields(ds, velocity * fluid[:, None], pressure * fluid)

    def _solve(
        self, distance: Float[np.ndarray, "y x"], reynolds_number: float, diameter: float
    ) -> Float[np.ndarray, "3 y x"]:
        ny, nx = distance.shape
        try:
            state = solve_distance(
                coarser(distance, self.factor), reynolds_number, diameter, self.solver
            )
        except Unsteady:
            return np.full((3, ny, nx), np.nan, dtype=np.float32)
        velocity, pressure = state.velocity / LATTICE_SPEED, state.pressure / LATTICE_SPEED**2
        both = torch.from_numpy(np.concatenate([velocity, pressure[None]])).float()
        return functional.interpolate(both[None], size=(ny, nx), mode="bilinear")[0].numpy()
