"""Before and after a learned step of chemistry: what it is told, and what makes it physical."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sciml.kernels.kinetics import Mechanism
from sciml.kernels.mixture.conservation import reactive_species, try_conserve_elements
from sciml.kernels.mixture.thermodynamics import enthalpy, try_temperature_of

__all__ = ["FLOOR", "boxcox", "close", "explicit", "unboxcox"]

FLOOR = 1e-30
"""Mass fractions below count as this one, so that transformed ones stay finite."""

Cells = Float[Tensor, " cell"]
Species = Float[Tensor, "cell species"]
Reactive = Float[Tensor, "cell reactive"]


def boxcox(values: Tensor, exponent: float, *, floor: float = FLOOR) -> Tensor:
    """z = (xᵏ - 1) / κ, the logarithm for κ = 0."""
    logarithm = values.clamp_min(floor).log()
    return torch.expm1(exponent * logarithm) / exponent if exponent else logarithm


def unboxcox(transformed: Tensor, exponent: float) -> Tensor:
    """x of z, never negative."""
    if not exponent:
        return transformed.exp()
    return (1 + exponent * transformed).clamp_min(0) ** (1 / exponent)


def explicit(
    mechanism: Mechanism,
    mass_fractions: Species,
    rates: Species,
    time_step: Cells,
    exponent: float,
) -> tuple[Reactive, Reactive]:
    """z, and its change in an explicit step that keeps mass fractions positive.

    See `sciml.kernels.mixture.explicit_step`; the rates are mass fractions in a second.
    """
    moving = torch.from_numpy(reactive_species(mechanism)).to(mass_fractions.device)
    Y, gain = mass_fractions[:, moving], (time_step[:, None] * rates)[:, moving]
    Y = Y.clamp_min(FLOOR)
    after = torch.where(gain > 0, Y + gain, Y * Y / (Y - gain.clamp_max(0)))
    z = boxcox(Y, exponent)
    return z, boxcox(after, exponent) - z


def close(
    mechanism: Mechanism,
    temperature: Cells,
    mass_fractions: Species,
    transformed: Reactive,
    exponent: float,
) -> tuple[Cells, Species, Bool[Tensor, " cell"]]:
    """T and Y after a step, with the elements and the enthalpy from before it, and what failed.

    See `sciml.kernels.mixture.close_step`.
    """
    moving = torch.from_numpy(reactive_species(mechanism)).to(mass_fractions.device)
    columns = moving.nonzero()[:, 0]
    guess = mass_fractions.index_copy(1, columns, unboxcox(transformed, exponent))
    finite = guess.isfinite().all(1)
    guess = torch.where(finite[:, None], guess, mass_fractions)
    Y, kept = try_conserve_elements(mechanism, guess, mass_fractions)
    h = enthalpy(mechanism, temperature, mass_fractions)
    T, found = try_temperature_of(mechanism, h, Y, guess=temperature)
    failed = ~(finite & kept & found)
    T = torch.where(failed, temperature, T)
    return T, torch.where(failed[:, None], mass_fractions, Y), failed
