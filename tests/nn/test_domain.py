"""A domain holds what a network was trained on, and measures how far the rest lies from it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sciml.nn import Domain


@pytest.fixture
def along(rng: np.random.Generator) -> torch.Tensor:
    """States near a curve."""
    x = rng.standard_normal((2000, 1))
    states = np.hstack([x, x**2, -x]) + 0.01 * rng.standard_normal((2000, 3))
    return torch.from_numpy(states).float()


def test_a_domain_holds_its_states_and_not_combinations_that_never_were(
    along: torch.Tensor,
) -> None:
    domain = Domain(3, clusters=32).fit(along)
    assert int((~domain(along)).sum()) <= 40  # about one of each cluster
    inside_each_range = torch.tensor([[2.0, 4.0, 2.0], [-1.0, 1.0, -1.0]])
    assert not domain(inside_each_range).any()
    assert bool((domain.distance(inside_each_range) > 1).all())


def test_units_of_a_feature_do_not_matter(along: torch.Tensor) -> None:
    """Whitened features have no units; rounding may put a few states into another cluster."""
    scale = torch.tensor([1e3, 1e-2, 7.0])
    there = torch.cat([along[:200], 3 * along[:200]])
    distance = Domain(3, clusters=32).fit(along).distance(there)
    scaled = Domain(3, clusters=32).fit(along * scale).distance(there * scale)
    same = torch.isclose(scaled, distance, rtol=1e-2, atol=1e-3)
    assert float(same.float().mean()) > 0.8


def test_distance_grows_along_a_way_out(along: torch.Tensor) -> None:
    steps = torch.linspace(2.0, 40.0, 20)[:, None]
    way = torch.tensor([[0.0, -1.0, 0.0]]) * steps
    distance = Domain(3, clusters=32).fit(along).distance(way)
    assert bool((distance.diff() > 0).all()) and float(distance[-1]) > 1


def test_doubted_clusters_are_left_and_their_distance_stays(along: torch.Tensor) -> None:
    domain = Domain(3, clusters=32).fit(along)
    distance, errors = domain.distance(along), (along[:, 0] > 1.0).float()
    domain.doubt(along, errors, 0.2)
    trusted = domain(along)
    assert 0.05 < float((~trusted).float().mean()) <= 0.22
    assert float(errors[~trusted].mean()) > 0.5 > 0.1 > float(errors[trusted].mean())
    torch.testing.assert_close(domain.distance(along), distance)


def test_a_domain_travels_with_the_weights(along: torch.Tensor) -> None:
    domain = Domain(3, clusters=32).fit(along)
    other = Domain(3, clusters=32)
    assert bool(other(1e6 * along).all())
    other.load_state_dict(domain.state_dict())
    torch.testing.assert_close(other.distance(along), domain.distance(along), rtol=0, atol=0)


@pytest.mark.parametrize("count", [3, 40])
def test_few_states_make_few_clusters(along: torch.Tensor, count: int) -> None:
    few = along[:count]
    domain = Domain(3, clusters=32).fit(few)
    assert bool(domain(few).float().mean() > 0.5) and not domain(few + 100).any()
    assert bool(torch.isfinite(domain.distance(along)).all())


def test_a_single_state_over_and_over_is_a_point(along: torch.Tensor) -> None:
    domain = Domain(3, clusters=32).fit(along[:1].expand(4, 3))
    assert bool(domain(along[:1]).all()) and not domain(along[1:] + 1).any()
