"""The shedding of vortices seen in the lift: its frequency, its growth, when it has saturated."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float64

__all__ = ["Growth", "linear_growth", "saturation_time", "shedding_frequency"]


class Growth(NamedTuple):
    """How fast a small disturbance grows, and how fast it oscillates; per unit of time."""

    rate: float
    frequency: float


def shedding_frequency(lift: xr.DataArray) -> float:
    """Mean frequency of an oscillation, from the times at which it rises through its mean.

    A straight line is fitted to the times of all crossings, each interpolated between two values.
    With U and D as units it is the Strouhal number f D / U.

    Args:
        lift: values over one dimension, whose coordinate is the time.

    Raises:
        ValueError: it rises through its mean less than three times.

    >>> t = np.arange(0, 40, 0.25)
    >>> lift = xr.DataArray(0.3 * np.sin(2 * np.pi * 0.164 * t), {"time": t}, "time")
    >>> round(shedding_frequency(lift), 4)
    0.164
    """
    time, values = _series(lift)
    values = values - values.mean()
    before = np.flatnonzero((values[:-1] < 0) & (values[1:] >= 0))
    if len(before) < 3:
        raise ValueError(
            f"the lift rises through its mean {len(before)} times; at least three are needed"
        )
    share = values[before] / (values[before] - values[before + 1])
    crossings = time[before] + share * (time[before + 1] - time[before])
    return float(1 / np.polyfit(np.arange(len(crossings)), crossings, 1)[0])


def saturation_time(lift: xr.DataArray, *, tolerance: float = 0.01) -> float:
    """The time after which no extreme of the lift differs from the final ones by more.

    Args:
        lift: values over one dimension, whose coordinate is the time.
        tolerance: relative to the final amplitude, the median of the last ten extremes.

    Raises:
        ValueError: fewer than 20 extremes, or no saturation among all but the last ten.

    >>> t = np.arange(0, 120, 0.25)
    >>> envelope = 1 / np.sqrt(1 + 1e4 * np.exp(-0.26 * t))
    >>> lift = xr.DataArray(envelope * np.sin(t), {"time": t}, "time")
    >>> 45 < saturation_time(lift) < 60
    True
    """
    time, size = _extremes(lift)
    if len(time) < 20:
        raise ValueError(f"the lift has {len(time)} extremes; at least 20 are needed")
    final = np.median(size[-10:])
    outside = np.flatnonzero(np.abs(size - final) > tolerance * final)
    first = int(outside[-1]) + 1 if len(outside) else 0
    if first >= len(time) - 10:
        raise ValueError(
            f"the lift still changes by more than {tolerance:g} at time {time[first - 1]:g}: "
            "give a longer record"
        )
    return float(time[first])


def linear_growth(lift: xr.DataArray, *, between: tuple[float, float] = (0.01, 0.1)) -> Growth:
    """Rate and frequency of the linear stage, while extremes are small parts of the final ones.

    Args:
        lift: values over one dimension, whose coordinate is the time.
        between: the stage's amplitudes, relative to the median of the last ten extremes.

    Raises:
        ValueError: fewer than four extremes lie in the stage.

    >>> t = np.arange(0, 120, 0.25)
    >>> envelope = 1 / np.sqrt(1 + 1e6 * np.exp(-0.26 * t))
    >>> lift = xr.DataArray(envelope * np.sin(t), {"time": t}, "time")
    >>> round(linear_growth(lift).rate, 2)
    0.13
    """
    time, size = _extremes(lift)
    share = size / np.median(size[-10:])
    after = np.flatnonzero(share < between[0])
    start = int(after[-1]) + 1 if len(after) else 0
    end = int(np.argmax(share > between[1]))
    if end - start < 4:
        raise ValueError(
            f"{max(0, end - start)} extremes of the lift lie between {between[0]:g} and "
            f"{between[1]:g} of the final ones; at least four are needed"
        )
    rate = np.polyfit(time[start:end], np.log(size[start:end]), 1)[0]
    period = 2 * np.polyfit(np.arange(end - start), time[start:end], 1)[0]
    return Growth(rate=float(rate), frequency=float(1 / period))


def _series(
    lift: xr.DataArray,
) -> tuple[Float64[np.ndarray, " time"], Float64[np.ndarray, " time"]]:
    (dim,) = lift.dims
    return lift[dim].values.astype(np.float64), lift.values.astype(np.float64)


def _extremes(
    lift: xr.DataArray,
) -> tuple[Float64[np.ndarray, " extreme"], Float64[np.ndarray, " extreme"]]:
    """Times and sizes of the extremes, by a parabola through three values."""
    time, values = _series(lift)
    size = np.abs(values)
    left, middle, right = size[:-2], size[1:-1], size[2:]
    at = np.flatnonzero((middle > left) & (middle >= right))
    a, b, c = left[at], middle[at], right[at]
    offset = 0.5 * (a - c) / (a - 2 * b + c)
    step = (time[at + 2] - time[at]) / 2
    return time[at + 1] + offset * step, b - 0.25 * (a - c) * offset
