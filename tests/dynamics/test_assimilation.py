"""4D-Var and ensemble Kalman filters: against the Kalman smoother, and on Lorenz-63."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from torch import Tensor

from sciml.dynamics.assimilation import (
    LBFGS,
    Background,
    EnsembleKalman,
    ForecastModel,
    FourDVar,
    GaussNewton,
    ModelError,
    Observations,
    QuasiStatic,
    Window,
    climatology,
    observations_of,
    resolvents,
    twin_experiment,
    twin_figure,
)
from sciml.dynamics.integrators import NonFiniteState, RungeKutta
from sciml.dynamics.systems import Lorenz63, trajectories

STEP = 0.5


def normal(rng: np.random.Generator, *shape: int) -> Tensor:
    return torch.from_numpy(rng.standard_normal(shape))


def covariance(rng: np.random.Generator, size: int, scale: float = 1.0) -> Tensor:
    """A random covariance with eigenvalues of at least half the scale."""
    root = normal(rng, size, size)
    return scale * (root @ root.mT / size + 0.5 * torch.eye(size, dtype=torch.float64))


class Linear:
    """A linear model with Gaussian errors, and what Kalman's equations say of it."""

    def __init__(self, rng: np.random.Generator, samples: int = 2, times: int = 8) -> None:
        rates = torch.tensor([[-0.3, 1.0, 0.0], [-1.0, -0.1, 0.4], [0.2, 0.0, -0.5]]).double()
        self.model = ForecastModel(field=lambda x: x @ rates.mT, scheme=RungeKutta(step=0.1))
        self.background = Background(
            time=0.0, mean=normal(rng, samples, 3), covariance=covariance(rng, 3, 2.0)
        )
        mask = torch.from_numpy(rng.random((samples, times, 2)) > 0.3)
        mask[0, :, 0] = True  # model errors stand where anything is observed
        self.observations = Observations(
            times=STEP * torch.arange(1, times + 1),
            values=normal(rng, samples, times, 2),
            covariance=covariance(rng, 2, 0.5),
            operator=normal(rng, 2, 3),
            mask=mask,
        )
        self.error = ModelError(covariance=covariance(rng, 3, 0.1))

    @property
    def resolvent(self) -> np.ndarray:
        one = torch.eye(3, dtype=torch.float64)
        return self.model(one, torch.tensor([0.0, STEP]))[:, -1].mT.numpy()

    def kalman(self, noise: Tensor | None, sample: int) -> tuple[np.ndarray, ...]:
        """Means and covariances of the filter and of the Rauch-Tung-Striebel smoother."""
        y, M = self.observations, self.resolvent
        Q = np.zeros((3, 3)) if noise is None else noise.numpy()
        R, H = y.covariance.numpy(), y.operator.numpy()
        m, P = self.background.mean[sample].numpy(), self.background.covariance.numpy()
        means, covariances, forecasts = [m], [P], []
        for k in range(len(y.times)):
            m, P = M @ m, M @ P @ M.T + Q
            forecasts.append((m, P))
            seen = y.mask[sample, k].numpy()
            h, r = H[seen], R[np.ix_(seen, seen)]
            gain = P @ h.T @ np.linalg.inv(h @ P @ h.T + r)
            m = m + gain @ (y.values[sample, k].numpy()[seen] - h @ m)
            P = P - gain @ h @ P
            means.append(m)
            covariances.append(P)
        smooth, spread = [means[-1]], [covariances[-1]]
        for k in reversed(range(len(y.times))):
            m_f, P_f = forecasts[k]
            back = covariances[k] @ M.T @ np.linalg.inv(P_f)
            smooth.insert(0, means[k] + back @ (smooth[0] - m_f))
            spread.insert(0, covariances[k] + back @ (spread[0] - P_f) @ back.T)
        return tuple(np.array(a) for a in (means, covariances, smooth, spread))


@pytest.fixture
def linear(rng):
    return Linear(rng)


def run(linear: Linear, method: FourDVar | EnsembleKalman) -> xr.Dataset:
    return method.assimilate(linear.model, linear.background, linear.observations)


@pytest.mark.parametrize("weak", [False, True])
def test_4dvar_of_a_linear_model_is_the_kalman_smoother(linear, weak):
    error = linear.error if weak else None
    analysis = run(linear, FourDVar(model_error=error))
    assert analysis["converged"].all()
    for sample in range(2):
        _, _, smooth, spread = linear.kalman(error.covariance if error else None, sample)
        np.testing.assert_allclose(analysis["state"][sample], smooth, atol=1e-8)
        np.testing.assert_allclose(analysis["covariance"][sample], spread, atol=1e-8)


