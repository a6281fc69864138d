"""Mean flows out of OpenFOAM cases, and what a closure makes of them back into these."""

from __future__ import annotations

import gzip
import re
import shutil
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

foamlib = pytest.importorskip("foamlib", reason="foamlib is not installed")

from sciml.coupling.openfoam import (  # noqa: E402
    apply_closure,
    closure,
    implicit_eddy_viscosity,
    read_case,
    write_anisotropy,
)
from sciml.coupling.openfoam.distance import wall_distance  # noqa: E402
from sciml.coupling.openfoam.files import read_field  # noqa: E402
from sciml.coupling.openfoam.gradients import gauss_gradient  # noqa: E402
from sciml.coupling.openfoam.mesh import Mesh, read_mesh  # noqa: E402
from sciml.rans import (  # noqa: E402
    linear_eddy_viscosity,
    load_flow,
    quadratic_eddy_viscosity,
)

STATE = ("velocity_gradient", "turbulent_kinetic_energy", "dissipation_rate")
REFERENCES = ("AR_1_Ret_180", "AR_1_Ret_360", "AR_3_Ret_360", "alpha_15_13929_4048")
SINGLE = 2e-7
"""The reference data are in single precision."""


def linear(flow: xr.Dataset) -> np.ndarray:
    return linear_eddy_viscosity(*(flow[name].values for name in STATE))


def quadratic(flow: xr.Dataset) -> np.ndarray:
    return quadratic_eddy_viscosity(*(flow[name].values for name in STATE))


def velocity(case: Path, cells: int, time: str = "100") -> Any:
    return read_field(case / time / "U", "volVectorField", (0, 1, -1), cells)


def fixed(mesh: Mesh, values: np.ndarray) -> dict[str, str]:
    """Conditions with given values on the faces of all patches but those of a kind of their own."""
    found = {}
    for patch in mesh.patches:
        if patch.kind in ("wall", "patch"):
            rows = [f"({' '.join(map(repr, row))})" for row in values[patch.faces].tolist()]
            listed = f"nonuniform List<vector> {patch.size}({' '.join(rows)})"
            found[patch.name] = f"fixedValue; value {listed}"
    return found


def components(b: np.ndarray) -> np.ndarray:
    return b.reshape(-1, 9)[:, [0, 1, 2, 4, 5, 8]]


def error(found: np.ndarray, truth: np.ndarray) -> float:
    return float(np.abs(found - truth).max() / np.abs(truth).max())


def shaken(rng: np.random.Generator) -> Callable[[np.ndarray], np.ndarray]:
    """Moves the points inside a unit box, and those on its sides within them."""

    def move(points: np.ndarray) -> np.ndarray:
        free = (points > 1e-9) & (points < 1 - 1e-9)
        return points + 0.06 * rng.uniform(-1, 1, points.shape) * free

    return move


# Reference data


@pytest.mark.parametrize("name", REFERENCES)
def test_gradients_and_geometry_are_those_of_the_reference_data(
    name: str, reference: Callable[[str], Path], tmp_path: Path
) -> None:
    with tarfile.open(reference(f"rans/openfoam/{name}")) as archive:
        archive.extractall(tmp_path, filter="data")
    reference(f"rans/{name}")
    truth, flow = load_flow(name), read_case(tmp_path / name, kinematic_viscosity=1.5e-5)
    assert set(flow) <= set(truth)
    for variable in set(flow) - {"position", "kinematic_viscosity", "wall_distance"}:
        assert flow[variable].attrs["units"] == truth[variable].attrs["units"]
        assert error(flow[variable].values, truth[variable].values) < SINGLE, variable
    size = np.ptp(truth["position"].values)
    assert np.abs(flow["position"] - truth["position"]).max() < SINGLE * size
    farther = flow["wall_distance"] / truth["wall_distance"] - 1
    assert farther.min() > -SINGLE
    # theirs ends on planes through faces, which beside a crest lie nearer than the wall itself
    assert farther.max() < (SINGLE if name.startswith("AR") else 2e-3)
    assert (farther < SINGLE).mean() > 0.98


# Geometry and gradients on meshes of known shape


