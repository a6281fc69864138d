"""Dynamics of latents: oscillations that go on, limit cycles, time steps that fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr

from sciml.modes.autoencoder import Autoencoder, AutoencoderOptions
from sciml.modes.latent import LatentForecast, LatentForecastOptions
from sciml.modes.latent_network import windows
from sciml.modes.pod import Pod, PodOptions
from sciml.train import TrainOptions

STEP = 0.1
PERIOD = 2.0
SHORT = TrainOptions(epochs=4, optimiser="lbfgs", device="cpu")


def waves(times: np.ndarray) -> xr.Dataset:
    """A wave and its harmonic in a channel with a post."""
    x, y = np.linspace(0, 2, 32), np.linspace(0, 1, 24)
    phase = 2 * np.pi * (x / 2 - times[:, None, None] / PERIOD)
    field = np.sin(np.pi * y)[:, None] * np.cos(phase)
    field = 2 + field + 0.3 * np.sin(2 * np.pi * y)[:, None] * np.sin(2 * phase)
    mask = (abs(x - 0.5) > 0.15) | (abs(y - 0.5) > 0.15)[:, None]
    return xr.Dataset(
        {
            "pressure": (("time", "y", "x"), np.where(mask, field, np.nan), {"units": "Pa"}),
            "mask": (("y", "x"), mask),
        },
        coords={"time": ("time", times, {"units": "s"}), "x": x, "y": y},
    )


def growing(times: np.ndarray, start: float = 0.05) -> xr.Dataset:
    """The wake of Stuart and Landau: r' = r (1 - r²) / 4 at unit frequency, shown as a wave."""
    radius = 1 / np.sqrt(1 + (1 / start**2 - 1) * np.exp(-times / 2))
    x = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    field = radius[:, None] * np.cos(x - times[:, None])
    return xr.Dataset({"velocity": (("time", "x"), field)}, coords={"time": times, "x": x})


@pytest.fixture(scope="module")
def train() -> xr.Dataset:
    return waves(STEP * np.arange(60))


@pytest.fixture(scope="module")
def pod(train) -> Pod:
    pod = Pod(PodOptions(rank=4))
    pod.fit(train)
    return pod


def error(found: xr.Dataset, wanted: xr.Dataset) -> float:
    """Root mean square of the error in parts of the deviation from the mean."""
    np.testing.assert_allclose(found["time"], wanted["time"])
    (name,) = found.data_vars
    truth = wanted[name].assign_coords(time=found["time"])
    deviation = float(((truth - truth.mean("time")) ** 2).mean())
    return float(np.sqrt(((found[name] - truth) ** 2).mean() / deviation))


@pytest.mark.parametrize(
    ("kind", "bound"), [("linear", 1e-6), ("neural ODE", 1e-2), ("lstm", 1e-2)]
)
def test_an_oscillation_keeps_amplitude_and_frequency(train, pod, kind, bound, tmp_path):
    """Over ten periods after the training; a hundredth of a radian in phase is an error of 0.01."""
    options = LatentForecastOptions(kind=kind, horizon=8, history=4, hidden=(16,))
    adam = TrainOptions(epochs=25, batch_size=16, learning_rate=3e-3, device="cpu")
    model = LatentForecast(pod, options, training=adam if kind == "lstm" else SHORT)
    model.fit(train)
    found = model.forecast(train, 200)
    assert error(found, waves(STEP * np.arange(60, 260))) < bound
    assert found["time"].attrs == {"units": "s"}
    again = LatentForecast.load(model.save(tmp_path / "model"))
    xr.testing.assert_allclose(again.forecast(train, 5), model.forecast(train, 5), rtol=1e-10)
    xr.testing.assert_allclose(again.reconstruct(train), pod.reconstruct(train), rtol=1e-10)


def test_a_neural_ode_holds_a_limit_cycle_and_a_linear_map_does_not():
    """From the growth of a disturbance on: the linear map has one rate of growth for all sizes."""
    times = 2 * STEP * np.arange(150)
    train, wanted = growing(times), growing(2 * STEP * np.arange(150, 350))
    errors = {}
    for kind in ("neural ODE", "linear"):
        options = LatentForecastOptions(kind=kind, horizon=4, hidden=(16,))
        training = replace(SHORT, epochs=6)
        model = LatentForecast(Pod(PodOptions(rank=2)), options, training=training)
        model.fit(train)
        errors[kind] = error(model.forecast(train, 200), wanted)
    assert errors["neural ODE"] < 0.1 < 0.3 < errors["linear"]


