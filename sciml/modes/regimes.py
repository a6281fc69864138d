"""Snapshots divided for a comparison: within the limit cycle, and the way to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Float

from sciml.modes.layout import TIME
from sciml.modes.measures.yardstick import Yardstick

__all__ = ["Division", "divide", "saturation"]

SEEN = 0.7
"""Share of the saturated part that is not kept for forecasts."""

FEWEST = 12
"""Snapshots that a transient must have to be learned from."""

TOLERANCE = 0.05
"""Of the level and of the range: what a saturated mean may differ from its level."""


@dataclass(frozen=True, kw_only=True)
class Division:
    """What methods are fitted and judged on.

    Attributes:
        train: every second snapshot of the first part of the limit cycle, evenly in time.
        between: those between them: interpolation within the limit cycle.
        future: those that follow `train` in the same steps.
        transient: snapshots of the way to the limit cycle, None where there is none.
        saturated_from: the time from which the flow counts as saturated.
    """

    train: xr.Dataset
    between: xr.Dataset
    future: xr.Dataset
    transient: xr.Dataset | None
    saturated_from: float


def divide(
    ds: xr.Dataset,
    yardstick: Yardstick,
    *,
    most: int = 300,
    saturated_from: float | None = None,
) -> Division:
    """Divide snapshots.

    Args:
        ds: snapshots, evenly in time.
        yardstick: by which the energy of deviations is told.
        most: snapshots that a method is fitted on; of longer data the first ones are taken, so
            that no frequency is lost.
        saturated_from: the time from which the flow is saturated; by default it is found.

    Raises:
        ValueError: too few snapshots are left.
    """
    times = ds[TIME].values
    if saturated_from is None:
        start = saturation(times, _energy(ds, yardstick))
    else:
        start = int(np.searchsorted(times, saturated_from))
    after = ds.isel({TIME: slice(start, None)})
    seen = min(2 * most, 2 * int(SEEN * after.sizes[TIME] / 2))
    if seen < FEWEST:
        raise ValueError(
            f"{after.sizes[TIME]} saturated snapshots are too few to be divided; at least "
            f"{int(FEWEST / SEEN) + 1} are needed: give more snapshots, or an earlier time of "
            "saturation"
        )
    return Division(
        train=after.isel({TIME: slice(0, seen, 2)}),
        between=after.isel({TIME: slice(1, seen, 2)}),
        future=after.isel({TIME: slice(seen, seen + 2 * most, 2)}),
        transient=_transient(ds, start, most),
        saturated_from=float(times[start]),
    )


def _transient(ds: xr.Dataset, start: int, most: int) -> xr.Dataset | None:
    if start < 2 * FEWEST:
        return None
    return ds.isel({TIME: slice(0, start, max(2, -(-start // most)))})


def saturation(times: Float[np.ndarray, " time"], energy: Float[np.ndarray, " time"]) -> int:
    """The first snapshot from which the mean energy of deviations no longer drifts.

    The level is that of the last third, and means are taken over a tenth of the series. Where the
    last third itself drifts, as in what decays for ever, nothing is transient.

    >>> t = np.linspace(0, 100, 1001)
    >>> energy = 1 + np.exp(-(t - 50) / 2).clip(max=5) + 0.1 * np.sin(20 * t)
    >>> bool(50 < t[saturation(t, energy)] < 70)
    True
    """
    width = max(1, len(times) // 10)
    mean = np.convolve(energy, np.ones(width) / width, mode="valid")
    last = mean[2 * len(mean) // 3 :]
    scale = max(float(np.ptp(mean)), abs(float(last.mean())))
    first, second = np.array_split(last, 2)
    if abs(first.mean() - second.mean()) > TOLERANCE * scale:
        return 0
    slack = max(TOLERANCE * scale, float(np.ptp(last)))
    strange = np.flatnonzero(abs(mean - last.mean()) > slack)
    return int(strange[-1]) + width if len(strange) else 0


def _energy(ds: xr.Dataset, yardstick: Yardstick) -> Float[np.ndarray, " time"]:
    """Of the deviations from the mean of the last third of the snapshots."""
    late = ds.isel({TIME: slice(2 * ds.sizes[TIME] // 3, None)})
    rows = yardstick.layout.rows
    mean = np.asarray(rows(late)).mean(0, dtype=np.float64)
    moved = Yardstick(layout=yardstick.layout, mean=mean)
    blocks = range(0, ds.sizes[TIME], 64)
    return np.concatenate(
        [np.square(moved.deviations(ds.isel({TIME: slice(k, k + 64)}))).sum(1) for k in blocks]
    )
