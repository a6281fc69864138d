"""Convection and diffusion of a scalar through a cross-section."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy import sparse

from sciml.rans.propagation.operators import Operators

__all__ = ["central_transport", "fitted_transport"]

Faces = tuple[Float[np.ndarray, " y_face"], Float[np.ndarray, " z_face"]]


def central_transport(
    operators: Operators, diffusivity: Faces, velocity: Faces | None
) -> sparse.sparray:
    """Net flux out of each cell, central in convection: it neither makes nor destroys φ²."""
    size = operators.section.size
    matrix = sparse.csr_array((size, size))
    for d, g, gamma in zip(operators.divergence, operators.gradient, diffusivity, strict=True):
        matrix = matrix - d @ sparse.diags_array(gamma) @ g
    if velocity is not None:
        for d, mean, speed in zip(operators.divergence, operators.halves, velocity, strict=True):
            matrix = matrix + d @ sparse.diags_array(speed) @ mean
    return matrix


def fitted_transport(
    operators: Operators, diffusivity: Faces, velocity: Faces | None
) -> sparse.sparray:
    """The same, fitted to the exponential between two centres, so that positive stays positive.

    Scharfetter and Gummel: diffusion grows by x coth x with x half the Peclet number of the cell.
    """
    if velocity is None:
        return central_transport(operators, diffusivity, None)
    spacings = (
        np.broadcast_to(operators.y.spacing, (operators.z.size, operators.y.size + 1)),
        np.broadcast_to(operators.z.spacing[:, None], (operators.z.size + 1, operators.y.size)),
    )
    fitted = []
    for gamma, speed, spacing in zip(diffusivity, velocity, spacings, strict=True):
        x = np.abs(speed) * spacing.ravel() / (2 * gamma)
        fitted.append(gamma * np.where(x > 1e-4, x / np.tanh(np.maximum(x, 1e-4)), 1.0))
    return central_transport(operators, (fitted[0], fitted[1]), velocity)
