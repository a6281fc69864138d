"""The neural ODE: its window kernel, what it recovers, and how it forecasts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

from sciml.dynamics.fields import Bilinear, monomial_coefficients
from sciml.dynamics.integrators import RungeKutta
from sciml.dynamics.network import FlowMap
from sciml.dynamics.observations import hide
from sciml.dynamics.surrogate import (
    BilinearOptions,
    MLPOptions,
    NeuralODE,
    NeuralODEOptions,
    PolynomialOptions,
)
from sciml.dynamics.systems import Lorenz63, trajectories
from sciml.dynamics.windows import Windows
from sciml.nn import MLP
from sciml.surrogate import Surrogate
from sciml.train import TrainOptions

LM = TrainOptions(epochs=30, batch_size=1000, optimiser="levenberg-marquardt", device="cpu")


@pytest.fixture(scope="module")
def train() -> xr.Dataset:
    return trajectories(np.arange(101) * 0.01, samples=4, seed=1)


@pytest.fixture(scope="module")
def fitted(train: xr.Dataset) -> NeuralODE:
    model = NeuralODE(NeuralODEOptions(field=BilinearOptions(products=2), substeps=4))
    model.fit(train, training=LM, progress=False)
    return model


def request_of(steps: int, history: int = 1) -> xr.Dataset:
    return trajectories(np.arange(steps) * 0.01, samples=6, seed=9).assign_attrs(history=history)


@pytest.mark.parametrize(
    "field", [Bilinear(3, products=4), MLP(3, 3, hidden=(8, 8), activation="tanh")]
)
def test_the_kernel_gives_states_and_gradients_of_the_plain_loop(
    field: torch.nn.Module, rng: np.random.Generator
) -> None:
    net = FlowMap(field, 3, scheme=RungeKutta(), substeps=2).double()
    net.mean.copy_(torch.tensor([0.3, -0.2, 1.0]))
    net.scale.copy_(torch.tensor([2.0, 3.0, 0.5]))
    state = torch.from_numpy(rng.standard_normal((5, 3))).requires_grad_()
    times = torch.arange(4).double().expand(5, 4) * 0.05
    found = []
    for kernel in (True, False):
        states = net(state, times, kernel=kernel)
        gradients = torch.autograd.grad(states.square().sum(), [state, *net.parameters()])
        found.append([states, *gradients])
    for fast, plain in zip(*found, strict=True):
        assert torch.allclose(fast, plain, rtol=1e-9, atol=1e-11)


def test_scaled_coordinates_do_not_change_the_solution(rng: np.random.Generator) -> None:
    plain, scaled = (FlowMap(torch.nn.Tanh(), 3, scheme=RungeKutta()).double() for _ in range(2))
    scaled.mean.copy_(torch.tensor([1.0, 2.0, 3.0]))
    scaled.scale.copy_(torch.tensor([2.0, 2.0, 2.0]))
    state = torch.from_numpy(rng.standard_normal((5, 3)))
    times = torch.arange(3).double().expand(5, 3) * 0.1
    moved = scaled.mean + scaled.scale * plain(state, times)
    assert torch.allclose(scaled(scaled.mean + scaled.scale * state, times), moved, atol=1e-12)


def test_the_equations_are_recovered(fitted: NeuralODE) -> None:
    found, residual = monomial_coefficients(fitted.rate, 3, radius=20.0)
    true, _ = monomial_coefficients(Lorenz63(), 3, radius=20.0)
    assert residual < 1e-10
    assert (found - true).abs().max() < 1e-4


def test_the_forecast_keeps_what_is_known_and_follows_the_truth(fitted: NeuralODE) -> None:
    truth = request_of(101, history=5)
    hidden = truth.assign(state=truth["state"].where(np.arange(101)[:, None] < 5))
    forecast = fitted.predict(hidden)["state"]
    assert forecast.isel(time=slice(5)).equals(truth["state"].isel(time=slice(5)))
    assert float(abs(forecast - truth["state"]).max()) < 1e-4


def test_a_saved_one_forecasts_the_same(fitted: NeuralODE, tmp_path) -> None:
    fitted.save(tmp_path / "surrogate")
    again = Surrogate.load(tmp_path / "surrogate")
    request = request_of(11)
    assert fitted.predict(request).identical(again.predict(request))


@pytest.mark.parametrize("optimiser", ["adamw", "lbfgs"])
@pytest.mark.parametrize("field", [MLPOptions(hidden=(8,)), PolynomialOptions()], ids=["mlp", "p"])
def test_any_optimiser_lowers_the_loss(optimiser: str, field, train: xr.Dataset) -> None:
    model = NeuralODE(NeuralODEOptions(field=field, window=4, stride=4))
    size = 1000 if optimiser == "lbfgs" else 16
    options = TrainOptions(
        epochs=8, batch_size=size, learning_rate=0.02, optimiser=optimiser, device="cpu"
    )
    history = model.fit(train, training=options, progress=False)
    assert history.train_loss[-1] < 0.9 * history.train_loss[0]


def test_what_was_not_observed_does_not_count(train: xr.Dataset) -> None:
    seen = hide(train, share=0.3, seed=3)
    model = NeuralODE(NeuralODEOptions(field=BilinearOptions(products=2), window=3, substeps=4))
    model.fit(seen, training=LM, progress=False)
    truth = request_of(11)
    assert float(abs(model.predict(truth)["state"] - truth["state"]).max()) < 1e-4


def test_windows_begin_where_the_state_is_observed(train: xr.Dataset) -> None:
    seen = hide(train, share=0.3, seed=3)
    windows = Windows(seen, length=2)
    assert 0 < len(windows) < len(Windows(train, length=2))
    assert all(windows[i][2][0].all() for i in range(len(windows)))


def test_missing_values_are_refused_without_a_mask(train: xr.Dataset) -> None:
    broken = train.copy(deep=True)
    broken["state"][2, 7, 1] = np.nan
    with pytest.raises(ValueError, match="sample 2 at position 7, component 1 is nan"):
        Windows(broken)


def test_a_history_out_of_range_is_refused(fitted: NeuralODE) -> None:
    with pytest.raises(ValueError, match="history"):
        fitted.predict(request_of(11, history=12))
