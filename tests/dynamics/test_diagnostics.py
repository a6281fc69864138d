"""Diagnostics of the true system give its published numbers; of a wrong one they do not."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import xarray as xr

from sciml.dynamics.diagnostics import (
    error_growth,
    kaplan_yorke_dimension,
    lead_error,
    lyapunov_spectrum,
    map_spectrum,
    maxima,
    recover_coefficients,
    return_map,
    spectrum_distance,
    state_space_divergence,
    summarize_valid_times,
    valid_prediction_time,
)
from sciml.dynamics.fields import Bilinear, Polynomial, Scaled, Symmetric
from sciml.dynamics.systems import (
    KAPLAN_YORKE_DIMENSION,
    LYAPUNOV_EXPONENTS,
    LYAPUNOV_TIME,
    SYMMETRY,
    Lorenz63,
    solve,
    trajectories,
)


@pytest.fixture(scope="module")
def long_run() -> xr.Dataset:
    return trajectories(np.arange(8000) * 0.02, samples=16, seed=1)


def on_attractor(samples: int) -> torch.Tensor:
    ds = trajectories(np.array([0.0, 0.02]), samples=samples, seed=4)
    return torch.from_numpy(ds["state"].values[:, 0])


def test_lyapunov_spectrum_of_lorenz() -> None:
    found = lyapunov_spectrum(
        Lorenz63(), on_attractor(1500), step=0.02, duration=16.0, spin_up=5.0, every=5
    )
    for value, true, bound in zip(
        found.exponents, LYAPUNOV_EXPONENTS, (0.005, 0.005, 0.02), strict=True
    ):
        assert value == pytest.approx(true, abs=bound)
    assert (found.standard_error < 0.004).all()
    assert found.exponents.sum() == pytest.approx(Lorenz63().divergence, abs=0.01)
    assert found.dimension == pytest.approx(KAPLAN_YORKE_DIMENSION, abs=1e-3)


def test_exponents_sum_to_the_divergence_with_the_order_of_the_scheme() -> None:
    begin = on_attractor(10)
    gaps = [
        abs(
            lyapunov_spectrum(
                Lorenz63(), begin, step=step, duration=1.0, spin_up=0.0, every=2
            ).exponents.sum()
            - Lorenz63().divergence
        )
        for step in (0.02, 0.01)
    ]
    assert gaps[1] < 1e-3
    assert np.log2(gaps[0] / gaps[1]) == pytest.approx(4, abs=0.7)


def test_exponents_of_linear_systems(rng: np.random.Generator) -> None:
    """Of the map M the logarithms of the moduli of its eigenvalues."""
    basis = torch.from_numpy(np.linalg.qr(rng.standard_normal((3, 3)))[0])
    M = basis @ torch.diag(torch.tensor([1.2, 0.9, 0.3], dtype=torch.float64)) @ basis.mT
    found = map_spectrum(
        lambda x: x @ M.mT, torch.zeros(2, 3).double(), step=1.0, duration=60.0, spin_up=200.0
    )
    np.testing.assert_allclose(found.exponents, np.log([1.2, 0.9, 0.3]), atol=1e-9)
    with pytest.raises(ValueError, match="must be positive"):
        map_spectrum(lambda x: x, torch.zeros(1, 1), step=0.0, duration=1.0)


@pytest.mark.parametrize(
    ("exponents", "dimension"),
    [
        (LYAPUNOV_EXPONENTS, KAPLAN_YORKE_DIMENSION),
        ((-1.0, -2.0), 0.0),
        ((1.0, 0.5), 2.0),
        ((-4.0, 0.5, 1.0), 2.375),
        ((math.nan, 1.0), math.nan),
    ],
)
def test_kaplan_yorke(exponents: tuple[float, ...], dimension: float) -> None:
    found = kaplan_yorke_dimension(exponents)
    assert found == pytest.approx(dimension, abs=5e-4, nan_ok=True)


@pytest.fixture(scope="module")
def forecast() -> tuple[xr.Dataset, xr.Dataset]:
    """Truth, and what becomes of initial errors of 1e-4 in x."""
    truth = trajectories(np.arange(1200) * 0.02, samples=120, seed=7)
    begin = truth["state"].values[:, 0] + [1e-4, 0.0, 0.0]
    states = solve(begin, truth["time"].values)
    return truth, truth[[]].assign(state=(truth["state"].dims, states))


def test_errors_grow_along_the_largest_exponent(
    forecast: tuple[xr.Dataset, xr.Dataset],
) -> None:
    leads, error = error_growth(*forecast)
    part = (leads > 1.0) & (leads < 6.0)
    slope = np.polyfit(leads[part], np.log(error[part]), 1)[0]
    assert slope == pytest.approx(LYAPUNOV_EXPONENTS[0], abs=0.1)


def test_valid_prediction_time(forecast: tuple[xr.Dataset, xr.Dataset]) -> None:
    """ln(0.4 / initial error) Lyapunov times, about, and by hand for one sample."""
    truth, prediction = forecast
    valid = valid_prediction_time(truth, prediction)
    found = summarize_valid_times(valid)
    assert found.samples == 120 and found.capped < 0.2
    assert found.median == pytest.approx(np.log(0.4 / 1e-5), abs=2.0)
    assert found.low < found.median < found.truth
    size = [7.92, 9.01, 8.61]
    gap = (prediction["state"] - truth["state"]).values[3] / size
    beyond = np.argmax(np.sqrt((gap**2).mean(1)) > 0.4)
    assert valid["valid_time"][3] * LYAPUNOV_TIME == pytest.approx((beyond - 1) * 0.02)
    with pytest.raises(ValueError, match="at least 121"):
        summarize_valid_times(valid, minimum=121)


def test_valid_time_ends_with_the_truth_and_with_nan(
    forecast: tuple[xr.Dataset, xr.Dataset],
) -> None:
    truth, _ = forecast
    valid = valid_prediction_time(truth.assign(valid_until=("sample", np.full(120, 9.05))), truth)
    np.testing.assert_allclose(valid["valid_time"] * LYAPUNOV_TIME, 9.04)
    assert valid["capped"].all()
    lost = truth["state"].where(truth["time"] < 3.0)
    valid = valid_prediction_time(truth, truth.assign(state=lost))
    np.testing.assert_allclose(valid["valid_time"] * LYAPUNOV_TIME, 2.98)
    late = truth.assign(history=101)
    begun = valid_prediction_time(late, truth.assign(state=lost), lyapunov_time=1.0)
    np.testing.assert_allclose(begun["valid_time"], 0.98)


def test_lead_error_counts_from_the_end_of_the_history() -> None:
    state = xr.DataArray(np.zeros((3, 9, 2)), dims=("sample", "time", "component"))
    wrong = state + xr.DataArray(np.arange(9.0), dims="time")
    truth, prediction = xr.Dataset({"state": state}), xr.Dataset({"state": wrong})
    assert lead_error(truth, prediction, lead=4) == 4.0
    assert lead_error(truth.assign(history=3), prediction, lead=4) == 6.0
    with pytest.raises(ValueError, match="lead 9 is beyond the 9 times"):
        lead_error(truth, prediction, lead=9)
    with pytest.raises(ValueError, match="history is 10"):
        lead_error(truth.assign(history=10), prediction)


def test_the_attractor_is_itself_and_no_other(long_run: xr.Dataset) -> None:
    states = long_run["state"].values
    first, second = states[:8], states[8:]
    other = trajectories(np.arange(8000) * 0.02, samples=8, system=Lorenz63(rho=35.0), seed=2)
    same = state_space_divergence(first, second)
    assert 0 < same < 0.2 < 5 * same < state_space_divergence(first, other["state"].values)
    assert state_space_divergence(first, np.full_like(first, np.nan)) == math.inf
    near = spectrum_distance(first, second)
    assert 0 < near < 0.03 < 3 * near < spectrum_distance(first, other["state"].values)
    assert spectrum_distance(first, np.full_like(first, np.inf)) == 1.0


def test_maxima_of_a_parabola_are_exact(rng: np.random.Generator) -> None:
    t, (top, height, width) = np.arange(20.0), (8.3, *rng.uniform(1, 2, 2))
    np.testing.assert_allclose(maxima(height - width * (t - top) ** 2), [height])


def test_return_map_of_lorenz_is_a_cusp() -> None:
    """One value for each maximum; rising, then falling, and steeper than one everywhere."""
    ds = trajectories(np.arange(12000) * 0.01, samples=8, seed=3)
    now, following = return_map(ds["state"].sel(component="z").values)
    assert len(now) > 1000
    order = np.argsort(now)
    now, following = now[order], following[order]
    peak = np.argmax(following)
    assert 38.2 < now[peak] < 38.9 and following[peak] > 46
    for side, sign in ((slice(0, peak), 1), (slice(peak + 1, None), -1)):
        x, y = now[side], following[side]
        far = x[20:] - x[:-20] > 0.05
        slope = ((y[20:] - y[:-20]) / (x[20:] - x[:-20]))[far] * sign
        assert slope.min() > 1.0
    near = np.diff(now) < 1e-3
    assert np.median(abs(np.diff(following))[near]) < 5e-3


def test_coefficients_of_lorenz_are_recovered_however_written() -> None:
    polynomial = Polynomial(3).double()
    polynomial.set_coefficients(Lorenz63().coefficients())
    for field in (polynomial, Symmetric(polynomial, SYMMETRY)):
        found = recover_coefficients(field)
        assert found.error < 1e-11 and found.residual < 1e-13
    changed = dict(Lorenz63().coefficients())
    changed["z", "x y"] = 1.001
    polynomial.set_coefficients(changed)
    assert recover_coefficients(polynomial).error == pytest.approx(1e-3, rel=1e-6)
    cubic = recover_coefficients(lambda x: x**3)
    assert cubic.residual > 0.1
    scaled = Scaled(Bilinear(3), 3).double()
    assert recover_coefficients(scaled).residual < 1e-12
