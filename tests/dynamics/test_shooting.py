"""Multiple shooting: exact recovery, the law of the errors, masks, gaps and refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sciml.dynamics.fields import Polynomial
from sciml.dynamics.integrators.runge_kutta import RungeKutta
from sciml.dynamics.integrators.scheme import march
from sciml.dynamics.shooting import Observations, ShootingOptions, shoot
from sciml.dynamics.systems import Lorenz63

OSCILLATOR = torch.tensor([[-0.3, 2.0], [-2.0, -0.1]], dtype=torch.float64)
INDEPENDENT = ShootingOptions(window=8, jumps=(math.inf,), iterations=4)


def linear(matrix: Tensor = OSCILLATOR) -> nn.Linear:
    field = nn.Linear(2, 2, bias=False, dtype=torch.float64)
    with torch.no_grad():
        field.weight.copy_(matrix)
    return field


@torch.no_grad()
def solution(field, starts: Tensor, times: Tensor, scheme: RungeKutta | None = None) -> Tensor:  # type: ignore[no-untyped-def]
    scheme = RungeKutta() if scheme is None else scheme
    return march(scheme, field, starts, scheme.plan(field, starts, times))


def starts(rng: np.random.Generator, samples: int, size: int = 2) -> Tensor:
    return torch.from_numpy(rng.standard_normal((samples, size)))


def lorenz_starts(rng: np.random.Generator, samples: int) -> Tensor:
    corner, width = torch.tensor([-8.0, -8.0, 15.0]), torch.tensor([16.0, 16.0, 15.0])
    return corner + width * torch.from_numpy(rng.random((samples, 3)))


def test_lorenz_is_recovered_from_exact_data_to_rounding(rng: np.random.Generator) -> None:
    times = torch.arange(20, dtype=torch.float64) / 100
    values = solution(Lorenz63(), lorenz_starts(rng, 6), times)
    truth = Polynomial(3)
    truth.double().set_coefficients(Lorenz63().coefficients())
    field = Polynomial(3).double()
    wrong = 1 + 0.2 * torch.from_numpy(rng.standard_normal((10, 3)))
    field.set_coefficients(truth.coefficients().detach() * wrong)
    found = shoot(
        field,
        Observations(values=values, times=times.numpy()),
        values,
        options=ShootingOptions(window=5, jumps=(1.0,), tolerance=1e-12, iterations=12),
    )
    torch.testing.assert_close(field.coefficients(), truth.coefficients(), rtol=0, atol=1e-8)
    torch.testing.assert_close(found.trajectory, values, rtol=0, atol=1e-9)


@pytest.mark.parametrize("samples", [16, 512])
def test_errors_follow_their_covariance_which_falls_with_the_number_of_samples(
    rng: np.random.Generator, samples: int
) -> None:
    times, noise = torch.linspace(0, 2, 21, dtype=torch.float64), 0.2
    clean = solution(linear(), starts(rng, samples), times)
    noisy = clean + noise * torch.from_numpy(rng.standard_normal(clean.shape))
    field = linear(OSCILLATOR + 0.1)
    variance = torch.full((2,), noise**2, dtype=torch.float64)
    seen = Observations(values=noisy, times=times.numpy(), covariance=variance)
    found = shoot(field, seen, noisy, options=ShootingOptions(window=21, jumps=(1.0,)))
    error = (field.weight.detach() - OSCILLATOR).flatten()
    # χ² of four degrees of freedom exceeds 33 once in a million.
    assert float(error @ torch.linalg.solve(found.parameter_covariance, error)) < 33
    size = found.parameter_covariance.diagonal().sqrt().mean()
    assert 0.1 < float(size) * math.sqrt(samples) / noise < 1.5
    freedom = clean.numel() - 4 - 2 * samples
    assert abs(found.dispersion - 1) < 6 * math.sqrt(2 / freedom)


def test_the_error_falls_like_one_over_the_root_of_the_number_of_samples(
    rng: np.random.Generator,
) -> None:
    times = torch.linspace(0, 2, 21, dtype=torch.float64)
    clean = solution(linear(), starts(rng, 256), times)
    sizes = []
    for count in (32, 256):
        seen = Observations(values=clean[:count], times=times.numpy(), covariance=torch.ones(2))
        found = shoot(
            linear(), seen, clean[:count], options=ShootingOptions(window=21, iterations=1)
        )
        sizes.append(float(torch.linalg.inv(found.information).trace()) ** 0.5)
    assert sizes[0] / sizes[1] == pytest.approx(8**0.5, rel=0.35)


def test_what_the_mask_hides_has_no_influence(rng: np.random.Generator) -> None:
    times = torch.linspace(0, 1, 17, dtype=torch.float64)
    clean = solution(linear(), starts(rng, 4), times)
    noisy = clean + 0.1 * torch.from_numpy(rng.standard_normal(clean.shape))
    mask = torch.from_numpy(rng.random(clean.shape) < 0.6)
    covariance = torch.tensor([[1.0, 0.5], [0.5, 2.0]], dtype=torch.float64)
    fields = []
    for hidden in (math.nan, 1e6):
        field = linear(OSCILLATOR * 1.1)
        values = noisy.where(mask, hidden)
        seen = Observations(values=values, times=times.numpy(), mask=mask, covariance=covariance)
        shoot(field, seen, clean, options=INDEPENDENT)
        fields.append(field.weight.detach())
    assert torch.equal(*fields)


@pytest.mark.parametrize("window", [4, 40])
def test_irregular_times_with_gaps_are_met_exactly(rng: np.random.Generator, window: int) -> None:
    gaps = torch.from_numpy(rng.uniform(0.02, 0.2, (5, 11)))
    times = torch.cat([torch.zeros(5, 1, dtype=torch.float64), gaps.cumsum(1)], 1)
    scheme = RungeKutta(step=0.1)
    values = solution(linear(), starts(rng, 5), times, scheme)
    field = linear(OSCILLATOR * 0.9)
    options = ShootingOptions(window=window, jumps=(1.0,), tolerance=1e-12, iterations=12)
    seen = Observations(values=values, times=times.numpy())
    shoot(field, seen, values, scheme=scheme, options=options)
    torch.testing.assert_close(field.weight.detach(), OSCILLATOR, rtol=0, atol=1e-10)
