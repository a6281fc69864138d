"""The turbulent stress as an eddy viscosity and what is beyond it.

Given the anisotropy b, the stress splits into a part that is solved implicitly and a remainder:

    ⟨uᵢuⱼ⟩ = -2 ν_t S + 2 k b⊥ + 2/3 k δ,    b⊥ = b + ν_t S / k

Wu, Xiao, Sun, Wang, J. Fluid Mech. 869 (2019) 553, doi:10.1017/jfm.2019.205: with a fixed stress in
place of the first part, small errors of the stress become large errors of the velocity.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from sciml.rans.propagation.operators import Operators
from sciml.rans.propagation.transport import Faces

__all__ = ["Remainder", "beyond_linear", "no_remainder", "remainder_of"]

Cells = Float[np.ndarray, " cell"]
Tensors = Float[np.ndarray, "cell 3 3"]


def beyond_linear(
    anisotropy: Tensors,
    velocity_gradient: Tensors,
    turbulent_kinetic_energy: Cells,
    eddy_viscosity: Cells,
) -> Tensors:
    """b⊥ = b + ν_t S / k: what an eddy viscosity leaves of an anisotropy.

    Which gradient goes in decides what comes out. Take that of the flow to which b belongs: with
    the stress and the gradient of a simulation, and any ν_t, its velocity is the solution.

    Args:
        anisotropy: b.
        velocity_gradient: ∂Uᵢ/∂xⱼ of the flow of b, s⁻¹.
        turbulent_kinetic_energy: k of b, m² s⁻².
        eddy_viscosity: ν_t of the implicit part, m² s⁻¹.

    >>> b = beyond_linear(np.zeros((1, 3, 3)), np.ones((1, 3, 3)), np.ones(1), np.full(1, 0.5))
    >>> float(b[0, 0, 1])
    0.5
    """
    strain = (velocity_gradient + velocity_gradient.transpose(0, 2, 1)) / 2
    k = np.maximum(turbulent_kinetic_energy, np.finfo(float).tiny)
    return anisotropy + (eddy_viscosity / k)[:, None, None] * strain


@dataclass(frozen=True, kw_only=True)
class Remainder:
    """2 k b⊥ where the momentum equations need it, m² s⁻².

    Attributes:
        streamwise: τ_xy at faces across y and τ_xz at faces across z.
        normal: τ_yy - τ_zz at cells.
        shear: τ_yz at vertices.
        tensor: all of it at the cells.
    """

    streamwise: Faces
    normal: Cells
    shear: Float[np.ndarray, " vertex"]
    tensor: Tensors


def remainder_of(operators: Operators, stress: Tensors, *, streamwise: bool = True) -> Remainder:
    """A stress beyond the linear one, taken to faces and vertices; zero on the boundary.

    Args:
        operators: of the grid.
        stress: 2 k b⊥ at the cells.
        streamwise: whether xy and xz count; without them it drives the secondary flow alone.
    """
    tensor = np.where(_CROSS_PLANE, stress, 0.0) if not streamwise else stress
    along_y, along_z = operators.interior_value
    return Remainder(
        streamwise=(along_y @ tensor[:, 0, 1], along_z @ tensor[:, 0, 2]),
        normal=tensor[:, 1, 1] - tensor[:, 2, 2],
        shear=operators.vertex_value @ tensor[:, 1, 2],
        tensor=tensor,
    )


def no_remainder(operators: Operators) -> Remainder:
    """Of a linear eddy-viscosity model."""
    return remainder_of(operators, np.zeros((operators.section.size, 3, 3)))


_CROSS_PLANE = np.array([[True, False, False], [False, True, True], [False, True, True]])
