"""OpenFOAM cases: small boxes written here, and tutorials that OpenFOAM itself has run."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SIDES = ("west", "east", "south", "north", "bottom", "top")
KINDS = {1: "scalar", 3: "vector"}


@dataclass(frozen=True, kw_only=True)
class Box:
    """A block of hexahedra whose points may be moved, with a patch on each side.

    `patches` gives the kind of a side, `wall` where it says nothing.
    """

    shape: tuple[int, int, int] = (4, 3, 2)
    patches: Mapping[str, str] = field(default_factory=dict)
    move: Callable[[np.ndarray], np.ndarray] = lambda points: points
    size: tuple[float, float, float] = (1.0, 1.0, 1.0)
    binary: bool = False

    @property
    def cells(self) -> int:
        return int(np.prod(self.shape))

    @property
    def points(self) -> np.ndarray:
        """x runs fastest."""
        axes = [np.linspace(0, s, n + 1) for s, n in zip(self.size, self.shape, strict=True)]
        z, y, x = np.meshgrid(*reversed(axes), indexing="ij")
        return self.move(np.stack([x, y, z], -1).reshape(-1, 3))

    def index(self, i: Any, j: Any, k: Any, more: int = 0) -> Any:
        """The number of a cell, or of a point with one more of them each way."""
        nx, ny, _ = (n + more for n in self.shape)
        return i + nx * (j + ny * k)

    def faces(self, axis: int, layer: int) -> tuple[np.ndarray, np.ndarray]:
        """Vertices of the faces across an axis, and their cells above it; k slowest."""
        others = [a for a in (2, 1, 0) if a != axis]
        slow, fast = np.meshgrid(*(np.arange(self.shape[a]) for a in others), indexing="ij")
        place = {axis: np.full(slow.size, layer), others[0]: slow.ravel(), others[1]: fast.ravel()}
        first, second = [(1, 2), (2, 0), (0, 1)][axis]
        corners = []
        for a, b in ((0, 0), (1, 0), (1, 1), (0, 1)):
            at = {**place, first: place[first] + a, second: place[second] + b}
            corners.append(self.index(at[0], at[1], at[2], 1))
        return np.stack(corners, 1), self.index(place[0], place[1], place[2])

    def write(self, folder: Path) -> Path:
        """The mesh, in `constant/polyMesh`."""
        mesh = folder / "constant" / "polyMesh"
        mesh.mkdir(parents=True)
        step = np.array([1, self.shape[0], self.shape[0] * self.shape[1]])
        inner = [
            (*self.faces(a, layer), step[a]) for a in range(3) for layer in range(1, self.shape[a])
        ]
        vertices = np.concatenate([v for v, _, _ in inner])
        above = np.concatenate([c for _, c, _ in inner])
        below = np.concatenate([c - s for _, c, s in inner])
        order = np.lexsort((above, below))
        faces, owner, entries = [vertices[order]], [below[order]], []
        for number, side in enumerate(SIDES):
            axis, upper = divmod(number, 2)
            corners, cells = self.faces(axis, self.shape[axis] * upper)
            faces.append(corners if upper else corners[:, ::-1])
            owner.append(cells - step[axis] * upper)
            start = sum(map(len, owner)) - len(cells)
            kind = self.patches.get(side, "wall")
            partner = SIDES[number + 1 - 2 * upper]
            joined = f" neighbourPatch {partner};" if kind == "cyclic" else ""
            entries.append(
                f"{side} {{ type {kind}; nFaces {len(cells)}; startFace {start};{joined} }}"
            )
        lists = {
            "points": ("vectorField", self.points),
            "owner": ("labelList", np.concatenate(owner).astype(np.int32)),
            "neighbour": ("labelList", above[order].astype(np.int32)),
        }
        for name, (kind, values) in lists.items():
            content = b"\n" + listed(values, self.binary)
            (mesh / name).write_bytes(self.header(kind, name) + content + b"\n")
        self.write_faces(mesh / "faces", np.concatenate(faces).astype(np.int32))
        text = f"{len(entries)}\n(\n" + "\n".join(entries) + "\n)\n"
        (mesh / "boundary").write_bytes(self.header("polyBoundaryMesh", "boundary") + text.encode())
        return folder

    def write_faces(self, path: Path, faces: np.ndarray) -> None:
        if self.binary:
            starts = np.arange(0, faces.size + 1, 4, dtype=np.int32)
            content = b"\n".join([listed(starts, True), listed(faces.ravel(), True)])
            path.write_bytes(self.header("faceCompactList", "faces") + b"\n" + content + b"\n")
            return
        rows = "\n".join(f"4({' '.join(map(str, row))})" for row in faces.tolist())
        path.write_bytes(
            self.header("faceList", "faces") + f"{len(faces)}\n(\n{rows}\n)\n".encode()
        )

    def header(self, kind: str, name: str) -> bytes:
        layout = 'format binary; arch "LSB;label=32;scalar=64"' if self.binary else "format ascii"
        start = f"FoamFile\n{{\n version 2.0; {layout}; class {kind}; object {name};\n}}\n"
        return (start + "// * * * * (comment) * * * * //\n").encode()

    def write_field(
        self,
        path: Path,
        dimensions: str,
        values: Any,
        conditions: Mapping[str, str] | None = None,
        kind: str | None = None,
    ) -> None:
        """A field; `zeroGradient` on sides without a condition of their own."""
        array = np.asarray(values, dtype=float)
        components = array.shape[1] if array.ndim == 2 else 1
        kind = kind or f"vol{KINDS[components].title()}Field"
        path.parent.mkdir(parents=True, exist_ok=True)
        entries = []
        for side in SIDES:
            own = self.patches.get(side, "wall")
            plain = own if own not in ("wall", "patch") else "zeroGradient"
            entries.append(f"{side} {{ type {(conditions or {}).get(side, plain)}; }}")
        path.write_bytes(
            self.header(kind, path.name)
            + f"dimensions [{dimensions} 0 0 0 0];\ninternalField nonuniform ".encode()
            + f"List<{KINDS[components]}>\n".encode()
            + listed(array, self.binary)
            + (";\nboundaryField\n{\n" + "\n".join(entries) + "\n}\n").encode()
        )


def listed(values: np.ndarray, binary: bool = False) -> bytes:
    """A list as OpenFOAM has it."""
    if binary:
        return f"{len(values)}\n(".encode() + values.tobytes() + b")"
    rows = values.tolist()
    lines = [f"({' '.join(map(repr, row))})" if values.ndim > 1 else repr(row) for row in rows]
    return "\n".join([str(len(values)), "(", *lines, ")"]).encode()


@pytest.fixture(scope="session")
def boxes() -> type[Box]:
    """The class of boxes."""
    return Box


@pytest.fixture
def write_case(tmp_path: Path) -> Callable[..., Path]:
    """Write a box with fields U, k, ω, p and ν_t, given or random, as a case."""

    def write(
        box: Box,
        rng: np.random.Generator,
        *,
        time: str = "100",
        name: str = "box",
        conditions: Mapping[str, Mapping[str, str]] | None = None,
        **given: np.ndarray,
    ) -> Path:
        folder = box.write(tmp_path / name)
        n = box.cells
        fields = {
            "U": ("0 1 -1", rng.normal(size=(n, 3))),
            "k": ("0 2 -2", rng.uniform(0.5, 2, n)),
            "omega": ("0 0 -1", rng.uniform(0.5, 2, n)),
            "p": ("0 2 -2", rng.normal(size=n)),
            "nut": ("0 2 -1", rng.uniform(0, 1, n)),
        }
        for key, (dimensions, values) in fields.items():
            box.write_field(
                folder / time / key,
                dimensions,
                given.get(key, values),
                (conditions or {}).get(key),
            )
        return folder

    return write


@dataclass(frozen=True)
class OpenFOAM:
    """OpenFOAM's programs, with its tutorials."""

    project: Path
    tutorials: Path

    def run(self, case: Path, *command: str) -> str:
        environment = {**os.environ, "WM_PROJECT_DIR": str(self.project), "PWD": str(case)}
        done = subprocess.run(
            command, cwd=case, env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout


@pytest.fixture(scope="session")
def openfoam() -> OpenFOAM:
    """OpenFOAM, or a skipped test."""
    if shutil.which("simpleFoam") is None:
        pytest.skip("OpenFOAM's programs are not here: apt-get install openfoam openfoam-examples")
    project = Path(os.environ.get("WM_PROJECT_DIR", "/usr/share/openfoam"))
    tutorials = Path(os.environ.get("FOAM_TUTORIALS", "/usr/share/doc/openfoam-examples/examples"))
    if not (tutorials / "incompressible/simpleFoam/pitzDaily").is_dir():
        pytest.skip("OpenFOAM's tutorials are not here: apt-get install openfoam-examples")
    return OpenFOAM(project, tutorials)
