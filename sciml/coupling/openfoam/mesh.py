"""The mesh of an OpenFOAM case: faces between cells, and their geometry."""

from __future__ import annotations

import gzip
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Int
from scipy import sparse

from sciml.coupling.openfoam.files import present, read_dictionary

__all__ = ["Mesh", "Patch", "read_mesh"]

Labels = Int[np.ndarray, " _"]


@dataclass(frozen=True, kw_only=True)
class Patch:
    """Neighbouring faces of the boundary.

    Attributes:
        kind: `patch`, `wall`, `empty`, `cyclic`, `symmetry` and so on.
        faces: which of the faces of the mesh.
        groups: under whose names a field may give its condition too.
        neighbour: the patch that a cyclic one is joined to.
    """

    name: str
    kind: str
    faces: slice
    groups: tuple[str, ...] = ()
    neighbour: str = ""

    @property
    def size(self) -> int:
        """Number of faces."""
        return int(self.faces.stop - self.faces.start)


@dataclass(frozen=True, kw_only=True)
class Mesh:
    """Cells with flat polygons between them, numbered as OpenFOAM does: those inside come first.

    Attributes:
        points: vertices, m.
        vertices: of all faces, one after the other.
        starts: where the vertices of each face begin.
        owner: cell that the normal of a face points out of.
        neighbour: cell that it points into; boundary faces have none.
        patches: what the boundary is made of.
    """

    points: Float64[np.ndarray, "point 3"]
    vertices: Labels
    starts: Labels
    owner: Labels
    neighbour: Labels
    patches: tuple[Patch, ...]

    @property
    def cells(self) -> int:
        """Number of cells."""
        return int(self.owner.max()) + 1

    @property
    def inside(self) -> slice:
        """The faces between two cells."""
        return slice(0, len(self.neighbour))

    def patch(self, name: str) -> Patch:
        """The patch of a name."""
        return next(patch for patch in self.patches if patch.name == name)

    @cached_property
    def following(self) -> Labels:
        """To each vertex of a face the next one around it."""
        position = np.arange(1, len(self.vertices) + 1)
        position[np.append(self.starts[1:], len(self.vertices)) - 1] = self.starts
        return self.vertices[position]

    @cached_property
    def _faces(self) -> tuple[Float64[np.ndarray, "face 3"], Float64[np.ndarray, "face 3"]]:
        """Centres, m, and area vectors, m², of faces cut into triangles about their middle."""
        sizes = np.diff(np.append(self.starts, len(self.vertices)))
        here, there = self.points[self.vertices], self.points[self.following]
        middle = np.repeat(self._sums(here) / sizes[:, None], sizes, axis=0)
        normal = np.cross(there - here, middle - here)
        weight = np.linalg.norm(normal, axis=1)[:, None]
        moment = self._sums(weight * (here + there + middle))
        return moment / (3 * self._sums(weight)), self._sums(normal) / 2

    def _sums(self, rows: Float64[np.ndarray, "_ n"]) -> Float64[np.ndarray, "face n"]:
        """Over the vertices of each face."""
        return np.add.reduceat(rows, self.starts, axis=0)

    @property
    def face_centres(self) -> Float64[np.ndarray, "face 3"]:
        """Centroids, m."""
        return self._faces[0]

    @property
    def face_areas(self) -> Float64[np.ndarray, "face 3"]:
        """Normals out of the owner with the length of the area, m²."""
        return self._faces[1]

    @cached_property
    def normals(self) -> Float64[np.ndarray, "face 3"]:
        """Of length one."""
        return self.face_areas / np.linalg.norm(self.face_areas, axis=1)[:, None]

    @cached_property
    def incidence(self) -> sparse.csr_array:
        """(cell, face): 1 if the normal points out of the cell, -1 if into it."""
        faces = np.arange(len(self.owner))
        cells = np.concatenate([self.owner, self.neighbour])
        signs = np.repeat([1.0, -1.0], [len(self.owner), len(self.neighbour)])
        columns = np.concatenate([faces, faces[self.inside]])
        shape = (self.cells, len(faces))
        return sparse.csr_array((signs, (cells, columns)), shape=shape)

    @cached_property
    def _cells(self) -> tuple[Float64[np.ndarray, "cell 3"], Float64[np.ndarray, " cell"]]:
        """Centres, m, and volumes, m³, of cells cut into pyramids about their middle."""
        touching = abs(self.incidence)
        count = np.asarray(touching.sum(1)).reshape(-1, 1)
        middle = touching @ self.face_centres / count
        volume, moment = np.zeros(self.cells), np.zeros((self.cells, 3))
        sides = ((self.owner, slice(None), 1.0), (self.neighbour, self.inside, -1.0))
        for cells, faces, sign in sides:
            centres, tips = self.face_centres[faces], middle[cells]
            pyramid = sign * (self.face_areas[faces] * (centres - tips)).sum(1) / 3
            volume += np.bincount(cells, pyramid, self.cells)
            for i, column in enumerate((3 * centres + tips).T / 4):
                moment[:, i] += np.bincount(cells, pyramid * column, self.cells)
        return moment / volume[:, None], volume

    @property
    def cell_centres(self) -> Float64[np.ndarray, "cell 3"]:
        """Centroids, m."""
        return self._cells[0]

    @property
    def cell_volumes(self) -> Float64[np.ndarray, " cell"]:
        """V, m³."""
        return self._cells[1]

    @cached_property
    def weights(self) -> Float64[np.ndarray, " face"]:
        """Share of the owner in the linear interpolation to faces inside and cyclic ones."""
        reach = self.face_centres - self.cell_centres[self.owner]
        own = np.abs((self.face_areas * reach).sum(1))
        reach = self.cell_centres[self.neighbour] - self.face_centres[self.inside]
        weights = np.ones_like(own)
        other = np.abs((self.face_areas[self.inside] * reach).sum(1))
        weights[self.inside] = other / (own[self.inside] + other)
        for patch in self.patches:
            if patch.kind == "cyclic":
                other = own[self.patch(patch.neighbour).faces]
                weights[patch.faces] = other / (own[patch.faces] + other)
        return weights


