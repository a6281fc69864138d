"""Latent dynamics of partly seen systems: a linear one exactly, Lorenz-63 from x alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from sciml.case import Model
from sciml.dynamics.latent import LatentDynamics, LatentOptions
from sciml.dynamics.observations import hide, observe_components
from sciml.dynamics.systems import trajectories

OSCILLATOR = LatentOptions(latent=1, degree=1, history=10, piece=200)


def oscillations(phases: np.ndarray, count: int = 60) -> xr.Dataset:
    """x = 2 + cos(t + phase), whose velocity is hidden."""
    times = np.arange(count) * 0.1
    values = 2 + np.cos(times + phases[:, None])
    return xr.Dataset(
        {"state": (("sample", "time", "component"), values[..., None], {"units": "1"})},
        coords={"time": times, "component": ["x"]},
    )


@pytest.fixture(scope="module")
def oscillator() -> LatentDynamics:
    return LatentDynamics(OSCILLATOR).fit(oscillations(np.array([0.0, 1.0])))


def test_it_is_a_model(oscillator: LatentDynamics) -> None:
    assert isinstance(oscillator, Model)


def test_oscillator_with_hidden_velocity_is_forecast_exactly(
    oscillator: LatentDynamics, rng: np.random.Generator
) -> None:
    truth = oscillations(rng.uniform(0, 6, 3), count=110)
    found = oscillator.predict(truth)
    np.testing.assert_allclose(found["state"].values, truth["state"].values, rtol=0, atol=1e-5)


def test_eigenvalues_of_the_learned_field_are_those_of_the_oscillator(
    oscillator: LatentDynamics,
) -> None:
    centre = oscillator.states.mean((0, 1))[None]
    jacobian = torch.func.jacrev(lambda u: oscillator.field(u)[0])(centre)[:, 0]
    values = torch.linalg.eigvals(jacobian)
    # Two steps of RK4 in 0.1 are off by h^4 / 120.
    torch.testing.assert_close(values.imag.abs(), torch.ones(2).double(), rtol=0, atol=1e-6)
    torch.testing.assert_close(values.real, torch.zeros(2).double(), rtol=0, atol=1e-6)


def test_only_the_history_is_looked_at(oscillator: LatentDynamics) -> None:
    ds = oscillations(np.array([0.5]))
    other = ds.assign(state=ds["state"].where(ds["time"] < 0.95, 7.0))
    assert oscillator.predict(ds).identical(oscillator.predict(other))
    longer = oscillator.predict(other.assign_attrs(history=11))
    assert not oscillator.predict(ds)["state"].equals(longer["state"])


def test_missing_observations_of_the_history_are_done_without(
    oscillator: LatentDynamics,
) -> None:
    ds = oscillations(np.array([0.5]))
    found = oscillator.predict(hide(ds, every=2))
    np.testing.assert_allclose(found["state"].values, ds["state"].values, rtol=0, atol=1e-5)


def test_long_runs_begin_on_orbits_of_their_own_beside_the_training_series(
    oscillator: LatentDynamics,
) -> None:
    series = oscillator.states.flatten(0, 1)
    found = oscillator.starts(50)
    distance = (torch.cdist(found, series).amin(1) / series.std(0).norm()).numpy()
    assert distance.max() < 0.05
    energies = (found - series.mean(0)).square().sum(1)
    assert len(energies.unique()) == 50
    torch.testing.assert_close(found, oscillator.starts(50), rtol=0, atol=0)


def test_saved_and_loaded_it_forecasts_the_same(oscillator: LatentDynamics, tmp_path: Path) -> None:
    oscillator.save(tmp_path)
    ds = oscillations(np.array([0.3]))
    assert LatentDynamics.load(tmp_path).predict(ds).identical(oscillator.predict(ds))
    resumed = LatentDynamics(OSCILLATOR).fit(ds, folder=tmp_path, resume=True)
    assert resumed.predict(ds).identical(oscillator.predict(ds))


def test_short_history_unknown_component_and_empty_folder_are_refused(
    oscillator: LatentDynamics, tmp_path: Path
) -> None:
    ds = oscillations(np.array([0.3]))
    with pytest.raises(ValueError, match="infers its state from 10"):
        oscillator.predict(ds.assign_attrs(history=5))
    with pytest.raises(ValueError, match=r"\['x'\] should be observed"):
        oscillator.predict(ds.assign_coords(component=["y"]))
    with pytest.raises(ValueError, match=r"give a folder of `save`"):
        LatentDynamics.load(tmp_path)
    with pytest.raises(ValueError, match="1 to 5 latent"):
        LatentOptions(latent=6)


def test_lorenz_is_forecast_from_x_alone() -> None:
    times = np.arange(800) * 0.01
    train = observe_components(trajectories(times, seed=1))
    options = LatentOptions(memories=(1.0,), trials=20, iterations=20)
    model = LatentDynamics(options).fit(train)
    test = observe_components(trajectories(times[:60], samples=4, seed=100))
    found = model.predict(test)
    error = (found["state"] - test["state"]).isel(time=slice(40, None))
    assert float(abs(error).max()) < 1e-3
