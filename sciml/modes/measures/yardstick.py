"""Errors of fields in the inner product that modes are sought in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Float, Float64

from sciml.modes.layout import TIME, Layout, Scaling
from sciml.modes.method import Method

__all__ = ["Yardstick", "directions", "share"]

BLOCK = 64
"""Snapshots that are measured together."""


@dataclass(frozen=True, kw_only=True)
class Yardstick:
    """What errors are measured by: the inner product, and the mean of the training snapshots.

    Attributes:
        layout: of the training snapshots.
        mean: of each number of a row over the training snapshots.
    """

    layout: Layout
    mean: Float64[np.ndarray, " point"]

    @classmethod
    def of(
        cls, train: xr.Dataset, variables: Sequence[str] | None = None, scaling: Scaling = "none"
    ) -> Yardstick:
        """By the training snapshots."""
        layout = Layout.of(train, variables, scaling=scaling)
        return cls(layout=layout, mean=np.asarray(layout.rows(train)).mean(0, dtype=np.float64))

    def deviations(self, ds: xr.Dataset) -> Float64[np.ndarray, "time point"]:
        """Rows less the mean, times the root of the weights: their squares are the energy."""
        return (np.asarray(self.layout.rows(ds)) - self.mean) * np.sqrt(self.layout.weights)

    def energies(
        self, truth: xr.Dataset, found: xr.Dataset
    ) -> tuple[Float64[np.ndarray, " time"], Float64[np.ndarray, " time"]]:
        """Of the difference and of the truth's deviation from the mean, snapshot by snapshot."""
        pairs = list(self._pairs(truth, found))
        lost = [np.square(b - a).sum(1) for a, b in pairs]
        whole = [np.square(a).sum(1) for a, _ in pairs]
        return np.concatenate(lost), np.concatenate(whole)

    def _pairs(
        self, truth: xr.Dataset, found: xr.Dataset
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for start in range(0, truth.sizes[TIME], BLOCK):
            part = {TIME: slice(start, start + BLOCK)}
            yield self.deviations(truth.isel(part)), self.deviations(found.isel(part))

    def error(self, truth: xr.Dataset, found: xr.Dataset) -> float:
        """Root of the energy lost over that of the deviations; the mean alone has error 1."""
        lost, whole = self.energies(truth, found)
        return float(np.sqrt(share(lost.sum(), whole.sum())))


def share(part: float, whole: float) -> float:
    """The ratio, or NaN where there is nothing."""
    return float(part / whole) if whole > 0 else float("nan")


def directions(
    method: Method, latents: xr.DataArray, layout: Layout
) -> Float[np.ndarray, "mode point"]:
    r"""How the field changes with each latent, by one standard deviation of it, from their mean.

    $d_k = [D(\bar z + \sigma_k e_k) - D(\bar z - \sigma_k e_k)] / 2$, which for a linear method is
    its mode times the standard deviation of its amplitude.

    Args:
        method: a fitted one.
        latents: (time, mode), of the training snapshots.
        layout: of the rows that are returned.
    """
    z = latents.transpose(TIME, "mode").values
    steps = np.diag(z.std(0))
    both = z.mean(0) + np.concatenate([steps, -steps])
    fields = method.decode(latents_like(latents, both))
    rows = np.asarray(layout.rows(fields), dtype=np.float64)
    return (rows[: len(steps)] - rows[len(steps) :]) / 2


def latents_like(latents: xr.DataArray, values: Float[np.ndarray, "_ mode"]) -> xr.DataArray:
    """Other values of the same latents."""
    return xr.DataArray(
        values,
        dims=(TIME, "mode"),
        coords={TIME: np.arange(len(values), dtype=float), "mode": latents["mode"].values},
        name=latents.name,
        attrs=latents.attrs,
    )
