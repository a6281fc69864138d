"""Mixtures of ideal gases: density, enthalpy, and the temperature of an enthalpy.

States are batches of cells; the equations are those of Cantera's `IdealGasPhase`.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sciml.kernels.kinetics import GAS_CONSTANT, Mechanism
from sciml.kernels.kinetics.reference import enthalpies, heat_capacities
from sciml.kernels.kinetics.tables import tables

__all__ = [
    "concentrations",
    "density",
    "element_fractions",
    "enthalpy",
    "heat_capacity",
    "mean_molecular_weight",
    "temperature_of",
    "try_temperature_of",
]

Cells = Float[Tensor, " cell"]
Species = Float[Tensor, "cell species"]


def mean_molecular_weight(mechanism: Mechanism, mass_fractions: Species) -> Cells:
    """W = 1 / Σ Y_k / W_k in kg/kmol."""
    return 1 / (mass_fractions / _weights(mechanism, mass_fractions)).sum(1)


def density(
    mechanism: Mechanism, temperature: Cells, pressure: Cells, mass_fractions: Species
) -> Cells:
    """ρ = p W / (R T) in kg/m³."""
    weight = mean_molecular_weight(mechanism, mass_fractions)
    return pressure * weight / (GAS_CONSTANT * temperature)


def concentrations(
    mechanism: Mechanism, temperature: Cells, pressure: Cells, mass_fractions: Species
) -> Species:
    """c_k = ρ Y_k / W_k in kmol/m³."""
    rho = density(mechanism, temperature, pressure, mass_fractions)
    return rho[:, None] * mass_fractions / _weights(mechanism, mass_fractions)


def enthalpy(mechanism: Mechanism, temperature: Cells, mass_fractions: Species) -> Cells:
    """h = Σ Y_k h_k / W_k in J/kg, formation included."""
    moles = mass_fractions / _weights(mechanism, mass_fractions)
    return GAS_CONSTANT * temperature * (moles * enthalpies(tables(mechanism), temperature)).sum(1)


def heat_capacity(mechanism: Mechanism, temperature: Cells, mass_fractions: Species) -> Cells:
    """cp = Σ Y_k cp_k / W_k in J/(kg K)."""
    moles = mass_fractions / _weights(mechanism, mass_fractions)
    return GAS_CONSTANT * (moles * heat_capacities(tables(mechanism), temperature)).sum(1)


def temperature_of(
    mechanism: Mechanism,
    enthalpies: Cells,
    mass_fractions: Species,
    *,
    guess: Cells | None = None,
    iterations: int = 30,
) -> Cells:
    """The temperature at which a mixture has a given enthalpy, by Newton's method.

    Gradients are those of the solution: dT = (dh - Σ h_k dY_k) / cp.

    Args:
        mechanism: of the species.
        enthalpies: h in J/kg.
        mass_fractions: Y.
        guess: K; none begins at 1000 K.
        iterations: at most; three or four do from a near guess.

    Raises:
        ValueError: an enthalpy that the mixture has at no temperature in reach.
    """
    T, found = try_temperature_of(
        mechanism, enthalpies, mass_fractions, guess=guess, iterations=iterations
    )
    if not bool(found.all()):
        worst = int((~found).nonzero()[0])
        raise ValueError(
            f"no temperature was found for the enthalpy of cell {worst}: Newton's method is at "
            f"{float(T[worst]):.6g} K; check the enthalpy and the mass fractions"
        )
    return T


def try_temperature_of(
    mechanism: Mechanism,
    enthalpies: Cells,
    mass_fractions: Species,
    *,
    guess: Cells | None = None,
    iterations: int = 30,
) -> tuple[Cells, Bool[Tensor, " cell"]]:
    """As `temperature_of`, and in which cells one was found, instead of an error."""
    with torch.no_grad():
        T = torch.full_like(enthalpies, 1000.0) if guess is None else guess.clone()
        step = torch.full_like(T, torch.inf)
        for _ in range(iterations):
            step = _newton(mechanism, enthalpies, mass_fractions, T)
            T = T + step.clamp(-0.5 * T, T)
            if bool((step.abs() <= 1e-10 * T).all()):
                break
    last = _newton(mechanism, enthalpies, mass_fractions, T)
    return T + last, step.abs() <= 1e-8 * T


def element_fractions(
    mechanism: Mechanism, mass_fractions: Species
) -> Float[Tensor, "cell element"]:
    """Moles of each element per mass: Σ a_ek Y_k / W_k in kmol/kg, which no reaction changes."""
    atoms = torch.as_tensor(mechanism.composition).to(mass_fractions)
    return (mass_fractions / _weights(mechanism, mass_fractions)) @ atoms.T


def _newton(mechanism: Mechanism, h: Cells, Y: Species, T: Cells) -> Cells:
    return (h - enthalpy(mechanism, T, Y)) / heat_capacity(mechanism, T, Y).detach()


def _weights(mechanism: Mechanism, like: Tensor) -> Float[Tensor, " species"]:
    return torch.as_tensor(mechanism.molecular_weights).to(like)
