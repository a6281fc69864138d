"""Laminar flames by Cantera: states to learn from, and speeds to compare with."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from sciml.chemistry.sampling import States

__all__ = ["FreeFlame", "free_flame"]


class FreeFlame(NamedTuple):
    """A freely propagating flame.

    Attributes:
        position: m, from the unburnt side.
        velocity: m/s; the first is the speed of the flame.
        states: along it.
    """

    position: Float[np.ndarray, " point"]
    velocity: Float[np.ndarray, " point"]
    states: States


def free_flame(
    mechanism: str | Path,
    *,
    fuel: str,
    oxidizer: str,
    equivalence_ratio: float,
    temperature: float = 300.0,
    pressure: float = 101325.0,
    width: float = 0.03,
    refine: tuple[float, float, float] = (3.0, 0.06, 0.12),
    transport: str = "mixture-averaged",
) -> FreeFlame:
    """Solve a freely propagating premixed flame.

    Args:
        mechanism: a file of Cantera with transport data.
        fuel: composition in moles.
        oxidizer: likewise.
        equivalence_ratio: of the unburnt mixture.
        temperature: of it, K.
        pressure: Pa.
        width: of the domain, m.
        refine: Cantera's criteria of refinement: ratio, slope, curve.
        transport: model.

    Raises:
        cantera.CanteraError: no solution was found.
    """
    import cantera

    gas = cantera.Solution(str(mechanism), transport_model=transport)
    gas.set_equivalence_ratio(equivalence_ratio, fuel, oxidizer)
    gas.TP = temperature, pressure
    flame = cantera.FreeFlame(gas, width=width)
    ratio, slope, curve = refine
    flame.set_refine_criteria(ratio=ratio, slope=slope, curve=curve)
    flame.solve(loglevel=0, auto=True)
    states = States(flame.T.copy(), np.full(len(flame.T), flame.P), np.ascontiguousarray(flame.Y.T))
    return FreeFlame(flame.grid.copy(), flame.velocity.copy(), states)