@pytest.mark.parametrize("weak", [False, True])
def test_windows_that_hand_on_their_covariance_end_as_the_kalman_filter(linear, weak):
    error = linear.error if weak else None
    analysis = run(linear, FourDVar(window=2 * STEP, model_error=error))
    assert analysis.sizes["window"] == 4
    for sample in range(2):
        means, covariances, _, _ = linear.kalman(error.covariance if error else None, sample)
        np.testing.assert_allclose(analysis["state"][sample, 2::2], means[2::2], atol=1e-8)
        np.testing.assert_allclose(
            analysis["covariance"][sample, 2::2], covariances[2::2], atol=1e-8
        )


def test_both_minimisers_find_the_same_minimum(linear):
    newton = run(linear, FourDVar(model_error=linear.error))
    descent = run(linear, FourDVar(model_error=linear.error, minimiser=LBFGS(tolerance=1e-9)))
    np.testing.assert_allclose(newton["state"], descent["state"], atol=2e-6)
    np.testing.assert_allclose(newton["covariance"], descent["covariance"], atol=2e-6)
    last = [ds["cost"].isel(window=0).min("iteration") for ds in (newton, descent)]
    np.testing.assert_allclose(last[0], last[1], rtol=1e-12)


def test_twice_the_least_cost_counts_the_observations(rng):
    """2 J at the minimum is χ² distributed with as many degrees of freedom as observations."""
    samples, times = 400, 6
    linear = Linear(rng, samples, times)
    root = torch.linalg.cholesky(linear.background.covariance)
    truth = linear.background.mean + normal(rng, samples, 3) @ root.mT
    y = linear.observations
    path = linear.model(truth, torch.cat([torch.zeros(1).double(), y.times]))[:, 1:]
    noise = normal(rng, samples, times, 2) @ torch.linalg.cholesky(y.covariance).mT
    linear.observations = replace(y, values=y.observe(path) + noise)
    analysis = run(linear, FourDVar())
    cost = 2 * (analysis["background_cost"] + analysis["observation_cost"])
    count = analysis["observation_count"].astype(float)
    assert abs(float((cost - count).sum())) < 4 * math.sqrt(2 * float(count.sum()))
    degrees = analysis["degrees_of_freedom"]
    assert ((degrees > 0) & (degrees < 3)).all()


def lorenz_window(rng: np.random.Generator, gradient: str = "store", weak: bool = True) -> Window:
    """A window with nonlinear observations, gaps, and model errors between the observations."""
    truth = torch.from_numpy(trajectories(np.array([0.0]), samples=2, seed=3)["state"].values[:, 0])
    observations = Observations(
        times=torch.tensor([0.0, 0.1, 0.2, 0.35]).double(),
        values=normal(rng, 2, 4, 2),
        covariance=covariance(rng, 2),
        operator=lambda x: torch.stack((x[:, 0] * x[:, 1] / 10, x[:, 2].sin()), dim=1),
        mask=torch.from_numpy(rng.random((2, 4, 2)) > 0.2),
    )
    error = ModelError(covariance=covariance(rng, 3), times=torch.tensor([0.05, 0.2]).double())
    return Window(
        ForecastModel(field=Lorenz63(), scheme=RungeKutta(step=0.025), gradient=gradient),
        Background(time=0.0, mean=truth, covariance=covariance(rng, 3)),
        observations,
        stop=0.4,
        error=error if weak else None,
    )


@pytest.mark.parametrize("weak", [False, True])
@pytest.mark.parametrize("gradient", ["store", "checkpoint"])
def test_gradient_passes_the_taylor_test(rng, gradient, weak):
    window = lorenz_window(rng, gradient, weak)
    control = (0.3 * normal(rng, *window.shape)).requires_grad_()
    direction = normal(rng, *window.shape)
    cost = window.cost(control).sum()
    (slope,) = torch.autograd.grad(cost, control)
    with torch.no_grad():
        sizes = 2.0 ** -np.arange(6, 13)
        first = (slope * direction).sum()
        rest = [
            abs(float(window.cost(control + h * direction).sum() - cost - h * first)) for h in sizes
        ]
    slopes = np.diff(np.log2(rest)) / np.diff(np.log2(sizes))
    np.testing.assert_allclose(slopes[-3:], 2.0, atol=0.05)


