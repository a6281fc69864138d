"""Finite volumes on a cross-section: differences, means and the curl of a streamfunction.

Along one axis, values stand at centres (n) or at faces (n + 1). All matrices in the plane are
Kronecker products of those on the axes, with y running fastest. Faces across y, vertices and cells
have the shapes (nz, ny + 1), (nz + 1, ny + 1) and (nz, ny).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float
from scipy import sparse
from scipy.sparse import sparray

from sciml.rans.propagation.grid import CrossSection

__all__ = ["Axis", "Operators"]

Values = Float[np.ndarray, " _"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Axis:
    """Cells along one axis, and whether its ends are walls."""

    widths: Values
    walls: tuple[bool, bool]

    @property
    def size(self) -> int:
        """Number of cells."""
        return self.widths.size

    @cached_property
    def spacing(self) -> Values:
        """Between centres; at the ends, from the centre to the boundary."""
        padded = np.concatenate([[0.0], self.widths, [0.0]])
        return (padded[1:] + padded[:-1]) / 2

    @cached_property
    def difference(self) -> sparray:
        """Faces to cells: the upper value less the lower."""
        n = self.size
        return sparse.diags_array(
            [-np.ones(n), np.ones(n)], offsets=[0, 1], shape=(n, n + 1)
        ).tocsr()

    @cached_property
    def gradient(self) -> sparray:
        """Cells to faces: of a field that is zero at walls and even about planes of symmetry."""
        scale = 1 / self.spacing
        scale[[0, -1]] *= self.walls
        return (sparse.diags_array(-scale) @ self.difference.T).tocsr()

    @cached_property
    def face_mean(self) -> sparray:
        """Cells to faces: linear between centres; the cell's own value at the ends."""
        share = self.widths[:-1] / (self.widths[:-1] + self.widths[1:])
        own = np.ones(1)
        upper, lower = np.concatenate([own, share]), np.concatenate([1 - share, own])
        shape = (self.size + 1, self.size)
        return sparse.diags_array([upper, lower], offsets=[0, -1], shape=shape).tocsr()

    @cached_property
    def off_walls(self) -> Values:
        """Zero at faces that are walls, one elsewhere."""
        return 1.0 - np.concatenate([[self.walls[0]], np.zeros(self.size - 1), [self.walls[1]]])

    @cached_property
    def inside(self) -> Values:
        """Zero at both ends, one elsewhere."""
        return np.concatenate([[0.0], np.ones(self.size - 1), [0.0]])

    @cached_property
    def average(self) -> sparray:
        """Faces to cells: half of each."""
        return abs(self.difference) / 2


class Operators:
    """Matrices on a cross-section.

    Attributes:
        y, z: the axes.
        section: the grid.
    """

    def __init__(self, section: CrossSection) -> None:
        self.section = section
        self.y = Axis(widths=section.y_widths, walls=section.walls.y)
        self.z = Axis(widths=section.z_widths, walls=section.walls.z)

    def kron(self, along_z: sparray | None, along_y: sparray | None, *, faces: str = "") -> sparray:
        """A matrix on the plane; None is the identity, on faces of the axes named in `faces`."""
        if along_z is None:
            along_z = sparse.eye_array(self.z.size + ("z" in faces))
        if along_y is None:
            along_y = sparse.eye_array(self.y.size + ("y" in faces))
        return sparse.kron(along_z, along_y, format="csr")

    @cached_property
    def divergence(self) -> tuple[sparray, sparray]:
        """Fluxes through unit lengths of faces across y and z to the sum out of each cell, m."""
        along_z = self.kron(sparse.diags_array(self.z.widths), self.y.difference)
        along_y = self.kron(self.z.difference, sparse.diags_array(self.y.widths))
        return along_z, along_y

    @cached_property
    def gradient(self) -> tuple[sparray, sparray]:
        """Normal derivatives at faces of a field that is zero at the walls."""
        return self.kron(None, self.y.gradient), self.kron(self.z.gradient, None)

    @cached_property
    def face_mean(self) -> tuple[sparray, sparray]:
        """Linear to faces; the cell's own value at the boundary."""
        return self.kron(None, self.y.face_mean), self.kron(self.z.face_mean, None)

    @cached_property
    def face_value(self) -> tuple[sparray, sparray]:
        """Linear to faces; zero at walls."""
        y = sparse.diags_array(self.y.off_walls) @ self.y.face_mean
        z = sparse.diags_array(self.z.off_walls) @ self.z.face_mean
        return self.kron(None, y), self.kron(z, None)

    @cached_property
    def interior_value(self) -> tuple[sparray, sparray]:
        """Linear to faces; zero at the whole boundary."""
        y = sparse.diags_array(self.y.inside) @ self.y.face_mean
        z = sparse.diags_array(self.z.inside) @ self.z.face_mean
        return self.kron(None, y), self.kron(z, None)

    @cached_property
    def vertex_value(self) -> sparray:
        """Linear from cells to vertices; zero at the whole boundary."""
        y = sparse.diags_array(self.y.inside) @ self.y.face_mean
        z = sparse.diags_array(self.z.inside) @ self.z.face_mean
        return self.kron(z, y)

    def cell_gradient(self, faces: tuple[Values, Values]) -> Float[np.ndarray, "2 cell"]:
        """Derivatives in y and z at the cells of values known at faces (Gauss)."""
        return np.stack(
            [d @ f / self.section.areas for d, f in zip(self.divergence, faces, strict=True)]
        )

    @cached_property
    def curl(self) -> tuple[sparray, sparray]:
        """Streamfunction at interior vertices to the velocities V = ψ_z, W = -ψ_y at faces."""
        inside = self.kron(
            sparse.diags_array(self.z.inside), sparse.diags_array(self.y.inside)
        ).tocsc()
        inside = inside[:, inside.diagonal() > 0]
        z = sparse.diags_array(1 / self.z.widths) @ self.z.difference
        y = sparse.diags_array(1 / self.y.widths) @ self.y.difference
        along_y = self.kron(z, None, faces="y") @ inside
        along_z = -self.kron(None, y, faces="z") @ inside
        return along_y.tocsr(), along_z.tocsr()

    @cached_property
    def halves(self) -> tuple[sparray, sparray]:
        """Half the sum of the two cells at each inner face; zero at the boundary."""
        y = sparse.diags_array(self.y.inside) @ self.y.average.T
        z = sparse.diags_array(self.z.inside) @ self.z.average.T
        return self.kron(None, y), self.kron(z, None)

    def at_cells(self, faces: tuple[Values, Values]) -> tuple[Values, Values]:
        """Means of the two faces of each cell, across y and across z."""
        return self.kron(None, self.y.average) @ faces[0], self.kron(self.z.average, None) @ faces[
            1
        ]
