"""Metrics and diagnostics of the cases: what a perfect model gets, and one without a field."""

from __future__ import annotations

import math

import numpy as np
import pytest
import xarray as xr

from sciml.data import Splits
from sciml.dynamics.baselines import Analog, TrueField
from sciml.dynamics.measures import attractor_metrics, field_diagnostics, forecast_metrics
from sciml.dynamics.systems import LYAPUNOV_TIME, trajectories


@pytest.fixture(scope="module")
def truth() -> xr.Dataset:
    return trajectories(np.arange(300) * 0.01, samples=20, seed=5).assign_attrs(history=2)


def test_a_perfect_forecast_has_no_error(truth: xr.Dataset) -> None:
    metrics = {**forecast_metrics(1, 8), **attractor_metrics()}
    found = {name: metric(truth, truth) for name, metric in metrics.items()}
    assert found.pop("valid_time") == pytest.approx(298 * 0.01 / LYAPUNOV_TIME)
    assert found.pop("valid_time_low") == pytest.approx(298 * 0.01 / LYAPUNOV_TIME)
    assert found == pytest.approx(dict.fromkeys(found, 0.0), abs=1e-7)


def test_a_shift_is_its_own_error_whatever_components_are_forecast(truth: xr.Dataset) -> None:
    shifted = truth.assign(state=truth["state"] + 0.25)
    for names in (["x", "y", "z"], ["x"]):
        part = shifted.sel(component=names)
        assert forecast_metrics(4)["error_4"](truth, part) == pytest.approx(0.25)


def test_fields_are_diagnosed_and_models_without_one_are_not(truth: xr.Dataset) -> None:
    splits = Splits(train=truth, valid=truth, tests={"forecasts": truth})
    diagnostics = field_diagnostics(step=0.01, extent=lambda splits: (200, 3.0))
    model = Analog()
    model.fit(truth)
    assert all(math.isnan(diagnose(model, splits)) for diagnose in diagnostics.values())
    found = {name: diagnose(TrueField(), splits) for name, diagnose in diagnostics.items()}
    assert found["lyapunov_1"] == pytest.approx(0.906, abs=0.12)
    assert found["lyapunov_1_error"] == pytest.approx(abs(found["lyapunov_1"] - 0.9056), abs=1e-3)
    assert found["lyapunov_3_error"] < 0.02
    assert found["kaplan_yorke"] == pytest.approx(2.062, abs=0.02)
    assert found["coefficient_error"] < 1e-10
