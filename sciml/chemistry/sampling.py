"""States beside those of known trajectories: perturbed and mixed, and always physical.

Mass fractions stay non-negative and sum to one, and a perturbed state keeps its elements.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int

from sciml.kernels.kinetics import Mechanism
from sciml.kernels.mixture.conservation import conserve_elements
from sciml.kernels.mixture.thermodynamics import enthalpy, temperature_of

__all__ = ["States", "along", "join", "mix", "perturb"]


class States(NamedTuple):
    """A batch of cells.

    Attributes:
        temperature: K.
        pressure: Pa.
        mass_fractions: of the species.
    """

    temperature: Float[np.ndarray, " cell"]
    pressure: Float[np.ndarray, " cell"]
    mass_fractions: Float[np.ndarray, "cell species"]


def join(*batches: States) -> States:
    """Several batches as one."""
    return States(*(np.concatenate(arrays) for arrays in zip(*batches, strict=True)))


def along(states: States, count: int) -> States:
    """States of a trajectory, evenly spread by how far the state moves.

    The length is that of the path in T and in Y to the power of a tenth (Box and Cox), each
    relative to what it spans, so that the growth of radicals before ignition, the ignition and the
    approach to equilibrium all have their share.
    """
    moving = np.column_stack([states.temperature, states.mass_fractions.clip(0) ** 0.1])
    span = np.ptp(moving, axis=0)
    moving = moving[:, span > 1e-12] / span[span > 1e-12]
    length = np.concatenate([[0.0], np.abs(np.diff(moving, axis=0)).sum(1).cumsum()])
    wanted = np.linspace(0, length[-1], count)
    chosen = np.searchsorted(length, wanted).clip(max=len(length) - 1)
    return States(*(array[chosen] for array in states))


def perturb(
    states: States,
    mechanism: Mechanism,
    rng: np.random.Generator,
    *,
    composition: float = 1.0,
    temperature: float = 0.03,
    pressure: float = 0.1,
) -> States:
    """States in the neighbourhood of others.

    Logarithms of T, p and of every mass fraction move by normal numbers; each state has a strength
    of its own, uniform in its logarithm over two decades up to one, so that there are near and far
    neighbours. The elements are then restored.

    Args:
        states: to begin from.
        mechanism: of the species.
        rng: random numbers.
        composition: standard deviation of ln Y at full strength.
        temperature: that of ln T.
        pressure: that of ln p.
    """
    T, p, Y = states
    strength = 10 ** rng.uniform(-2, 0, len(T))
    moved = Y * np.exp(composition * strength[:, None] * rng.standard_normal(Y.shape))
    kept = conserve_elements(mechanism, torch.from_numpy(moved), torch.from_numpy(Y))
    return States(
        T * np.exp(temperature * strength * rng.standard_normal(len(T))),
        p * np.exp(pressure * strength * rng.standard_normal(len(T))),
        kept.numpy(),
    )


def mix(
    states: States,
    mechanism: Mechanism,
    rng: np.random.Generator,
    *,
    partners: Int[np.ndarray, "mixed 2"],
) -> States:
    """Adiabatic mixtures of pairs of states, as between two parcels of a flow.

    Y = α Y₁ + (1 - α) Y₂ and h = α h₁ + (1 - α) h₂, with α uniform in [0, 1]; the pressure is mixed
    likewise, and the temperature follows from the enthalpy.

    Args:
        states: to choose from.
        mechanism: of the species.
        rng: random numbers.
        partners: the indices of each pair.
    """
    T, p, Y = (torch.from_numpy(np.ascontiguousarray(array)) for array in states)
    share = torch.from_numpy(rng.uniform(size=len(partners)))
    first, second = torch.from_numpy(partners).unbind(1)

    def mixed(values: torch.Tensor) -> torch.Tensor:
        alpha = share.reshape(-1, *[1] * (values.ndim - 1))
        return alpha * values[first] + (1 - alpha) * values[second]

    h, mass_fractions = mixed(enthalpy(mechanism, T, Y)), mixed(Y)
    found = temperature_of(mechanism, h, mass_fractions, guess=mixed(T))
    return States(found.numpy(), mixed(p).numpy(), mass_fractions.numpy())
