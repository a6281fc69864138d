from __future__ import annotations

import numpy as np
import pytest
import torch

from sciml.rans import (
    barycentric_position,
    barycentric_weights,
    eigenvalues,
    project,
    realizability_penalty,
    realizable,
)


def symmetric(rng, count=400, size=0.25):
    a = torch.from_numpy(rng.standard_normal((count, 3, 3)) * size)
    a = (a + a.mT) / 2
    return a - a.diagonal(dim1=1, dim2=2).sum(-1)[:, None, None] * torch.eye(3) / 3


def of_stresses(rng, count=400):
    """Anisotropies of samples of a velocity: realizable by construction."""
    u = torch.from_numpy(rng.standard_normal((count, 3, 4)) * rng.uniform(0, 1, (count, 3, 1)))
    stress = u @ u.mT
    return stress / stress.diagonal(dim1=1, dim2=2).sum(-1)[:, None, None] - torch.eye(3) / 3


def nearest(b):
    """By a projection of the sorted eigenvalues onto the simplex."""
    values, vectors = torch.linalg.eigh(b)
    shifted = values + 1 / 3
    falling = shifted.flip(-1)
    surplus = (falling.cumsum(-1) - 1) / torch.arange(1, 4)
    last = (falling > surplus).sum(-1, keepdim=True) - 1
    kept = torch.relu(shifted - surplus.gather(-1, last)) - 1 / 3
    return (vectors * kept[:, None]) @ vectors.mT


def test_eigenvalues_against_lapack(rng):
    b = symmetric(rng)
    expected = torch.linalg.eigvalsh(b).flip(-1)
    assert (eigenvalues(b) - expected).abs().max() < 1e-12
    single = eigenvalues(b.float())
    assert single.dtype == torch.float32 and (single - expected).abs().max() < 1e-6


@pytest.mark.parametrize("values", [(0.5, -0.25, -0.25), (1 / 6, 1 / 6, -1 / 3), (0.0, 0.0, 0.0)])
def test_coincident_eigenvalues(values):
    b = torch.diag(torch.tensor(values, dtype=torch.float64)).requires_grad_()
    found = eigenvalues(b)
    assert (found - torch.tensor(values)).abs().max() < 1e-7
    found.square().sum().backward()
    assert b.grad.isfinite().all()


def test_corners_of_the_triangle():
    corners = torch.tensor([[2, -1, -1], [0.5, 0.5, -1], [0, 0, 0]], dtype=torch.float64) / 3
    b = torch.diag_embed(corners)
    assert (barycentric_weights(b) - torch.eye(3)).abs().max() < 1e-7
    expected = torch.tensor([[1, 0], [0, 0], [0.5, 0.75**0.5]], dtype=torch.float64)
    assert (barycentric_position(b) - expected).abs().max() < 1e-7
    assert realizable(b).all()


def test_stresses_of_velocities_are_realizable_and_inside(rng):
    b = of_stresses(rng)
    assert realizable(b).all()
    weights = barycentric_weights(b)
    assert (weights > -1e-6).all() and (weights.sum(-1) - 1).abs().max() < 1e-12
    assert (project(b) - b).abs().max() < 1e-6
    assert float(realizability_penalty(b)) < 1e-12


def test_a_negative_stress_is_found_in_any_direction(rng):
    """Not only along the axes: the smallest normal stress over all directions decides."""
    b = symmetric(rng)
    directions = torch.from_numpy(rng.standard_normal((2000, 3)))
    directions /= directions.norm(dim=1, keepdim=True)
    smallest = torch.einsum("di,nij,dj->nd", directions, b, directions).amin(1)
    assert not realizable(b)[smallest < -1 / 3 - 1e-6].any()
    assert realizable(b)[smallest > -1 / 3 + 0.05].all()
    assert not realizable(b * torch.nan).any()


def test_projection_is_the_nearest_and_keeps_eigenvectors(rng):
    b = symmetric(rng)
    found = project(b)
    assert (found - nearest(b)).abs().max() < 1e-12
    assert realizable(found).all() and not realizable(b).all()
    assert (found @ b - b @ found).abs().max() < 1e-12
    assert (project(found) - found).abs().max() < 1e-7
    assert (found.diagonal(dim1=1, dim2=2).sum(-1)).abs().max() < 1e-13


def test_projection_brings_no_realizable_truth_further_away(rng):
    b, truth = symmetric(rng), of_stresses(rng)
    before, after = ((a - truth).square().sum((1, 2)) for a in (b, project(b)))
    assert (after <= before + 1e-12).all()


def test_all_turns_with_the_axes(rng):
    b = symmetric(rng)
    Q = torch.from_numpy(np.linalg.qr(rng.standard_normal((3, 3)))[0])
    turned = Q @ b @ Q.T
    assert (eigenvalues(turned) - eigenvalues(b)).abs().max() < 1e-12
    assert (project(turned) - Q @ project(b) @ Q.T).abs().max() < 1e-12


@pytest.mark.parametrize("function", [eigenvalues, project, realizability_penalty])
def test_gradients(rng, function):
    b = symmetric(rng, count=4).requires_grad_()
    assert torch.autograd.gradcheck(function, b)


def test_descent_on_the_penalty_makes_states_realizable(rng):
    b = symmetric(rng, count=100).requires_grad_()
    before = realizability_penalty(b).item()
    for _ in range(60):
        (slope,) = torch.autograd.grad(100 * realizability_penalty(b), b)
        b = (b - 0.5 * slope).detach().requires_grad_()
    assert realizability_penalty(b).item() < 1e-3 * before