def test_cells_fill_their_box_and_are_closed(
    boxes: Any, tmp_path: Path, rng: np.random.Generator
) -> None:
    mesh = read_mesh(boxes(move=shaken(rng)).write(tmp_path))
    assert mesh.cell_volumes.sum() == pytest.approx(1, rel=1e-12)
    assert mesh.cell_volumes.min() > 0
    np.testing.assert_allclose(mesh.incidence @ mesh.face_areas, 0, atol=1e-15)
    moment = (mesh.cell_centres * mesh.cell_volumes[:, None]).sum(0)
    np.testing.assert_allclose(moment, 0.5, atol=2e-3)  # faces are not quite flat


def test_the_gradient_of_a_linear_field_is_exact_on_a_sheared_box(
    boxes: Any, tmp_path: Path, rng: np.random.Generator
) -> None:
    frame = np.eye(3) + rng.uniform(-0.25, 0.25, (3, 3))
    box = boxes(move=lambda points: points @ frame)
    mesh = read_mesh(box.write(tmp_path))
    assert mesh.cell_volumes.sum() == pytest.approx(np.linalg.det(frame), rel=1e-12)
    G = rng.normal(size=(3, 3))
    given = fixed(mesh, mesh.face_centres @ G.T)
    box.write_field(tmp_path / "1" / "U", "0 1 -1", mesh.cell_centres @ G.T, given)
    found = gauss_gradient(mesh, velocity(tmp_path, box.cells, "1"))
    np.testing.assert_allclose(found, np.broadcast_to(G, found.shape), atol=1e-12)


def test_a_wedge_knows_the_flow_around_its_axis(boxes: Any, tmp_path: Path) -> None:
    angle = np.deg2rad(2.0)

    def bent(points: np.ndarray) -> np.ndarray:
        x, r, turn = points.T + np.array([[0], [1], [-0.5]])
        return np.stack([x, r * np.cos(angle * turn), r * np.sin(angle * turn)], 1)

    box = boxes(shape=(4, 6, 1), patches={"bottom": "wedge", "top": "wedge"}, move=bent)
    mesh = read_mesh(box.write(tmp_path))
    G = np.diag([-2.0, 1.0, 1.0])  # towards a plate, away from the axis
    given = fixed(mesh, mesh.face_centres @ G)
    box.write_field(tmp_path / "1" / "U", "0 1 -1", mesh.cell_centres @ G, given)
    found = gauss_gradient(mesh, velocity(tmp_path, box.cells, "1"))
    np.testing.assert_allclose(found, np.broadcast_to(G, found.shape), atol=2 * angle**2)


@pytest.mark.parametrize("kind", ["symmetry", "symmetryPlane", "slip"])
def test_half_a_symmetric_flow_has_the_gradient_of_the_whole(
    kind: str, boxes: Any, write_case: Any, rng: np.random.Generator
) -> None:
    whole = boxes(shape=(3, 6, 2), patches=dict.fromkeys(("west", "east"), "patch"))
    half = boxes(
        shape=(3, 3, 2),
        size=(1.0, 0.5, 1.0),
        patches={**whole.patches, "north": "patch" if kind == "slip" else kind},
    )
    u = rng.normal(size=(2, 3, 3, 3))
    mirrored = u[:, ::-1] * [1, -1, 1]
    U = np.concatenate([u, mirrored], 1).reshape(-1, 3)
    conditions = {side: "noSlip" for side in ("south", "bottom", "top")}
    of_half = {"U": {**conditions, **({"north": "slip"} if kind == "slip" else {})}}
    of_whole = {"U": {**conditions, "north": "noSlip"}}
    cases = [
        write_case(whole, rng, name="whole", U=U, conditions=of_whole),
        write_case(half, rng, name="half", U=u.reshape(-1, 3), conditions=of_half),
    ]
    gradients = [
        gauss_gradient(read_mesh(case), velocity(case, box.cells))
        for case, box in zip(cases, (whole, half), strict=True)
    ]
    expected = gradients[0].reshape(2, 6, 3, 3, 3)[:, :3].reshape(-1, 3, 3)
    np.testing.assert_allclose(gradients[1], expected, atol=1e-12)


