"""Multiple shooting: exact recovery, the law of the errors, masks, gaps and refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

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


def test_hidden_components_are_found_through_the_dynamics(rng: np.random.Generator) -> None:
    times = torch.linspace(0, 1, 26, dtype=torch.float64)
    truth = solution(Lorenz63(), lorenz_starts(rng, 3), times)
    mask = torch.zeros_like(truth, dtype=torch.bool)
    mask[..., 0] = True
    seen = Observations(values=truth, times=times.numpy(), mask=mask, covariance=torch.ones(3))
    guess = truth + 0.1 * torch.from_numpy(rng.standard_normal(truth.shape))
    found = shoot(
        Lorenz63(), seen, guess, options=ShootingOptions(window=26, jumps=(1.0,), iterations=40)
    )
    torch.testing.assert_close(found.trajectory, truth, rtol=0, atol=1e-6)
    assert found.information.numel() == 0


def test_small_jumps_make_one_trajectory_of_the_windows(rng: np.random.Generator) -> None:
    times = torch.linspace(0, 1.5, 12, dtype=torch.float64)
    clean = solution(linear(), starts(rng, 3), times)
    noisy = clean + 0.1 * torch.from_numpy(rng.standard_normal(clean.shape))
    seen = Observations(values=noisy, times=times.numpy())
    whole, linked = linear(OSCILLATOR * 1.1), linear(OSCILLATOR * 1.1)
    exact = shoot(
        whole, seen, noisy, options=ShootingOptions(window=12, jumps=(1.0,), tolerance=1e-10)
    )
    options = ShootingOptions(window=5, jumps=(1.0, 1e-2, 1e-4), tolerance=1e-10)
    near = shoot(linked, seen, noisy, options=options)
    torch.testing.assert_close(linked.weight, whole.weight, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(near.trajectory, exact.trajectory, rtol=0, atol=1e-5)
    torch.testing.assert_close(near.information, exact.information, rtol=1e-4, atol=1e-4)
    assert near.converged


def test_the_misfit_is_that_of_the_covariance(rng: np.random.Generator) -> None:
    values = torch.from_numpy(rng.standard_normal((2, 3, 2)))
    mask = torch.tensor([[1, 1], [1, 0], [0, 0]], dtype=torch.bool).expand(2, 3, 2)
    covariance = torch.tensor([[2.0, 0.7], [0.7, 1.0]], dtype=torch.float64)
    seen = Observations(values=values, times=[0.0, 1.0, 2.0], mask=mask, covariance=covariance)
    still = shoot(torch.zeros_like, seen, values, options=ShootingOptions(iterations=0))
    first = values - values[:, :1]
    expected = first[:, 1, 0].square() / covariance[0, 0]
    torch.testing.assert_close(still.misfit, expected)


def test_chunks_change_nothing(rng: np.random.Generator) -> None:
    times = torch.linspace(0, 1, 12, dtype=torch.float64)
    values = solution(linear(), starts(rng, 3), times)
    seen = Observations(values=values, times=times.numpy())
    weights = []
    for chunk in (None, 2):
        field = linear(OSCILLATOR * 1.2)
        shoot(field, seen, values, options=ShootingOptions(iterations=2, chunk=chunk))
        weights.append(field.weight.detach())
    torch.testing.assert_close(*weights, rtol=1e-12, atol=1e-12)


VALUES = torch.zeros(2, 3, 2, dtype=torch.float64)
RAGGED = VALUES.clone().index_put(
    (torch.tensor(1), torch.tensor(2), torch.tensor(0)), torch.tensor(math.nan).double()
)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"times": [0.0, 1.0, 1.0]}, "times must increase, but those of sample 0"),
        ({"times": [0.0, 1.0]}, "2 times were given for 3 values"),
        ({"values": RAGGED}, "sample 1, component 0 is nan at time 2"),
        ({"covariance": torch.tensor([[1.0, 0.5], [0.0, 1.0]])}, "give a symmetric matrix"),
        ({"covariance": -torch.ones(2)}, "not positive definite"),
        ({"mask": VALUES > 0}, "component 0 is observed less than twice"),
    ],
)
def test_wrong_observations_are_refused(arguments: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Observations(**({"values": VALUES, "times": [0.0, 1.0, 2.0]} | arguments))  # type: ignore[arg-type]


def test_wrong_guesses_and_fields_are_refused() -> None:
    seen = Observations(values=VALUES + 1.0, times=[0.0, 1.0, 2.0], covariance=torch.ones(2))
    with pytest.raises(ValueError, match=r"the guess has shape \(2, 2, 2\)"):
        shoot(linear(), seen, VALUES[:, :2])
    with pytest.raises(ValueError, match="the guess of sample 1 is not finite at position 2"):
        shoot(linear(), seen, RAGGED)
    with pytest.raises(ValueError, match=r"weights are torch.float32, the observations"):
        shoot(linear().float(), seen, VALUES)
    with pytest.raises(ValueError, match=r"solution is not finite in sample 0, position 1"):
        shoot(lambda x: (1e80 * x).exp(), seen, VALUES + 1.0, options=ShootingOptions(window=3))
    with pytest.raises(ValueError, match="a window needs at least one time"):
        ShootingOptions(window=0)
    with pytest.raises(ValueError, match="all positive"):
        ShootingOptions(jumps=(1.0, 0.0))