def read_mesh(case: Path) -> Mesh:
    """The mesh in `constant/polyMesh`, ASCII or binary.

    Raises:
        FileNotFoundError: a file of the mesh is missing.
        ValueError: its files do not fit together.
    """
    folder = case / "constant" / "polyMesh"
    vertices, starts = _faces(_mesh_file(folder, "faces"))
    mesh = Mesh(
        points=_numbers(_mesh_file(folder, "points"), 3),
        vertices=vertices,
        starts=starts,
        owner=_labels(_mesh_file(folder, "owner")),
        neighbour=_labels(_mesh_file(folder, "neighbour")),
        patches=_patches(_mesh_file(folder, "boundary")),
    )
    _check(mesh, folder)
    return mesh


def _mesh_file(folder: Path, name: str) -> Path:
    path = present(folder, name)
    if path is None:
        raise FileNotFoundError(
            f"{folder / name} is not there, and the mesh needs it; make the mesh first, for "
            "example with blockMesh"
        )
    return path


def _check(mesh: Mesh, folder: Path) -> None:
    boundary = len(mesh.owner) - len(mesh.neighbour)
    told = sum(patch.size for patch in mesh.patches)
    fits = len(mesh.starts) == len(mesh.owner) and boundary == told
    if not fits or len(mesh.points) <= mesh.vertices.max():
        raise ValueError(
            f"the files in {folder} are not of one mesh: {len(mesh.starts)} faces, "
            f"{len(mesh.owner)} owners, {len(mesh.neighbour)} neighbours, {told} faces in patches "
            f"and {len(mesh.points)} points; make the mesh anew"
        )


def _patches(path: Path) -> tuple[Patch, ...]:
    return tuple(_patch(name, entries) for name, entries in read_dictionary(path)[None])


