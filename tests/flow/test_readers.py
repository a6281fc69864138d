"""Shapes out of files: each format, the collections, and what is refused."""

from __future__ import annotations

import io
import math
import tarfile

import numpy as np
import pytest
from PIL import Image

from sciml.data.catalogue import Unavailable, fetch, names
from sciml.flow.grid import Grid
from sciml.flow.readers import (
    parse_airfoil,
    read_airfoil,
    read_array,
    read_image,
    read_points,
    read_shape,
    read_stl,
)
from sciml.flow.shapes import circle, naca, random_shape

GRID = Grid(shape=(40, 80), spacing=0.02, origin=(-0.3, -0.4))


def fetched(name):
    try:
        return fetch(name, offline=True)
    except Unavailable as reason:
        pytest.skip(str(reason))


def written(points):
    return "\n".join(f" {x:.15f}  {y:.15f}" for x, y in points)


def sides():
    """NACA 2412 from the leading edge: upper side, lower side."""
    points = naca("2412").points
    points = np.concatenate([points, points[:1]])
    nose = points[:, 0].argmin()
    return points[: nose + 1][::-1], points[nose:]


def test_selig_and_lednicer_orders_give_the_same_airfoil():
    upper, lower = sides()
    selig = "NACA 2412\n" + written(np.concatenate([upper[::-1], lower[1:]]))
    counts = f"{len(upper)}. {len(lower)}."
    lednicer = f"NACA 2412\n{counts}\n\n{written(upper)}\n\n{written(lower)}\n"
    without_counts = f"NACA 2412\n\n{written(upper)}\n\n{written(lower)}"
    expected = GRID.signed_distance(naca("2412"))
    for text in (selig, lednicer, without_counts):
        shape = parse_airfoil(text)
        assert shape.family == "airfoil"
        np.testing.assert_allclose(GRID.signed_distance(shape), expected, atol=1e-12)


def test_titles_blank_lines_notes_and_line_ends_do_not_matter(tmp_path):
    points = written(naca("0012").points).replace("\n", "\r\n\r\n")
    path = tmp_path / "a.dat"
    path.write_bytes(f"Profil é\r\n0.1 0.2 0.3 0.4\r\n{points}\r\nsee p. 3\r\n".encode("latin-1"))
    assert read_shape(path).area == pytest.approx(naca("0012").area, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("only a title", "No line holds a pair"),
        ("t\n1 0\n.5 .1\n0.0\n0 0\n.5 -.1\n", "Line 4 is not a pair of coordinates: '0.0'"),
        ("t\n1 0\n.5 .1\n0 ...\n0 0\n.5 -.1\n", "Line 4 is not a pair"),
        ("t\n9. 9.\n0 0\n.5 .1\n1 0\n0 0\n.5 -.1\n1 0\n", r"announces 9 \+ 9 points .* but 6"),
        ("t\n1 0\n.5 nan\n0 0\n.5 -.1\n", r"point 1 is \(0.5, nan\)"),
        ("t\n1 0\n.5 .1\n", "2 points"),
        ("t\n1 0\n.5 .1\n0 0\n.5 -.1\n.6", "Line 6 is not a pair"),
    ],
)
def test_broken_airfoils_are_refused(text, sentence):
    with pytest.raises(ValueError, match=sentence):
        parse_airfoil(text)


def test_one_side_of_an_airfoil_is_an_open_curve():
    with pytest.raises(ValueError, match=r"open: it starts at \(0, 0\) and ends at \(1, 0\)"):
        parse_airfoil("upper side\n" + written(sides()[0]))


def test_every_airfoil_of_the_archive_is_read_or_refused_with_a_sentence():
    read, refused = [], {}
    with tarfile.open(fetched("flow/airfoils")) as archive:
        for member in archive:
            if not member.name.endswith(".dat"):
                continue
            text = archive.extractfile(member).read().decode(errors="replace")
            try:
                read.append(parse_airfoil(text))
            except ValueError as reason:
                refused[member.name] = str(reason)
    assert len(read) + len(refused) == 2144
    assert len(read) >= 2143, refused
    assert all(len(sentence) > 20 for sentence in refused.values())
    extent = np.array([shape.diameter for shape in read])
    assert ((extent > 0.9) & (extent < 1.2)).mean() > 0.999


