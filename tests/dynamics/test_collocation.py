"""The joint least squares of states and field: its algebra against dense matrices, and its ends."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from sciml.dynamics.collocation import Observed, _Problem, identify, infer
from sciml.dynamics.fields.polynomial import Polynomial


def random_problem(
    rng: np.random.Generator, *, learn: bool
) -> tuple[_Problem, Tensor, Tensor, Polynomial, Observed]:
    field = Polynomial(2, degree=2).double()
    with torch.no_grad():
        field.weights.copy_(torch.from_numpy(rng.standard_normal(field.weights.shape)))
    observed = Observed(
        values=torch.from_numpy(rng.standard_normal((2, 5, 1))),
        seen=torch.from_numpy(rng.integers(0, 2, (2, 5, 1)).astype(float)),
        gaps=torch.from_numpy(rng.uniform(0.05, 0.2, (2, 4))),
    )
    states = torch.from_numpy(rng.standard_normal((2, 5, 2)))
    problem = _Problem(field, observed, 3.0, 2, 1e-3, learn=learn)
    return problem, states, field.weights.detach().clone(), field, observed


@pytest.mark.parametrize("learn", [True, False])
def test_step_is_that_of_the_dense_damped_normal_equations(
    rng: np.random.Generator, learn: bool
) -> None:
    problem, states, theta, _, observed = random_problem(rng, learn=learn)

    def residuals(flat: Tensor) -> Tensor:
        u = flat[: states.numel()].view(states.shape)
        p = flat[states.numel() :]
        ends = problem._advance(p, u[:, :-1].flatten(0, 1), observed.gaps.reshape(-1, 1))
        jumps = 3.0 * (u[:, 1:].flatten(0, 1) - ends)
        misfit = observed.seen * (u[..., :1] - observed.values)
        parts = [jumps.flatten(), misfit.flatten()]
        return torch.cat([*parts, 1e-3**0.5 * p] if learn else parts)

    flat = torch.cat([states.flatten(), theta]) if learn else states.flatten()
    jacobian = torch.func.jacrev(residuals)(flat)
    dense = jacobian.mT @ jacobian
    dense += 0.1 * torch.diag(dense.diagonal())
    wanted = -torch.linalg.solve(dense, jacobian.mT @ residuals(flat))
    step = problem.linearise(states, theta if learn else theta[:0]).step(0.1)
    assert step is not None
    found = torch.cat([step[0].flatten(), step[1]]) if learn else step[0].flatten()
    torch.testing.assert_close(found, wanted, rtol=1e-7, atol=1e-9)


def test_states_alone_are_found_where_the_field_is_right(rng: np.random.Generator) -> None:
    field = Polynomial(2, degree=1).double()
    field.set_coefficients({("x", "y"): 1.0, ("y", "x"): -1.0})
    times = torch.arange(30).double() * 0.1
    truth = torch.stack([times.cos(), -times.sin()], -1)[None]
    observed = Observed(
        values=truth[..., :1], seen=torch.ones(1, 30, 1).double(), gaps=times.diff()[None]
    )
    before = field.weights.clone()
    guess = torch.from_numpy(rng.standard_normal((1, 30, 2)))
    found = infer(field, guess, observed, substeps=4)
    assert torch.equal(field.weights, before)
    torch.testing.assert_close(found.states, truth, rtol=0, atol=1e-6)
    assert float(found.costs.max()) < 1e-14


def test_series_that_are_inferred_together_do_not_touch_each_other(
    rng: np.random.Generator,
) -> None:
    _, states, _, field, observed = random_problem(rng, learn=False)
    together = infer(field, states, observed, iterations=8)
    for i in range(2):
        own = Observed(
            values=observed.values[i : i + 1],
            seen=observed.seen[i : i + 1],
            gaps=observed.gaps[i : i + 1],
        )
        alone = infer(field, states[i : i + 1], own, iterations=8)
        torch.testing.assert_close(together.costs[i : i + 1], alone.costs, rtol=1e-4, atol=1e-12)


def test_cost_never_grows_with_more_iterations(rng: np.random.Generator) -> None:
    costs = []
    seed = int(rng.integers(2**31))
    for iterations in range(5):
        _, states, _, field, observed = random_problem(np.random.default_rng(seed), learn=True)
        found = identify(field, states, observed, iterations=iterations)
        costs.append(float(found.costs.mean()))
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] < costs[0]