def test_linearisation_is_the_derivative(rng):
    window = lorenz_window(rng)
    control = 0.3 * normal(rng, *window.shape)
    linear = window.linearise(window.evaluate(control))
    whole = torch.autograd.functional.jacobian(lambda v: window.evaluate(v).residual, control)
    for sample in range(2):
        own = whole[sample, :, sample].flatten(1)
        torch.testing.assert_close(linear.jacobian[sample], own, rtol=1e-10, atol=1e-10)
    at = control.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(window.cost(at).sum(), at)
    torch.testing.assert_close(linear.gradient, gradient.flatten(1), rtol=1e-10, atol=1e-10)


def test_resolvents_of_unequal_intervals_multiply_to_that_of_the_whole(rng):
    model = ForecastModel(field=Lorenz63(), scheme=RungeKutta(step=0.01))
    times = torch.tensor([0.0, 0.1, 0.15, 0.25]).double()
    start = 5 + normal(rng, 2, 3)
    steps = resolvents(model, model(start, times), times)
    whole = resolvents(model, model(start, times[[0, -1]]), times[[0, -1]])[:, 0]
    torch.testing.assert_close(steps[:, 2] @ steps[:, 1] @ steps[:, 0], whole)


def test_what_is_masked_is_not_read(linear):
    y = linear.observations
    other = replace(y, values=torch.where(y.mask, y.values, torch.nan))
    for method in (FourDVar(window=2.0), EnsembleKalman(members=10, variant="stochastic")):
        first = run(linear, method)
        second = method.assimilate(linear.model, linear.background, other)
        xr.testing.assert_equal(first, second)


def test_a_sample_that_lost_the_truth_finds_it_again():
    """A background that is far off and sure of itself, in the second window."""
    truth = trajectories(np.arange(21) * 0.1, samples=2, seed=8)
    states = torch.from_numpy(truth["state"].values.copy())
    y = Observations(
        times=0.1 * torch.arange(1, 21),
        values=states[:, 1:, :1],
        covariance=2.0 * torch.eye(1),
        operator=torch.tensor([[1.0, 0.0, 0.0]]),
    )
    wrong = replace(y, values=torch.cat([-y.values[:1], y.values[1:]]), covariance=torch.eye(1))
    first = torch.arange(20) < 10
    values = torch.where(first[:, None], wrong.values, y.values)  # sample 0: −x, then x
    model = ForecastModel(field=Lorenz63(), scheme=RungeKutta(step=0.05))
    quick = GaussNewton(iterations=8, tolerance=1e-3)
    method = FourDVar(window=1.0, minimiser=QuasiStatic(minimiser=quick, stages=3))
    kept, mended = (
        replace(method, rejection=rejection).assimilate(
            model, climatology(truth), replace(y, values=values)
        )
        for rejection in (None, 4.0)
    )
    error = [abs(ds["state"].isel(time=-1).values - states[:, -1].numpy()) for ds in (kept, mended)]
    assert error[1][0].max() < 3.0 < error[0][0].max()
    np.testing.assert_array_equal(error[1][1], error[0][1])
    more = mended["integrations"] > kept["integrations"]
    assert more.values.tolist() == [[False, True], [False, False]]


def test_samples_with_times_of_their_own_are_put_on_common_ones():
    ds = xr.Dataset(
        {
            "state": (("sample", "time", "component"), np.arange(8.0).reshape(2, 2, 2)),
            "observation_time": (("sample", "time"), [[0.1, 0.3], [0.2, 0.3]]),
        },
        coords={"component": ["x", "y"]},
    )
    y = observations_of(ds, ["y"], torch.eye(1))
    assert y.times.tolist() == [0.1, 0.2, 0.3]
    assert y.mask[..., 0].tolist() == [[True, False, True], [False, True, True]]
    assert y.values[..., 0].tolist() == [[1.0, 0.0, 3.0], [0.0, 5.0, 7.0]]
    assert y.observe(torch.tensor([[2.0, 9.0]]).double()).tolist() == [[9.0]]


def test_transform_filter_is_exact_for_its_own_sample_covariance(rng):
    linear = Linear(rng, samples=2, times=1)
    y = linear.observations
    y = replace(y, times=torch.zeros(1), mask=torch.ones_like(y.mask))
    method = EnsembleKalman(members=7, seed=5)
    prior, analysis = (
        method.assimilate(linear.model, linear.background, seen)
        for seen in (replace(y, mask=torch.zeros_like(y.mask)), y)
    )
    H, R = y.operator.numpy(), y.covariance.numpy()
    for sample in range(2):
        m, P = prior["state"].values[sample, 0], prior["covariance"].values[sample, 0]
        gain = P @ H.T @ np.linalg.inv(H @ P @ H.T + R)
        mean = m + gain @ (y.values[sample, 0].numpy() - H @ m)
        np.testing.assert_allclose(analysis["state"][sample, 0], mean, atol=1e-10)
        np.testing.assert_allclose(analysis["covariance"][sample, 0], P - gain @ H @ P, atol=1e-10)


