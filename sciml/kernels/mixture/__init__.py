"""Mixtures of ideal gases: thermodynamics, elements, and the frame of a learned step.

A network that advances chemistry needs two things around it, and both cost as much as itself in
plain array operations: what an explicit step would do, and the temperature and the composition with
the enthalpy and the elements from before the step.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sciml.kernels.backend import Backend, choose
from sciml.kernels.kinetics import Mechanism, production_rates
from sciml.kernels.mixture import step
from sciml.kernels.mixture.conservation import conserve_elements, reactive_species
from sciml.kernels.mixture.thermodynamics import concentrations, density

__all__ = ["close_step", "conserve_elements", "explicit_step", "reactive_species"]

_PRECISIONS = {"cpu": (torch.float64,), "triton": ()}
"""There is no form for CUDA of its own: the definition runs there, on rates from Triton."""

Cells = Float[Tensor, " cell"]
Species = Float[Tensor, "cell species"]
Reactive = Float[Tensor, "cell reactive"]


def explicit_step(
    mechanism: Mechanism,
    temperature: Cells,
    pressure: Cells,
    mass_fractions: Species,
    time_step: Cells,
    *,
    exponent: float = 0.1,
    backend: Backend = "auto",
) -> tuple[Reactive, Reactive]:
    r"""Transformed mass fractions and what one explicit step would change of them.

    With z = (Yᵏ - 1) / κ (Box and Cox) and r = dt W ω / ρ, the step goes to Y + r where r > 0 and
    to Y² / (Y - r) elsewhere, which is positive (Patankar). Where a species grows or decays
    exponentially, this change is nearly that of the exact solution; at equilibrium it is zero.

    Args:
        mechanism: of the species.
        temperature: T in K.
        pressure: p in Pa.
        mass_fractions: Y of all species.
        time_step: dt in s.
        exponent: κ, 0 for the logarithm.
        backend: `reference` (torch, any device), `cpu` (numba, float64, without gradients), or
            `auto`.

    Returns:
        z and its change, of the reactive species alone.

    Raises:
        RuntimeError: a backend that cannot run here, saying what is missing.
    """
    form = choose(backend, mass_fractions, temperature, pressure, precisions=_PRECISIONS)
    c = concentrations(mechanism, temperature, pressure, mass_fractions)
    omega, _ = production_rates(mechanism, temperature, c)
    weights = torch.as_tensor(mechanism.molecular_weights).to(mass_fractions)
    rho = density(mechanism, temperature, pressure, mass_fractions)
    rates = omega * weights / rho[:, None]
    if form == "cpu":
        from sciml.kernels.mixture import cpu

        return cpu.explicit(mechanism, mass_fractions, rates, time_step, exponent)
    return step.explicit(mechanism, mass_fractions, rates, time_step, exponent)


def close_step(
    mechanism: Mechanism,
    temperature: Cells,
    mass_fractions: Species,
    transformed: Reactive,
    *,
    exponent: float = 0.1,
    backend: Backend = "auto",
) -> tuple[Cells, Species, Bool[Tensor, " cell"]]:
    r"""The state after an adiabatic step at constant pressure, from what a network says of it.

    The composition is the nearest to the network's with the elements from before the step (see
    :func:`conserve_elements`), the temperature the one with the enthalpy from before the step.

    Args:
        mechanism: of the species.
        temperature: T before the step, K.
        mass_fractions: Y before the step, of all species.
        transformed: z after it, of the reactive species.
        exponent: κ of the transform.
        backend: as in :func:`explicit_step`.

    Returns:
        T, Y, and the cells where no such state was found: they stay as they were.

    Raises:
        RuntimeError: a backend that cannot run here, saying what is missing.
    """
    form = choose(backend, mass_fractions, temperature, transformed, precisions=_PRECISIONS)
    if form == "cpu":
        from sciml.kernels.mixture import cpu

        return cpu.close(mechanism, temperature, mass_fractions, transformed, exponent)
    return step.close(mechanism, temperature, mass_fractions, transformed, exponent)