def test_a_periodic_flow_may_be_cut_anywhere(
    boxes: Any, write_case: Any, rng: np.random.Generator
) -> None:
    box = boxes(shape=(5, 3, 2), patches={"west": "cyclic", "east": "cyclic"})
    values = rng.normal(size=(2, 3, 5, 3))
    found = []
    for cut in (0, 2):
        U = np.roll(values, cut, axis=2).reshape(-1, 3)
        case = write_case(box, rng, name=f"cut{cut}", U=U)
        G = gauss_gradient(read_mesh(case), velocity(case, box.cells))
        found.append(np.roll(G.reshape(2, 3, 5, 3, 3), -cut, axis=2))
    np.testing.assert_allclose(found[0], found[1], atol=1e-12)


def test_an_empty_direction_has_no_derivative(
    boxes: Any, write_case: Any, rng: np.random.Generator
) -> None:
    box = boxes(shape=(4, 3, 1), patches={"bottom": "empty", "top": "empty"})
    flow = read_case(write_case(box, rng))
    np.testing.assert_allclose(flow["turbulent_kinetic_energy_gradient"][:, 2], 0, atol=1e-12)
    G = gauss_gradient(
        read_mesh(Path(flow.attrs["case"])), velocity(Path(flow.attrs["case"]), box.cells)
    )
    np.testing.assert_allclose(G[:, :, 2], 0, atol=1e-12)


def test_the_distance_is_that_to_the_nearest_wall_across_periods_too(
    boxes: Any, tmp_path: Path
) -> None:
    kinds = {"west": "cyclic", "east": "cyclic", "north": "patch", "bottom": "empty"}

    def bump(points: np.ndarray) -> np.ndarray:
        x, y, z = points.T
        return np.stack([x, y + (1 - y) * 0.4 * np.cos(np.pi * x) ** 2, 0.1 * z], 1)

    box = boxes(shape=(20, 12, 1), patches={**kinds, "top": "empty"}, move=bump)
    mesh = read_mesh(box.write(tmp_path))
    x = np.linspace(0, 1, 21)
    corners = np.stack([x, 0.4 * np.cos(np.pi * x) ** 2], 1)
    ends = np.concatenate([corners + np.array([period, 0]) for period in (-1, 0, 1)])
    start, along = ends[:-1], np.diff(ends, axis=0)
    keep = np.linalg.norm(along, axis=1) > 0
    start, along = start[keep], along[keep]
    away = mesh.cell_centres[:, None, :2] - start
    share = np.clip((away * along).sum(2) / (along**2).sum(1), 0, 1)
    truth = np.linalg.norm(away - share[..., None] * along, axis=2).min(1)
    np.testing.assert_allclose(wall_distance(mesh), truth, rtol=1e-9)


def test_without_walls_there_is_no_distance(
    boxes: Any, write_case: Any, rng: np.random.Generator
) -> None:
    sides = ("west", "east", "south", "north", "bottom", "top")
    box = boxes(patches=dict.fromkeys(sides, "patch"))
    assert "wall_distance" not in read_case(write_case(box, rng))


# Files


def test_binary_and_compressed_files_say_the_same_as_ascii(
    boxes: Any, write_case: Any, rng: np.random.Generator
) -> None:
    seed = int(rng.integers(2**32))
    move = shaken(np.random.default_rng(seed))
    still = move(boxes().points)
    cases = [
        write_case(
            boxes(move=lambda points: still, binary=binary),
            np.random.default_rng(seed),
            name=f"binary {binary}",
        )
        for binary in (False, True)
    ]
    cases.append(cases[0].with_name("compressed"))
    shutil.copytree(cases[0], cases[2])
    for path in [*cases[2].glob("100/*"), *cases[2].glob("constant/polyMesh/*")]:
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    plain, binary, compressed = (read_case(case, kinematic_viscosity=1e-5) for case in cases)
    xr.testing.assert_equal(plain, binary)
    xr.testing.assert_equal(plain, compressed)
    apply_closure(cases[2], linear)
    assert {path.suffix for path in (cases[2] / "100").iterdir()} == {".gz"}
    b = read_field(cases[2] / "100" / "b.gz", "volSymmTensorField", (0, 0, 0), len(plain.cell))
    np.testing.assert_array_equal(b.values, components(linear(plain)))


