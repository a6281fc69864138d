"""Optimal transport: shifts, Gaussians, scipy, invariances, gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from scipy.stats import ortho_group, wasserstein_distance
from torch import Tensor

from sciml.train import sinkhorn_divergence, sliced_wasserstein


def cloud(rng: np.random.Generator, count: int, components: int = 3) -> Tensor:
    return torch.from_numpy(rng.normal(size=(count, components)))


@pytest.mark.parametrize("sizes", [(20, 20), (20, 33), (7, 1)])
def test_one_component_agrees_with_scipy(rng: np.random.Generator, sizes: tuple[int, int]) -> None:
    x, y = cloud(rng, sizes[0], 1), cloud(rng, sizes[1], 1) + 1.0
    found = sliced_wasserstein(x, y, order=1.0, projections=3).item()
    assert found == pytest.approx(wasserstein_distance(x[:, 0], y[:, 0]), rel=1e-12)


def test_unequal_numbers_are_those_of_repeated_points(rng: np.random.Generator) -> None:
    x, y = cloud(rng, 6), cloud(rng, 9)
    repeated = sliced_wasserstein(x.repeat_interleave(3, 0), y.repeat_interleave(2, 0), order=3.0)
    torch.testing.assert_close(sliced_wasserstein(x, y, order=3.0), repeated)


@pytest.mark.parametrize("order", [1.0, 2.0, 3.0])
def test_a_shift_costs_its_length_in_one_component(rng: np.random.Generator, order: float) -> None:
    x = cloud(rng, 30, 1)
    value = sliced_wasserstein(x, x + 1.7, order=order, projections=2)
    assert value.item() == pytest.approx(1.7**order, rel=1e-12)


def test_a_shift_costs_its_mean_square(rng: np.random.Generator) -> None:
    x, shift = cloud(rng, 30), torch.tensor([1.0, -2.0, 0.5]).double()
    value = sliced_wasserstein(x, x + shift, projections=12, seed=4)
    torch.testing.assert_close(value, shift.square().sum() / 3)


def test_gaussians_are_as_far_as_their_closed_form(rng: np.random.Generator) -> None:
    """In one direction W2² = (θ·Δ)² + (s - t)²; the mean over directions is |Δ|²/d + (s - t)²."""
    shift = torch.tensor([2.0, 1.0, 0.0]).double()
    x, y = cloud(rng, 20000), 1.5 * cloud(rng, 15000) + shift
    value = sliced_wasserstein(x, y, projections=30).item()
    assert value == pytest.approx(5 / 3 + 0.25, rel=0.03)


def test_sliced_distances_are_symmetric_and_invariant(rng: np.random.Generator) -> None:
    x, y, shift = cloud(rng, 25), 1.3 * cloud(rng, 25), cloud(rng, 1)
    value = sliced_wasserstein(x, y)
    torch.testing.assert_close(sliced_wasserstein(y, x), value)
    torch.testing.assert_close(sliced_wasserstein(x + shift, y + shift), value)
    torch.testing.assert_close(sliced_wasserstein(3 * x, 3 * y), 9 * value)
    permuted = x[torch.from_numpy(rng.permutation(25))]
    torch.testing.assert_close(sliced_wasserstein(permuted, y), value)
    assert sliced_wasserstein(permuted, x).item() < 1e-28
    rotation = torch.from_numpy(ortho_group.rvs(3, random_state=rng))
    many = [
        sliced_wasserstein(a, b, projections=3000)
        for a, b in ((x, y), (x @ rotation, y @ rotation))
    ]
    torch.testing.assert_close(many[1], many[0], rtol=0.05, atol=0)


@pytest.mark.parametrize("sizes", [(6, 6), (6, 4)])
@pytest.mark.parametrize("order", [1.0, 2.0])
def test_sliced_gradients_agree_with_differences(
    rng: np.random.Generator, sizes: tuple[int, int], order: float
) -> None:
    x, y = cloud(rng, sizes[0]).requires_grad_(), cloud(rng, sizes[1]).requires_grad_()
    torch.autograd.gradcheck(
        lambda a, b: sliced_wasserstein(a, b, order=order, projections=5), (x, y)
    )


def test_sinkhorn_of_a_shift_is_its_square(rng: np.random.Generator) -> None:
    """The shift leaves the plan; it holds for every blur."""
    x, shift = cloud(rng, 30), torch.tensor([1.0, -2.0, 0.5]).double()
    for blur in (2.0, 5.0):
        value = sinkhorn_divergence(x, x + shift, blur=blur, tolerance=1e-5)
        assert value.item() == pytest.approx(shift.square().sum().item(), rel=1e-6)


@pytest.mark.parametrize("order", [1.0, 2.0])
def test_sinkhorn_tends_to_the_optimal_assignment(rng: np.random.Generator, order: float) -> None:
    """ε KL(plan | product) lies between 0 and ε log n, for the pair and for each set alone."""
    x, y = cloud(rng, 6, 2), cloud(rng, 6, 2) + 2.0
    costs = torch.cdist(x, y).pow(order).numpy()
    exact = costs[linear_sum_assignment(costs)].mean()
    for epsilon in (0.2, 0.04):
        value = sinkhorn_divergence(x, y, blur=epsilon ** (1 / order), order=order, iterations=5000)
        assert value.item() == pytest.approx(exact, abs=epsilon * math.log(6))


def test_sinkhorn_between_gaussians(rng: np.random.Generator) -> None:
    """W2² = |Δ|² + d (s - t)², which the divergence of a small blur meets within its noise."""
    x, y = cloud(rng, 400, 1), 2.0 * cloud(rng, 300, 1) + 3.0
    value = sinkhorn_divergence(x, y, blur=0.5).item()
    assert value == pytest.approx(sliced_wasserstein(x, y, projections=1).item(), rel=0.02)


def test_sinkhorn_is_zero_for_the_same_points_and_positive_else(
    rng: np.random.Generator,
) -> None:
    x = cloud(rng, 20)
    permuted = x[torch.from_numpy(rng.permutation(20))]
    value = sinkhorn_divergence(x, permuted, blur=1.0, tolerance=1e-4)
    assert value.item() == pytest.approx(0, abs=1e-5)
    for count in (5, 20, 31):
        assert sinkhorn_divergence(x, cloud(rng, count), blur=1.0).item() > 1e-3


def test_sinkhorn_is_invariant(rng: np.random.Generator) -> None:
    x, y = cloud(rng, 15), 1.3 * cloud(rng, 22) + 0.5
    rotation = torch.from_numpy(ortho_group.rvs(3, random_state=rng))
    value = sinkhorn_divergence(x, y, blur=1.0, tolerance=1e-6)
    for a, b, blur, factor in (
        (y, x, 1.0, 1),
        (x @ rotation + 2, y @ rotation + 2, 1.0, 1),
        (10 * x, 10 * y, 10.0, 100),
    ):
        other = sinkhorn_divergence(a, b, blur=blur, tolerance=1e-6)
        torch.testing.assert_close(other, factor * value, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("order", [1.0, 2.0])
def test_sinkhorn_gradients_agree_with_differences(rng: np.random.Generator, order: float) -> None:
    x, y = cloud(rng, 5).requires_grad_(), cloud(rng, 4).requires_grad_()
    torch.autograd.gradcheck(
        lambda a, b: sinkhorn_divergence(a, b, blur=2.0, order=order, tolerance=1e-11), (x, y)
    )


def test_descending_the_divergence_moves_the_cloud(rng: np.random.Generator) -> None:
    x, y = cloud(rng, 20).requires_grad_(), cloud(rng, 20) + 3.0
    for _ in range(10):
        value = sinkhorn_divergence(x, y, blur=1.0)
        (slope,) = torch.autograd.grad(value, x)
        x = (x - 0.4 * len(x) * slope).detach().requires_grad_()
    assert sinkhorn_divergence(x, y, blur=1.0).item() < 0.05


def test_what_cannot_be_compared_is_refused(rng: np.random.Generator) -> None:
    x = cloud(rng, 4)
    with pytest.raises(ValueError, match="4 and 0 points"):
        sliced_wasserstein(x, x[:0])
    with pytest.raises(ValueError, match=r"order is 0\.5"):
        sinkhorn_divergence(x, x, blur=1.0, order=0.5)
    with pytest.raises(ValueError, match="blur is 0"):
        sinkhorn_divergence(x, x, blur=0.0)
    with pytest.warns(UserWarning, match="not converged in 2 steps"):
        value = sinkhorn_divergence(x, cloud(rng, 4), blur=1.0, tolerance=1e-14, iterations=2)
    assert math.isfinite(value.item())