@pytest.mark.parametrize("code", ["0012", "2412", "4412"])
def test_published_coordinates_are_those_of_the_formula(code):
    published = read_shape(fetched(f"flow/airfoils/naca{code}"))
    apart = GRID.signed_distance(published) - GRID.signed_distance(naca(code, closed=False))
    assert np.abs(apart).max() < 2e-3


def test_points_are_read_with_any_separator_and_a_header(tmp_path):
    for suffix, separator in ((".csv", ","), (".csv", ";"), (".txt", "  ")):
        path = tmp_path / f"corner{suffix}"
        rows = (
            separator.join("xy"),
            *(separator.join(map(str, p)) for p in [(0, 0), (3, 0), (0, 4)]),
        )
        path.write_text("# a triangle\n" + "\n".join(rows) + "\n\n")
        assert read_shape(path).area == 6.0


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("x,y\n", r"shape_.csv gives no shape: Ring 0 has 0 points"),
        ("0,0\n1,0\n", "2 points"),
        ("0,0\n1,0\nno,no\n0,1\n", "Line 3 is not a pair of coordinates: 'no,no'"),
        ("0,0\n1,0\n0,1\nend\n", "Line 4"),
        ("0,0\n1,1\n1,0\n0,1\n", r"crosses or touches itself near \(0.5, 0.5\)"),
        ("0,0\n1,inf\n1,0\n", "not finite"),
    ],
)
def test_broken_points_are_refused(tmp_path, text, sentence):
    path = tmp_path / "shape_.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=sentence):
        read_points(path)


def picture(tmp_path, solid, background):
    """A PNG of a disc of diameter 40 in the middle of 60 x 50 pixels."""
    grid = Grid(shape=(50, 60), origin=(-30.0, -25.0))
    weight = np.clip(0.5 - grid.signed_distance(circle(40.0)) / 4, 0, 1)[..., None]
    values = np.asarray(background) + weight * np.subtract(solid, background)
    path = tmp_path / "disc.png"
    mode = {1: "L", 3: "RGB", 4: "RGBA"}[values.shape[-1]]
    Image.fromarray(np.squeeze(values.round().astype(np.uint8)), mode=None).convert(mode).save(path)
    return path


@pytest.mark.parametrize(
    ("solid", "background"),
    [([0], [255]), ([255], [0]), ([20, 20, 60], [250] * 3), ([90, 200, 30, 255], [90, 200, 30, 0])],
)
def test_silhouette_is_found_dark_light_or_opaque(tmp_path, solid, background):
    shape = read_shape(picture(tmp_path, solid, background))
    assert shape.area == pytest.approx(400 * math.pi, rel=2e-3)
    assert shape.diameter == pytest.approx(40.0, rel=3e-3)
    assert read_image(tmp_path / "disc.png", pixel=0.1).diameter == pytest.approx(4.0, rel=3e-3)


def test_cars_are_read_from_their_pictures():
    for name in names("flow/cars/"):
        shape = read_shape(fetched(name))
        left, bottom, right, top = shape.bounds
        assert 0 <= left < 450 and 850 < right <= 900 and 0 <= bottom < top <= 300
        assert 450 < shape.diameter < 800
        assert shape.area > 5e4
        assert len(shape.filled().rings) <= len(shape.rings)


def test_mask_arrays_are_read(tmp_path):
    stack = np.zeros((2, 20, 20))
    stack[0, 5:10, 5:10], stack[1, 3:15, 2:9] = 1, 1
    np.save(tmp_path / "one.npy", stack[0])
    np.savez(tmp_path / "stack.npz", mask=stack, other=np.arange(3))
    assert read_shape(tmp_path / "one.npy").bounds == (5.0, 10.0, 10.0, 15.0)
    assert read_array(tmp_path / "stack.npz", index=1, pixel=2.0).bounds == (4.0, 10.0, 18.0, 34.0)
    with pytest.raises(ValueError, match="holds 2 masks"):
        read_shape(tmp_path / "stack.npz")
    with pytest.raises(ValueError, match="no mask number 2"):
        read_array(tmp_path / "stack.npz", index=2)


