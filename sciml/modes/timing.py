"""The times of snapshots as numbers, and the one step between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Float64

from sciml.modes.layout import TIME

__all__ = ["Clock", "even_step", "has_even_steps", "times"]

UNEVEN = 1e-3
"""How far a step may differ from the mean one, in parts of it: times are often kept in float32."""


def times(ds: xr.Dataset) -> Float64[np.ndarray, " time"]:
    """When the snapshots are, as float64; dates become seconds after the first.

    Raises:
        ValueError: there is no coordinate `time`, or it does not increase.

    >>> times(xr.Dataset(coords={"time": np.array(["2020-01-01", "2020-01-02"], "M8[ns]")}))
    array([    0., 86400.])
    """
    if TIME not in ds.coords:
        raise ValueError(
            f"the data has no coordinate {TIME}: give the times of the snapshots with "
            f"ds.assign_coords({TIME}=...)"
        )
    values = ds[TIME].values
    if values.dtype.kind == "M":
        values = values - values[0]
    if values.dtype.kind == "m":
        values = values / np.timedelta64(1, "s")
    values = values.astype(np.float64)
    if not (np.diff(values) > 0).all():
        place = int(np.argmin(np.diff(values) > 0)) + 1
        raise ValueError(
            f"{TIME} does not increase at snapshot {place}: sort the data with ds.sortby('{TIME}') "
            "and drop what is double"
        )
    return values


def even_step(ds: xr.Dataset, *, advice: str = "") -> float:
    """The step between snapshots, which must be the same throughout.

    Args:
        ds: snapshots with a coordinate `time`.
        advice: what else could be done if it is not, added to the error.

    Raises:
        ValueError: there are fewer than two snapshots, or the steps differ.

    >>> even_step(xr.Dataset(coords={"time": [0.0, 0.5, 1.0]}))
    0.5
    """
    values = times(ds)
    if len(values) < 2:
        raise ValueError(f"there is {len(values)} snapshot, and a step in time needs two")
    steps = np.diff(values)
    if not _alike(steps):
        raise ValueError(
            f"the steps in {TIME} lie between {steps.min():.6g} and {steps.max():.6g}, and must be "
            f"equal: interpolate to equal times with ds.interp({TIME}=...){advice}"
        )
    return float((values[-1] - values[0]) / len(steps))


def has_even_steps(ds: xr.Dataset) -> bool:
    """Whether there are times, at least two, and one step between them."""
    if TIME not in ds.coords or ds.sizes[TIME] < 2:
        return False
    return _alike(np.diff(times(ds)))


def _alike(steps: Float64[np.ndarray, " step"]) -> bool:
    return bool(np.abs(steps - steps.mean()).max() <= UNEVEN * steps.mean())


@dataclass(frozen=True, kw_only=True)
class Clock:
    """When snapshots at equal steps are.

    Attributes:
        step: between them.
        start: the first.
        units: of both; "s" for dates, "1" where the data says nothing.
    """

    step: float
    start: float
    units: str = "1"

    @classmethod
    def of(cls, ds: xr.Dataset, *, step: float | None = None, advice: str = "") -> Clock:
        """The clock of snapshots; unequal steps are refused unless a step is given.

        Raises:
            ValueError: as `even_step` does.
        """
        step = even_step(ds, advice=advice) if step is None else step
        dates = ds[TIME].dtype.kind in "mM"
        units = "s" if dates else str(ds[TIME].attrs.get("units", "1"))
        return cls(step=step, start=float(times(ds)[0]), units=units)

    @property
    def inverse(self) -> dict[str, str]:
        """Attributes of what is per unit of time."""
        return {"units": "1" if self.units == "1" else f"{self.units}-1"}

    def later(self, ds: xr.Dataset, steps: int) -> xr.DataArray:
        """The `steps` times after the last snapshot, as the data gives its own.

        Raises:
            ValueError: fewer than one step.
        """
        if steps < 1:
            raise ValueError(f"{steps} steps were asked for: a forecast needs at least one")
        time = ds[TIME]
        ahead = self.step * np.arange(1, steps + 1)
        if time.dtype.kind in "mM":
            ahead = (ahead * 1e9).round().astype("timedelta64[ns]")
        return xr.DataArray(time.values[-1] + ahead, dims=(TIME,), attrs=time.attrs)
