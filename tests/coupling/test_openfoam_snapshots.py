"""Time folders of an OpenFOAM case come out as snapshots, and go through the comparison."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("foamlib", reason="foamlib is not installed")

from sciml.cli import main
from sciml.coupling.openfoam.mesh import read_mesh
from sciml.coupling.openfoam.snapshots import is_case, read_snapshots
from sciml.modes.pod import Pod, PodOptions
from sciml.modes.readers import ReadOptions

TIMES = [f"{0.25 * k:g}" for k in range(24)]


@pytest.fixture
def case(boxes: Any, tmp_path: Path) -> Path:
    """A wave through a box of cells, with velocity and pressure."""
    box = boxes(shape=(6, 5, 1), size=(2.0, 1.0, 0.1))
    folder = box.write(tmp_path / "wave")
    mesh = read_mesh(folder)
    x, y, _ = mesh.cell_centres.T
    sides = {patch.name: "zeroGradient" for patch in mesh.patches}
    for name in TIMES:
        turn = 2 * x - 3 * float(name)
        U = np.stack([np.cos(turn), np.sin(turn) * y, 0 * x], 1)
        box.write_field(folder / name / "U", "0 1 -1", U, sides)
        box.write_field(folder / name / "p", "0 2 -2", np.cos(turn) * y, sides)
    return folder


def test_fields_centres_and_volumes(case: Path) -> None:
    found = read_snapshots(case)
    assert is_case(case) and not is_case(case.parent)
    np.testing.assert_allclose(found["time"], np.array(TIMES, float))
    assert float(found["cell_volume"].sum()) == pytest.approx(0.2)
    assert set(found.coords) == {"time", "x", "y"}
    turn = 2 * found["x"] - 3 * found["time"]
    np.testing.assert_allclose(found["pressure"], (np.cos(turn) * found["y"]).T, atol=1e-9)
    assert found["velocity"].dims == ("time", "cell", "i")
    few = read_snapshots(case, ReadOptions(variables=("pressure",), start=1.0, every=2))
    assert list(few["time"].values[:2]) == [1.0, 1.5] and "velocity" not in few
    assert float(Pod(PodOptions(rank=2)).fit(few)["energy"].sum()) == pytest.approx(1.0)


def test_a_field_that_is_not_there_is_named(case: Path) -> None:
    with pytest.raises(ValueError, match="no scalar or vector field T; it has U, p"):
        read_snapshots(case, ReadOptions(variables=("temperature",)))
    (case / "2" / "U").unlink()
    with pytest.raises(ValueError, match="has no field U, which other times have"):
        read_snapshots(case, ReadOptions(start=2.0, stop=2.0))


def test_the_command_takes_a_case(case: Path, monkeypatch: Any) -> None:
    seen = []

    def refuse(ds: Any, options: Any, **more: Any) -> None:
        seen.append((ds, options))
        raise ValueError("enough")

    monkeypatch.setattr("sciml.modes.compare.compare", refuse)
    assert main(["modes", str(case), "--variable", "velocity", "--rank", "2"]) == 2
    ((ds, options),) = seen
    assert list(ds.data_vars) == ["velocity", "cell_volume"] and options.rank == 2
