"""Maximum mean discrepancy: closed form of Gaussians, its mean of zero, invariances, gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import ortho_group
from torch import Tensor

from sciml.train import maximum_mean_discrepancy, median_distance


def cloud(rng: np.random.Generator, count: int, components: int = 3) -> Tensor:
    return torch.from_numpy(rng.normal(size=(count, components)))


def expected_kernel(width: float, variance: float, shift: float, components: int) -> float:
    """Mean of the Gaussian kernel over two independent Gaussians, their variances added."""
    total = width**2 + variance
    return (width**2 / total) ** (components / 2) * math.exp(-(shift**2) / (2 * total))


def test_gaussians_differ_by_their_closed_form(rng: np.random.Generator) -> None:
    s, t, shift, factors = 1.0, 1.5, 1.0, (0.5, 1.0, 2.0)
    exact = 0.0
    for width in factors:
        within = expected_kernel(width, 2 * s**2, 0.0, 3) + expected_kernel(width, 2 * t**2, 0.0, 3)
        exact += (within - 2 * expected_kernel(width, s**2 + t**2, shift, 3)) / len(factors)
    values = []
    for _ in range(40):
        y = t * cloud(rng, 80) + torch.tensor([shift, 0.0, 0.0]).double()
        values.append(maximum_mean_discrepancy(cloud(rng, 100), y, bandwidth=1.0).item())
    error = np.std(values, ddof=1) / math.sqrt(len(values))
    assert abs(np.mean(values) - exact) < 4 * error
    assert error < 0.05 * exact


def test_the_unbiased_mean_is_zero_for_one_distribution(rng: np.random.Generator) -> None:
    values = [
        maximum_mean_discrepancy(cloud(rng, 40), cloud(rng, 60), bandwidth=1.0).item()
        for _ in range(200)
    ]
    assert abs(np.mean(values)) < 4 * np.std(values, ddof=1) / math.sqrt(len(values))
    assert min(values) < 0 < max(values)


def test_the_biased_one_is_a_squared_norm(rng: np.random.Generator) -> None:
    x, y = cloud(rng, 12), cloud(rng, 9)
    assert maximum_mean_discrepancy(x, x.flip(0), unbiased=False).item() == pytest.approx(
        0, abs=1e-15
    )
    assert maximum_mean_discrepancy(x, y, unbiased=False).item() > 0
    means = [
        maximum_mean_discrepancy(x, y, bandwidth=1.0, unbiased=u).item() for u in (True, False)
    ]
    # Each mean over pairs holds the diagonal's ones besides: k̄ = ((n - 1) k̂ + 1) / n.
    assert means[0] < means[1] < means[0] + 1 / 12 + 1 / 9


def test_it_is_symmetric_and_invariant(rng: np.random.Generator) -> None:
    """With the median bandwidth even the unit of length does not matter."""
    x, y = cloud(rng, 30), 1.5 * cloud(rng, 20) + 0.5
    rotation = torch.from_numpy(ortho_group.rvs(3, random_state=rng))
    value = maximum_mean_discrepancy(x, y)
    torch.testing.assert_close(maximum_mean_discrepancy(y, x), value)
    moved = maximum_mean_discrepancy(1e3 * (x @ rotation) + 1e6, 1e3 * (y @ rotation) + 1e6)
    torch.testing.assert_close(moved, value, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("unbiased", [True, False])
def test_gradients_agree_with_differences(rng: np.random.Generator, unbiased: bool) -> None:
    x, y = cloud(rng, 5).requires_grad_(), cloud(rng, 4).requires_grad_()
    torch.autograd.gradcheck(
        lambda a, b: maximum_mean_discrepancy(a, b, bandwidth=0.8, unbiased=unbiased), (x, y)
    )


def test_the_median_is_that_of_all_pairs(rng: np.random.Generator) -> None:
    x = cloud(rng, 11)
    expected = torch.pdist(x).median().item()
    assert median_distance(x) == pytest.approx(expected, rel=1e-12)


def test_what_cannot_be_compared_is_refused(rng: np.random.Generator) -> None:
    x = cloud(rng, 4)
    with pytest.raises(ValueError, match="1 and 4 points, expected at least 2"):
        maximum_mean_discrepancy(x[:1], x)
    with pytest.raises(ValueError, match=r"bandwidth is 0\.0, expected above 0"):
        maximum_mean_discrepancy(torch.ones(3, 2), torch.ones(3, 2))
