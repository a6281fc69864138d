"""A learned tableau beats RK4 at the step it was trained at, on states it has not seen."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from sciml.dynamics.integrators import LearnedRungeKutta, RungeKutta, order_conditions
from sciml.dynamics.integrators.training import fit_scheme, step_error
from sciml.dynamics.systems import (
    ATTRACTOR_MEAN,
    ATTRACTOR_STANDARD_DEVIATION,
    Lorenz63,
    solve,
)

STEP = 0.05


def steps(rng: np.random.Generator, count: int) -> tuple[Tensor, Tensor]:
    """States on the attractor and the exact ones a step later."""
    start = rng.normal(ATTRACTOR_MEAN, ATTRACTOR_STANDARD_DEVIATION, size=(count, 3))
    states = solve(start, np.array([0.0, 10.0, 10.0 + STEP]))
    return torch.from_numpy(states[:, 1].copy()), torch.from_numpy(states[:, 2].copy())


@pytest.mark.parametrize("order", [2, 3])
def test_the_error_of_a_large_step_is_less_than_half_of_rk4s(
    order: int, rng: np.random.Generator
) -> None:
    (before, after), unseen = steps(rng, 400), steps(rng, 1000)
    scheme = LearnedRungeKutta(4, order)
    reached = fit_scheme(scheme, Lorenz63(), before, after, STEP, iterations=150)
    with torch.no_grad():
        error = float(step_error(scheme, Lorenz63(), *unseen, STEP))
        rk4 = float(step_error(RungeKutta(), Lorenz63(), *unseen, STEP))
    assert error < 0.5 * rk4
    assert error < 2 * reached
    assert order_conditions(*scheme.tableau(), order).abs().max() < 1e-9


def test_a_scheme_without_parameters_cannot_be_fitted() -> None:
    with pytest.raises(ValueError, match="no parameters to be fitted"):
        fit_scheme(RungeKutta(), Lorenz63(), torch.ones(1, 3), torch.ones(1, 3), STEP)