def test_gradients_of_openfoam_are_read_transposed(
    boxes: Any, write_case: Any, rng: np.random.Generator
) -> None:
    box = boxes()
    case = write_case(box, rng)
    rows = rng.normal(size=(box.cells, 9))
    rows[:, 8] = -rows[:, 0] - rows[:, 4]
    listed = "\n".join(f"({' '.join(map(repr, row))})" for row in rows.tolist())
    header = box.header("volTensorField", "grad(U)").decode()
    (case / "100" / "grad(U)").write_text(
        f"{header}dimensions [0 0 -1 0 0 0 0];\ninternalField nonuniform List<tensor>\n"
        f"{box.cells}\n(\n{listed}\n);\nboundaryField {{}}\n"
    )
    G = read_case(case)["velocity_gradient"].values
    np.testing.assert_allclose(G[:, 0, 1], rows[:, 3], rtol=1e-12)  # ∂U/∂y is their yx
    np.testing.assert_allclose(G[:, 2, 0], rows[:, 2], rtol=1e-12)


def test_conditions_may_be_given_by_pattern_group_and_macro(
    boxes: Any, write_case: Any, rng: np.random.Generator
) -> None:
    box = boxes(patches={"west": "patch", "east": "patch"})
    case = write_case(box, rng)
    path = case / "100" / "U"
    text = path.read_text()
    plain = text[: text.index("boundaryField")]
    explicit = """boundaryField { west { type fixedValue; value uniform (1 2 3); }
        east { type zeroGradient; } south { type noSlip; } north { type noSlip; }
        bottom { type noSlip; } top { type noSlip; } }"""
    short = """Uin (1 2 3);
        boundaryField { ".*(th|m|p)" { type noSlip; } west { type inlet; value uniform $Uin; }
        "e.*" { type zeroGradient; } }"""
    found = []
    for boundary in (explicit, short):
        path.write_text(plain + boundary)
        found.append(read_case(case))
    xr.testing.assert_equal(*found)


def test_the_latest_time_is_read_unless_another_is_given(
    boxes: Any, write_case: Any, rng: np.random.Generator
) -> None:
    box = boxes()
    case = write_case(box, rng, time="0.5")
    shutil.copytree(case / "0.5", case / "1e-05")
    shutil.copytree(case / "0.5", case / "12")
    (case / "0.orig").mkdir()
    box.write_field(case / "12" / "k", "0 2 -2", np.full(box.cells, 7.0))
    assert read_case(case)["turbulent_kinetic_energy"].values.tolist() == [7.0] * box.cells
    assert read_case(case, time=0.5)["turbulent_kinetic_energy"].max() < 7
    assert read_case(case, time=1e-5).attrs["time"] == 1e-5


@pytest.mark.parametrize(
    "line", ["nu 2e-05;", "nu nu [0 2 -1 0 0 0 0] 2e-05;", "nu [0 2 -1 0 0 0 0] 2e-05;"]
)
def test_the_viscosity_is_that_of_the_case(
    line: str, boxes: Any, write_case: Any, rng: np.random.Generator
) -> None:
    case = write_case(boxes(), rng)
    assert "kinematic_viscosity" not in read_case(case)
    properties = boxes().header("dictionary", "transportProperties").decode()
    (case / "constant" / "transportProperties").write_text(f"{properties}{line}\n")
    np.testing.assert_array_equal(read_case(case)["kinematic_viscosity"], 2e-5)


# Closures


