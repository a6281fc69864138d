"""Flow in the cross-section, driven by the anisotropy of the turbulent stress.

With a streamfunction ψ at the vertices of a staggered grid, V = ∂ψ/∂z and W = -∂ψ/∂y are free of
divergence to rounding, and the pressure drops out of the weighted momentum equations: their weights
are the velocities of each δψ, along which no pressure gradient does work. What remains is the
balance of power

    ∫ 2 ν E : δE + ∫ (u·∇u)·δu = ∫ τ : δE

of convection, viscosity and stress, one symmetric positive matrix and a skew one.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from jaxtyping import Float
from scipy import sparse
from scipy.sparse.linalg import spsolve

from sciml.rans.propagation.operators import Operators
from sciml.rans.propagation.transport import Faces

__all__ = ["SecondaryFlow"]

Cells = Float[np.ndarray, " cell"]
Vertices = Float[np.ndarray, " vertex"]
Interior = Float[np.ndarray, " interior"]


class SecondaryFlow:
    """Equation of the streamfunction at the interior vertices."""

    def __init__(self, operators: Operators) -> None:
        self.operators = operators
        y, z = operators.y, operators.z
        self.vertex_areas = np.outer(z.spacing, y.spacing).ravel()
        stretch = operators.kron(None, sparse.diags_array(1 / y.widths) @ y.difference)
        self.face_stretch = stretch.tocsr()

        self.face_stretch_z = operators.kron(sparse.diags_array(1 / z.widths) @ z.difference, None)
        self.slip = (
            operators.kron(z.gradient, None, faces="y"),
            operators.kron(None, y.gradient, faces="z"),
        )
        self._staggered_cells(operators)

    def _staggered_cells(self, op: Operators) -> None:
        """Matrices of the momentum in the cells around the faces across y, and across z."""
        y, z = op.y, op.z
        self._fluxes = (
            op.kron(sparse.diags_array(z.widths), None, faces="y"),
            op.kron(None, sparse.diags_array(y.widths), faces="z"),
        )
        self._to_cells = op.kron(None, y.average), op.kron(z.average, None)
        self._to_vertices = (
            op.kron(z.average.T, None, faces="y"),
            op.kron(None, y.average.T, faces="z"),
        )
        self._from_cells = op.kron(None, -y.difference.T), op.kron(-z.difference.T, None)
        self._from_vertices = (
            op.kron(z.difference, None, faces="y"),
            op.kron(None, y.difference, faces="z"),
        )

    @property
    def size(self) -> int:
        """Number of unknowns."""
        return self.operators.curl[0].shape[1]

    @cached_property
    def stretch(self) -> sparse.sparray:
        """ψ to E_yy = -E_zz at the cells."""
        return (self.face_stretch @ self.operators.curl[0]).tocsr()

    @cached_property
    def shear(self) -> sparse.sparray:
        """ψ to 2 E_yz at the vertices."""
        v, w = self.operators.curl
        return (self.slip[0] @ v + self.slip[1] @ w).tocsr()

    def velocity(self, streamfunction: Interior) -> Faces:
        """V at faces across y, W at faces across z, m s⁻¹."""
        v, w = self.operators.curl
        return v @ streamfunction, w @ streamfunction

    def imbalance(
        self,
        streamfunction: Interior,
        viscosity: tuple[Cells, Vertices],
        stress: tuple[Cells, Cells, Vertices],
    ) -> Faces:
        """What pressure has to balance in the staggered cells of V and W.

        Args:
            streamfunction: ψ.
            viscosity: as in :meth:`solve`.
            stress: τ_yy, τ_zz at cells and τ_yz at vertices, beyond that of `viscosity`.
        """
        areas = self.operators.section.areas
        velocity = self.velocity(streamfunction)
        stretch = self.stretch @ streamfunction
        shear = self.vertex_areas * (viscosity[1] * (self.shear @ streamfunction) - stress[2])
        normal_y = areas * (2 * viscosity[0] * stretch - stress[0])
        normal_z = areas * (-2 * viscosity[0] * stretch - stress[1])
        along_v, along_w = self._momentum(velocity)
        return (
            along_v @ velocity[0] + self.face_stretch.T @ normal_y + self.slip[0].T @ shear,
            along_w @ velocity[1] + self.face_stretch_z.T @ normal_z + self.slip[1].T @ shear,
        )

    def solve(
        self,
        viscosity: tuple[Cells, Vertices],
        stress: tuple[Cells, Vertices],
        velocity: Faces,
    ) -> Interior:
        """The streamfunction that balances a stress.

        Args:
            viscosity: ν of the implicit part at cells and at vertices, m² s⁻¹.
            stress: τ_yy - τ_zz at cells, τ_yz at vertices, beyond that of `viscosity`, m² s⁻².
            velocity: V and W that carry momentum.
        """
        areas = self.operators.section.areas, self.vertex_areas
        load = self.stretch.T @ (areas[0] * stress[0]) + self.shear.T @ (areas[1] * stress[1])
        if not load.any():
            return np.zeros(self.size)
        matrix = self._viscous(viscosity) + self.convection(velocity)
        return spsolve(matrix.tocsc(), load)

    def _viscous(self, viscosity: tuple[Cells, Vertices]) -> sparse.sparray:
        normal = sparse.diags_array(4 * viscosity[0] * self.operators.section.areas)
        shear = sparse.diags_array(viscosity[1] * self.vertex_areas)
        return self.stretch.T @ normal @ self.stretch + self.shear.T @ shear @ self.shear

    def convection(self, velocity: Faces) -> sparse.sparray:
        """ψ to the power of convection along each δψ; skew, so that none is made or lost."""
        v, w = self.operators.curl
        along_v, along_w = self._momentum(velocity)
        return v.T @ along_v @ v + w.T @ along_w @ w

    def _momentum(self, velocity: Faces) -> tuple[sparse.sparray, sparse.sparray]:
        """Net flux of V and of W out of their staggered cells, per V and W at faces."""
        flux = [d @ v for d, v in zip(self._fluxes, velocity, strict=True)]
        along = [m @ f for m, f in zip(self._to_cells, flux, strict=True)]
        across = [m @ f for m, f in zip(self._to_vertices, flux, strict=True)]
        v, w = (
            self._from_cells[one] @ sparse.diags_array(along[one]) @ self._to_cells[one]
            + self._from_vertices[one]
            @ sparse.diags_array(across[1 - one])
            @ self._to_vertices[one]
            for one in (0, 1)
        )
        return v, w
