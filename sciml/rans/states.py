"""What a closure is given, checked before any work."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float64
from numpy.typing import ArrayLike

__all__ = ["check_states"]

DIVERGENCE = 0.05
"""Largest |tr G| k/ε over max(1, |G| k/ε): discretised gradients of good meshes stay below it."""

Checked = tuple[
    Float64[np.ndarray, "cell 3 3"], Float64[np.ndarray, " cell"], Float64[np.ndarray, " cell"]
]


def check_states(
    velocity_gradient: ArrayLike,
    turbulent_kinetic_energy: ArrayLike,
    dissipation_rate: ArrayLike,
    *,
    tolerance: float = DIVERGENCE,
) -> Checked:
    r"""The state of the mean flow in each cell, or a refusal that says which cell is wrong.

    An incompressible flow has tr G = 0. A discretised gradient misses this a little, and what it
    misses adds tr G k/ε to the diagonal of the normalised strain; so that is what is bounded:

        |tr G| k/ε ≤ tolerance · max(1, |G| k/ε)

    Args:
        velocity_gradient: G, (cell, 3, 3), `G[:, i, j]` = ∂Uᵢ/∂xⱼ, 1/s.
        turbulent_kinetic_energy: k, (cell,), m²/s².
        dissipation_rate: ε, (cell,), m²/s³.
        tolerance: of the trace, infinite for none.

    Returns:
        G, k and ε in float64.

    Raises:
        ValueError: a wrong shape, NaN or infinity, k ≤ 0, ε ≤ 0, or a gradient with a trace; with
            the number of such cells and the first of them.

    >>> check_states(np.zeros((2, 3, 3)), [1.0, 0.0], [1.0, 1.0])
    Traceback (most recent call last):
    ...
    ValueError: turbulent_kinetic_energy is not positive in 1 of 2 cells, first in cell 1 (0); ...
    """
    G, k, epsilon = (
        np.asarray(array, dtype=np.float64)
        for array in (velocity_gradient, turbulent_kinetic_energy, dissipation_rate)
    )
    _check_shapes(G, k, epsilon)
    scalars = {"turbulent_kinetic_energy": k, "dissipation_rate": epsilon}
    _refuse(~np.isfinite(G.sum((1, 2))), "velocity_gradient is not finite", G, "give numbers")
    for name, array in scalars.items():
        _refuse(~np.isfinite(array), f"{name} is not finite", array, "give numbers")
        _refuse(array <= 0, f"{name} is not positive", array, "leave such cells out")
    excess = divergence(G, k, epsilon)
    _refuse(
        excess > tolerance,
        f"velocity_gradient has a trace, over max(ε/k, |G|), above {tolerance:g}",
        excess,
        "an incompressible flow has none: check the gradient, or give a tolerance",
    )
    return G, k, epsilon


def check_fields(fields: Mapping[str, np.ndarray], cells: int) -> None:
    """Refuse further fields that do not fit the cells, are not finite or, if scalars, negative."""
    for name, field in fields.items():
        shape = (cells, 3) if name.endswith("gradient") else (cells,)
        if field.shape != shape:
            raise ValueError(f"{name} has the shape {field.shape}, and must have {shape}")
        finite = np.isfinite(field)
        wrong = ~finite if field.ndim == 1 else ~finite.all(1)
        _refuse(wrong, f"{name} is not finite", field, "give numbers")
        if field.ndim == 1:
            _refuse(field < 0, f"{name} is negative", field, "distances and viscosities never are")


def divergence(
    velocity_gradient: Float64[np.ndarray, "cell 3 3"],
    turbulent_kinetic_energy: Float64[np.ndarray, " cell"],
    dissipation_rate: Float64[np.ndarray, " cell"],
) -> Float64[np.ndarray, " cell"]:
    """|tr G| k/ε over max(1, |G| k/ε)."""
    trace = np.abs(np.trace(velocity_gradient, axis1=1, axis2=2))
    size = np.linalg.norm(velocity_gradient, axis=(1, 2))
    return trace / np.maximum(dissipation_rate / turbulent_kinetic_energy, size)


def _check_shapes(G: np.ndarray, k: np.ndarray, epsilon: np.ndarray) -> None:
    if G.ndim != 3 or G.shape[1:] != (3, 3):
        raise ValueError(f"velocity_gradient has the shape {G.shape}, and must have (cell, 3, 3)")
    for name, array in {"turbulent_kinetic_energy": k, "dissipation_rate": epsilon}.items():
        if array.shape != G.shape[:1]:
            raise ValueError(
                f"{name} has the shape {array.shape}, and must have {G.shape[:1]}, one number for "
                "each velocity gradient"
            )


def _refuse(bad: Bool[np.ndarray, " cell"], fault: str, values: np.ndarray, advice: str) -> None:
    """Raise if any cell is bad, with their number and the first."""
    if not bad.any():
        return
    first = int(bad.argmax())
    shown = f" ({values[first]:.6g})" if values.ndim == 1 else ""
    raise ValueError(
        f"{fault} in {int(bad.sum())} of {len(bad)} cells, first in cell {first}{shown}; {advice}"
    )