def test_arrays_give_what_the_model_gives_however_many_at_once(rng: np.random.Generator) -> None:
    G = rng.normal(size=(101, 3, 3))
    G -= np.trace(G, axis1=1, axis2=2)[:, None, None] * np.eye(3) / 3
    k, epsilon = rng.uniform(0.1, 2, (2, 101))
    sizes: list[int] = []

    def model(*state: np.ndarray) -> np.ndarray:
        sizes.append(len(state[1]))
        return quadratic_eddy_viscosity(*state)

    b = closure(G, k, epsilon, model=model, cells_at_once=40)
    np.testing.assert_array_equal(b, quadratic_eddy_viscosity(G, k, epsilon))
    assert sizes == [40, 40, 21]
    S = (G + G.transpose(0, 2, 1)) / 2
    np.testing.assert_allclose(
        closure(G, k, epsilon), -0.09 * S * (k / epsilon)[:, None, None], atol=1e-14
    )


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda b: b[:-1], r"shape \(2, 3, 3\), and b must have \(3, 3, 3\)"),
        (lambda b: b * np.array([1, np.nan, 1])[:, None, None], "not finite in 1 of 3 .* cell 11"),
        (lambda b: b + np.eye(3), "has a trace .* in 3 of 3 cells, first in cell 10"),
        (lambda b: b + np.cross(np.eye(3), [0, 0, 1]), "not symmetric in 3 of 3"),
    ],
)
def test_what_is_no_anisotropy_is_refused(
    spoil: Any, sentence: str, rng: np.random.Generator
) -> None:
    from sciml.coupling.openfoam.closure import check_anisotropy

    b = rng.normal(size=(3, 3, 3))
    b = b + b.transpose(0, 2, 1)
    b -= np.trace(b, axis1=1, axis2=2)[:, None, None] * np.eye(3) / 3
    np.testing.assert_allclose(check_anisotropy(b, 3), b, atol=1e-15)
    with pytest.raises(ValueError, match=sentence):
        check_anisotropy(spoil(b), 3, first=10)


def test_states_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="not positive in 1 of 2 cells, first in cell 1"):
        closure(np.zeros((2, 3, 3)), np.array([1.0, 0.0]), np.ones(2))
    with pytest.raises(ValueError, match="cells_at_once is 0"):
        closure(np.zeros((2, 3, 3)), np.ones(2), np.ones(2), cells_at_once=0)


def test_the_implicit_viscosity_leaves_the_least_remainder(rng: np.random.Generator) -> None:
    G, b = rng.normal(size=(2, 50, 3, 3))
    G, b = (a - np.trace(a, axis1=1, axis2=2)[:, None, None] * np.eye(3) / 3 for a in (G, b))
    b = (b + b.transpose(0, 2, 1)) / 2
    k = rng.uniform(0.1, 2, 50)
    S = (G + G.transpose(0, 2, 1)) / 2

    def remainder(nut: np.ndarray) -> np.ndarray:
        explicit = k[:, None, None] * b + nut[:, None, None] * S
        return (explicit**2).sum((1, 2))

    nut = implicit_eddy_viscosity(G, k, b)
    assert (nut >= 0).all() and (nut == 0).any() and (nut > 0).any()
    for other in (nut + 1e-3, np.maximum(nut - 1e-3, 0), np.zeros(50)):
        assert (remainder(nut) <= remainder(other)).all()
    assert implicit_eddy_viscosity(np.zeros((1, 3, 3)), k[:1], b[:1]) == 0


# Writing


def test_all_digits_come_back_and_patches_keep_their_kind(
    boxes: Any, write_case: Any, rng: np.random.Generator
) -> None:
    kinds = {"west": "cyclic", "east": "cyclic", "south": "symmetryPlane", "bottom": "patch"}
    for binary in (False, True):
        box = boxes(shape=(3, 3, 2), patches=kinds, binary=binary)
        walls = {"k": {"north": "fixedValue; value uniform 0"}}
        case = write_case(box, rng, name=f"{binary}", conditions=walls)
        flow = apply_closure(case, quadratic)
        b = foamlib.FoamFieldFile(case / "100" / "b")
        np.testing.assert_array_equal(b.internal_field, components(quadratic(read_case(case))))
        assert b.format == ("binary" if binary else "ascii")
        sides = {side: str(b.boundary_field[side]["type"]) for side in ("west", "south", "north")}
        assert sides == {"west": "cyclic", "south": "symmetryPlane", "north": "zeroGradient"}
        stress = foamlib.FoamFieldFile(case / "100" / "tauML")
        np.testing.assert_array_equal(
            stress.internal_field, components(flow["reynolds_stress"].values)
        )
        trace = np.asarray(stress.internal_field)[:, [0, 3, 5]].sum(1)
        np.testing.assert_allclose(trace, 2 * flow["turbulent_kinetic_energy"], rtol=1e-12)
        assert np.all(stress.boundary_field["north"]["value"] == 0)  # where k is zero
        top = read_mesh(case).owner[read_mesh(case).patch("top").faces]
        np.testing.assert_allclose(
            stress.boundary_field["top"]["value"],
            np.asarray(stress.internal_field)[top],
            rtol=1e-12,
        )


