"""Velocity along the duct, and the pressure gradient that keeps its mean."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.sparse.linalg import splu

from sciml.rans.propagation.operators import Operators
from sciml.rans.propagation.transport import Faces, central_transport

__all__ = ["solve_streamwise"]

Cells = Float[np.ndarray, " cell"]


def solve_streamwise(
    operators: Operators,
    diffusivity: Faces,
    stress: Faces,
    velocity: Faces,
    bulk_velocity: float,
) -> tuple[Cells, float]:
    """U and the driving force G = -∂p/∂x with the given mean.

        V ∂U/∂y + W ∂U/∂z = G + ∇·(ν ∇U) - ∂τ_xy/∂y - ∂τ_xz/∂z

    The equation is linear in U and G, so that two right-hand sides give both.

    Args:
        operators: of the grid.
        diffusivity: molecular and implicit turbulent viscosity at the faces, m² s⁻¹.
        stress: τ_xy and τ_xz beyond that, at the faces, m² s⁻².
        velocity: V and W at the faces, m s⁻¹.
        bulk_velocity: mean of U, m s⁻¹.
    """
    section = operators.section
    factors = splu(central_transport(operators, diffusivity, velocity).tocsc())
    by_stress = sum(d @ tau for d, tau in zip(operators.divergence, stress, strict=True))
    driven = factors.solve(section.areas)
    stressed = factors.solve(-by_stress)
    force = (bulk_velocity - section.mean(stressed)) / section.mean(driven)
    return stressed + force * driven, float(force)