@pytest.mark.parametrize("axis", ["x", "y", "z"])
@pytest.mark.parametrize("binary", [True, False])
def test_section_of_a_cube_is_a_square(tmp_path, axis, binary):
    trimesh = pytest.importorskip("trimesh")
    box = trimesh.creation.box((1.0, 1.0, 1.0))
    box.export(tmp_path / "cube.stl", file_type="stl" if binary else "stl_ascii")
    shape = read_stl(tmp_path / "cube.stl", axis=axis, position=0.2)
    assert shape.bounds == pytest.approx((-0.5, -0.5, 0.5, 0.5))
    assert shape.area == pytest.approx(1.0)
    assert len(shape.points) == 4


def test_sections_of_a_sphere_are_circles(tmp_path):
    trimesh = pytest.importorskip("trimesh")
    trimesh.creation.icosphere(5, 1.0).export(tmp_path / "sphere.stl")
    assert read_shape(tmp_path / "sphere.stl").area == pytest.approx(math.pi, rel=2e-3)
    for height in (-0.7, 0.1, 0.5):
        shape = read_stl(tmp_path / "sphere.stl", axis="y", position=height)
        assert shape.diameter == pytest.approx(2 * math.sqrt(1 - height**2), rel=2e-3)


def test_section_of_a_tube_has_a_hole(tmp_path):
    trimesh = pytest.importorskip("trimesh")
    trimesh.creation.annulus(0.5, 1.0, 2.0, sections=128).export(tmp_path / "tube.stl")
    shape = read_shape(tmp_path / "tube.stl")
    assert len(shape.rings) == 2
    assert shape.area == pytest.approx(0.75 * math.pi, rel=1e-2)


def test_surfaces_that_give_no_section_are_refused(tmp_path):
    trimesh = pytest.importorskip("trimesh")
    box = trimesh.creation.box((1.0, 1.0, 1.0))
    box.export(tmp_path / "cube.stl")
    with pytest.raises(ValueError, match=r"z = 3 misses the surface, -0.5 to 0.5"):
        read_stl(tmp_path / "cube.stl", position=3.0)
    side = box.face_normals[:, 0] < 0.5
    box.update_faces(side)
    box.export(tmp_path / "open.stl")
    with pytest.raises(ValueError, match=r"open.stl gives no shape: The surface is open: .* near"):
        read_shape(tmp_path / "open.stl")


@pytest.mark.parametrize(
    "suffix", [".dat", ".csv", ".txt", ".png", ".npy", ".npz", ".stl", ".json"]
)
@pytest.mark.parametrize("content", [b"", b"\x00\xff\x12 garbage \x00" * 9, b"garbage\nmore\n"])
def test_unreadable_files_are_refused_by_name(tmp_path, suffix, content):
    if suffix == ".stl":
        pytest.importorskip("trimesh")
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"broken\{suffix} gives no shape: "):
        read_shape(path)


def test_blank_picture_is_refused(tmp_path):
    Image.new("RGB", (30, 20), "white").save(tmp_path / "blank.png")
    with pytest.raises(ValueError, match=r"blank.png gives no shape: .* one tone"):
        read_shape(tmp_path / "blank.png")


def test_half_a_picture_is_refused(tmp_path):
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (40, 40), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, "png")
    path = tmp_path / "half.png"
    path.write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    with pytest.raises(ValueError, match="not a whole image"):
        read_shape(path)


def test_missing_files_and_unknown_extensions_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*none\.dat"):
        read_shape(tmp_path / "none.dat")
    with pytest.raises(ValueError, match=r"extension '.step'; shapes are read from .dat, .csv"):
        read_shape(tmp_path / "body.step")
    with pytest.raises(FileNotFoundError):
        read_airfoil(tmp_path / "none.dat")


def test_shapes_saved_as_json_are_read(tmp_path):
    shape = random_shape("bezier_blob", np.random.default_rng(3))
    (tmp_path / "blob.json").write_text(shape.to_json())
    np.testing.assert_array_equal(read_shape(tmp_path / "blob.json").points, shape.points)
