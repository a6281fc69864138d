"""How long and how well forecasts follow the truth.

Truth and prediction are data sets with `state` [sample, time, component] at the same times. The
forecast begins at the last time of the history (see `history_of`), lead 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Float

from sciml.dynamics.systems import (
    ATTRACTOR_STANDARD_DEVIATION,
    COMPONENTS,
    LYAPUNOV_TIME,
    history_of,
    times_of,
)

__all__ = [
    "ValidTimeSummary",
    "error_growth",
    "lead_error",
    "normalized_error",
    "summarize_valid_times",
    "valid_prediction_time",
]

THRESHOLD = 0.4


def normalized_error(
    truth: xr.Dataset, prediction: xr.Dataset, *, scale: Sequence[float] | None = None
) -> xr.DataArray:
    r"""Distance of forecast and truth in standard deviations, from lead 0 on.

    $e(t) = [\tfrac1n \sum_i (\hat x_i - x_i)^2 / s_i^2]^{1/2}$

    Args:
        truth: x; the components of Lorenz-63 are known by their names.
        prediction: x̂, same dimensions; infinite errors stand where it is not finite.
        scale: s, for each component; the standard deviation on the attractor of Lorenz-63 by
            default.

    Returns:
        e [sample, time], without unit.

    Raises:
        ValueError: other dimensions, or unknown components without a scale.
    """
    true, other = _states(truth, prediction)
    size = _scale(truth, scale)
    begin = history_of(truth) - 1
    with np.errstate(over="ignore", invalid="ignore"):
        error = np.sqrt((((other - true) / size) ** 2).mean(-1))[:, begin:]
    error = np.where(np.isfinite(error), error, np.inf)
    return xr.DataArray(error, dims=("sample", "time"), attrs={"units": "1"})


def valid_prediction_time(
    truth: xr.Dataset,
    prediction: xr.Dataset,
    *,
    threshold: float = THRESHOLD,
    scale: Sequence[float] | None = None,
    lyapunov_time: float = LYAPUNOV_TIME,
) -> xr.Dataset:
    """The lead up to which each forecast stays within a threshold, in Lyapunov times.

    The last time before the error first exceeds the threshold, of those at which there is output.
    It cannot exceed the time up to which the truth is valid (`valid_until`), nor the end of the
    data; a forecast that is still good there is `capped`.

    Args:
        truth: with `valid_until` [sample] (without it, valid to the end).
        prediction: the forecast.
        threshold: on `normalized_error`.
        scale: see there.
        lyapunov_time: unit of the result; 1 for the unit of the data.

    Returns:
        `valid_time`, `capped` and `limit` (what it could be at most) over [sample].
    """
    error = normalized_error(truth, prediction, scale=scale).values
    begin = history_of(truth) - 1
    times = times_of(truth)
    leads = times[:, begin:] - times[:, begin : begin + 1]
    limit = leads[:, -1].copy()
    if "valid_until" in truth:
        until = truth["valid_until"].values - times[:, begin]
        known = np.where(leads <= until[:, None], leads, 0.0)
        limit = np.minimum(limit, known.max(1))
    good = np.logical_and.accumulate(error <= threshold, axis=1)
    last = np.maximum(good.sum(1) - 1, 0)
    valid = np.take_along_axis(leads, last[:, None], axis=1)[:, 0]
    capped = valid >= limit
    return xr.Dataset(
        {
            "valid_time": ("sample", np.minimum(valid, limit) / lyapunov_time, {"units": "1"}),
            "capped": ("sample", capped),
            "limit": ("sample", limit / lyapunov_time, {"units": "1"}),
        },
        attrs={"threshold": threshold, "lyapunov_time": lyapunov_time},
    )


@dataclass(frozen=True, kw_only=True)
class ValidTimeSummary:
    """Valid prediction times of many initial states, in Lyapunov times.

    Attributes:
        median: half of the forecasts are valid longer.
        low: 10th percentile.
        capped: share of the forecasts that were still good where truth or data end.
        truth: median of the time up to which a forecast could be judged.
        samples: number of initial states.
    """

    median: float
    low: float
    capped: float
    truth: float
    samples: int


def summarize_valid_times(valid: xr.Dataset, *, minimum: int = 100) -> ValidTimeSummary:
    """Median and 10th percentile of what `valid_prediction_time` returned.

    Raises:
        ValueError: fewer initial states than `minimum`.
    """
    count = valid.sizes["sample"]
    if count < minimum:
        raise ValueError(
            f"{count} initial states are too few for percentiles: give at least {minimum}"
        )
    times = valid["valid_time"].values
    return ValidTimeSummary(
        median=float(np.median(times)),
        low=float(np.percentile(times, 10)),
        capped=float(valid["capped"].mean()),
        truth=float(valid["limit"].median()),
        samples=count,
    )


def lead_error(truth: xr.Dataset, prediction: xr.Dataset, *, lead: int = 1) -> float:
    """Root mean square error so many output times after lead 0, in the unit of the data.

    Over all samples and components: the e1, e4, e8 of the literature are leads 1, 4 and 8.

    Raises:
        ValueError: a lead beyond the end of the data.

    >>> truth = xr.Dataset({"state": (("sample", "time", "component"), np.zeros((2, 3, 1)))})
    >>> lead_error(truth, truth + 2.0, lead=2)
    2.0
    """
    true, other = _states(truth, prediction)
    place = history_of(truth) - 1 + lead
    if not 0 <= place < true.shape[1]:
        raise ValueError(
            f"lead {lead} is beyond the {true.shape[1]} times of the data: "
            "give longer test trajectories or a smaller lead"
        )
    return float(np.sqrt(np.mean((other[:, place] - true[:, place]) ** 2)))


def error_growth(
    truth: xr.Dataset, prediction: xr.Dataset, *, scale: Sequence[float] | None = None
) -> tuple[Float[np.ndarray, " time"], Float[np.ndarray, " time"]]:
    """Leads, and the geometric mean over the samples of the normalised error at each.

    In a logarithmic plot a small error grows along a line whose slope is the largest Lyapunov
    exponent. Samples whose truth is no longer valid are left out; all samples need the same times.
    """
    error = normalized_error(truth, prediction, scale=scale).values
    begin = history_of(truth) - 1
    times = times_of(truth)[:, begin:]
    leads = times - times[:, :1]
    known = np.ones(leads.shape, dtype=bool)
    if "valid_until" in truth:
        known = times <= truth["valid_until"].values[:, None]
    logs = np.where(known, np.log(np.clip(error, 1e-300, 1e300)), 0.0)
    count = known.sum(0)
    mean = np.where(count > 0, np.exp(logs.sum(0) / np.maximum(count, 1)), np.nan)
    return leads[0], mean


def _states(truth: xr.Dataset, prediction: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    order = ("sample", "time", "component")
    true, other = truth["state"].transpose(*order), prediction["state"].transpose(*order)
    if true.shape != other.shape:
        raise ValueError(
            f"truth and prediction must have the same dimensions, not {dict(true.sizes)} "
            f"and {dict(other.sizes)}"
        )
    return true.values.astype(np.float64), other.values.astype(np.float64)


def _scale(truth: xr.Dataset, scale: Sequence[float] | None) -> Float[np.ndarray, " component"]:
    if scale is not None:
        return np.asarray(scale, dtype=np.float64)
    names = truth["component"].values.tolist() if "component" in truth.coords else list(COMPONENTS)
    known = dict(zip(COMPONENTS, ATTRACTOR_STANDARD_DEVIATION, strict=True))
    if missing := [name for name in names if name not in known]:
        raise ValueError(f"the spread of components {missing} is not known: give `scale`")
    return np.array([known[name] for name in names])
