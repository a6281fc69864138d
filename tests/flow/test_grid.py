"""The grid, and bodies that do not stand well in it."""

from __future__ import annotations

import numpy as np
import pytest

from sciml.flow.grid import Grid, check_body
from sciml.flow.shapes import circle, rectangle

GRID = Grid(shape=(40, 80), spacing=0.1, origin=(-2.0, -2.0))


def test_centres_are_half_a_cell_inside_the_extent():
    left, right, bottom, top = GRID.extent
    assert (left, right, bottom, top) == pytest.approx((-2.0, 6.0, -2.0, 2.0))
    assert (GRID.x[0], GRID.x[-1]) == pytest.approx((left + 0.05, right - 0.05))
    assert (GRID.y[0], GRID.y[-1]) == pytest.approx((bottom + 0.05, top - 0.05))
    assert GRID.points.shape == (40, 80, 2)
    np.testing.assert_array_equal(GRID.points[3, 5], [GRID.x[5], GRID.y[3]])


@pytest.mark.parametrize("backend", ["auto", "reference", "cpu"])
def test_distance_to_a_circle_is_that_to_its_centre_less_its_radius(backend):
    distance = GRID.signed_distance(circle(2.0, segments=1024), backend=backend)
    exact = np.hypot(*np.meshgrid(GRID.x, GRID.y)) - 1.0
    np.testing.assert_allclose(distance, exact, atol=5e-6)


def test_slope_of_the_distance_is_one_off_the_medial_axis():
    grid = Grid(shape=(200, 200), spacing=0.02, origin=(-2.0, -2.0))
    distance = grid.signed_distance(circle(2.0, segments=4096))
    slope = np.hypot(*np.gradient(distance, grid.spacing))
    off = np.abs(distance) < 0.5
    np.testing.assert_allclose(slope[off], 1.0, atol=2e-3)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (circle().translate(9.0, 0.0), "x 8.5 to 9.5 and y -0.5 to 0.5 m, lies outside the domain"),
        (circle().translate(0.0, -7.0), "lies outside"),
        (circle().translate(-1.5, 0.0), "reaches the left of the domain, x -2 to 6"),
        (circle().translate(-1.45, 0.0), r"keep it one cell \(0.1 m\) away"),
        (circle(4.0), "reaches the left, bottom, top of"),
        (rectangle(0.5, 9.0), "reaches the bottom, top of"),
        (rectangle(50.0, 50.0), "fills the domain"),
        (circle(0.05), "holds no cell centre at a spacing of 0.1 m"),
    ],
)
def test_bodies_that_do_not_fit_are_refused(body, sentence):
    with pytest.raises(ValueError, match=sentence):
        check_body(body, GRID)


def test_body_may_stand_on_a_side_that_is_left_out():
    standing = rectangle(1.0, 1.0).translate(0.0, -1.5)
    with pytest.raises(ValueError, match="bottom"):
        check_body(standing, GRID)
    check_body(standing, GRID, sides=("left", "right", "top"))
    with pytest.raises(ValueError, match="not \\['floor'\\]"):
        check_body(standing, GRID, sides=("floor",))


@pytest.mark.parametrize(
    "wrong", [{"shape": (0, 3)}, {"spacing": 0.0}, {"spacing": np.nan}, {"origin": (0.0, np.inf)}]
)
def test_grids_that_are_none_are_refused(wrong):
    with pytest.raises(ValueError):
        Grid(**{"shape": (4, 4), **wrong})
