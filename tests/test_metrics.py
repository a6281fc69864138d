"""Metrics: values known in closed form, and what must not change them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import xarray as xr

from sciml import metrics

SEED = 20260701
TWO_FIELD_METRICS = [
    metrics.relative_l2_error,
    metrics.root_mean_square_error,
    metrics.mean_absolute_error,
    metrics.maximum_error,
    metrics.bias,
    metrics.correlation,
]


@pytest.fixture
def fields() -> tuple[xr.DataArray, xr.DataArray]:
    rng = np.random.default_rng(SEED)
    truth = xr.DataArray(rng.normal(size=(3, 5, 7)), dims=("sample", "y", "x"))
    return truth, truth + 0.1 * rng.normal(size=truth.shape)


def test_relative_l2_of_a_sine_shifted_by_a_small_angle():
    """‖sin(x+δ) − sin x‖ / ‖sin x‖ = 2 sin(δ/2) over a whole period."""
    x = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    truth = xr.DataArray(np.sin(x), dims="x")
    shifted = xr.DataArray(np.sin(x + 0.3), dims="x")
    assert metrics.relative_l2_error(truth, shifted, "x") == pytest.approx(2 * math.sin(0.15))


def test_errors_of_a_constant_offset(fields):
    truth, _ = fields
    offset = truth - 0.25
    for metric in (metrics.root_mean_square_error, metrics.mean_absolute_error):
        np.testing.assert_allclose(metric(truth, offset, ("y", "x")), 0.25)
    np.testing.assert_allclose(metrics.bias(truth, offset, ("y", "x")), -0.25)
    np.testing.assert_allclose(metrics.maximum_error(truth, offset, ("y", "x")), 0.25)
    np.testing.assert_allclose(metrics.correlation(truth, offset, ("y", "x")), 1.0)


def test_relative_l2_agrees_with_the_norms_of_numpy(fields):
    truth, prediction = fields
    expected = [
        np.linalg.norm(v - u) / np.linalg.norm(u)
        for u, v in zip(truth.values, prediction.values, strict=True)
    ]
    np.testing.assert_allclose(
        metrics.relative_l2_error(truth, prediction, ("y", "x")), expected, rtol=1e-12
    )


def test_correlation_agrees_with_numpy(fields):
    truth, prediction = (field.isel(sample=0) for field in fields)
    expected = np.corrcoef(truth.values.ravel(), prediction.values.ravel())[0, 1]
    assert metrics.correlation(truth, prediction, ("y", "x")) == pytest.approx(expected)


@pytest.mark.parametrize("metric", TWO_FIELD_METRICS)
def test_permuting_the_points_changes_nothing(metric, fields):
    truth, prediction = fields
    order = np.random.default_rng(SEED).permutation(truth.sizes["x"])
    np.testing.assert_allclose(
        metric(truth.isel(x=order), prediction.isel(x=order), ("y", "x")),
        metric(truth, prediction, ("y", "x")),
        rtol=1e-12,
    )


@pytest.mark.parametrize("metric", [metrics.relative_l2_error, metrics.correlation])
def test_a_change_of_units_leaves_a_ratio_alone(metric, fields):
    truth, prediction = fields
    np.testing.assert_allclose(
        metric(1e3 * truth, 1e3 * prediction, ("y", "x")),
        metric(truth, prediction, ("y", "x")),
        rtol=1e-12,
    )


@pytest.mark.parametrize(
    "metric",
    [metrics.root_mean_square_error, metrics.mean_absolute_error, metrics.maximum_error],
)
def test_a_change_of_units_scales_an_error(metric, fields):
    truth, prediction = fields
    np.testing.assert_allclose(
        metric(1e3 * truth, 1e3 * prediction, ("y", "x")),
        1e3 * metric(truth, prediction, ("y", "x")),
        rtol=1e-12,
    )


@pytest.mark.parametrize("metric", TWO_FIELD_METRICS)
def test_what_a_mask_hides_is_not_looked_at(metric, fields):
    truth, prediction = fields
    mask = xr.DataArray(np.arange(7) < 4, dims="x")
    hidden = metric(truth.where(mask), prediction.where(mask), ("y", "x"), weights=mask)
    cut = metric(truth.isel(x=slice(4)), prediction.isel(x=slice(4)), ("y", "x"))
    np.testing.assert_allclose(hidden, cut, rtol=1e-12)


@pytest.mark.parametrize("metric", TWO_FIELD_METRICS)
def test_a_nan_that_counts_is_not_passed_over(metric, fields):
    truth, prediction = fields
    spoilt = prediction.copy()
    spoilt[1, 2, 3] = np.nan
    values = metric(truth, spoilt, ("y", "x"))
    assert np.isnan(values.values).tolist() == [False, True, False]


def test_a_weight_of_two_counts_a_point_twice():
    truth, prediction = xr.DataArray([1.0, 2.0], dims="x"), xr.DataArray([1.5, 4.0], dims="x")
    weights = xr.DataArray([1, 2], dims="x")
    twice = xr.DataArray([1.0, 2.0, 2.0], dims="x"), xr.DataArray([1.5, 4.0, 4.0], dims="x")
    for metric in TWO_FIELD_METRICS:
        assert metric(truth, prediction, "x", weights=weights) == pytest.approx(
            float(metric(*twice, "x"))
        )


def test_sums_are_taken_in_double_precision():
    """A million float32 errors of 0.1: a sum in float32 is off in the third digit."""
    truth = xr.DataArray(np.ones(1_000_000, np.float32), dims="x")
    prediction = truth * np.float32(1.1)
    error = metrics.mean_absolute_error(truth, prediction, "x")
    assert error == pytest.approx(float(np.float32(1.1)) - 1.0, rel=1e-12)


def test_coverage_of_a_normal_interval():
    """One standard deviation to both sides holds erf(1/√2) = 68.27 % of a normal sample."""
    values = np.random.default_rng(SEED).normal(size=200_000)
    truth = xr.DataArray(values, dims="x")
    one = xr.ones_like(truth)
    assert metrics.coverage(truth, -one, one, "x") == pytest.approx(0.6827, abs=0.004)


def test_coverage_masks_and_keeps_nan():
    truth = xr.DataArray([0.0, 5.0, np.nan], dims="x")
    lower, upper = xr.full_like(truth, -1.0), xr.full_like(truth, 1.0)
    assert np.isnan(metrics.coverage(truth, lower, upper, "x"))
    mask = xr.DataArray([True, True, False], dims="x")
    assert metrics.coverage(truth, lower, upper, "x", weights=mask) == 0.5


@pytest.mark.parametrize("metric", TWO_FIELD_METRICS)
def test_fields_on_other_points_are_refused(metric, fields):
    truth, prediction = fields
    with pytest.raises(ValueError, match="same dimensions"):
        metric(truth, prediction.isel(x=slice(3)), ("y", "x"))
    moved = truth.assign_coords(x=np.arange(7.0)), prediction.assign_coords(x=np.arange(7.0) + 1)
    with pytest.raises(ValueError, match="coordinate 'x'"):
        metric(*moved, ("y", "x"))
    with pytest.raises(ValueError, match="'z'"):
        metric(truth, prediction, ("y", "z"))