@pytest.mark.parametrize("variant", ["stochastic", "transform"])
@pytest.mark.parametrize("lag", [0.0, 10.0])
def test_large_ensemble_approaches_the_kalman_filter_and_smoother(rng, variant, lag):
    linear = Linear(rng, samples=2, times=4)
    noise = linear.error.covariance
    members = 500
    method = EnsembleKalman(members=members, variant=variant, lag=lag, model_error=noise)
    analysis = run(linear, method)
    for sample in range(2):
        results = linear.kalman(noise, sample)
        means, covariances = results[2:] if lag else results[:2]
        deviations = np.sqrt(np.diagonal(covariances, axis1=1, axis2=2))
        error = (analysis["state"].values[sample] - means) / deviations
        assert np.sqrt((error**2).mean()) < 8 / math.sqrt(members)
        ratio = analysis["spread"].values[sample] / deviations
        np.testing.assert_allclose(ratio, 1.0, atol=8 / math.sqrt(members))


def test_inflation_multiplies_the_forecast_anomalies(rng):
    """With almost no information in the observation, only inflation changes the covariance."""
    linear = Linear(rng, samples=1, times=1)
    linear.observations = replace(
        linear.observations,
        covariance=1e12 * torch.eye(2),
        mask=torch.ones_like(linear.observations.mask),
    )
    plain, inflated = (
        run(linear, EnsembleKalman(members=9, inflation=factor))["spread"].isel(time=-1)
        for factor in (1.0, 1.3)
    )
    np.testing.assert_allclose(inflated, 1.3 * plain, rtol=1e-6)


@pytest.fixture(scope="module")
def twin():
    """Lorenz-63, x seen every 0.1 with variance 2, y and z hidden; windows of length 0.5."""
    truth = trajectories(np.arange(81) * 0.1, samples=8, seed=11)
    model = ForecastModel(field=Lorenz63(), scheme=RungeKutta(step=0.05))
    identity = torch.eye(3, dtype=torch.float64)
    variational = FourDVar(
        window=0.5,
        minimiser=QuasiStatic(minimiser=GaussNewton(iterations=6, tolerance=1e-3), stages=3),
        addition=0.1 * identity,
    )
    methods = {
        "strong 4D-Var": variational,
        "weak 4D-Var": replace(variational, model_error=ModelError(covariance=1e-3 * identity)),
        "ETKF": EnsembleKalman(members=40, inflation=1.02),
        "EnKF": EnsembleKalman(members=40, inflation=1.02, variant="stochastic"),
    }
    return twin_experiment(truth, model, methods, spin_up=3.0, window=0.5, seed=4)


@pytest.mark.parametrize("method", ["strong 4D-Var", "weak 4D-Var", "ETKF", "EnKF"])
def test_twin_experiment_recovers_what_is_hidden(twin, method):
    one = twin.sel(analysis=method)
    climate = twin["rmse"].sel(analysis="climatology")
    assert (one["rmse"] < 0.25 * climate).all()
    assert (one["end_rmse"] < 0.25 * climate).all()
    assert float(one["rmse"].sel(component="x")) < math.sqrt(2.0)  # better than an observation
    ratio = one["rms_spread"] / one["rmse"]
    assert ((ratio > 0.5) & (ratio < 2)).all()


def test_free_run_is_worse_than_climatology():
    """Two independent states of the attractor differ by √2 of its standard deviation."""
    truth = trajectories(np.arange(41) * 0.2, samples=64, seed=11)
    model = ForecastModel(field=Lorenz63(), scheme=RungeKutta(step=0.05))
    twin = twin_experiment(truth, model, {"EnKF": EnsembleKalman(members=20)}, spin_up=4.0, seed=4)
    error = twin["rmse"].sel(analysis=["free run", "climatology"])
    free, constant = error.transpose("analysis", ...)
    np.testing.assert_allclose(free, math.sqrt(2) * constant, rtol=0.15)
    deviation = twin["truth"].std(("sample", "time"))
    np.testing.assert_allclose(constant, deviation, rtol=0.1)


def test_twin_figure_shows_truth_and_analysis(twin):
    figure = twin_figure(twin, "ETKF", sample=1, start=4.0, stop=7.0)
    assert len(figure.axes) == 3
    truth, mean = figure.axes[1].get_lines()
    np.testing.assert_array_equal(truth.get_xdata(), mean.get_xdata())
    np.testing.assert_array_equal(
        truth.get_ydata(),
        twin["truth"].isel(sample=1).sel(component="y", time=slice(4.0, 7.0)),
    )
    with pytest.raises(ValueError, match="no method 'nudging'"):
        twin_figure(twin, "nudging")


