"""A closure on the cells of a solver: the anisotropy, and what of it acts as a viscosity."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float, Float64

from sciml.rans import check_states, linear_eddy_viscosity

__all__ = ["CellClosure", "Closure", "check_anisotropy", "closure", "implicit_eddy_viscosity"]

Matrices = Float64[np.ndarray, "cell 3 3"]
Cells = Float64[np.ndarray, " cell"]
Given = Float[np.ndarray, "..."]

CellClosure = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""(G, k, ε) -> b, such as those of `sciml.rans`."""

Closure = Callable[[xr.Dataset], np.ndarray]
"""The mean flow as a data set -> b, (cell, 3, 3)."""

_TOLERANCE = 1e-5


def closure(
    grad_u: Given,
    k: Given,
    eps: Given,
    *,
    model: CellClosure = linear_eddy_viscosity,
    cells_at_once: int = 65536,
) -> Matrices:
    r"""The anisotropy in the cells of a solver: what it calls within its iterations.

    Args:
        grad_u: G, (cell, 3, 3), `grad_u[:, i, j]` = ∂Uᵢ/∂xⱼ, 1/s: the transpose of OpenFOAM's
            `fvc::grad(U)`.
        k: turbulent kinetic energy, (cell,), m²/s².
        eps: ε, (cell,), m²/s³.
        model: gives b of G, k and ε; the linear closure if none is given. A trained one is
            `lambda G, k, eps: network.close(G, k, eps).anisotropy`.
        cells_at_once: how many cells the model is given in one call, which bounds its memory.

    Returns:
        b = ⟨uᵢuⱼ⟩/(2k) - δᵢⱼ/3, (cell, 3, 3), float64.

    Raises:
        ValueError: no states of incompressible flow, see :func:`sciml.rans.check_states`; a
            number of cells at once below one; or a model whose result is no anisotropy.

    >>> shear = np.zeros((1, 3, 3))
    >>> shear[0, 0, 1] = 10 / 3
    >>> float(closure(shear, np.ones(1), np.ones(1))[0, 0, 1].round(12))
    -0.15
    """
    if cells_at_once < 1:
        raise ValueError(f"cells_at_once is {cells_at_once}, and must be at least 1")
    states = check_states(grad_u, k, eps)
    found = np.empty_like(states[0])
    for start in range(0, len(found), cells_at_once):
        part = slice(start, start + cells_at_once)
        b = model(*(array[part] for array in states))
        found[part] = check_anisotropy(b, len(found[part]), first=start)
    return found


def implicit_eddy_viscosity(
    velocity_gradient: Matrices, turbulent_kinetic_energy: Cells, anisotropy: Matrices
) -> Cells:
    r"""The eddy viscosity that fits an anisotropy best, and is not negative.

    2 k b = -2 ν_t S + 2 k b⊥ with the least |b⊥|² for

        ν_t = max(0, -k (b:S) / (S:S))

    where S is the strain rate without its trace; zero where nothing is strained.

    Args:
        velocity_gradient: G, `G[:, i, j]` = ∂Uᵢ/∂xⱼ, 1/s.
        turbulent_kinetic_energy: k, m²/s².
        anisotropy: b.

    Returns:
        ν_t, m²/s: what a momentum equation can take implicitly, so that it stays well conditioned.

    J.-L. Wu, H. Xiao, R. Sun, Q. Wang, Reynolds-averaged Navier-Stokes equations with explicit
    data-driven Reynolds stress closure can be ill-conditioned, J. Fluid Mech. 869 (2019) 553-586,
    doi:10.1017/jfm.2019.205
    """
    S = (velocity_gradient + velocity_gradient.transpose(0, 2, 1)) / 2
    S = S - np.trace(S, axis1=1, axis2=2)[:, None, None] * np.eye(3) / 3
    square, product = (S * S).sum((1, 2)), (anisotropy * S).sum((1, 2))
    ratio = np.divide(product, square, out=np.zeros_like(square), where=square > 0)
    return np.maximum(-turbulent_kinetic_energy * ratio, 0.0)


def check_anisotropy(b: np.ndarray, cells: int, *, first: int = 0) -> Matrices:
    """What a closure returned, in float64, symmetric.

    Args:
        b: its result.
        cells: how many cells it was given.
        first: the number of the first of them, to name a cell by.

    Raises:
        ValueError: another shape, numbers that are not finite, a trace, or no symmetry.
    """
    found = np.asarray(b, dtype=np.float64)
    if found.shape != (cells, 3, 3):
        raise ValueError(
            f"the closure returned the shape {found.shape}, and b must have {(cells, 3, 3)}"
        )
    transposed = found.transpose(0, 2, 1)
    trace = np.abs(np.trace(found, axis1=1, axis2=2))
    _refuse(~np.isfinite(found).all((1, 2)), "is not finite", first)
    _refuse(trace > _TOLERANCE, f"has a trace above {_TOLERANCE:g}", first)
    _refuse(np.abs(found - transposed).max((1, 2)) > _TOLERANCE, "is not symmetric", first)
    return (found + transposed) / 2


def _refuse(bad: Any, fault: str, first: int) -> None:
    if bad.any():
        raise ValueError(
            f"the anisotropy {fault} in {int(bad.sum())} of {len(bad)} cells, first in cell "
            f"{first + int(bad.argmax())}; mend the closure, or leave its model to such cells"
        )