def test_three_six_or_nine_numbers_stay_a_list(
    boxes: Any, write_case: Any, rng: np.random.Generator
) -> None:
    for shape in ((3, 1, 1), (3, 2, 1), (3, 3, 1)):
        for binary in (False, True):
            box = boxes(shape=shape, binary=binary)
            case = write_case(box, rng, name=f"{shape} {binary}")
            flow = apply_closure(case, quadratic)
            path = case / "100" / "nutML"
            count = box.cells
            assert f"List<scalar>\n{count}\n(".encode() in path.read_bytes()
            found = read_field(path, "volScalarField", (0, 2, -1), count)
            np.testing.assert_array_equal(found.values, flow["implicit_eddy_viscosity"])
            on_wall = read_field(case / "100" / "nut", "volScalarField", (0, 2, -1), count)
            top = read_mesh(case).owner[read_mesh(case).patch("top").faces]
            np.testing.assert_array_equal(found.boundary["top"]["value"], on_wall.values[top])


def test_an_anisotropy_is_written_into_the_case_it_belongs_to(
    boxes: Any, write_case: Any, rng: np.random.Generator
) -> None:
    case = write_case(boxes(), rng)
    flow = read_case(case)
    written = write_anisotropy(flow, quadratic(flow))
    xr.testing.assert_equal(written, apply_closure(case, quadratic))
    with pytest.raises(ValueError, match=r"has 5 cells and its case 24; give all"):
        write_anisotropy(flow.isel(cell=slice(5)), quadratic(flow)[:5])
    with pytest.raises(ValueError, match="no attributes case and time"):
        write_anisotropy(flow.drop_attrs(), quadratic(flow))


# Refusals


def _compressible(case: Path) -> None:
    path = case / "100" / "p"
    path.write_text(path.read_text().replace("[0 2 -2 ", "[1 -1 -2 "))


def _other_mesh(case: Path) -> None:
    path = case / "100" / "k"
    numbers = path.read_text()
    path.write_text(re.sub(r"List<scalar>\n24\n\(\n[^\n]+\n", "List<scalar>\n23\n(\n", numbers))


def _broken(case: Path) -> None:
    (case / "100" / "U").write_text("FoamFile { format ascii; } internalField nonuniform (")


def _without_value(case: Path) -> None:
    path = case / "100" / "U"
    path.write_text(path.read_text().replace("west { type zeroGradient; }", "west { type odd; }"))


def _without_patch(case: Path) -> None:
    path = case / "100" / "U"
    path.write_text(path.read_text().replace("west { type zeroGradient; }", ""))


def _kind(kind: str) -> Callable[[Path], None]:
    def change(case: Path) -> None:
        path = case / "constant" / "polyMesh" / "boundary"
        path.write_text(path.read_text().replace("west { type wall;", f"west {{ type {kind};"))

    return change


def _drop(name: str) -> Callable[[Path], None]:
    return lambda case: (case / name).unlink()


def _two_phases(case: Path) -> None:
    shutil.copy(case / "100" / "k", case / "100" / "alpha.water")


def _decomposed(case: Path) -> None:
    (case / "100").rename(case / "processor0")


def _cut_mesh(case: Path) -> None:
    path = case / "constant" / "polyMesh" / "owner"
    path.write_text(path.read_text().replace("98\n(\n0\n", "97\n(\n"))


