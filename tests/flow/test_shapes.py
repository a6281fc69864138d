"""Shapes: areas and sizes by formula, transformations, families, and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from sciml.flow.grid import Grid
from sciml.flow.shapes import (
    FAMILIES,
    Shape,
    bezier_blob,
    circle,
    convex_polygon,
    ellipse,
    naca,
    polygon,
    random_shape,
    rectangle,
    regular_polygon,
    triangle,
)
from sciml.flow.shapes.airfoils import half_thickness

GRID = Grid(shape=(60, 80), spacing=0.05, origin=(-2.0, -1.5))


@pytest.mark.parametrize(
    ("shape", "area", "diameter"),
    [
        (circle(2.0, segments=1000), math.pi, 2.0),
        (ellipse(2.0, 0.5, segments=1000), math.pi / 4, 2.0),
        (rectangle(3.0, 4.0), 12.0, 5.0),
        (triangle(math.pi / 2, math.pi / 4, side=2.0), 2.0, math.sqrt(8.0)),
        (regular_polygon(4, diameter=2.0), 2.0, 2.0),
        (regular_polygon(3, diameter=2.0), math.sqrt(27) / 4, math.sqrt(3.0)),
        (convex_polygon([[0, 0], [0, 2], [2, 2], [2, 0]]), 4.0, math.sqrt(8.0)),
    ],
)
def test_area_and_diameter_are_those_of_the_formula(shape, area, diameter):
    assert shape.area == pytest.approx(area, rel=1e-5)
    assert shape.diameter == pytest.approx(diameter, rel=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
def test_random_shapes_have_unit_diameter_and_come_from_their_seed(family):
    for seed in range(25):
        shape = random_shape(family, np.random.default_rng([5, seed]))
        again = random_shape(family, np.random.default_rng([5, seed]))
        assert shape.family == family
        assert shape.diameter == pytest.approx(1.0, abs=1e-12)
        assert shape.centroid == pytest.approx((0.0, 0.0), abs=1e-12)
        assert shape.region.is_valid and shape.region.geom_type == "Polygon"
        assert 0.04 < shape.area < math.pi / 4
        np.testing.assert_array_equal(shape.points, again.points)
        assert shape.parameters == again.parameters


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - {"circle"}))
def test_random_shapes_differ(family):
    rng = np.random.default_rng(6)
    areas = {round(random_shape(family, rng).rotate(0.1).area, 9) for _ in range(20)}
    assert len(areas) > 3


def test_random_convex_polygons_have_five_to_nine_vertices():
    rng = np.random.default_rng(7)
    shapes = [random_shape("convex_polygon", rng) for _ in range(60)]
    assert {len(shape.points) for shape in shapes} == {5, 6, 7, 8, 9}
    assert all(shape.region.convex_hull.area - shape.area < 1e-12 for shape in shapes)


def test_random_airfoils_meet_the_flow_within_twenty_degrees():
    rng = np.random.default_rng(8)
    for _ in range(40):
        shape = random_shape("naca", rng)
        assert abs(shape.parameters["rotation"]) <= math.radians(20)
        trailing = shape.points[np.argmax(shape.points[:, 0])]
        leading = shape.points[np.argmin(shape.points[:, 0])]
        angle = math.atan2(*(trailing - leading)[::-1])
        assert angle == pytest.approx(shape.parameters["rotation"], abs=0.12)


def test_unknown_family_is_refused():
    with pytest.raises(ValueError, match="'car'; there are circle, ellipse"):
        random_shape("car", np.random.default_rng(0))


def test_transformations_move_the_distance_with_the_body():
    shape = random_shape("bezier_blob", np.random.default_rng(9))
    centre = shape.points.mean(axis=0)
    turned = shape.rotate(0.7, about=tuple(centre))
    np.testing.assert_allclose(turned.points.mean(axis=0), centre, atol=1e-12)
    assert turned.area == pytest.approx(shape.area, rel=1e-12)
    assert shape.scale(3.0).area == pytest.approx(9 * shape.area, rel=1e-12)
    assert shape.translate(1.0, 2.0).bounds == pytest.approx(np.add(shape.bounds, (1, 2, 1, 2)))
    np.testing.assert_allclose(
        GRID.signed_distance(shape.mirror()), np.flipud(GRID.signed_distance(shape)), atol=1e-12
    )
    np.testing.assert_allclose(
        GRID.signed_distance(shape.mirror("x")), np.fliplr(GRID.signed_distance(shape)), atol=1e-12
    )
    back = shape.mirror(at=0.3).mirror(at=0.3)
    np.testing.assert_allclose(np.sort(back.points, 0), np.sort(shape.points, 0), atol=1e-12)


def test_quarter_turn_is_a_quarter_turn_of_the_field():
    square = Grid(shape=(40, 40), spacing=0.05, origin=(-1.0, -1.0))
    shape = random_shape("triangle", np.random.default_rng(10))
    turned = square.signed_distance(shape.rotate(math.pi / 2))
    np.testing.assert_allclose(turned, np.rot90(square.signed_distance(shape), -1), atol=1e-12)


def test_scaled_shape_in_a_scaled_grid_has_the_scaled_distance():
    shape = random_shape("naca", np.random.default_rng(11))
    large = replace(GRID, spacing=0.5, origin=(-20.0, -15.0))
    scaled = large.signed_distance(shape.scale(10.0))
    np.testing.assert_allclose(scaled, 10 * GRID.signed_distance(shape), atol=1e-11)


@pytest.mark.parametrize("seed", range(4))
def test_distance_to_a_union_is_the_smaller_one_outside_and_no_larger_inside(seed):
    rng = np.random.default_rng([12, seed])
    one = random_shape("bezier_blob", rng)
    two = random_shape("convex_polygon", rng).translate(0.5, 0.2)
    both = GRID.signed_distance(one.union(two))
    least = np.minimum(GRID.signed_distance(one), GRID.signed_distance(two))
    outside = least > 0
    np.testing.assert_allclose(both[outside], least[outside], atol=1e-12)
    np.testing.assert_array_equal(both > 0, outside)
    assert (both[~outside] <= least[~outside] + 1e-12).all()


def test_union_of_bars_around_a_court_has_a_hole_that_filling_closes():
    bars = [rectangle(3.0, 1.0).translate(0.0, y) for y in (-1.0, 1.0)]
    posts = [rectangle(1.0, 3.0).translate(x, 0.0) for x in (-1.0, 1.0)]
    frame = bars[0].union(bars[1], *posts)
    assert len(frame.rings) == 2
    assert frame.area == pytest.approx(8.0)
    assert Grid(shape=(1, 1), origin=(-0.5, -0.5)).signed_distance(frame)[0, 0] == 0.5
    assert frame.filled().area == pytest.approx(9.0)


def test_rings_are_turned_the_right_way_whatever_way_they_came():
    outer, inner = rectangle(4.0, 4.0).points, rectangle(2.0, 2.0).points
    for a in (outer, outer[::-1]):
        for b in (inner, inner[::-1]):
            shape = Shape(rings=(b, a))
            assert shape.area == 12.0
            assert Grid(shape=(1, 1), origin=(-0.5, -0.5)).signed_distance(shape)[0, 0] == 1.0


def test_json_text_gives_the_shape_back_bit_for_bit():
    shape = random_shape("naca", np.random.default_rng(13)).union(circle(0.1).translate(2.0, 0.0))
    shape = replace(shape, family="pair", parameters={"x": 0.1})
    again = Shape.from_json(shape.to_json())
    assert (again.family, again.parameters) == ("pair", {"x": 0.1})
    for ring, same in zip(shape.rings, again.rings, strict=True):
        np.testing.assert_array_equal(ring, same)
    for text in ("[1, 2]", '{"rings": []}', "no JSON"):
        with pytest.raises(ValueError):
            Shape.from_json(text)


def test_a_shape_cannot_be_changed_by_its_arrays():
    points = np.array([[0.0, 0], [1, 0], [0, 1]])
    shape = polygon(points)
    points[0] = 9.0
    assert shape.area == 0.5
    with pytest.raises(ValueError, match="read-only"):
        shape.rings[0][0] = 9.0


# NACA 0012 at x/c, y/c: Abbott and von Doenhoff, Theory of Wing Sections, appendix III.
TABLE_0012 = {
    0.0125: 1.894,
    0.05: 3.555,
    0.1: 4.683,
    0.3: 6.002,
    0.5: 5.294,
    0.8: 2.623,
    0.95: 0.807,
}


def test_thickness_is_the_published_one():
    x, percent = np.array(list(TABLE_0012)), np.array(list(TABLE_0012.values()))
    np.testing.assert_allclose(100 * half_thickness(x, 0.12, closed=False), percent, atol=6e-4)


@pytest.mark.parametrize(("code", "thickness"), [("0012", 0.12), ("0021", 0.21), ("2412", 0.12)])
def test_airfoil_is_as_thick_as_its_name_says(code, thickness):
    shape = naca(code, points=400)
    x = shape.points[:, 0]
    upper, lower = shape.points[: x.argmin() + 1][::-1], shape.points[x.argmin() :]
    station = np.linspace(0.25, 0.35, 101)
    gap = np.interp(station, *upper.T) - np.interp(station, *lower.T)
    assert gap.max() == pytest.approx(thickness, rel=3e-3)
    assert shape.diameter == pytest.approx(1.0, abs=2e-3)


def test_camber_is_where_the_name_says():
    shape = naca("4412", points=2000)
    assert shape.parameters["camber"] == pytest.approx(0.04, rel=1e-6)
    assert naca("23012").parameters["camber"] == pytest.approx(0.01838, abs=2e-5)
    assert naca("0012").parameters["camber"] == 0.0


def test_symmetric_airfoil_is_its_own_mirror_image():
    shape = naca("0015")
    np.testing.assert_allclose(
        GRID.signed_distance(shape), GRID.signed_distance(shape.mirror()), atol=1e-12
    )


def test_trailing_edge_is_sharp_or_as_blunt_as_the_formula():
    sharp, blunt = naca("0012"), naca("0012", closed=False)
    assert len(sharp.points) == len(blunt.points) - 1
    assert np.ptp(blunt.points[blunt.points[:, 0] == 1.0][:, 1]) == pytest.approx(0.00252)


def test_all_four_digit_airfoils_of_use_are_valid_and_so_are_the_five_digit_ones():
    for camber in range(10):
        for position in range(1, 10) if camber else (0,):
            assert naca(f"{camber}{position}12", points=40).area > 0.05
    for line in ("10", "20", "30", "40", "50", "21", "31", "41", "51"):
        assert naca(f"2{line}15", points=40).area > 0.05


@pytest.mark.parametrize("code", ["12", "00x2", "1012", "2400", "26012", "21112", "02312", "²412"])
def test_codes_that_name_no_airfoil_are_refused(code):
    with pytest.raises(ValueError, match="NACA"):
        naca(code)


def test_blob_is_smooth_and_goes_through_its_anchors():
    anchors = np.array([[1.0, 0], [0.2, 1], [-1, 0.3], [-0.4, -0.8]])
    points = bezier_blob(anchors, segments=50).points
    np.testing.assert_array_equal(points[::50], anchors)
    edges = np.diff(points, axis=0, append=points[:1])
    direction = np.unwrap(np.arctan2(edges[:, 1], edges[:, 0]))
    assert np.abs(np.diff(direction)).max() < 0.2


def test_blob_without_smoothness_is_the_polygon_of_its_anchors():
    anchors = np.array([[0.0, 0], [2, 0], [0, 2]])
    assert bezier_blob(anchors, smoothness=0.0).area == pytest.approx(2.0)


BOW_TIE = [[0, 0], [2, 2], [2, 0], [0, 2]]
SQUARE = rectangle(2.0, 2.0).points


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: polygon(BOW_TIE), r"Ring 0 crosses or touches itself near \(1, 1\)"),
        (lambda: polygon([[0, 0], [1, 0]]), "Ring 0 has 2 points; a closed outline needs three"),
        (lambda: polygon([[0, 0], [1, 1], [1, 1], [0, 0]]), "2 distinct points"),
        (lambda: polygon([[3, 3]] * 5), "0 distinct points"),
        (lambda: polygon([[0, 0], [1, 1], [2, 2]]), "encloses no area: all its points lie on one"),
        (lambda: polygon([[0, 0], [1, math.nan], [1, 1]]), r"point 1 is \(1.0, nan\)"),
        (lambda: polygon([[0, 0], [1, 0], [math.inf, 1]]), r"point 2 is \(inf, 1.0\)"),
        (lambda: polygon([[0, 0, 0]] * 3), r"shape \(3, 3\); expected \(points, 2\)"),
        (lambda: polygon([1, 2, 3]), r"shape \(3,\)"),
        (lambda: Shape(rings=()), "at least one ring"),
        (lambda: Shape(rings=(SQUARE, SQUARE + 1)), "Rings 0 and 1 overlap or share an edge near"),
        (
            lambda: Shape(rings=(SQUARE, SQUARE + np.array([2, 0]))),
            r"share an edge near \(1, -?1\)",
        ),
        (lambda: Shape(rings=(SQUARE, SQUARE)), "overlap or share an edge"),
        (lambda: circle(-1.0), "diameter of a shape is positive and finite, not -1.0"),
        (lambda: ellipse(1.0, math.nan), "height of a shape is positive"),
        (lambda: triangle(2.0, 2.0), "less than pi"),
        (lambda: regular_polygon(2), "at least three sides, not 2"),
        (lambda: bezier_blob([[0, 0], [1, 1]]), "anchors of shape"),
        (lambda: bezier_blob(BOW_TIE), "crosses or touches itself near"),
        (lambda: circle().scale(0.0), "positive finite factor, not 0.0"),
        (lambda: circle().scale(math.inf), "positive finite factor"),
    ],
)
def test_refusals_say_what_and_where(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


def test_open_curve_is_refused_and_a_blunt_end_is_not():
    angle = np.linspace(0, 1.5 * np.pi, 50)
    arc = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    with pytest.raises(ValueError, match=r"open: it starts at \(1, 0\) and ends at"):
        polygon(arc, largest_gap=0.1)
    assert polygon(arc).area > 0
    assert polygon(rectangle(2.0, 1.0).points, largest_gap=0.1).area == 2.0
