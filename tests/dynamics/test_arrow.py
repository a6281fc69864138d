"""The elimination of states from the normal equations, against the dense matrix."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from sciml.dynamics.arrow import ArrowSystem, solve_block_tridiagonal

SAMPLES, STATES, SIZE, PARAMETERS = 2, 4, 3, 5


def system(rng: np.random.Generator, *, linked: bool) -> tuple[ArrowSystem, Tensor, Tensor]:
    """A random arrow, its dense matrix and its side; parameters first."""
    chain = STATES * SIZE
    total = PARAMETERS + SAMPLES * chain
    rows = torch.from_numpy(rng.standard_normal((3 * total, total)))
    dense = rows.mT @ rows + 20 * torch.eye(total, dtype=torch.float64)
    blocks = dense[PARAMETERS:, PARAMETERS:].view(SAMPLES, STATES, SIZE, SAMPLES, STATES, SIZE)
    for sample in range(SAMPLES):
        blocks[sample, :, :, 1 - sample] = 0.0
        for first in range(STATES):
            for second in range(STATES):
                if abs(first - second) > int(linked):
                    blocks[sample, first, :, sample, second] = 0.0
    side = torch.from_numpy(rng.standard_normal(total))
    own = torch.stack([blocks[s, :, :, s] for s in range(SAMPLES)])
    diagonal = torch.stack([own[:, k, :, k] for k in range(STATES)], 1)
    above = torch.stack([own[:, k, :, k + 1] for k in range(STATES - 1)], 1)
    border = dense[PARAMETERS:, :PARAMETERS].view(SAMPLES, STATES, SIZE, PARAMETERS)
    arrow = ArrowSystem(
        parameters=dense[:PARAMETERS, :PARAMETERS],
        border=border,
        diagonal=diagonal,
        above=above if linked else None,
        parameter_side=side[:PARAMETERS],
        side=side[PARAMETERS:].view(SAMPLES, STATES, SIZE),
    )
    return arrow, dense, side


@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize("damping", [0.0, 0.5])
def test_the_arrow_is_solved_as_the_dense_system(
    rng: np.random.Generator, linked: bool, damping: float
) -> None:
    arrow, dense, side = system(rng, linked=linked)
    solution = arrow.solve(damping)
    assert solution is not None
    found = torch.cat([solution[0], solution[1].flatten()])
    damped = dense + damping * torch.diag(dense.diagonal())
    torch.testing.assert_close(found, torch.linalg.solve(damped, side), rtol=1e-10, atol=1e-11)


def test_the_complement_is_the_inverse_of_the_parameters_covariance(
    rng: np.random.Generator,
) -> None:
    arrow, dense, _ = system(rng, linked=True)
    covariance = torch.linalg.inv(dense)[:PARAMETERS, :PARAMETERS]
    torch.testing.assert_close(torch.linalg.inv(arrow.complement()), covariance, rtol=1e-9, atol=0)


def test_an_indefinite_system_is_told_from_a_definite_one(rng: np.random.Generator) -> None:
    arrow, _, _ = system(rng, linked=False)
    wrong = ArrowSystem(
        parameters=-arrow.parameters,
        border=arrow.border,
        diagonal=arrow.diagonal,
        above=None,
        parameter_side=arrow.parameter_side,
        side=arrow.side,
    )
    assert wrong.solve(0.0) is None


def test_each_sample_can_have_its_own_damping(rng: np.random.Generator) -> None:
    arrow, _, _ = system(rng, linked=True)
    states = ArrowSystem(
        parameters=arrow.parameters[:0, :0],
        border=arrow.border[..., :0],
        diagonal=arrow.diagonal,
        above=arrow.above,
        parameter_side=arrow.parameter_side[:0],
        side=arrow.side,
    )
    both, one, other = (
        states.solve(torch.tensor([0.1, 2.0]).double()),
        states.solve(0.1),
        states.solve(2.0),
    )
    assert both is not None and one is not None and other is not None
    torch.testing.assert_close(both[1], torch.stack([one[1][0], other[1][1]]))


def test_one_block_is_an_ordinary_system(rng: np.random.Generator) -> None:
    rows = torch.from_numpy(rng.standard_normal((2, 9, 3)))
    matrix, right = rows.mT @ rows, torch.from_numpy(rng.standard_normal((2, 1, 3, 4)))
    found = solve_block_tridiagonal(matrix[:, None], matrix.new_zeros(2, 0, 3, 3), right)
    torch.testing.assert_close(found[:, 0], torch.linalg.solve(matrix, right[:, 0]))
