"""The truth of Lorenz-63: against another solver, its symmetry, and its own validity."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.integrate import solve_ivp

from sciml.dynamics.observations import add_noise, hide, irregular_times, observe_components
from sciml.dynamics.systems import (
    ATTRACTOR_MEAN,
    ATTRACTOR_STANDARD_DEVIATION,
    LYAPUNOV_EXPONENTS,
    LYAPUNOV_TIME,
    SYMMETRY,
    Lorenz63,
    solve,
    times_of,
    trajectories,
    valid_until,
)


@pytest.fixture
def states(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(ATTRACTOR_MEAN, ATTRACTOR_STANDARD_DEVIATION, (6, 3))


def test_rate_and_jacobian_agree_with_autograd(states: np.ndarray) -> None:
    system, x = Lorenz63(sigma=9.0, rho=30.0, beta=2.5), torch.from_numpy(states)
    np.testing.assert_array_equal(system(x).numpy(), system.rate(states))
    derivative = torch.func.vmap(torch.func.jacrev(system))(x)
    torch.testing.assert_close(system.jacobian(x), derivative, rtol=1e-14, atol=1e-13)
    trace = system.jacobian(x).diagonal(dim1=-2, dim2=-1).sum(-1)
    torch.testing.assert_close(trace, torch.full((6,), system.divergence, dtype=torch.float64))


def test_exponents_sum_to_the_divergence() -> None:
    assert sum(LYAPUNOV_EXPONENTS) == pytest.approx(Lorenz63().divergence, abs=1e-3)


def test_truth_agrees_with_dormand_and_prince(states: np.ndarray) -> None:
    times = np.linspace(0.0, 3.0, 4)
    found = solve(states[:3], times)
    for begin, path in zip(states[:3], found, strict=True):
        other = solve_ivp(
            lambda _, x: Lorenz63().rate(x), (0, 3), begin, "DOP853", times, rtol=1e-13, atol=1e-13
        )
        np.testing.assert_allclose(path, other.y.T, rtol=0, atol=1e-7)


def test_truncation_is_below_rounding(states: np.ndarray) -> None:
    times = np.arange(51) * 0.02
    lower, higher = (solve(states, times, order=order) for order in (24, 40))
    np.testing.assert_allclose(lower, higher, rtol=0, atol=1e-11)


def test_order_of_the_series(states: np.ndarray) -> None:
    times = np.array([0.0, 0.5])
    exact = solve(states, times)[:, -1]
    errors = [
        abs(solve(states, times, order=3, step=step)[:, -1] - exact).max()
        for step in (0.002, 0.001)
    ]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(3, abs=0.2)


def test_solutions_have_the_symmetry(states: np.ndarray) -> None:
    times = np.linspace(0.0, 3.0, 4)
    np.testing.assert_array_equal(solve(states * SYMMETRY, times), solve(states, times) * SYMMETRY)


def test_validity_is_twenty_lyapunov_times_and_follows_the_threshold() -> None:
    ds = trajectories(np.arange(0.0, 45.0, 0.05), samples=20, seed=5)
    assert (ds["valid_until"] > 20 * LYAPUNOV_TIME).all()
    assert (ds["valid_until"] < 45.0).all()
    states = ds["state"].values
    later = valid_until(states[:, 0], ds["time"].values, states, threshold=1e-1)
    delay = np.median(later - ds["valid_until"].values)
    assert delay * LYAPUNOV_EXPONENTS[0] == pytest.approx(np.log(100), rel=0.35)


def test_statistics_of_the_attractor() -> None:
    ds = trajectories(np.arange(0.0, 200.0, 0.05), samples=20)
    np.testing.assert_allclose(ds["state"].mean(("sample", "time")), ATTRACTOR_MEAN, atol=0.6)
    spread = ds["state"].std(("sample", "time"))
    np.testing.assert_allclose(spread, ATTRACTOR_STANDARD_DEVIATION, rtol=0.02)


def test_a_sample_depends_on_seed_and_number_alone() -> None:
    times = np.arange(3) * 0.1
    few, many = (trajectories(times, samples=n, seed=3)["state"] for n in (2, 4))
    np.testing.assert_array_equal(few, many[:2])
    assert not np.array_equal(few, trajectories(times, samples=2, seed=4)["state"])


def test_times_of_their_own() -> None:
    times = irregular_times(3, 20, mean_step=0.05, spread=0.9, seed=1)
    ds = trajectories(times, samples=3)
    assert "time" not in ds.coords
    np.testing.assert_array_equal(times_of(ds), times)
    alone = solve(ds["state"].values[1:2, 0], times[1])
    np.testing.assert_array_equal(alone[0], ds["state"].values[1])


def test_times_that_do_not_increase_are_refused_with_their_place() -> None:
    times = np.array([[0.0, 1.0, 2.0], [0.0, 2.0, 2.0]])
    with pytest.raises(ValueError, match=r"sample 1 go from 2 to 2 at position 2"):
        trajectories(times, samples=2)
    with pytest.raises(ValueError, match="position 1"):
        trajectories(np.array([0.0, np.nan]))
    with pytest.raises(ValueError, match=r"expected \[time\] or \[3, time\]"):
        trajectories(times, samples=3)


def test_noise_has_the_size_asked_for() -> None:
    ds = trajectories(np.arange(4000) * 0.01, samples=2)
    for options, expected in (
        ({"variance": 2.0}, np.full(3, np.sqrt(2.0))),
        ({"standard_deviation": 0.5}, np.full(3, 0.5)),
        ({"ratio": 0.33}, 0.33 * ds["state"].std(("sample", "time")).values),
    ):
        noisy = add_noise(ds, **options, seed=2)
        np.testing.assert_allclose(noisy["noise_standard_deviation"], expected)
        found = (noisy["state"] - ds["state"]).std(("sample", "time"))
        np.testing.assert_allclose(found, expected, rtol=0.04)
    with pytest.raises(ValueError, match="2 sizes of noise"):
        add_noise(ds, variance=1.0, ratio=0.1, seed=0)


def test_hidden_values_are_nan_and_masked() -> None:
    ds = trajectories(np.arange(400) * 0.01, samples=2)
    seen = hide(ds, share=0.5, every=2, components=["z"], seed=1)
    np.testing.assert_array_equal(np.isfinite(seen["state"]), seen["mask"].astype(bool))
    mask = seen["mask"]
    assert not mask.sel(component="z").any()
    assert not mask[:, 1::2].any() and mask[:, 0, :2].all()
    assert float(mask[:, ::2, 0].mean()) == pytest.approx(0.5, abs=0.1)
    again = hide(seen, every=4)
    assert (again["mask"] <= mask).all()
    assert observe_components(ds)["state"].sizes["component"] == 1
    with pytest.raises(ValueError, match="none of"):
        observe_components(ds, ["w"])


def test_data_sets_can_be_stored(tmp_path) -> None:
    from sciml.data import load, save

    ds = hide(add_noise(trajectories(np.arange(5) * 0.01), variance=1.0, seed=0), every=2)
    save(ds, tmp_path / "a.nc")
    xr.testing.assert_equal(load(tmp_path / "a.nc").load().drop_vars("sample"), ds)
