"""A mechanism of an ideal gas: its species, their thermodynamics and its reactions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float

__all__ = [
    "GAS_CONSTANT",
    "Arrhenius",
    "Chebyshev",
    "Falloff",
    "Mechanism",
    "PressureDependent",
    "Rate",
    "Reaction",
    "Species",
    "ThirdBody",
]

GAS_CONSTANT = 8314.46261815324
"""J/(kmol K), exact since 2019."""


@dataclass(frozen=True, kw_only=True)
class Species:
    """A species with its polynomials of NASA's seven coefficients.

    With a1 to a7 of the range of temperature,

        cp/R = a1 + a2 T + a3 T² + a4 T³ + a5 T⁴,
        h/(R T) = a1 + a2 T/2 + a3 T²/3 + a4 T³/4 + a5 T⁴/5 + a6/T,
        s/R = a1 ln T + a2 T + a3 T²/2 + a4 T³/3 + a5 T⁴/4 + a7.

    Attributes:
        name: as in the mechanism.
        atoms: number of each element.
        molecular_weight: kg/kmol.
        low: coefficients up to `middle`.
        high: coefficients above it.
        middle: K.
        valid: range of temperature, K.
    """

    name: str
    atoms: Mapping[str, float]
    molecular_weight: float
    low: tuple[float, ...]
    high: tuple[float, ...]
    middle: float
    valid: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class ThirdBody:
    """A collider: [M] = Σ ε_k c_k.

    Attributes:
        efficiencies: ε of the species named.
        default: ε of all others; 0 where a reaction names its only collider.
    """

    efficiencies: Mapping[str, float] = field(default_factory=dict)
    default: float = 1.0


@dataclass(frozen=True)
class Arrhenius:
    """k = A Tᵇ exp(-θ / T).

    Attributes:
        factor: A, in kmol, m³ and s; negative where duplicates make up a fit.
        exponent: b.
        temperature: θ = E/R in K.
    """

    factor: float
    exponent: float
    temperature: float


@dataclass(frozen=True, kw_only=True)
class Falloff:
    """k = k∞ F Pr / (1 + Pr) with Pr = k0 [M] / k∞.

    F is 1 in Lindemann's form. In Troe's, with the coefficients (A, T3, T1, T2),

        Fc = (1 - A) exp(-T / T3) + A exp(-T / T1) + exp(-T2 / T),
        log F = log Fc / (1 + (f / (n - 0.14 f))²),
        f = log Pr - 0.4 - 0.67 log Fc,  n = 0.75 - 1.27 log Fc,

    logarithms to base ten (Gilbert, Luther, Troe 1983, doi:10.1002/bbpc.19830870218).

    Attributes:
        high: k∞.
        low: k0.
        troe: A, T3, T1, and T2 where there is a third term; none is Lindemann's form.
    """

    high: Arrhenius
    low: Arrhenius
    troe: tuple[float, ...] = ()


@dataclass(frozen=True)
class PressureDependent:
    """ln k linear in ln p between pressures, and constant outside them (PLOG).

    Attributes:
        at: pressures in Pa, increasing, with the terms whose sum is k there.
    """

    at: tuple[tuple[float, tuple[Arrhenius, ...]], ...]


@dataclass(frozen=True, kw_only=True)
class Chebyshev:
    """log k = Σ a_ij T_i(τ) T_j(π), base ten, with τ linear in 1/T and π in log p, in [-1, 1].

    Attributes:
        temperature: range, K.
        pressure: range, Pa.
        coefficients: a, by degree in temperature and in pressure.
    """

    temperature: tuple[float, float]
    pressure: tuple[float, float]
    coefficients: tuple[tuple[float, ...], ...]


Rate = Arrhenius | Falloff | PressureDependent | Chebyshev


@dataclass(frozen=True, kw_only=True)
class Reaction:
    """q = k (Π c_kᵅ - Π c_kᵝ / Kc), times [M] where a third body takes part unchanged.

    Attributes:
        equation: as written in the mechanism.
        reactants: stoichiometric coefficients.
        products: β, stoichiometric coefficients.
        orders: α of the species whose order is not their coefficient.
        reversible: whether the second term is there.
        rate: k.
        third_body: of a three-body reaction or a falloff; in a falloff it is in k alone.
    """

    equation: str
    reactants: Mapping[str, float]
    products: Mapping[str, float]
    orders: Mapping[str, float] = field(default_factory=dict)
    reversible: bool = True
    rate: Rate
    third_body: ThirdBody | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Mechanism:
    """Species and reactions of an ideal gas.

    Attributes:
        name: for messages.
        elements: names.
        atomic_weights: kg/kmol, of the elements.
        species: in the order of every array of mass fractions or concentrations.
        reactions: of them.
        reference_pressure: of the thermodynamic data, Pa.
    """

    name: str
    elements: tuple[str, ...]
    atomic_weights: tuple[float, ...]
    species: tuple[Species, ...]
    reactions: tuple[Reaction, ...]
    reference_pressure: float

    @cached_property
    def checksum(self) -> str:
        """SHA-256 of all that bears on a rate: the name and the equations' spelling do not."""
        told = asdict(replace(self, name=""))
        for reaction in told["reactions"]:
            del reaction["equation"]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of the species."""
        return tuple(one.name for one in self.species)

    @cached_property
    def molecular_weights(self) -> Float[np.ndarray, " species"]:
        """In kg/kmol."""
        return np.array([one.molecular_weight for one in self.species])

    @cached_property
    def composition(self) -> Float[np.ndarray, "element species"]:
        """Atoms of each element in each species."""
        return np.array(
            [[one.atoms.get(element, 0.0) for one in self.species] for element in self.elements]
        )

    @cached_property
    def stoichiometry(self) -> Float[np.ndarray, "reaction species"]:
        """Products less reactants."""
        net = np.zeros((len(self.reactions), len(self.species)))
        for row, reaction in zip(net, self.reactions, strict=True):
            for side, sign in ((reaction.reactants, -1.0), (reaction.products, 1.0)):
                for name, number in side.items():
                    row[self.names.index(name)] += sign * number
        return net