@pytest.mark.parametrize(
    ("spoil", "kind", "sentence"),
    [
        (shutil.rmtree, FileNotFoundError, r"there is no folder .*box; give that of an OpenFOAM"),
        (lambda case: shutil.rmtree(case / "100"), FileNotFoundError, "no time folder such as 0"),
        (_decomposed, FileNotFoundError, "no time folder .* reconstructPar -latestTime"),
        (_drop("100/U"), FileNotFoundError, r"100/U is not there, only k, nut, omega, p; it is"),
        (_drop("100/k"), FileNotFoundError, r"100/k is not there"),
        (_drop("100/omega"), FileNotFoundError, r"neither omega nor epsilon.*k-omega or k-eps"),
        (_drop("constant/polyMesh/faces"), FileNotFoundError, r"polyMesh/faces is not there.*bloc"),
        (_cut_mesh, ValueError, r"not of one mesh: 98 faces, 97 owners"),
        (_other_mesh, ValueError, r"/k does not fit the mesh of 24 cells: .* \(23,\), and \(24,\)"),
        (_compressible, ValueError, r"/p has the dimensions \[1 -1 -2 0.*\[0 2 -2 0.*incompressib"),
        (_two_phases, ValueError, r"phase fraction alpha\.water: only flow of one phase"),
        (_broken, ValueError, r"/U is no OpenFOAM file that can be read: line 1, column \d+"),
        (_without_value, ValueError, r"no value for the 6 faces of patch west .* condition odd"),
        (_without_patch, ValueError, r"no condition for patch west"),
        (_kind("cyclicAMI"), ValueError, r"patch west is of the kind cyclicAMI.*postProcess"),
    ],
)
def test_refusals_come_before_anything_is_written(
    spoil: Callable[[Path], None],
    kind: type[Exception],
    sentence: str,
    boxes: Any,
    write_case: Any,
    rng: np.random.Generator,
) -> None:
    case = write_case(boxes(), rng)
    spoil(case)
    before = sorted(case.parent.rglob("*"))
    with pytest.raises(kind, match=sentence):
        apply_closure(case, linear)
    assert sorted(case.parent.rglob("*")) == before


def test_a_closure_that_fails_writes_nothing(
    boxes: Any, write_case: Any, rng: np.random.Generator
) -> None:
    case = write_case(boxes(), rng)
    before = sorted(case.rglob("*"))
    with pytest.raises(ValueError, match="has a trace"):
        apply_closure(case, lambda flow: linear(flow) + np.eye(3))
    assert sorted(case.rglob("*")) == before


def test_a_rotated_period_is_refused(boxes: Any, write_case: Any, rng: np.random.Generator) -> None:
    def bent(points: np.ndarray) -> np.ndarray:
        x, y, z = points.T
        return np.stack([(1 + y) * np.sin(x), (1 + y) * np.cos(x), z], 1)

    box = boxes(patches={"west": "cyclic", "east": "cyclic"}, move=bent)
    with pytest.raises(ValueError, match="west is joined to east by a rotation"):
        read_case(write_case(box, rng))


def test_without_foamlib_a_sentence_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "foamlib", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'sciml-cfd\[openfoam\]'"):
        read_case(tmp_path)


# OpenFOAM itself


