"""The signed distance: against arithmetic of its own, against analysis, and its invariances."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sciml.kernels.signed_distance import edges_of, reference, signed_distance

BACKENDS = ("reference", "cpu")


def star(rng, vertices=25, centre=(0.0, 0.0), size=20.0):
    """A polygon that is not convex: vertices at random radii, in order of angle."""
    angle = np.sort(rng.uniform(0, 2 * np.pi, vertices))
    radius = size * rng.uniform(0.3, 1.0, vertices)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1) + centre


def grid(rng, rows=40, columns=50):
    """Cell centres of unit cells about the origin, shifted at random."""
    y, x = np.mgrid[:rows, :columns] + rng.random((2, 1, 1)) - [[[rows / 2]], [[columns / 2]]]
    return np.stack([x, y], axis=-1)


def brute_force(rings, points):
    """Every point against every edge, one at a time; inside by the angle that the rings sweep."""
    distance, swept = np.full(len(points), np.inf), np.zeros(len(points))
    for ring in rings:
        for a, b in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            e, w = b - a, points - a
            t = np.clip(w @ e / (e @ e), 0, 1)
            distance = np.minimum(distance, np.hypot(*(w - t[:, None] * e).T))
            p, q = a - points, b - points
            swept += np.arctan2(p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0], (p * q).sum(1))
    return np.where(np.abs(swept) > np.pi, -distance, distance)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("seed", range(6))
def test_agrees_with_brute_force_to_a_millionth_of_a_cell(seed, backend):
    rng = np.random.default_rng([101, seed])
    shapes = [
        [star(rng, int(rng.integers(3, 60)))],
        [star(rng, 12, centre=(-12.0, 3.0), size=8.0), star(rng, 9, centre=(11.0, -4.0), size=9.0)],
    ]
    points = grid(rng, *rng.integers(1, 60, 2))
    found = signed_distance(shapes, points, backend=backend)
    assert found.shape == (2, *points.shape[:2])
    for distance, rings in zip(found, shapes, strict=True):
        expected = brute_force(rings, points.reshape(-1, 2)).reshape(distance.shape)
        np.testing.assert_allclose(distance, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_compiled_form_agrees_with_the_definition_on_scattered_points(seed):
    rng = np.random.default_rng([102, seed])
    ring, points = star(rng, 200), rng.normal(0, 30, (777, 2))
    points[:200] = ring  # on the vertices
    points[200:400] = 0.5 * (ring + np.roll(ring, 1, axis=0))  # on the edges
    fast, definition = (signed_distance([[ring]], points, backend=b)[0] for b in BACKENDS[::-1])
    np.testing.assert_allclose(fast, definition, rtol=0, atol=1e-12)
    np.testing.assert_allclose(fast[:400], 0.0, atol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_rectangle_is_the_known_formula(backend):
    half = np.array([7.3, 2.9])
    ring = half * [[-1, -1], [1, -1], [1, 1], [-1, 1]]
    points = grid(np.random.default_rng(103))
    q = np.abs(points) - half
    expected = np.hypot(*np.maximum(q, 0).transpose(2, 0, 1)) + np.minimum(q.max(-1), 0)
    found = signed_distance([[ring]], points, backend=backend)[0]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_far_edge_of_a_huge_body_is_a_half_plane(backend):
    ring = 1e3 * np.array([[-1, -1], [0, -1], [0, 1], [-1, 1]])
    points = grid(np.random.default_rng(104))
    found = signed_distance([[ring]], points, backend=backend)[0]
    np.testing.assert_allclose(found, points[..., 0], rtol=0, atol=1e-10)


def test_inscribed_polygon_tends_to_the_circle_with_the_square_of_its_edges():
    points = grid(np.random.default_rng(105))
    exact = np.hypot(*points.transpose(2, 0, 1)) - 10.0
    errors = []
    for edges in (64, 128, 256):
        angle = 2 * np.pi * np.arange(edges) / edges
        ring = 10.0 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        errors.append(np.abs(signed_distance([[ring]], points)[0] - exact).max())
    assert errors[-1] < 1e-3
    assert np.log2(errors[0] / errors[1]) > 1.9


def test_gradient_has_length_one_off_the_medial_axis():
    rng = np.random.default_rng(106)
    edges = torch.from_numpy(edges_of([star(rng)]))
    points = torch.from_numpy(rng.uniform(-30, 30, (500, 2))).requires_grad_()
    (slope,) = torch.autograd.grad(reference.signed_distance(edges, points).sum(), points)
    np.testing.assert_allclose(slope.norm(dim=1).numpy(), 1.0, atol=1e-9)


def test_gradient_with_respect_to_the_outline_is_that_of_differences():
    rng = np.random.default_rng(107)
    edges = torch.from_numpy(edges_of([star(rng, 7)])).requires_grad_()
    points = torch.from_numpy(rng.uniform(-25, 25, (12, 2)))
    assert torch.autograd.gradcheck(lambda e: reference.signed_distance(e, points), edges)


@pytest.mark.parametrize("backend", BACKENDS)
def test_moves_and_turns_with_the_body(backend):
    rng = np.random.default_rng(108)
    ring, points, angle = star(rng), grid(rng), rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    shift = rng.normal(0, 50, 2)
    before = signed_distance([[ring]], points, backend=backend)
    after = signed_distance([[ring @ turn + shift]], points @ turn + shift, backend=backend)
    np.testing.assert_allclose(after, before, rtol=0, atol=1e-11)


def test_grows_with_the_body():
    rng = np.random.default_rng(109)
    ring, points = star(rng), grid(rng)
    for factor in (1e-6, 3.7, 1e6):
        scaled = signed_distance([[factor * ring]], factor * points)
        np.testing.assert_allclose(scaled / factor, signed_distance([[ring]], points), atol=1e-10)


def test_separate_rings_give_the_smaller_distance():
    rng = np.random.default_rng(110)
    one, two, points = star(rng, 9, (-15, 0), 7.0), star(rng, 9, (15, 0), 7.0), grid(rng)
    both, first, second = signed_distance([[one, two], [one], [two]], points)
    np.testing.assert_array_equal(both, np.minimum(first, second))


def test_hole_is_fluid():
    square = np.array([[-9.0, -9], [9, -9], [9, 9], [-9, 9]])
    points = np.array([[0.0, 0.0], [7.0, 0.0], [12.0, 0.0]])
    distance = signed_distance([[square, square[::-1] / 3]], points)
    np.testing.assert_array_equal(distance, [[3.0, -2.0, 3.0]])


def test_repeated_points_of_a_ring_change_nothing():
    rng = np.random.default_rng(111)
    ring, points = star(rng, 12), grid(rng)
    doubled = signed_distance([[np.repeat(ring, 2, axis=0)]], points)
    np.testing.assert_array_equal(doubled, signed_distance([[ring]], points))


def test_refuses_what_it_cannot_measure():
    triangle, points = np.array([[0.0, 0], [1, 0], [0, 1]]), np.zeros((1, 2))
    with pytest.raises(ValueError, match="no shape"):
        signed_distance([], points)
    with pytest.raises(ValueError, match="without a ring"):
        signed_distance([[]], points)
    with pytest.raises(ValueError, match="Ring 1 has 2 points"):
        signed_distance([[triangle, triangle[:2]]], points)
    with pytest.raises(ValueError, match=r"not finite at point 1: \[nan, nan\]"):
        signed_distance([[triangle * [[1], [np.nan], [1]]]], points)
    with pytest.raises(ValueError, match="points that are not finite"):
        signed_distance([[triangle]], points * np.nan)
