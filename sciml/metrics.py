"""Figures of merit: plain functions of a true and a predicted DataArray.

All take the truth first and the dimensions to gather `over`; what is not named there, `sample`
mostly, stays. `weights` restricts and weighs the points: a mask of the fluid (true where a point
counts) or the area of each cell. Where the weight is zero neither array is looked at, so that a
solid may hold NaN; a NaN anywhere else gives NaN. Sums are taken in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import numpy as np
import xarray as xr

__all__ = [
    "bias",
    "correlation",
    "coverage",
    "maximum_error",
    "mean_absolute_error",
    "relative_error",
    "relative_l2_error",
    "root_mean_square_error",
]

Dimensions = Hashable | Sequence[Hashable]


def relative_l2_error(
    truth: xr.DataArray,
    prediction: xr.DataArray,
    over: Dimensions,
    *,
    weights: xr.DataArray | None = None,
) -> xr.DataArray:
    """Relative error in the L2 norm.

    e = ‖û − u‖₂ / ‖u‖₂, ‖u‖₂² = Σ w u²

    A vector field has its components along a dimension of its own, named in `over` too.

    Args:
        truth: u, any unit.
        prediction: û, same dimensions and coordinates as u.
        over: dimensions of the sums.
        weights: w ≥ 0, dimensions among those of u; 1 everywhere by default.

    Returns:
        e, without unit, over the remaining dimensions; infinite where u vanishes and û does not.

    Raises:
        ValueError: the arrays do not stand on the same points, or lack a dimension of `over`.

    >>> u = xr.DataArray([3.0, 4.0], dims="x")
    >>> float(relative_l2_error(u, u + xr.DataArray([0.3, 0.4], dims="x"), "x").round(12))
    0.1
    """
    error, size = _sums(truth, prediction, over, weights, lambda u, v: ((v - u) ** 2, u**2))
    return (error / size) ** 0.5


def root_mean_square_error(
    truth: xr.DataArray,
    prediction: xr.DataArray,
    over: Dimensions,
    *,
    weights: xr.DataArray | None = None,
) -> xr.DataArray:
    """Root of the mean squared error, in the unit of the truth.

    e = (Σ w (û − u)² / Σ w)^½; arguments and refusals as in `relative_l2_error`.

    >>> u = xr.DataArray([0.0, 0.0], dims="x")
    >>> float(root_mean_square_error(u, xr.DataArray([1.0, 7.0], dims="x"), "x"))
    5.0
    """
    error, count = _sums(truth, prediction, over, weights, lambda u, v: ((v - u) ** 2, 1.0))
    return (error / count) ** 0.5


def mean_absolute_error(
    truth: xr.DataArray,
    prediction: xr.DataArray,
    over: Dimensions,
    *,
    weights: xr.DataArray | None = None,
) -> xr.DataArray:
    """Mean distance, in the unit of the truth.

    e = Σ w |û − u| / Σ w; arguments and refusals as in `relative_l2_error`.

    >>> u = xr.DataArray([0.0, 0.0], dims="x")
    >>> float(mean_absolute_error(u, xr.DataArray([1.0, -7.0], dims="x"), "x"))
    4.0
    """
    error, count = _sums(truth, prediction, over, weights, lambda u, v: (abs(v - u), 1.0))
    return error / count


def bias(
    truth: xr.DataArray,
    prediction: xr.DataArray,
    over: Dimensions,
    *,
    weights: xr.DataArray | None = None,
) -> xr.DataArray:
    """Mean signed error, in the unit of the truth; positive where the prediction is too large.

    e = Σ w (û − u) / Σ w; arguments and refusals as in `relative_l2_error`.

    >>> u = xr.DataArray([0.0, 0.0], dims="x")
    >>> float(bias(u, xr.DataArray([1.0, -7.0], dims="x"), "x"))
    -3.0
    """
    error, count = _sums(truth, prediction, over, weights, lambda u, v: (v - u, 1.0))
    return error / count


def maximum_error(
    truth: xr.DataArray,
    prediction: xr.DataArray,
    over: Dimensions,
    *,
    weights: xr.DataArray | None = None,
) -> xr.DataArray:
    """Largest distance over the points of positive weight, in the unit of the truth.

    e = max |û − u|; arguments and refusals as in `relative_l2_error`.

    >>> u = xr.DataArray([0.0, 0.0], dims="x")
    >>> float(maximum_error(u, xr.DataArray([1.0, -7.0], dims="x"), "x"))
    7.0
    """
    dims = _dimensions(truth, prediction, over)
    error = abs(prediction.astype(np.float64) - truth)
    if weights is not None:
        error = error.where(weights > 0, 0.0)
    return error.max(dims, skipna=False)


def relative_error(truth: xr.DataArray, prediction: xr.DataArray) -> xr.DataArray:
    """Relative error of each value by itself, of a drag coefficient say.

    e = |û − u| / |u|

    Args:
        truth: u, any unit.
        prediction: û, same dimensions and coordinates as u.

    Returns:
        e, without unit; infinite where u vanishes and û does not.

    Raises:
        ValueError: the arrays do not stand on the same points.

    >>> drag = xr.DataArray([2.0, -4.0], dims="sample")
    >>> relative_error(drag, drag * 1.5).values
    array([0.5, 0.5])
    """
    _dimensions(truth, prediction, ())
    return abs(prediction.astype(np.float64) - truth) / abs(truth.astype(np.float64))


def coverage(
    truth: xr.DataArray,
    lower: xr.DataArray,
    upper: xr.DataArray,
    over: Dimensions,
    *,
    weights: xr.DataArray | None = None,
) -> xr.DataArray:
    """Share of the points where an interval holds the truth, its ends included.

    c = Σ w [l ≤ u ≤ h] / Σ w

    Args:
        truth: u, any unit.
        lower: l, same unit, dimensions and coordinates as u.
        upper: h, likewise.
        over: dimensions of the sums.
        weights: w ≥ 0, dimensions among those of u; 1 everywhere by default.

    Returns:
        c between 0 and 1. An interval of nominal 95 % should give 0.95.

    Raises:
        ValueError: the arrays do not stand on the same points, or lack a dimension of `over`.

    >>> u = xr.DataArray([0.0, 1.0, 2.0, 3.0], dims="x")
    >>> float(coverage(u, u * 0, u * 0 + 2.0, "x"))
    0.75
    """
    dims = _dimensions(truth, lower, over)
    _dimensions(truth, upper, over)
    inside = ((truth >= lower) & (truth <= upper)).astype(np.float64)
    inside = inside.where(np.isfinite(truth) & ~np.isnan(lower) & ~np.isnan(upper))
    if weights is None:
        return inside.mean(dims, skipna=False)
    counted = (inside * weights).where(weights > 0, 0.0)
    return counted.sum(dims, skipna=False) / weights.broadcast_like(truth).sum(dims)


def correlation(
    truth: xr.DataArray,
    prediction: xr.DataArray,
    over: Dimensions,
    *,
    weights: xr.DataArray | None = None,
) -> xr.DataArray:
    """Pearson's correlation coefficient.

    r = Σ w u′ û′ / (Σ w u′² · Σ w û′²)^½, the prime being the deviation from the weighted mean

    Arguments and refusals as in `relative_l2_error`; NaN where either is constant.

    >>> u = xr.DataArray([1.0, 2.0, 4.0], dims="sample")
    >>> float(correlation(u, 5.0 - 2.0 * u, "sample").round(12))
    -1.0
    """
    u, count = _sums(truth, prediction, over, weights, lambda u, v: (u, 1.0))
    v, _ = _sums(truth, prediction, over, weights, lambda u, v: (v, 1.0))
    u, v = truth - u / count, prediction - v / count
    product, first = _sums(u, v, over, weights, lambda u, v: (u * v, u * u))
    second, _ = _sums(u, v, over, weights, lambda u, v: (v * v, 1.0))
    return product / (first * second) ** 0.5


def _sums(
    truth: xr.DataArray,
    prediction: xr.DataArray,
    over: Dimensions,
    weights: xr.DataArray | None,
    terms: Callable[[xr.DataArray, xr.DataArray], tuple[xr.DataArray, xr.DataArray | float]],
) -> tuple[xr.DataArray, xr.DataArray]:
    """Weighted sums of two terms of truth and prediction, over the points that count."""
    dims = _dimensions(truth, prediction, over)
    truth, prediction = truth.astype(np.float64), prediction.astype(np.float64)
    weights = xr.ones_like(truth) if weights is None else weights.astype(np.float64)
    weights = weights.broadcast_like(truth)
    counts = weights > 0
    first, second = (
        (term * weights).where(counts, 0.0).sum(dims, skipna=False)
        for term in terms(truth, prediction)
    )
    return first, second


def _dimensions(truth: xr.DataArray, other: xr.DataArray, over: Dimensions) -> list[Hashable]:
    """The dimensions of `over` as a list, after refusing arrays on different points."""
    dims = [over] if isinstance(over, str) or not isinstance(over, Sequence) else list(over)
    if dict(truth.sizes) != dict(other.sizes):
        raise ValueError(
            f"truth and prediction must have the same dimensions, "
            f"not {dict(truth.sizes)} and {dict(other.sizes)}"
        )
    for name in truth.indexes.keys() & other.indexes.keys():
        if not truth.indexes[name].equals(other.indexes[name]):
            raise ValueError(f"truth and prediction differ in their coordinate {name!r}")
    missing = [name for name in dims if name not in truth.dims]
    if missing:
        raise ValueError(
            f"an error over {missing} needs arrays with that dimension; "
            f"these have {list(truth.dims)}"
        )
    return dims