def test_a_neural_ode_takes_any_steps(train, pod, rng):
    kept = np.sort(rng.permutation(60)[:45])
    options = LatentForecastOptions(horizon=4, hidden=(16,), substeps=3)
    model = LatentForecast(pod, options, training=replace(SHORT, epochs=8))
    model.fit(train.isel(time=kept))
    last = train.isel(time=[-1])
    fine = last["time"].item() + model.step * np.arange(1, 101)
    assert error(model.forecast(last, 100), waves(fine)) < 5e-2
    pair = waves(np.array([0.0, 0.03]))
    assert error(model.forecast(pair, 100), waves(0.03 * np.arange(2, 102))) < 5e-2


def test_latents_of_an_autoencoder_are_carried_on(train, tmp_path):
    """Both are fitted by one call, with checkpoints for each."""
    training = TrainOptions(epochs=2, batch_size=16, device="cpu")
    reduction = Autoencoder(
        AutoencoderOptions(kind="convolutional", rank=2, widths=(4, 8)), training=training
    )
    options = LatentForecastOptions(kind="linear", horizon=4)
    model = LatentForecast(reduction, options, training=SHORT)
    model.fit(train, train.isel(time=slice(20)), folder=tmp_path)
    assert model.rank == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dynamics", "reduction"]
    found = model.forecast(train, 3)
    z = model.encode(train.isel(time=[-1]))
    step = (torch.from_numpy(z.values[None]), torch.ones(1, 1, dtype=torch.float64))
    (ahead,) = model.dynamics.evaluate(*step)
    wanted = model.decode(z.copy(data=ahead[0].numpy()))
    np.testing.assert_allclose(found["pressure"][:1], wanted["pressure"])
    again = LatentForecast.load(model.save(tmp_path / "saved"))
    assert isinstance(again.reduction, Autoencoder)
    xr.testing.assert_equal(again.forecast(train, 3), found)


def test_windows_are_pieces_of_the_series(rng):
    series, gaps = rng.standard_normal((9, 2)), rng.uniform(1, 2, 8)
    ds = windows(series, gaps, history=3, horizon=2)
    assert ds.sizes == {"sample": 5, "lag": 3, "mode": 2, "step": 2}
    for n in range(5):
        np.testing.assert_array_equal(ds["past"][n], series[n : n + 3])
        np.testing.assert_array_equal(ds["future"][n], series[n + 3 : n + 5])
        np.testing.assert_array_equal(ds["gap"][n], gaps[n + 2 : n + 4])


@pytest.mark.parametrize("kind", ["lstm", "linear"])
def test_steps_that_differ_are_refused(train, pod, kind):
    options = LatentForecastOptions(kind=kind, horizon=4, history=2, hidden=(4,))
    training = TrainOptions(epochs=1, batch_size=64, device="cpu")
    model = LatentForecast(pod, options, training=training)
    with pytest.raises(ValueError, match=r'must be equal.*or take kind="neural ODE"'):
        model.fit(train.isel(time=[*range(10), *range(12, 30)]))
    model.fit(train)
    with pytest.raises(ValueError, match=f'is the only one known to kind="{kind}"'):
        model.forecast(train.isel(time=slice(None, None, 2)), 3)


def test_what_cannot_be_is_refused(train, pod):
    model = LatentForecast(pod, LatentForecastOptions(kind="lstm", history=8, horizon=16))
    with pytest.raises(ValueError, match="20 snapshots were given, and a window has 24"):
        model.fit(train.isel(time=slice(20)))
    with pytest.raises(ValueError, match="the forecast is not fitted"):
        model.forecast(train, 3)
    with pytest.raises(ValueError, match="all must be at least 1"):
        LatentForecastOptions(horizon=0)
    with pytest.raises(ValueError, match="time does not increase"):
        LatentForecast(pod).fit(train.isel(time=[*range(30), *range(29, 40)]))
    with pytest.raises(FileNotFoundError, match="no method was saved"):
        LatentForecast.load("nowhere")
