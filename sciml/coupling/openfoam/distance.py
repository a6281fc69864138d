"""The distance of cells to the walls of a mesh."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int
from scipy import sparse

from sciml.coupling.openfoam.mesh import Mesh

__all__ = ["wall_distance"]

Vectors = Float64[np.ndarray, "_ 3"]
Labels = Int[np.ndarray, " _"]
Lengths = Float64[np.ndarray, " _"]

_BETTER = 1 - 1e-9
"""By how much a distance has to shrink, so that rounding does not keep two walls in exchange."""


def wall_distance(mesh: Mesh) -> Lengths | None:
    """The distance, m, of the cell centres to the nearest point of a wall; None without walls.

    Each cell that has a wall face starts with it. Then cells are told the nearest face of their
    neighbours, across cyclic patches too, and try the faces around their own, until none finds a
    nearer one.
    """
    walls = _Walls.of(mesh)
    if walls is None:
        return None
    links = _Links.of(mesh)
    state = _State(mesh.cell_centres, walls)
    changed = state.improved(_Candidates(walls.owner, np.arange(len(walls.owner))))
    while len(changed):
        told = links.to_neighbours(changed, state)
        around = walls.around(changed, state)
        changed = np.union1d(state.improved(told), state.improved(around))
    return state.distance if np.isfinite(state.distance).all() else None


@dataclass
class _Candidates:
    """Cells, the wall faces they may be near to, and by how much cyclic patches shift those."""

    cells: Labels
    faces: Labels
    shift: Vectors | None = None


@dataclass(frozen=True)
class _Walls:
    """Wall faces as triangles (face, triangle, corner, 3), their cells, and which ones touch."""

    triangles: Float64[np.ndarray, "face triangle 3 3"]
    owner: Labels
    touching: sparse.csr_array

    @staticmethod
    def of(mesh: Mesh) -> _Walls | None:
        """The walls of a mesh in triangles about the centre of each face; None without walls."""
        chosen = [np.arange(p.faces.start, p.faces.stop) for p in mesh.patches if p.kind == "wall"]
        faces = np.concatenate([np.empty(0, dtype=np.int64), *chosen])
        if not len(faces):
            return None
        ends = np.append(mesh.starts[1:], len(mesh.vertices))
        sizes = (ends - mesh.starts)[faces]
        turn = np.minimum(np.arange(sizes.max()), sizes[:, None] - 1)  # the last one fills a row
        place = mesh.starts[faces][:, None] + turn
        centres = np.broadcast_to(mesh.face_centres[faces][:, None], (*place.shape, 3))
        corners = [mesh.points[which[place]] for which in (mesh.vertices, mesh.following)]
        rows = np.repeat(np.arange(len(faces)), place.shape[1])
        corner_of = sparse.csr_array(
            (np.ones(place.size), (rows, mesh.vertices[place].ravel())),
            shape=(len(faces), len(mesh.points)),
        )
        return _Walls(np.stack([*corners, centres], 2), mesh.owner[faces], corner_of @ corner_of.T)

    def around(self, cells: Labels, state: _State) -> _Candidates:
        """The faces around those that cells are nearest to."""
        near = self.touching[state.face[cells]].tocoo()
        told = cells[near.row]
        return _Candidates(told, near.col.astype(np.int64), state.shift[told])


@dataclass(frozen=True)
class _Links:
    """Which cell tells which: rows are those that tell. `shift` is by link."""

    starts: Labels
    to: Labels
    shift: Vectors

    @staticmethod
    def of(mesh: Mesh) -> _Links:
        """Through the faces between cells, and through periodic patches with their shift."""
        own, other = mesh.owner[mesh.inside], mesh.neighbour
        tells, told = [own, other], [other, own]
        shifts = [np.zeros((2 * len(other), 3))]
        for patch in mesh.patches:
            if patch.kind == "cyclic":
                opposite = mesh.patch(patch.neighbour).faces
                tells.append(mesh.owner[opposite])
                told.append(mesh.owner[patch.faces])
                shifts.append(mesh.face_centres[patch.faces] - mesh.face_centres[opposite])
        by = np.concatenate(tells)
        order = np.argsort(by, kind="stable")
        starts = np.searchsorted(by[order], np.arange(mesh.cells + 1))
        return _Links(starts, np.concatenate(told)[order], np.concatenate(shifts)[order])

    def to_neighbours(self, cells: Labels, state: _State) -> _Candidates:
        """What cells tell their neighbours."""
        counts = self.starts[cells + 1] - self.starts[cells]
        tells = np.repeat(cells, counts)
        first = np.repeat(self.starts[cells] - np.cumsum(counts) + counts, counts)
        link = first + np.arange(len(first))
        return _Candidates(self.to[link], state.face[tells], state.shift[tells] + self.shift[link])


class _State:
    """The nearest wall face found so far by each cell, how it is shifted, and how far it is."""

    def __init__(self, centres: Vectors, walls: _Walls) -> None:
        self.centres, self.walls = centres, walls
        self.face = np.zeros(len(centres), dtype=np.int64)
        self.shift = np.zeros((len(centres), 3))
        self.distance = np.full(len(centres), np.inf)

    def improved(self, given: _Candidates) -> Labels:
        """Take what is nearer; the cells that did."""
        shift = np.zeros((len(given.cells), 3)) if given.shift is None else given.shift
        points = self.centres[given.cells] - shift
        distance = _to_triangles(points, self.walls.triangles[given.faces])
        order = np.lexsort((distance, given.cells))
        cells, first = np.unique(given.cells[order], return_index=True)
        best = order[first]
        nearer = distance[best] < self.distance[cells] * _BETTER
        cells, best = cells[nearer], best[nearer]
        self.face[cells], self.shift[cells] = given.faces[best], shift[best]
        self.distance[cells] = distance[best]
        return cells


def _to_triangles(points: Vectors, faces: Float64[np.ndarray, "_ triangle 3 3"]) -> Lengths:
    """The distance of each point to the nearest of its triangles."""
    count = faces.shape[1]
    rows = _to_triangle(np.repeat(points, count, axis=0), faces.reshape(-1, 3, 3))
    return rows.reshape(-1, count).min(1)


def _to_triangle(points: Vectors, triangles: Float64[np.ndarray, "_ 3 3"]) -> Lengths:
    """To the plane where the foot of the perpendicular lies inside, else to the nearest edge."""
    a, b, c = triangles.transpose(1, 0, 2)
    normal = np.cross(b - a, c - a)
    length = np.linalg.norm(normal, axis=1)
    unit = normal / np.maximum(length, np.finfo(float).tiny)[:, None]
    inside = length > 0
    edge = np.full(len(points), np.inf)
    for start, end in ((a, b), (b, c), (c, a)):
        along, away = end - start, points - start
        inside &= (np.cross(along, away) * unit).sum(1) >= 0
        square = np.maximum((along**2).sum(1), np.finfo(float).tiny)
        share = np.clip((along * away).sum(1) / square, 0, 1)
        edge = np.minimum(edge, np.linalg.norm(away - share[:, None] * along, axis=1))
    return np.where(inside, np.abs(((points - a) * unit).sum(1)), edge)
