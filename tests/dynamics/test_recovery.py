"""Smoothing, matching of rates, search among solutions, and all of it on noisy Lorenz-63."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from sciml.dynamics.fields import Polynomial
from sciml.dynamics.integrators.runge_kutta import RungeKutta
from sciml.dynamics.integrators.scheme import march
from sciml.dynamics.recovery import (
    RecoveryOptions,
    match_rates,
    matching_solutions,
    recover,
)
from sciml.dynamics.shooting import Observations, ShootingOptions
from sciml.dynamics.smoothing import smooth
from sciml.dynamics.systems import Lorenz63


@torch.no_grad()
def lorenz(rng: np.random.Generator, samples: int, times: int) -> torch.Tensor:
    corner, width = torch.tensor([-8.0, -8.0, 15.0]), torch.tensor([16.0, 16.0, 15.0])
    start = corner + width * torch.from_numpy(rng.random((samples, 3)))
    scheme, grid = RungeKutta(), torch.arange(times, dtype=torch.float64) / 100
    return march(scheme, Lorenz63(), start, scheme.plan(Lorenz63(), start, grid))


def test_smooth_functions_pass_through_exact_observations_with_gaps(
    rng: np.random.Generator,
) -> None:
    times = np.cumsum(rng.uniform(0.05, 0.15, (3, 40)), axis=1)
    t = torch.from_numpy(times)[..., None]
    values = torch.cat([t.sin(), (2 * t).cos()], -1)
    mask = torch.from_numpy(rng.random(values.shape) < 0.7)
    found = smooth(Observations(values=values, times=times, mask=mask))
    inner = slice(5, -5)
    expected = torch.cat([t.cos(), -2 * (2 * t).sin()], -1)
    assert float((found.state - values)[:, inner].abs().max()) < 1e-2
    assert float((found.rate - expected)[:, inner].abs().max()) < 0.1


def test_the_noise_is_found_and_smoothing_lowers_it(rng: np.random.Generator) -> None:
    times = np.linspace(0, 4, 201)
    clean = torch.from_numpy(np.sin(3 * times))[None, :, None].repeat(4, 1, 1)
    unit = torch.from_numpy(rng.standard_normal(clean.shape))
    for size in (0.02, 0.5):
        found = smooth(Observations(values=clean + size * unit, times=times))
        assert found.noise.item() == pytest.approx(size, rel=0.15)
        assert float((found.state - clean).square().mean().sqrt()) < 0.4 * size


def test_a_component_never_seen_is_refused() -> None:
    mask = torch.ones(2, 5, 2, dtype=torch.bool)
    mask[1, :, 0] = False
    values = torch.arange(20.0, dtype=torch.float64).view(2, 5, 2)
    seen = Observations(values=values, times=np.arange(5.0), mask=mask)
    with pytest.raises(ValueError, match="sample 1 never shows component 0"):
        smooth(seen)


def test_rates_determine_a_field_linear_in_its_weights(rng: np.random.Generator) -> None:
    states = torch.from_numpy(10 * rng.standard_normal((200, 3)))
    field = Polynomial(3).double()
    assert match_rates(field, states, Lorenz63()(states)) < 1e-9
    expected = Polynomial(3).double()
    expected.set_coefficients(Lorenz63().coefficients())
    torch.testing.assert_close(field.coefficients(), expected.coefficients(), rtol=0, atol=1e-8)


def test_rates_lower_the_misfit_of_a_network(rng: np.random.Generator) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1)).double()
    x = torch.linspace(-2, 2, 60, dtype=torch.float64)[:, None]
    assert match_rates(net, x, torch.sin(2 * x), iterations=40) < 0.1


def test_the_nearest_solution_is_the_one_observed(rng: np.random.Generator) -> None:
    truth = lorenz(rng, 12, 60)
    noisy = truth + torch.from_numpy(rng.standard_normal(truth.shape))
    mask = torch.from_numpy(rng.random(truth.shape) < 0.3)
    seen = Observations(values=noisy, times=np.arange(60) / 100, mask=mask)
    others = lorenz(rng, 40, 1)[:, 0]
    found = matching_solutions(Lorenz63(), seen, torch.cat([others, truth[:, 0]]), candidates=2)
    assert found.shape == (2, 12, 60, 3)
    right = (found[0] - truth).square().mean((1, 2)) < 1e-20
    assert int(right.sum()) >= 11


def test_solutions_that_blow_up_are_reported() -> None:
    seen = Observations(values=torch.rand(1, 4, 2).double(), times=np.arange(4.0))
    starts = torch.ones(5, 2, dtype=torch.float64)
    with pytest.raises(ValueError, match="only 0 of 5 solutions of the field are finite"):
        matching_solutions(lambda x: (50 * x).exp(), seen, starts)


def test_lorenz_is_recovered_from_noisy_partial_observations(rng: np.random.Generator) -> None:
    truth = lorenz(rng, 20, 50)
    spread = truth.std((0, 1))
    noisy = truth + 0.1 * spread * torch.from_numpy(rng.standard_normal(truth.shape))
    mask = torch.from_numpy(rng.random(truth.shape) < 0.5)
    field = Polynomial(3).double()
    options = RecoveryOptions(
        shooting=ShootingOptions(window=10, jumps=(0.1, 1e-3), tolerance=1e-4, iterations=12),
        rounds=1,
        starts=200,
        candidates=1,
    )
    found = recover(
        field, Observations(values=noisy, times=np.arange(50) / 100, mask=mask), options=options
    )
    rate = Lorenz63()(truth)
    misfit = (field(truth) - rate).square().mean() / rate.square().mean()
    assert misfit.item() < 0.06**2
    error = (found.trajectory - truth).square().mean((0, 1)).sqrt() / spread
    assert float(error.max()) < 0.06
    # The variance of the data, not of the noise, was the covariance: the ratio is recovered.
    assert found.dispersion**0.5 == pytest.approx(0.1, rel=0.1)
