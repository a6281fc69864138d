"""A mechanism as arrays, which all implementations read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int

from sciml.kernels.kinetics.mechanism import (
    Arrhenius,
    Chebyshev,
    Falloff,
    Mechanism,
    PressureDependent,
    Reaction,
)

__all__ = ["Grids", "Lists", "Tables", "tables"]

_NEVER = 1e300
"""1/T of a term of Troe's form that is left out by T = 0."""


@dataclass(frozen=True, kw_only=True)
class Lists:
    """For each reaction some species with a number each, one after another.

    Attributes:
        start: where those of a reaction begin; one more than there are reactions.
        species: indices.
        number: coefficients, orders or efficiencies.
    """

    start: Int[np.ndarray, " reaction_1"]
    species: Int[np.ndarray, " entry"]
    number: Float[np.ndarray, " entry"]

    def dense(self, species: int) -> Float[np.ndarray, "reaction species"]:
        """The numbers as a matrix."""
        found = np.zeros((len(self.start) - 1, species))
        rows = np.repeat(np.arange(len(found)), np.diff(self.start))
        found[rows, self.species] = self.number
        return found


@dataclass(frozen=True, kw_only=True)
class Grids:
    """Rates that depend on pressure (PLOG), terms one after another.

    Attributes:
        reaction: which reactions.
        start: where the pressures of each begin; one more than there are reactions.
        log_pressure: ln p.
        term: where the terms of a pressure begin; one more than there are pressures.
        factor: A of a term.
        exponent: b.
        temperature: θ, K.
    """

    reaction: Int[np.ndarray, " grid"]
    start: Int[np.ndarray, " grid_1"]
    log_pressure: Float[np.ndarray, " pressure"]
    term: Int[np.ndarray, " pressure_1"]
    factor: Float[np.ndarray, " term"]
    exponent: Float[np.ndarray, " term"]
    temperature: Float[np.ndarray, " term"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Tables:
    """The arrays.

    Attributes:
        low: NASA's coefficients up to `middle`.
        high: those above it.
        middle: K.
        reference_pressure: Pa.
        orders: of the forward rates.
        products: coefficients, those of irreversible reactions included.
        net: products less reactants.
        colliders: ε - ε0 of the species named.
        default: ε0, of all species.
        reversible: whether there is a backward rate.
        multiplied: whether [M] multiplies the rate.
        factor: A; k∞ in a falloff; 0 where k is of another form.
        exponent: b.
        temperature: θ, K.
        falloff: which reactions are falloffs; of them `low_factor`, `low_exponent` and
            `low_temperature` (k0), and `troe`: A, 1/T3, 1/T1 and T2, of which `terms` count (0 in
            Lindemann's form).
        grids: of pressure.
        chebyshev: reactions with their polynomials.
    """

    low: Float[np.ndarray, "species 7"]
    high: Float[np.ndarray, "species 7"]
    middle: Float[np.ndarray, " species"]
    reference_pressure: float
    orders: Lists
    products: Lists
    net: Lists
    colliders: Lists
    default: Float[np.ndarray, " reaction"]
    reversible: np.ndarray
    multiplied: np.ndarray
    factor: Float[np.ndarray, " reaction"]
    exponent: Float[np.ndarray, " reaction"]
    temperature: Float[np.ndarray, " reaction"]
    falloff: Int[np.ndarray, " falloff"]
    low_factor: Float[np.ndarray, " falloff"]
    low_exponent: Float[np.ndarray, " falloff"]
    low_temperature: Float[np.ndarray, " falloff"]
    troe: Float[np.ndarray, "falloff 4"]
    terms: Int[np.ndarray, " falloff"]
    grids: Grids
    chebyshev: tuple[tuple[int, Chebyshev], ...]


@lru_cache(maxsize=16)
def tables(mechanism: Mechanism) -> Tables:
    """The arrays of a mechanism."""
    reactions, place = mechanism.reactions, mechanism.names.index
    high = [_high(one) for one in reactions]
    falloffs = [(n, r.rate) for n, r in enumerate(reactions) if isinstance(r.rate, Falloff)]
    bodies = [one.third_body for one in reactions]

    def lists(of: Callable[[Reaction], Mapping[str, float]]) -> Lists:
        return _lists({place(k): v for k, v in of(one).items()} for one in reactions)

    return Tables(
        low=np.array([one.low for one in mechanism.species]),
        high=np.array([one.high for one in mechanism.species]),
        middle=np.array([one.middle for one in mechanism.species]),
        reference_pressure=mechanism.reference_pressure,
        orders=lists(lambda one: {**one.reactants, **one.orders}),
        products=lists(lambda one: one.products),
        net=lists(_net),
        colliders=lists(_named),
        default=np.array([0.0 if body is None else body.default for body in bodies]),
        reversible=np.array([one.reversible for one in reactions]),
        multiplied=np.array(
            [one.third_body is not None and not isinstance(one.rate, Falloff) for one in reactions]
        ),
        factor=np.array([one.factor for one in high]),
        exponent=np.array([one.exponent for one in high]),
        temperature=np.array([one.temperature for one in high]),
        falloff=np.array([n for n, _ in falloffs], dtype=np.int64),
        low_factor=np.array([rate.low.factor for _, rate in falloffs]),
        low_exponent=np.array([rate.low.exponent for _, rate in falloffs]),
        low_temperature=np.array([rate.low.temperature for _, rate in falloffs]),
        troe=np.array([_troe(rate) for _, rate in falloffs]).reshape(-1, 4),
        terms=np.array([len(rate.troe) for _, rate in falloffs], dtype=np.int64),
        grids=_grids(reactions),
        chebyshev=tuple(
            (n, one.rate) for n, one in enumerate(reactions) if isinstance(one.rate, Chebyshev)
        ),
    )


def _high(reaction: Reaction) -> Arrhenius:
    match reaction.rate:
        case Arrhenius():
            return reaction.rate
        case Falloff():
            return reaction.rate.high
        case _:
            return Arrhenius(0.0, 0.0, 0.0)


def _net(reaction: Reaction) -> dict[str, float]:
    net = dict(reaction.products)
    for name, number in reaction.reactants.items():
        net[name] = net.get(name, 0.0) - number
    return {name: number for name, number in net.items() if number}


def _named(reaction: Reaction) -> dict[str, float]:
    body = reaction.third_body
    if body is None:
        return {}
    return {name: value - body.default for name, value in body.efficiencies.items()}


def _troe(rate: Falloff) -> tuple[float, ...]:
    if not rate.troe:
        return (0.0, 0.0, 0.0, 0.0)
    a, t3, t1, *t2 = rate.troe
    return (a, *(1 / t if t else _NEVER for t in (t3, t1)), *(t2 or (0.0,)))


def _lists(rows: Iterable[Mapping[int, float]]) -> Lists:
    rows = list(rows)
    return Lists(
        start=_starts([len(row) for row in rows]),
        species=np.array([k for row in rows for k in row], dtype=np.int64),
        number=np.array([v for row in rows for v in row.values()], dtype=np.float64),
    )


def _grids(reactions: Sequence[Reaction]) -> Grids:
    some = [(n, r.rate) for n, r in enumerate(reactions) if isinstance(r.rate, PressureDependent)]
    at = [pair for _, rate in some for pair in rate.at]
    terms = [term for _, group in at for term in group]
    return Grids(
        reaction=np.array([n for n, _ in some], dtype=np.int64),
        start=_starts([len(rate.at) for _, rate in some]),
        log_pressure=np.log([pressure for pressure, _ in at]),
        term=_starts([len(group) for _, group in at]),
        factor=np.array([term.factor for term in terms]),
        exponent=np.array([term.exponent for term in terms]),
        temperature=np.array([term.temperature for term in terms]),
    )


def _starts(counts: Sequence[int]) -> Int[np.ndarray, " count_1"]:
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)
