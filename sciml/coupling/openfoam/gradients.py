"""Gradients in the cells of a mesh by the theorem of Gauss."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from sciml.coupling.openfoam.boundary import face_values
from sciml.coupling.openfoam.files import Field
from sciml.coupling.openfoam.mesh import Mesh

__all__ = ["gauss_gradient"]


def gauss_gradient(mesh: Mesh, field: Field) -> Float64[np.ndarray, "cell ... 3"]:
    r"""OpenFOAM's `Gauss linear` gradient of a scalar or a vector.

        G[c, i, j] = 1/V_c Σ_f ± u_i A_j

    over the faces of a cell, with area vectors A that point out of it, and values u on the faces
    that are interpolated linearly or given by the boundary conditions.

    Args:
        mesh: with its geometry.
        field: (cell,) or (cell, 3) values, and conditions on the boundary.

    Returns:
        Derivatives: the last index is that of the direction.

    Raises:
        ValueError: a patch whose values the files do not tell.
    """
    values = face_values(mesh, field)
    areas = mesh.face_areas.reshape(len(values), *[1] * (values.ndim - 1), 3)
    fluxes = values[..., None] * areas
    sums = mesh.incidence @ fluxes.reshape(len(values), -1)
    return (sums / mesh.cell_volumes[:, None]).reshape(mesh.cells, *fluxes.shape[1:])