@pytest.fixture(scope="module", params=["ascii", "binary"])
def step(request: Any, openfoam: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tutorial of the backward-facing step after a few iterations of simpleFoam."""
    case = tmp_path_factory.mktemp(request.param) / "pitzDaily"
    shutil.copytree(openfoam.tutorials / "incompressible/simpleFoam/pitzDaily", case)
    with foamlib.FoamFile(case / "system" / "controlDict") as control:
        control["endTime"] = control["writeInterval"] = 8
        control["writeFormat"], control["writePrecision"] = request.param, 12
        del control["functions"]
    openfoam.run(case, "blockMesh")
    openfoam.run(case, "simpleFoam")
    return case


def test_gradients_are_those_of_openfoam(step: Path, openfoam: Any, tmp_path: Path) -> None:
    case = tmp_path / "copy"
    shutil.copytree(step, case)
    ours = read_case(case)
    functions = "(grad(U) grad(p) grad(k) writeCellCentres writeCellVolumes)"
    openfoam.run(case, "postProcess", "-latestTime", "-funcs", functions)
    theirs = read_case(case)
    names = ("velocity_gradient", "pressure_gradient", "turbulent_kinetic_energy_gradient")
    for name in names:
        assert error(ours[name].values, theirs[name].values) < 1e-10, name
    n = ours.sizes["cell"]
    for file, kind, power, name in (
        ("C", "volVectorField", 1, "position"),
        ("V", "volScalarField", 3, "cell_volume"),
    ):
        truth = read_field(case / "8" / file, kind, (0, power, 0), n).values
        assert error(ours[name].values, truth) < 1e-10
    assert ours.attrs["turbulence_model"] == "kEpsilon"
    np.testing.assert_array_equal(ours["kinematic_viscosity"], 1e-5)


def test_openfoam_reads_what_was_written(step: Path, openfoam: Any) -> None:
    flow = apply_closure(step, linear)
    b = read_field(step / "8" / "b", "volSymmTensorField", (0, 0, 0), flow.sizes["cell"])
    S = flow["velocity_gradient"].values
    S = (S + S.transpose(0, 2, 1)) / 2
    ratio = (flow["turbulent_kinetic_energy"] / flow["dissipation_rate"]).values
    np.testing.assert_allclose(b.values, components(-0.09 * ratio[:, None, None] * S), atol=1e-13)
    openfoam.run(
        step, "foamDictionary", "-entry", "writeFormat", "-set", "binary", "system/controlDict"
    )
    openfoam.run(
        step, "postProcess", "-latestTime",
        "-funcs", "(components(b) components(tauML) mag(nutML))",
    )  # fmt: skip
    stress = components(flow["reynolds_stress"].values)
    nut = flow["implicit_eddy_viscosity"].values
    written = {"mag(nutML)": ((0, 2, -1), nut)}
    for column, name in enumerate(("xx", "xy", "xz", "yy", "yz", "zz")):
        written[f"b{name}"] = ((0, 0, 0), b.values[:, column])
        written[f"tauML{name}"] = ((0, 2, -2), stress[:, column])
    for file, (power, ours) in written.items():
        read = read_field(step / "8" / file, "volScalarField", power, len(nut)).values
        np.testing.assert_allclose(read, ours, rtol=4e-16)  # OpenFOAM reads ASCII to the last bit
    expected = 0.09 * flow["turbulent_kinetic_energy"] ** 2 / flow["dissipation_rate"]
    np.testing.assert_allclose(nut, expected, rtol=1e-10)
    xr.testing.assert_equal(flow, write_anisotropy(read_case(step), flow["anisotropy"].values))


def test_gradients_on_a_skewed_box_of_all_kinds_of_patch_are_those_of_openfoam(
    boxes: Any, write_case: Any, openfoam: Any, rng: np.random.Generator
) -> None:
    within = shaken(rng)

    def move(points: np.ndarray) -> np.ndarray:
        moved = within(points)
        sides = (points[:, 0] < 1e-9) | (points[:, 0] > 1 - 1e-9)
        return np.where(sides[:, None], points, moved)  # opposite faces must fit

    kinds = {"west": "cyclic", "east": "cyclic", "south": "symmetryPlane", "bottom": "symmetry"}
    box = boxes(shape=(4, 4, 3), patches={**kinds, "top": "patch"}, move=move)
    case = write_case(box, rng, conditions={"U": {"north": "noSlip", "top": "slip"}})
    ours = read_case(case)
    tutorial = openfoam.tutorials / "incompressible/simpleFoam/pitzDaily/system"
    shutil.copytree(tutorial, case / "system")
    with foamlib.FoamFile(case / "system" / "controlDict") as control:
        control["writeFormat"] = "binary"
        del control["functions"]
    openfoam.run(case, "postProcess", "-latestTime", "-funcs", "(grad(U) grad(p) grad(k))")
    theirs = read_case(case)
    for name in ("velocity_gradient", "pressure_gradient", "turbulent_kinetic_energy_gradient"):
        assert error(ours[name].values, theirs[name].values) < 1e-12, name
