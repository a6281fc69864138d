"""Baselines forecast what they should, from no more than the history, and refuse the rest."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

from sciml.case import Model
from sciml.dynamics.baselines import Analog, NextGenerationReservoir, SINDy, TrueField
from sciml.dynamics.diagnostics import lead_error, recover_coefficients, valid_prediction_time
from sciml.dynamics.systems import Lorenz63, trajectories


@pytest.fixture(scope="module")
def train() -> xr.Dataset:
    return trajectories(np.arange(4000) * 0.02, seed=1)


@pytest.fixture(scope="module")
def test() -> xr.Dataset:
    return trajectories(np.arange(400) * 0.02, samples=20, seed=2).assign(history=4)


MODELS = {
    "true": (TrueField, 8.0),
    "sindy": (SINDy, 6.0),
    "analog": (lambda: Analog(neighbours=20), 1.5),
    "analog, constant": (lambda: Analog(neighbours=5, local="constant"), 0.3),
    "reservoir": (NextGenerationReservoir, 3.0),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_baseline_forecasts_from_the_history_alone(
    name: str, train: xr.Dataset, test: xr.Dataset
) -> None:
    make, at_least = MODELS[name]
    model = make()
    assert isinstance(model, Model)
    model.fit(train)
    found = model.predict(test)
    assert found["state"].dims == ("sample", "time", "component")
    np.testing.assert_array_equal(found["state"][:, :4], test["state"][:, :4])
    hidden = test.assign(state=test["state"].where(test["time"] < 0.07))
    np.testing.assert_array_equal(model.predict(hidden)["state"], found["state"])
    valid = valid_prediction_time(test, found)["valid_time"]
    assert float(valid.median()) >= min(at_least, float(valid_limit(test)))


def valid_limit(test: xr.Dataset) -> float:
    return float(valid_prediction_time(test, test)["limit"].median())


def test_the_true_field_has_the_order_of_its_scheme(test: xr.Dataset) -> None:
    coarse, fine = (
        lead_error(test, TrueField(step=step).predict(test), lead=8) for step in (0.02, 0.01)
    )
    assert np.log2(coarse / fine) == pytest.approx(4, abs=0.6)


def test_sindy_finds_the_coefficients(train: xr.Dataset) -> None:
    for form, bound in (("strong", 1e-2), ("weak", 1e-3)):
        model = SINDy(form=form)
        with pytest.raises(ValueError, match="this SINDy is not fitted"):
            _ = model.field
        model.fit(train)
        assert recover_coefficients(model.field).error < bound


def test_reservoir_is_exact_for_a_quadratic_map(rng: np.random.Generator) -> None:
    """The Hénon map in the form of one component and two delays."""
    path = [0.1, 0.1]
    for _ in range(300):
        path.append(1 - 1.4 * path[-1] ** 2 + 0.3 * path[-2])
    states = xr.Dataset(
        {"state": (("sample", "time", "component"), np.array(path)[None, :, None])},
        coords={"time": np.arange(302.0), "component": ["x"]},
    )
    model = NextGenerationReservoir(ridge=0.0)
    model.fit(states.isel(time=slice(0, 200)))
    ahead = states.isel(time=slice(200, 210)).assign(history=2)
    found = model.predict(ahead)["state"]
    np.testing.assert_allclose(found, ahead["state"], atol=1e-8)


def test_linear_analogs_are_exact_for_linear_dynamics(rng: np.random.Generator) -> None:
    """Up to the ridge, which shows where a state lies outside those of the training data."""
    turn = np.array([[0.99, -0.1], [0.1, 0.99]])
    path = [rng.standard_normal((30, 2))]
    for _ in range(40):
        path.append(path[-1] @ turn.T)
    ds = xr.Dataset(
        {"state": (("sample", "time", "component"), np.stack(path, 1))},
        coords={"time": np.arange(41) * 0.5, "component": ["x", "y"]},
    )
    model = Analog(neighbours=10)
    model.fit(ds.isel(sample=slice(0, 20)))
    test = ds.isel(sample=slice(20, 30), time=slice(0, 5))
    np.testing.assert_allclose(model.predict(test)["state"], test["state"], atol=1e-3)


def test_irregular_times_are_for_integrated_models_only(train: xr.Dataset) -> None:
    times = np.cumsum([[0.0, 0.01, 0.03, 0.01], [0.0, 0.02, 0.02, 0.02]], axis=1)
    test = trajectories(times, samples=2)
    found = TrueField(step=0.01).predict(test)
    np.testing.assert_allclose(found["state"], test["state"], atol=1e-5)
    model = Analog()
    model.fit(train)
    with pytest.raises(ValueError, match="this model needs constant steps"):
        model.predict(test)


def test_what_cannot_be_forecast_is_refused(train: xr.Dataset, test: xr.Dataset) -> None:
    model = NextGenerationReservoir(delays=3, spacing=2)
    with pytest.raises(ValueError, match="not fitted"):
        model.predict(test)
    model.fit(train)
    with pytest.raises(ValueError, match="needs the last 5 states"):
        model.predict(test)
    other = test.assign_coords(time=test["time"] * 2)
    with pytest.raises(ValueError, match=r"step by 0.04, those of the training data by 0.02"):
        reservoir = NextGenerationReservoir()
        reservoir.fit(train)
        reservoir.predict(other)


def test_a_forecast_that_blows_up_is_nan_from_there_on(test: xr.Dataset) -> None:
    model = TrueField(system=Lorenz63(sigma=-30.0))
    states = model.predict(test)["state"].values
    lost = np.isnan(states).any(2)
    assert lost[:, -1].all() and not lost[:, :4].any()
    assert (np.diff(lost.astype(int), axis=1) >= 0).all()


def test_gaps_are_left_out(train: xr.Dataset, test: xr.Dataset) -> None:
    from sciml.dynamics.observations import hide

    gappy = hide(train, share=0.2, seed=1)
    for model in (Analog(), NextGenerationReservoir(), SINDy()):
        model.fit(gappy)
        error = lead_error(test, model.predict(test), lead=4)
        assert error < 0.1
    assert torch.isfinite(recover_coefficients(model.field).found).all()