def _patch(name: str, entries: Mapping[str, Any]) -> Patch:
    start, size = int(entries["startFace"]), int(entries["nFaces"])
    groups = entries.get("inGroups", ())
    listed = groups[-1] if isinstance(groups, tuple) and groups else groups
    return Patch(
        name=name,
        kind=str(entries["type"]),
        faces=slice(start, start + size),
        groups=tuple(str(group) for group in listed if isinstance(group, str)),
        neighbour=str(entries.get("neighbourPatch", "")),
    )


_HEADER = re.compile(rb"FoamFile\s*\{.*?\}", re.DOTALL)
_COUNT = re.compile(rb"\s*(?://[^\n]*\n\s*)*(\d+)\s*([({])")
_SIZE = re.compile(rb"(\d+)\s*\(")
_NO_BRACKETS = bytes.maketrans(b"()", b"  ")


class _Lists:
    """The lists of numbers in a file, one after the other.

    foamlib reads them too, but takes half a millisecond for each face in ASCII.
    """

    def __init__(self, path: Path) -> None:
        content = path.read_bytes()
        self.path = path
        self.content = gzip.decompress(content) if path.suffix == ".gz" else content
        header = _HEADER.search(self.content)
        told = header.group() if header else b""
        self.place = header.end() if header else 0
        self.binary = re.search(rb"format\s+binary", told) is not None
        self.compact = b"faceCompactList" in told
        self.label = np.dtype(np.int64 if b"label=64" in told else np.int32)
        self.scalar = np.dtype(np.float32 if b"scalar=32" in told else np.float64)

    def opened(self) -> int:
        """Go behind the next bracket; the length that stands before it."""
        found = _COUNT.match(self.content, self.place)
        if found is None:
            raise ValueError(
                f"{self.path} has no list of numbers behind its header; it is damaged: make the "
                "mesh anew"
            )
        self.place = found.end(2) - (found.group(2) == b"{")
        return int(found.group(1))

    def numbers(self, columns: int, dtype: np.dtype[Any]) -> np.ndarray:
        """A list of rows."""
        count = self.opened()
        if self.binary:
            found = np.frombuffer(self.content, dtype, count * columns, self.place)
            self.place += found.nbytes + 1
        elif self.content[self.place : self.place + 1] == b"{":
            end = self.content.index(b"}", self.place)
            found = np.full(count, int(self.content[self.place + 1 : end]), dtype)
        else:
            found = self.parsed(self.content[self.place :], dtype)
        if found.size != count * columns:
            raise ValueError(
                f"{self.path} holds {found.size} numbers and announces {count * columns}; it is "
                "damaged: make the mesh anew"
            )
        return found

    def parsed(self, text: bytes, dtype: np.dtype[Any]) -> np.ndarray:
        """What stands in a text before the comment that ends a file."""
        text = text.split(b"//", 1)[0].translate(_NO_BRACKETS)
        return np.fromstring(text.decode("ascii"), dtype, sep=" ")


def _numbers(path: Path, columns: int) -> Float64[np.ndarray, "_ columns"]:
    lists = _Lists(path)
    return lists.numbers(columns, lists.scalar).astype(np.float64).reshape(-1, columns)


def _labels(path: Path) -> Labels:
    lists = _Lists(path)
    return lists.numbers(1, lists.label).astype(np.int64)


def _faces(path: Path) -> tuple[Labels, Labels]:
    """The vertices of all faces, and where each face begins."""
    lists = _Lists(path)
    if lists.compact and lists.binary:
        starts = lists.numbers(1, lists.label).astype(np.int64)[:-1]
        return lists.numbers(1, lists.label).astype(np.int64), starts
    lists.opened()
    text = lists.content[lists.place :].split(b"//", 1)[0]
    sizes = np.array(_SIZE.findall(text), dtype=np.int64)
    vertices = lists.parsed(_SIZE.sub(b" ", text), np.dtype(np.int64))
    return vertices, np.cumsum(sizes) - sizes
