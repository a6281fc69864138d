"""Rates of production for one CPU core, compiled by numba, with tangents and adjoints.

Cells go through the reactions in blocks, species by species, so that every inner loop runs over
neighbouring cells and becomes vector instructions. Numbers are float64 throughout. Tangents and
adjoints come from the derivatives of each reaction: of its rate constant by the temperature, by [M]
and by the total concentration, and of its rate of progress by the concentrations that take part.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sciml.kernels.kinetics.constants import (
    arrhenius,
    arrhenius_slope,
    between_pressures,
    broadening,
    centre,
    chebyshev,
    falloff_slopes,
    lindemann,
)
from sciml.kernels.kinetics.mechanism import GAS_CONSTANT, Mechanism
from sciml.kernels.kinetics.tables import Lists, Tables, tables
from sciml.kernels.kinetics.vector import compiled, exp, log

__all__ = ["adjoints", "tangents", "values"]

BLOCK = 128
"""Cells that go through the reactions together."""

_FEW = 3
_TINY = 1e-300
_VALUES, _TANGENTS, _ADJOINTS = range(3)
_ARRHENIUS, _FALLOFF, _PRESSURES, _CHEBYSHEV = range(4)

Temperature = Float[Tensor, " cell"]
Species = Float[Tensor, "cell species"]


def values(
    mechanism: Mechanism, temperature: Temperature, concentrations: Species
) -> tuple[Species, Temperature]:
    """Net rates of production and the heat that they release."""
    heat, rates = _run(_VALUES, mechanism, temperature, concentrations, temperature, concentrations)
    return rates, heat


def tangents(
    mechanism: Mechanism,
    temperature: Temperature,
    concentrations: Species,
    by_temperature: Temperature,
    by_concentrations: Species,
) -> tuple[Species, Temperature]:
    """Changes of the rates and of the heat with those of temperature and concentrations."""
    heat, rates = _run(
        _TANGENTS, mechanism, temperature, concentrations, by_temperature, by_concentrations
    )
    return rates, heat


def adjoints(
    mechanism: Mechanism,
    temperature: Temperature,
    concentrations: Species,
    of_rates: Species,
    of_heat: Temperature,
) -> tuple[Temperature, Species]:
    """Gradients by temperature and concentrations from those by the rates and the heat."""
    return _run(_ADJOINTS, mechanism, temperature, concentrations, of_heat, of_rates)


def _run(
    mode: int,
    mechanism: Mechanism,
    temperature: Temperature,
    concentrations: Species,
    seed: Temperature,
    seeds: Species,
) -> tuple[Temperature, Species]:
    T, c, one, many = (
        tensor.detach().double().contiguous().numpy()
        for tensor in (temperature, concentrations, seed, seeds)
    )
    found, rows = np.empty_like(T), np.empty_like(c)
    _cells(mode, _arrays(mechanism), T, c, one, many, found, rows)
    return torch.from_numpy(found).to(temperature.dtype), torch.from_numpy(rows).to(seeds.dtype)


class _Arrays(NamedTuple):
    """The tables, in the order that the compiled functions name them."""

    low: np.ndarray
    high: np.ndarray
    middle: np.ndarray
    orders: tuple[np.ndarray, np.ndarray, np.ndarray]
    products: tuple[np.ndarray, np.ndarray, np.ndarray]
    net: tuple[np.ndarray, np.ndarray, np.ndarray]
    colliders: tuple[np.ndarray, np.ndarray, np.ndarray]
    default: np.ndarray
    change: np.ndarray  # Σ ν
    reversible: np.ndarray
    multiplied: np.ndarray
    few: np.ndarray  # whether at most three molecules meet, on either side
    molecules: np.ndarray  # three reactants and three products, filled up by a row of ones
    form: np.ndarray  # of the rate, and which one of its form
    place: np.ndarray
    log_factor: np.ndarray
    sign: np.ndarray
    exponent: np.ndarray
    temperature: np.ndarray
    low_rate: np.ndarray  # ln A, sign, b, θ of k0
    troe: np.ndarray  # Troe's numbers and how many count
    grids: tuple[np.ndarray, ...]  # starts, ln p, starts of terms, and ln A, sign, b, θ of each
    polynomials: tuple[np.ndarray, ...]  # starts, shapes, ranges, coefficients
    log_standard: float


@lru_cache(maxsize=16)
def _arrays(mechanism: Mechanism) -> _Arrays:
    t = tables(mechanism)
    count = len(t.factor)
    form, place = np.zeros(count, np.int64), np.zeros(count, np.int64)
    polynomials = [rate for _, rate in t.chebyshev]
    groups = (t.falloff, t.grids.reaction, np.array([n for n, _ in t.chebyshev], np.int64))
    for kind, group in enumerate(groups, _FALLOFF):
        form[group], place[group] = kind, np.arange(len(group))
    coefficients = [np.array(rate.coefficients) for rate in polynomials]
    ranges = [
        (1 / rate.temperature[0], 1 / rate.temperature[1], *np.log(rate.pressure))
        for rate in polynomials
    ]
    few, molecules = _molecules(t, len(mechanism.species))
    low = (*_logarithm(t.low_factor), t.low_exponent, t.low_temperature)
    return _Arrays(
        low=t.low,
        high=t.high,
        middle=t.middle,
        orders=_entries(t.orders),
        products=_entries(t.products),
        net=_entries(t.net),
        colliders=_entries(t.colliders),
        default=t.default,
        change=mechanism.stoichiometry.sum(1),
        reversible=t.reversible,
        multiplied=t.multiplied,
        few=few,
        molecules=molecules,
        form=form,
        place=place,
        log_factor=_logarithm(t.factor)[0],
        sign=_logarithm(t.factor)[1],
        exponent=t.exponent,
        temperature=t.temperature,
        low_rate=np.column_stack(low),
        troe=np.column_stack([t.troe, t.terms]).astype(np.float64),
        grids=(
            t.grids.start,
            t.grids.log_pressure,
            t.grids.term,
            np.column_stack([*_logarithm(t.grids.factor), t.grids.exponent, t.grids.temperature]),
        ),
        polynomials=(
            np.cumsum([0, *(a.size for a in coefficients)]),
            np.array([a.shape for a in coefficients], np.int64).reshape(-1, 2),
            np.array(ranges).reshape(-1, 4),
            np.concatenate([np.zeros(0), *(a.ravel() for a in coefficients)]),
        ),
        log_standard=math.log(t.reference_pressure / GAS_CONSTANT),
    )


def _entries(lists: Lists) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return lists.start, lists.species, lists.number


def _molecules(t: Tables, fill: int) -> tuple[np.ndarray, np.ndarray]:
    few, molecules = np.ones(len(t.factor), bool), np.full((len(t.factor), 6), fill)
    for side, lists in enumerate((t.orders, t.products)):
        for reaction in range(len(few)):
            some = slice(lists.start[reaction], lists.start[reaction + 1])
            counts, species = lists.number[some], lists.species[some]
            if counts.sum() > _FEW or (counts % 1).any() or (counts < 0).any():
                few[reaction] = False
                continue
            met = np.repeat(species, counts.astype(np.int64))
            molecules[reaction, _FEW * side : _FEW * side + len(met)] = met
    return few, molecules


def _logarithm(factor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """ln |A| and the sign of A, which is zero where A is."""
    with np.errstate(divide="ignore"):
        return np.maximum(np.log(np.abs(factor)), -700.0), np.sign(factor)


# Thermodynamics: rows of cells, a row for each species.


@compiled
def _thermodynamics(lows, highs, middles, T, log_T, h, g, cp, derivatives):  # type: ignore[no-untyped-def]
    """h/RT and g/RT, and cp/R where derivatives are wanted."""
    for k in range(len(middles)):
        low, high, middle = lows[k], highs[k], middles[k]
        for i in range(len(T)):
            t = T[i]
            a = low if t <= middle else high
            h[k, i] = (
                a[0] + t * (a[1] / 2 + t * (a[2] / 3 + t * (a[3] / 4 + t * (a[4] / 5)))) + a[5] / t
            )
            s = a[0] * log_T[i] + t * (a[1] + t * (a[2] / 2 + t * (a[3] / 3 + t * (a[4] / 4))))
            g[k, i] = h[k, i] - s - a[6]
            if derivatives:
                cp[k, i] = a[0] + t * (a[1] + t * (a[2] + t * (a[3] + t * a[4])))


# Mass action.


@compiled
def _product(entries, reaction, c, without, product):  # type: ignore[no-untyped-def]
    """Π c_kᵅ; its derivative by the concentration of one entry, where one is named."""
    start, species, powers = entries
    product[:] = 1.0
    for entry in range(start[reaction], start[reaction + 1]):
        row, power = c[species[entry]], powers[entry]
        if entry == without:
            if power == 2.0:
                for i in range(len(product)):
                    product[i] *= 2.0 * row[i]
            elif power != 1.0:
                for i in range(len(product)):
                    product[i] *= power * exp((power - 1.0) * log(max(row[i], _TINY)))
        elif power == 1.0:
            for i in range(len(product)):
                product[i] *= row[i]
        elif power == 2.0:
            for i in range(len(product)):
                product[i] *= row[i] * row[i]
        else:
            for i in range(len(product)):
                product[i] *= exp(power * log(max(row[i], _TINY)))


@compiled
def _sum(entries, reaction, rows, found):  # type: ignore[no-untyped-def]
    """Add Σ number row over the species of a reaction."""
    start, species, numbers = entries
    for entry in range(start[reaction], start[reaction + 1]):
        row, number = rows[species[entry]], numbers[entry]
        for i in range(len(found)):
            found[i] += number * row[i]


@compiled
def _spread(entries, reaction, values, rows):  # type: ignore[no-untyped-def]
    """The adjoint of `_sum`: add number value to the row of each species."""
    start, species, numbers = entries
    for entry in range(start[reaction], start[reaction + 1]):
        row, number = rows[species[entry]], numbers[entry]
        for i in range(len(values)):
            row[i] += number * values[i]


@compiled
def _falloff(low_rate, troe, T, by_T, log_T, third, k, k_T, k_M, room, derivatives):  # type: ignore[no-untyped-def]
    """From k∞ and its slope to k and its slopes."""
    low, high, log_centre, f, low_T, high_T = room[0], room[1], room[2], room[3], room[4], room[5]
    arrhenius(low_rate[0], low_rate[1], low_rate[2], low_rate[3], by_T, log_T, low)
    high[:] = k
    lindemann(low, third, k)
    if troe[4] > 0.0:
        centre(troe, T, by_T, log_centre)
        broadening(log_centre, low, third, high, f)
        _times(f, k)
    if derivatives:
        high_T[:] = k_T
        arrhenius_slope(low_rate[2], low_rate[3], by_T, low, low_T)
        falloff_slopes(troe, T, third, log_centre, low, low_T, high, high_T, k, k_T, k_M)


@compiled
def _times(factor, row):  # type: ignore[no-untyped-def]
    for i in range(len(row)):
        row[i] *= factor[i]


@compiled
def _backward(r, products, net, moles, log_standard, c, g, log_T, equilibrium, backward):  # type: ignore[no-untyped-def]
    """1/Kc, and Π c_kᵝ / Kc."""
    for i in range(len(backward)):
        equilibrium[i] = moles * (log_T[i] - log_standard)
    _sum(net, r, g, equilibrium)
    for i in range(len(backward)):
        equilibrium[i] = exp(equilibrium[i])
    _product(products, r, c, -1, backward)
    _times(equilibrium, backward)


@compiled
def _few_progress(met, reversible, moles, log_standard, c, g, log_T, k, q):  # type: ignore[no-untyped-def]
    """q = k (Π c - Π c / Kc) in one loop; few arrays, so that the compiler can tell them apart."""
    c1, c2, c3, p1, p2, p3 = met
    if not reversible:
        for i in range(len(q)):
            q[i] = k[i] * c[c1, i] * c[c2, i] * c[c3, i]
        return
    for i in range(len(q)):
        change = (g[p1, i] + g[p2, i] + g[p3, i]) - (g[c1, i] + g[c2, i] + g[c3, i])
        by_constant = exp(change + moles * (log_T[i] - log_standard))
        backward = by_constant * (c[p1, i] * c[p2, i] * c[p3, i])
        q[i] = k[i] * (c[c1, i] * c[c2, i] * c[c3, i] - backward)


@compiled
def _tangent(
    r, orders, products, net, colliders, moles, default, reversible,
    c, h, by_T, k, k_T, k_M, k_C, difference, backward, equilibrium, part,
    seed, seeds, seed_total, slope, rows,
):  # type: ignore[no-untyped-def]  # fmt: skip
    """Add to the changes of all rates that of one reaction."""
    for i in range(len(slope)):
        slope[i] = default * seed_total[i]
    _sum(colliders, r, seeds, slope)
    for i in range(len(slope)):
        change = k_T[i] * seed[i] + k_M[i] * slope[i] + k_C[i] * seed_total[i]
        slope[i] = change * difference[i]
    start, species, _ = orders
    for entry in range(start[r], start[r + 1]):
        _product(orders, r, c, entry, part)
        row = seeds[species[entry]]
        for i in range(len(slope)):
            slope[i] += k[i] * part[i] * row[i]
    if reversible:
        start, species, _ = products
        for entry in range(start[r], start[r + 1]):
            _product(products, r, c, entry, part)
            row = seeds[species[entry]]
            for i in range(len(slope)):
                slope[i] -= k[i] * equilibrium[i] * part[i] * row[i]
        part[:] = -moles
        _sum(net, r, h, part)  # T d ln Kc / dT
        for i in range(len(slope)):
            slope[i] += k[i] * backward[i] * part[i] * by_T[i] * seed[i]
    _spread(net, r, slope, rows)


@compiled
def _adjoint(
    r, orders, products, net, colliders, moles, default, reversible,
    c, h, by_T, k, k_T, k_M, k_C, difference, backward, equilibrium, part,
    seeds, seed_total, slope, found, rows,
):  # type: ignore[no-untyped-def]  # fmt: skip
    """Add to the gradients what passes through one reaction."""
    slope[:] = 0.0
    _sum(net, r, seeds, slope)
    for i in range(len(slope)):
        by_k = slope[i] * difference[i]
        found[i] += by_k * k_T[i]
        seed_total[i] += by_k * (k_C[i] + default * k_M[i])
        part[i] = by_k * k_M[i]
    _spread(colliders, r, part, rows)
    _times(k, slope)
    start, species, _ = orders
    for entry in range(start[r], start[r + 1]):
        _product(orders, r, c, entry, part)
        row = rows[species[entry]]
        for i in range(len(slope)):
            row[i] += slope[i] * part[i]
    if reversible:
        start, species, _ = products
        for entry in range(start[r], start[r + 1]):
            _product(products, r, c, entry, part)
            row = rows[species[entry]]
            for i in range(len(slope)):
                row[i] -= slope[i] * equilibrium[i] * part[i]
        part[:] = -moles
        _sum(net, r, h, part)
        for i in range(len(slope)):
            found[i] += slope[i] * backward[i] * part[i] * by_T[i]


@compiled
def _row():  # type: ignore[no-untyped-def]
    return np.empty(BLOCK)


@compiled
def _room(rows):  # type: ignore[no-untyped-def]
    return np.empty((rows, BLOCK))


@compiled
def _load(first, n, T_all, c_all, T, by_T, log_T, log_p, total, c):  # type: ignore[no-untyped-def]
    """A block of states; where cells are lacking, its last one again."""
    for i in range(BLOCK):
        cell = first + min(i, n - 1)
        T[i], by_T[i], log_T[i] = T_all[cell], 1.0 / T_all[cell], math.log(T_all[cell])
        total[i] = 0.0
        for s in range(c_all.shape[1]):
            c[s, i] = c_all[cell, s]
            total[i] += c[s, i]
        log_p[i] = math.log(GAS_CONSTANT * T[i] * total[i])


@compiled
def _load_seeds(first, n, seed_all, seeds_all, seed, seeds):  # type: ignore[no-untyped-def]
    """What derivatives begin from, likewise."""
    for i in range(BLOCK):
        cell = first + min(i, n - 1)
        seed[i] = seed_all[cell]
        for s in range(len(seeds)):
            seeds[s, i] = seeds_all[cell, s]


@compiled
def _finish(mode, T, h, cp, rates, seed, seed_total, found, rows):  # type: ignore[no-untyped-def]
    """What the species add to the results of the reactions; the heat is -Σ h ω."""
    for s in range(len(rows)):
        for i in range(BLOCK):
            if mode == _VALUES:
                found[i] -= GAS_CONSTANT * T[i] * h[s, i] * rates[s, i]
                rows[s, i] = rates[s, i]
            elif mode == _TANGENTS:
                found[i] -= GAS_CONSTANT * (
                    T[i] * h[s, i] * rows[s, i] + cp[s, i] * rates[s, i] * seed[i]
                )
            else:
                found[i] -= GAS_CONSTANT * cp[s, i] * rates[s, i] * seed[i]
                rows[s, i] += seed_total[i]


@compiled
def _cells(mode, a, T_all, c_all, seed_all, seeds_all, found_all, rows_all):  # type: ignore[no-untyped-def]
    """Blocks of cells through all reactions; what is found of the heat or of T has no row."""
    cells, count = c_all.shape
    derivatives = mode != _VALUES
    orders, products, net, colliders = a.orders, a.products, a.net, a.colliders
    moles, default, reversible, multiplied = a.change, a.default, a.reversible, a.multiplied
    form, place, log_standard = a.form, a.place, a.log_standard
    log_factor, sign, exponent, temperature = a.log_factor, a.sign, a.exponent, a.temperature
    low_rate, troe, grids, polynomials = a.low_rate, a.troe, a.grids, a.polynomials
    low, high, middle = a.low, a.high, a.middle
    few, molecules = a.few, a.molecules

    # Unpacking one array would give rows of any stride, which do not become vectors.
    h, cp, rates = _room(count), _room(count), _room(count)
    seeds, rows = _room(count), _room(count)
    c, g = _room(count + 1), _room(count + 1)
    c[count], g[count] = 1.0, 0.0  # for what is not there
    T, by_T, log_T, log_p, total, third = _row(), _row(), _row(), _row(), _row(), _row()
    k, k_T, k_M, k_C, q, part, slope = _row(), _row(), _row(), _row(), _row(), _row(), _row()
    forward, backward, equilibrium = _row(), _row(), _row()
    seed, seed_total, found = _row(), _row(), _row()
    room = _room(6)
    for first in range(0, cells, BLOCK):
        n = min(BLOCK, cells - first)
        _load(first, n, T_all, c_all, T, by_T, log_T, log_p, total, c)
        if derivatives:
            _load_seeds(first, n, seed_all, seeds_all, seed, seeds)
        _thermodynamics(low, high, middle, T, log_T, h, g, cp, derivatives)
        rates[:] = 0.0
        rows[:] = 0.0
        found[:] = 0.0
        seed_total[:] = 0.0
        for s in range(count):
            for i in range(BLOCK):
                if mode == _TANGENTS:
                    seed_total[i] += seeds[s, i]
                elif mode == _ADJOINTS:  # the heat is a sum of the rates
                    seeds[s, i] -= GAS_CONSTANT * T[i] * h[s, i] * seed[i]

        for r in range(len(form)):
            if default[r] != 0.0 or colliders[0][r] < colliders[0][r + 1]:
                for i in range(BLOCK):
                    third[i] = default[r] * total[i]
                _sum(colliders, r, c, third)
            if derivatives:
                k_M[:] = 0.0
                k_C[:] = 0.0
            if form[r] <= _FALLOFF:
                arrhenius(log_factor[r], sign[r], exponent[r], temperature[r], by_T, log_T, k)
                if derivatives:
                    arrhenius_slope(exponent[r], temperature[r], by_T, k, k_T)
            if form[r] == _FALLOFF:
                _falloff(
                    low_rate[place[r]], troe[place[r]],
                    T, by_T, log_T, third, k, k_T, k_M, room, derivatives,
                )  # fmt: skip
            elif form[r] == _PRESSURES:
                between_pressures(grids, place[r], T, log_T, log_p, total, k, k_T, k_C, derivatives)
            elif form[r] == _CHEBYSHEV:
                chebyshev(polynomials, place[r], T, log_p, total, k, k_T, k_C, derivatives)
            if multiplied[r]:
                if derivatives:
                    k_M[:] = k
                    _times(third, k_T)
                    _times(third, k_C)
                _times(third, k)
            if few[r] and not derivatives:
                _few_progress(
                    molecules[r], reversible[r], moles[r], log_standard, c, g, log_T, k, q
                )
                _spread(net, r, q, rates)
                continue
            _product(orders, r, c, -1, forward)
            if reversible[r]:
                _backward(
                    r, products, net, moles[r], log_standard, c, g, log_T, equilibrium, backward
                )
                for i in range(BLOCK):
                    forward[i] -= backward[i]
            q[:] = k
            _times(forward, q)
            _spread(net, r, q, rates)
            if mode == _TANGENTS:
                _tangent(
                    r, orders, products, net, colliders, moles[r], default[r], reversible[r],
                    c, h, by_T, k, k_T, k_M, k_C, forward, backward, equilibrium, part,
                    seed, seeds, seed_total, slope, rows,
                )  # fmt: skip
            elif mode == _ADJOINTS:
                _adjoint(
                    r, orders, products, net, colliders, moles[r], default[r], reversible[r],
                    c, h, by_T, k, k_T, k_M, k_C, forward, backward, equilibrium, part,
                    seeds, seed_total, slope, found, rows,
                )  # fmt: skip

        _finish(mode, T, h, cp, rates, seed, seed_total, found, rows)
        for i in range(n):
            found_all[first + i] = found[i]
            for s in range(count):
                rows_all[first + i, s] = rows[s, i]
