"""Masks: outlines at half level, and what a distance transform can and cannot give."""

from __future__ import annotations

import numpy as np
import pytest

from sciml.flow.grid import Grid
from sciml.flow.masks import shape_of_mask, signed_distance_of_mask
from sciml.flow.shapes import circle, random_shape


def test_outline_of_a_box_of_pixels_has_its_area_less_the_corners():
    mask = np.zeros((20, 30), dtype=bool)
    mask[4:12, 6:25] = True
    shape = shape_of_mask(mask, pixel=0.5)
    assert shape.bounds == (3.0, 4.0, 12.5, 8.0)
    assert shape.area == pytest.approx(0.25 * (8 * 19 - 4 * 0.125))
    assert len(shape.points) == 8


def test_row_zero_is_the_top():
    mask = np.zeros((10, 10))
    mask[1:3, 4:7] = 1
    assert shape_of_mask(mask).bounds == (4.0, 7.0, 7.0, 9.0)


def test_body_cut_off_by_the_border_is_closed_along_it():
    mask = np.zeros((10, 10))
    mask[5:, :4] = 1
    assert shape_of_mask(mask).bounds == (0.0, 0.0, 4.0, 5.0)


def test_holes_and_several_bodies_are_rings():
    mask = np.zeros((20, 40))
    mask[2:12, 2:12], mask[5:8, 5:8], mask[3:9, 20:30] = 1, 0, 1
    shape = shape_of_mask(mask)
    assert len(shape.rings) == 3
    assert shape.area == pytest.approx(100 - 9 + 60 - 8 * 0.125 + 0.5)


@pytest.mark.parametrize("seed", range(3))
def test_outline_of_a_pixelled_shape_lies_within_a_pixel_of_it(seed):
    grid = Grid(shape=(90, 90), spacing=1 / 70, origin=(-45 / 70, -45 / 70))
    exact = grid.signed_distance(random_shape("bezier_blob", np.random.default_rng([21, seed])))
    traced = shape_of_mask(np.flipud(exact < 0), pixel=grid.spacing).translate(*grid.origin)
    assert np.abs(grid.signed_distance(traced) - exact).max() < grid.spacing


def test_smoothed_mask_gives_the_outline_to_a_fraction_of_a_pixel():
    grid = Grid(shape=(60, 60), origin=(-30.0, -30.0))
    exact = grid.signed_distance(circle(40.0))
    solidity = np.clip(0.5 - exact / 4, 0.0, 1.0)
    traced = shape_of_mask(np.flipud(solidity)).translate(-30.0, -30.0)
    assert np.abs(grid.signed_distance(traced) - exact).max() < 0.03


def test_distance_transform_is_exact_for_walls_along_the_axes():
    mask = np.zeros((12, 16))
    mask[:, 7:] = 1
    expected = np.broadcast_to(0.5 * (6.5 - np.arange(16)), mask.shape)
    np.testing.assert_array_equal(signed_distance_of_mask(mask, spacing=0.5), expected)


def test_distance_transform_has_the_sign_of_the_mask_and_is_off_by_less_than_a_cell():
    grid = Grid(shape=(70, 70), spacing=1 / 50, origin=(-0.7, -0.7))
    exact = grid.signed_distance(random_shape("ellipse", np.random.default_rng(22)))
    found = signed_distance_of_mask(exact < 0, spacing=grid.spacing)
    np.testing.assert_array_equal(found < 0, exact < 0)
    assert np.abs(found - exact).max() < grid.spacing


@pytest.mark.parametrize("function", [shape_of_mask, signed_distance_of_mask])
@pytest.mark.parametrize(
    ("mask", "sentence"),
    [
        (np.zeros((3, 3)), "holds no solid pixel"),
        (np.ones((3, 3)), "holds no fluid pixel"),
        (np.ones(3), r"this array has shape \(3,\)"),
        (np.array([[0.0, 1.0], [np.nan, 0.0]]), "not finite at row 1, column 0"),
    ],
)
def test_masks_without_a_body_are_refused(function, mask, sentence):
    with pytest.raises(ValueError, match=sentence):
        function(mask)
