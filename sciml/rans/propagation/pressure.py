"""The pressure in a cross-section, from what the momentum equations leave over."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy import sparse
from scipy.sparse.linalg import spsolve

from sciml.rans.propagation.operators import Operators
from sciml.rans.propagation.transport import Faces

__all__ = ["pressure_of"]


def pressure_of(operators: Operators, imbalance: Faces) -> Float[np.ndarray, " cell"]:
    """p of zero mean whose differences across the faces carry the imbalance of V and W.

    Args:
        operators: of the grid.
        imbalance: of momentum in the staggered cells of V and W, m³ s⁻² per length, outwards.

    Returns:
        p over the density, m² s⁻², with 2/3 k in it.
    """
    if operators.section.size < 2:
        return np.zeros(operators.section.size)
    y, z = operators.y, operators.z
    inside_y, inside_z = sparse.diags_array(y.inside), sparse.diags_array(z.inside)
    across_y = operators.kron(sparse.diags_array(z.widths), -inside_y @ y.difference.T)
    across_z = operators.kron(-inside_z @ z.difference.T, sparse.diags_array(y.widths))
    weights = 1 / np.outer(z.widths, y.spacing).ravel(), 1 / np.outer(z.spacing, y.widths).ravel()
    size = operators.section.size
    matrix, load = sparse.csr_array((size, size)), np.zeros(size)
    for across, weight, force in zip((across_y, across_z), weights, imbalance, strict=True):
        matrix = matrix + across.T @ sparse.diags_array(weight) @ across
        load = load - across.T @ (weight * force)
    pressure = np.zeros(size)
    pressure[1:] = spsolve(matrix.tocsc()[1:, 1:], load[1:])
    return pressure - operators.section.mean(pressure)