def test_times_between_observations_refine_the_analysis_and_change_nothing_else():
    fine = trajectories(np.arange(21) * 0.05, samples=2, seed=2)
    model = ForecastModel(field=Lorenz63(), scheme=RungeKutta(step=0.025))
    methods = {"4D-Var": FourDVar(window=0.5), "EnKF": EnsembleKalman(members=10)}
    first = twin_experiment(fine, model, methods, every=2, background=climatology(fine))
    seen = np.isfinite(first["observation"].values[..., 0])
    assert seen[:, 2::2].all() and not seen[:, 1::2].any() and not seen[:, 0].any()
    observed = fine.isel(time=slice(2, None, 2))
    y = Observations(
        times=torch.from_numpy(observed["time"].values.copy()),
        values=torch.from_numpy(first["observation"].values[:, 2::2]),
        covariance=2.0 * torch.eye(1),
        operator=torch.tensor([[1.0, 0.0, 0.0]]),
    )
    for name, method in methods.items():
        coarse = method.assimilate(model, climatology(fine), y)
        states = first["state"].sel(analysis=name)[:, ::2]
        np.testing.assert_allclose(coarse["state"], states, atol=1e-6)


def test_mistakes_are_named():
    y = {
        "times": torch.tensor([0.1, 0.2]),
        "values": torch.zeros(1, 2, 1),
        "covariance": torch.eye(1),
        "operator": torch.eye(1),
    }
    with pytest.raises(ValueError, match=r"must increase, but at position 0 they are 0\.2, 0\.1"):
        Observations(**{**y, "times": torch.tensor([0.2, 0.1])})
    with pytest.raises(ValueError, match=r"of sample 0 at time 0\.2 is not finite"):
        Observations(**{**y, "values": torch.tensor([[[0.0], [torch.nan]]])})
    with pytest.raises(ValueError, match="observation covariance is not positive definite"):
        Observations(**{**y, "covariance": -torch.eye(1)})
    with pytest.raises(ValueError, match=r"observation covariance has shape \[2, 2\]"):
        Observations(**{**y, "covariance": torch.eye(2)})
    with pytest.raises(ValueError, match=r"values have shape \[1, 3, 1\]"):
        Observations(**{**y, "values": torch.zeros(1, 3, 1)})
    with pytest.raises(ValueError, match="background covariance is not finite and symmetric"):
        Background(time=0.0, mean=torch.zeros(1, 2), covariance=torch.ones(2, 2).triu())
    with pytest.raises(ValueError, match=r"mean has shape \[2\], expected \[sample, component\]"):
        Background(time=0.0, mean=torch.zeros(2), covariance=torch.eye(2))
    with pytest.raises(ValueError, match=r"parameters are float32.*field\.double"):
        ForecastModel(field=torch.nn.Linear(3, 3))


@pytest.mark.parametrize("method", [FourDVar(), EnsembleKalman(members=4)])
def test_what_does_not_fit_is_refused(linear, method):
    model, x, y = linear.model, linear.background, linear.observations
    with pytest.raises(ValueError, match="observations of 2 samples and a background of 1"):
        method.assimilate(model, x.sample(0), y)
    with pytest.raises(ValueError, match=r"first observation is at time 0\.5, before"):
        method.assimilate(model, replace(x, time=1.0), y)
    with pytest.raises(ValueError, match="matrix for 2 components, the state has 3"):
        method.assimilate(model, x, replace(y, operator=torch.eye(2)))
    with pytest.raises(ValueError, match="labels of 1 components, and the state has 3"):
        method.assimilate(model, x, y, components=["x"])


@pytest.mark.parametrize("method", [FourDVar(), EnsembleKalman(members=4)])
def test_a_forecast_that_blows_up_is_reported_with_sample_and_time(method):
    model = ForecastModel(field=torch.square, scheme=RungeKutta(step=0.01))
    x = Background(time=0.0, mean=torch.tensor([[-1.0], [4.0]]), covariance=1e-6 * torch.eye(1))
    y = Observations(
        times=torch.tensor([0.1, 1.0]),
        values=torch.zeros(2, 2, 1),
        covariance=torch.eye(1),
        operator=torch.eye(1),
    )
    with pytest.raises(NonFiniteState, match="sample 1 is not finite at time 1"):
        method.assimilate(model, x, y)
