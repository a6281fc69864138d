"""Rates of production for CUDA, in Triton, with tangents and adjoints.

A cell is a lane, and a lane goes through all reactions one after another, as the tables list them.
What a cell has of each species stands in rows of cells, so that neighbouring lanes read neighbours.
A lane reads back only what it wrote itself, and a thread's own reads and writes keep their order:
nothing has to wait, and nothing is added atomically. Numbers are float64 throughout. Tangents and
adjoints come from the derivatives of each reaction, as in the CPU kernel.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from sciml.kernels.kinetics import cpu
from sciml.kernels.kinetics.mechanism import GAS_CONSTANT, Mechanism

__all__ = ["BLOCK", "OPTIONS", "adjoints", "tangents", "values"]

BLOCK = 32
"""Cells of one program: as many as it has threads, since two that share a cell would both add."""

OPTIONS = {"num_warps": 1, "num_stages": 1}
"""Of a program: one warp, so that few cells already occupy the whole device; no prefetching."""

_GAS_CONSTANT = tl.constexpr(GAS_CONSTANT)
_LN10 = tl.constexpr(math.log(10.0))
_BY_LN10 = tl.constexpr(1 / math.log(10.0))
_TINY = tl.constexpr(cpu._TINY)
_MOST = tl.constexpr(708.0)  # an exponent beyond gives infinity, and NaN times no concentration
_NEVER = 1e300
"""T2 of a form of Troe's that has none."""

# Places in the integers of a reaction (of a list its begin, followed by its end), in its numbers
# after those of its rate, and of the rows of species.
_ORDERS, _PRODUCTS, _NET, _COLLIDERS = (tl.constexpr(n) for n in (0, 2, 4, 6))
_FORM, _FIRST, _END, _REVERSIBLE, _MULTIPLIED = (tl.constexpr(n) for n in range(8, 13))
_DEFAULT, _MOLES, _STANDARD = (tl.constexpr(n) for n in (4, 5, 6))
_ENTHALPY, _GIBBS, _RATES, _SEEDS, _RESULTS = (tl.constexpr(n) for n in range(1, 6))
_INTEGERS, _NUMBERS, _FALLOFF_NUMBERS, _NASA_NUMBERS = (tl.constexpr(n) for n in (13, 7, 9, 15))
_FALLOFF, _PRESSURES = tl.constexpr(cpu._FALLOFF), tl.constexpr(cpu._PRESSURES)

Temperature = Float[Tensor, " cell"]
Species = Float[Tensor, "cell species"]


def values(
    mechanism: Mechanism, temperature: Temperature, concentrations: Species
) -> tuple[Species, Temperature]:
    """Net rates of production and the heat that they release."""
    state = (temperature, concentrations)
    heat, rates = _run("values", mechanism, *state, *state)
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
        "tangents", mechanism, temperature, concentrations, by_temperature, by_concentrations
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
    return _run("adjoints", mechanism, temperature, concentrations, of_heat, of_rates)


def _run(
    mode: str,
    mechanism: Mechanism,
    temperature: Temperature,
    concentrations: Species,
    seed: Temperature,
    seeds: Species,
) -> tuple[Temperature, Species]:
    cells, count = concentrations.shape
    programs, device = triton.cdiv(cells, BLOCK), temperature.device
    lanes = torch.arange(programs * BLOCK, device=device).clamp_max(cells - 1)
    T, one = (tensor.detach()[lanes].double() for tensor in (temperature, seed))
    wanted = _RATES if mode == "values" else _RESULTS
    rows = torch.empty(wanted.value + 1, count, len(lanes), dtype=torch.float64, device=device)
    rows[0] = concentrations.detach()[lanes].T
    if mode != "values":
        rows[_SEEDS.value] = seeds.detach()[lanes].T
    found = torch.empty_like(T)
    _cells[(programs,)](
        T, one, rows, found, *_on(mechanism, device),
        len(lanes), count, len(mechanism.reactions),
        MODE=mode, BLOCK=BLOCK, **OPTIONS,
    )  # fmt: skip
    result = rows[wanted.value, :, :cells].T
    return found[:cells].to(temperature.dtype), result.to(concentrations.dtype).contiguous()


@lru_cache(maxsize=16)
def _on(mechanism: Mechanism, device: torch.device) -> tuple[Tensor, ...]:
    """The tables of a mechanism on a device, in the order that the kernel names them."""
    arrays = _packed(cpu._arrays(mechanism))
    return tuple(torch.from_numpy(np.ascontiguousarray(a)).to(device) for a in arrays)


def _packed(a: cpu._Arrays) -> tuple[np.ndarray, ...]:
    """The arrays of the CPU kernel, with what belongs to one reaction or species side by side."""
    integers, species, numbers = _integers_and_lists(a)
    rates = (a.log_factor, a.sign, a.exponent, a.temperature)
    standard = -a.change * a.log_standard
    t2 = np.where(a.troe[:, 4:] == 4, a.troe[:, 3:4], _NEVER)
    troe = np.concatenate([a.troe[:, :3], t2, a.troe[:, 4:] > 0], axis=1)
    _, log_pressures, term_starts, terms = a.grids
    starts, shapes, ranges, coefficients = a.polynomials
    return (
        np.concatenate([a.middle[:, None], a.low, a.high], axis=1),
        integers,
        np.column_stack([*rates, a.default, a.change, standard]),
        species,
        numbers,
        np.concatenate([a.low_rate, troe], axis=1),
        log_pressures,
        term_starts.astype(np.int32),
        terms,
        np.column_stack([starts[:-1], shapes]).astype(np.int32),
        ranges,
        coefficients,
    )


def _integers_and_lists(a: cpu._Arrays) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The integers of each reaction, and the species and numbers of all lists in one."""
    lists = (a.orders, a.products, a.net, a.colliders)
    before = np.cumsum([0, *(len(species) for _, species, _ in lists)])
    columns = []
    for (start, _, _), offset in zip(lists, before, strict=False):
        columns += [start[:-1] + offset, start[1:] + offset]
    first, end = a.place.copy(), a.place.copy()
    between = a.form == _PRESSURES.value
    first[between], end[between] = a.grids[0][:-1], a.grids[0][1:]
    columns += [a.form, first, end, a.reversible, a.multiplied]
    return (
        np.column_stack(columns).astype(np.int32),
        np.concatenate([species for _, species, _ in lists]).astype(np.int32),
        np.concatenate([numbers for _, _, numbers in lists]),
    )


def _jit(function: Callable[..., Any]) -> Any:
    """The Triton function of the plain one, below the checks of types an import hook laid on it."""
    return triton.jit(inspect.unwrap(function))


# Thermodynamics of one species; `nasa` points at its middle temperature and both polynomials.


@_jit
def _coefficient(nasa, T, n: tl.constexpr):
    return tl.where(tl.load(nasa) >= T, tl.load(nasa + 1 + n), tl.load(nasa + 8 + n))


@_jit
def _enthalpy_and_gibbs(nasa, T, by_T, log_T):
    """h/RT and g/RT."""
    a0, a1, a2 = _coefficient(nasa, T, 0), _coefficient(nasa, T, 1), _coefficient(nasa, T, 2)
    a3, a4, a5 = _coefficient(nasa, T, 3), _coefficient(nasa, T, 4), _coefficient(nasa, T, 5)
    h = a0 + T * (a1 / 2 + T * (a2 / 3 + T * (a3 / 4 + T * (a4 / 5)))) + a5 * by_T
    s = a0 * log_T + T * (a1 + T * (a2 / 2 + T * (a3 / 3 + T * (a4 / 4))))
    return h, h - s - _coefficient(nasa, T, 6)


@_jit
def _heat_capacity(nasa, T):
    """cp/R."""
    a0, a1, a2 = _coefficient(nasa, T, 0), _coefficient(nasa, T, 1), _coefficient(nasa, T, 2)
    return a0 + T * (a1 + T * (a2 + T * (_coefficient(nasa, T, 3) + T * _coefficient(nasa, T, 4))))


# Rate constants. Slopes by the temperature and the total concentration are those of ln k.


@_jit
def _arrhenius(rate, by_T, log_T):
    """k, and its slope by the temperature."""
    log_factor, sign, b, theta = _four(rate)
    return sign * tl.exp(log_factor + b * log_T - theta * by_T), (b + theta * by_T) * by_T


@_jit
def _four(numbers):
    return tl.load(numbers), tl.load(numbers + 1), tl.load(numbers + 2), tl.load(numbers + 3)


@_jit
def _falloff(numbers, T, by_T, log_T, third, high, high_T):
    """From k∞ and its slope to k and its slope, and dk/d[M]."""
    low, low_T = _arrhenius(numbers, by_T, log_T)
    reduced = low * third / high
    by_reduced = 1.0 / (1.0 + reduced)
    by_third = low * by_reduced
    k_T = high_T + by_reduced * (low_T - high_T)
    if tl.load(numbers + 8) > 0.0:
        log_F, bend, log_F_T = _broadening(numbers + 4, T, by_T, reduced)
        by_third *= tl.exp(log_F)
        by_reduced += bend
        k_T += bend * (low_T - high_T) + log_F_T
    return by_third * third, k_T, by_third * by_reduced


@_jit
def _broadening(troe, T, by_T, reduced):
    """Troe's ln F, its slope by ln Pr, and that by the temperature through Fc.

    ln F = ln Fc / (1 + y²) with y = x / (n - 0.14 x).
    """
    a, by_t3, by_t1, t2 = _four(troe)
    first, second = (1.0 - a) * tl.exp(-T * by_t3), a * tl.exp(-T * by_t1)
    last = tl.exp(-t2 * by_T)
    centre = tl.maximum(first + second + last, _TINY)
    centre_T = (t2 * by_T * by_T * last - by_t3 * first - by_t1 * second) / centre
    log_centre = tl.log(centre) * _BY_LN10
    x = tl.log(tl.maximum(reduced, _TINY)) * _BY_LN10 - 0.4 - 0.67 * log_centre
    n = 0.75 - 1.27 * log_centre
    by = 1.0 / (n - 0.14 * x)
    share = 1.0 / (1.0 + x * by * x * by)
    bend = -2.0 * x * by * share * share * log_centre * by * by
    return log_centre * share * _LN10, bend * n, (share + bend * (1.27 * x - 0.67 * n)) * centre_T


@_jit
def _between_pressures(grids, first, end, T, by_T, log_T, log_p):
    """k, and its slopes by the temperature and by ln p, each with the other fixed."""
    log_pressures, term_starts, terms = grids
    log_k, slope = _at_pressure(terms, term_starts + first, by_T, log_T)
    slope_p, left, left_T = tl.zeros_like(T), log_k, slope
    for n in range(first + 1, end):
        right, right_T = _at_pressure(terms, term_starts + n, by_T, log_T)
        least, most = tl.load(log_pressures + n - 1), tl.load(log_pressures + n)
        part, by_p = (log_p - least) / (most - least), (right - left) / (most - least)
        inside, beyond = log_p > least, log_p > most
        log_k = tl.where(inside, left + (right - left) * part, log_k)
        slope = tl.where(inside, left_T + (right_T - left_T) * part, slope)
        slope_p = tl.where(inside, by_p, slope_p)
        log_k, slope = tl.where(beyond, right, log_k), tl.where(beyond, right_T, slope)
        slope_p = tl.where(beyond, 0.0, slope_p)
        left, left_T = right, right_T
    return tl.exp(log_k), slope, slope_p


@_jit
def _at_pressure(terms, starts, by_T, log_T):
    """ln k at one pressure, and its slope."""
    first, end = tl.load(starts), tl.load(starts + 1)
    log_factor, _, b, theta = _four(terms + 4 * first)
    log_k, slope = log_factor + b * log_T - theta * by_T, (b + theta * by_T) * by_T
    if end > first + 1:
        k, k_T = tl.zeros_like(log_T), tl.zeros_like(log_T)
        for term in range(first, end):
            one, one_T = _arrhenius(terms + 4 * term, by_T, log_T)
            k += one
            k_T += one * one_T
        log_k, slope = tl.log(k), k_T / k
    return log_k, slope


@_jit
def _chebyshev(polynomials, place, by_T, log_p):
    """k, and its slopes by the temperature and by ln p, each with the other fixed."""
    shapes, ranges, coefficients = polynomials
    shape = shapes + 3 * place
    coefficient = coefficients + tl.load(shape)
    rows, columns = tl.load(shape + 1), tl.load(shape + 2)
    cold, hot, least, most = _four(ranges + 4 * place)
    x = (2.0 * by_T - cold - hot) / (hot - cold)
    y = (2.0 * log_p - least - most) / (most - least)
    value, value_x, value_y = tl.zeros_like(x), tl.zeros_like(x), tl.zeros_like(x)
    t, t_x, t_last, t_x_last = _first_polynomial(x)
    for m in range(rows):
        one, one_y = _series(coefficient + m * columns, columns, y)
        value += one * t
        value_x += one * t_x
        value_y += one_y * t
        t, t_x, t_last, t_x_last = _next_polynomial(x, t, t_x, t_last, t_x_last)
    x_T = -2.0 * by_T * by_T / (hot - cold)
    y_p = 2.0 / (most - least)
    return tl.exp(value * _LN10), value_x * x_T * _LN10, value_y * y_p * _LN10


@_jit
def _series(coefficients, count, x):
    """Σ a_n T_n(x), and its slope."""
    value, value_x = tl.zeros_like(x), tl.zeros_like(x)
    t, t_x, t_last, t_x_last = _first_polynomial(x)
    for n in range(count):
        a = tl.load(coefficients + n)
        value += a * t
        value_x += a * t_x
        t, t_x, t_last, t_x_last = _next_polynomial(x, t, t_x, t_last, t_x_last)
    return value, value_x


@_jit
def _first_polynomial(x):
    """T₀ and its slope, and T₋₁ = T₁ and its slope."""
    return tl.full(x.shape, 1.0, tl.float64), tl.zeros_like(x), x, tl.full(x.shape, 1.0, tl.float64)


@_jit
def _next_polynomial(x, t, t_x, t_last, t_x_last):
    """Chebyshev's polynomial of the next degree and its slope, and those of this one."""
    return 2.0 * x * t - t_last, 2.0 * (t + x * t_x) - t_x_last, t, t_x


# A reaction is its integers with the bounds of four lists, its numbers, and the species and the
# numbers of all lists.


@_jit
def _sum(reaction, which: tl.constexpr, rows, cells):
    """Σ number row over the species of a list."""
    integers, _, species, numbers = reaction
    found = tl.zeros(rows.shape, tl.float64)
    for entry in range(tl.load(integers + which), tl.load(integers + which + 1)):
        row = tl.load(rows + tl.load(species + entry) * cells)
        found += tl.load(numbers + entry) * row
    return found


@_jit
def _spread(reaction, which: tl.constexpr, value, rows, cells):
    """The adjoint of `_sum`: add number value to the row of each species."""
    integers, _, species, numbers = reaction
    for entry in range(tl.load(integers + which), tl.load(integers + which + 1)):
        _add(rows + tl.load(species + entry) * cells, tl.load(numbers + entry) * value)


@_jit
def _add(target, value):
    tl.store(target, tl.load(target) + value)


@_jit
def _power(base, exponent):
    """By products where that is exact, since a concentration may be zero or slightly less."""
    whole = exponent.to(tl.int32)
    found = tl.full(base.shape, 1.0, tl.float64)
    if (whole == exponent) & (whole >= 0):
        for _ in range(whole):
            found *= base
    else:
        found = tl.exp(exponent * tl.log(tl.maximum(base, _TINY)))
    return found


@_jit
def _power_slope(base, exponent):
    """By the base; none below the least base of a power that is not a product."""
    slope = _power(base, exponent - 1.0) * exponent
    whole = exponent.to(tl.int32)
    if (whole != exponent) | (whole < 0):
        slope = tl.where(base < _TINY, 0.0, slope)
    return slope


@_jit
def _product(reaction, which: tl.constexpr, without, c, cells):
    """Π c_kᵅ; its derivative by the concentration of one entry, where one is named."""
    integers, _, species, numbers = reaction
    product = tl.full(c.shape, 1.0, tl.float64)
    for entry in range(tl.load(integers + which), tl.load(integers + which + 1)):
        base = tl.load(c + tl.load(species + entry) * cells)
        exponent = tl.load(numbers + entry)
        if entry == without:
            product *= _power_slope(base, exponent)
        else:
            product *= _power(base, exponent)
    return product


@_jit
def _product_change(reaction, which: tl.constexpr, c, changes, cells):
    """The change of Π c_kᵅ with those of the concentrations."""
    integers, _, species, numbers = reaction
    product, change = tl.full(c.shape, 1.0, tl.float64), tl.zeros(c.shape, tl.float64)
    for entry in range(tl.load(integers + which), tl.load(integers + which + 1)):
        row = tl.load(species + entry) * cells
        base, exponent = tl.load(c + row), tl.load(numbers + entry)
        power, slope = _power(base, exponent), _power_slope(base, exponent)
        change = change * power + product * slope * tl.load(changes + row)
        product *= power
    return change


@_jit
def _spread_product(reaction, which: tl.constexpr, value, c, rows, cells):
    """The adjoint of `_product_change`: add value ∂Π/∂c_k to the row of each species."""
    integers, _, species, _ = reaction
    for entry in range(tl.load(integers + which), tl.load(integers + which + 1)):
        slope = _product(reaction, which, entry, c, cells)
        _add(rows + tl.load(species + entry) * cells, value * slope)


# Reactions.


@_jit
def _rate_constant(reaction, forms, T, by_T, log_T, total, third):
    """k with the factor [M], d ln k/dT and d ln k/dC at a fixed [M], and dk/d[M]."""
    integers, numbers, _, _ = reaction
    falloffs, grids, polynomials = forms
    k, slope = _arrhenius(numbers, by_T, log_T)
    by_total, by_third = tl.zeros_like(T), tl.zeros_like(T)
    form, first = tl.load(integers + _FORM), tl.load(integers + _FIRST)
    if form == _FALLOFF:
        falloff = falloffs + first * _FALLOFF_NUMBERS
        k, slope, by_third = _falloff(falloff, T, by_T, log_T, third, k, slope)
    if form >= _PRESSURES:
        log_p = tl.log(T * total * _GAS_CONSTANT)
        if form == _PRESSURES:
            end = tl.load(integers + _END)
            k, slope, slope_p = _between_pressures(grids, first, end, T, by_T, log_T, log_p)
        else:
            k, slope, slope_p = _chebyshev(polynomials, first, by_T, log_p)
        slope += slope_p * by_T
        by_total = slope_p / total
    if tl.load(integers + _MULTIPLIED) > 0:
        by_third = k
        k *= third
    return k, slope, by_total, by_third


@_jit
def _progress(reaction, c, gibbs, log_T, cells):
    """Π c_kᵅ - Π c_kᵝ / Kc, the second product with its factor, and 1/Kc."""
    integers, numbers, _, _ = reaction
    difference = _product(reaction, _ORDERS, -1, c, cells)
    backward, by_constant = tl.zeros_like(log_T), tl.zeros_like(log_T)
    if tl.load(integers + _REVERSIBLE) > 0:
        exponent = tl.load(numbers + _MOLES) * log_T + tl.load(numbers + _STANDARD)
        exponent += _sum(reaction, _NET, gibbs, cells)
        by_constant = tl.exp(tl.minimum(exponent, _MOST))
        backward = by_constant * _product(reaction, _PRODUCTS, -1, c, cells)
        difference -= backward
    return difference, backward, by_constant


@_jit
def _equilibrium_slope(reaction, enthalpy, by_T, cells):
    """d ln Kc / dT."""
    _, numbers, _, _ = reaction
    return (_sum(reaction, _NET, enthalpy, cells) - tl.load(numbers + _MOLES)) * by_T


@_jit
def _tangent(reaction, rate, progress, rows, by_T, seed, seed_total):
    """Add to the changes of all rates that of one reaction."""
    integers, numbers, _, _ = reaction
    k, slope, by_total, by_third = rate
    difference, backward, by_constant = progress
    c, enthalpy, seeds, results, cells = rows
    third = tl.load(numbers + _DEFAULT) * seed_total + _sum(reaction, _COLLIDERS, seeds, cells)
    change = (k * (slope * seed + by_total * seed_total) + by_third * third) * difference
    change += k * _product_change(reaction, _ORDERS, c, seeds, cells)
    if tl.load(integers + _REVERSIBLE) > 0:
        of_products = _product_change(reaction, _PRODUCTS, c, seeds, cells)
        of_equilibrium = _equilibrium_slope(reaction, enthalpy, by_T, cells) * seed
        change += k * (backward * of_equilibrium - by_constant * of_products)
    _spread(reaction, _NET, change, results, cells)


@_jit
def _adjoint(reaction, rate, progress, rows, by_T):
    """Add to the gradients what passes through one reaction.

    What passes to the temperature and to the total concentration is returned.
    """
    integers, numbers, _, _ = reaction
    k, slope, by_total, by_third = rate
    difference, backward, by_constant = progress
    c, enthalpy, seeds, results, cells = rows
    of_rate = _sum(reaction, _NET, seeds, cells)
    of_third = of_rate * difference * by_third
    of_rate *= k
    of_temperature = of_rate * difference * slope
    of_total = of_rate * difference * by_total + tl.load(numbers + _DEFAULT) * of_third
    _spread(reaction, _COLLIDERS, of_third, results, cells)
    _spread_product(reaction, _ORDERS, of_rate, c, results, cells)
    if tl.load(integers + _REVERSIBLE) > 0:
        _spread_product(reaction, _PRODUCTS, -of_rate * by_constant, c, results, cells)
        of_temperature += of_rate * backward * _equilibrium_slope(reaction, enthalpy, by_T, cells)
    return of_temperature, of_total


# Sums over the species.


@_jit
def _thermodynamics(nasa, T, by_T, log_T, enthalpy, gibbs, count, cells):
    """Fill the rows of h/RT and g/RT."""
    for s in range(count):
        h, g = _enthalpy_and_gibbs(nasa + s * _NASA_NUMBERS, T, by_T, log_T)
        tl.store(enthalpy + s * cells, h)
        tl.store(gibbs + s * cells, g)


@_jit
def _clear(rows, count, cells):
    for s in range(count):
        tl.store(rows + s * cells, tl.zeros(rows.shape, tl.float64))


@_jit
def _total(rows, count, cells):
    found = tl.zeros(rows.shape, tl.float64)
    for s in range(count):
        found += tl.load(rows + s * cells)
    return found


@_jit
def _include_heat(seeds, enthalpy, T, seed, count, cells):
    """Let the seeds of the rates count that of the heat, which is a sum of the rates."""
    for s in range(count):
        _add(seeds + s * cells, -T * seed * tl.load(enthalpy + s * cells) * _GAS_CONSTANT)


@_jit
def _heat(enthalpy, rates, T, count, cells):
    """-Σ h ω."""
    found = tl.zeros_like(T)
    for s in range(count):
        found -= tl.load(enthalpy + s * cells) * tl.load(rates + s * cells)
    return found * T * _GAS_CONSTANT


@_jit
def _heat_slope(nasa, rates, T, count, cells):
    """-Σ cp ω, by the temperature where the rates stay."""
    found = tl.zeros_like(T)
    for s in range(count):
        found -= _heat_capacity(nasa + s * _NASA_NUMBERS, T) * tl.load(rates + s * cells)
    return found * _GAS_CONSTANT


@_jit
def _cells(
    temperature, seed, rows, found, nasa, integers, reaction_numbers, species, numbers,
    falloffs, log_pressures, term_starts, terms, shapes, ranges, coefficients,
    cells, count, reactions, MODE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """A block of cells, whose rows are c, h/RT, g/RT and ω, and with derivatives seeds and results.

    What is found of the heat or of the temperature has no row.
    """
    cell = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    cells = cells.to(tl.int64)
    c, group = rows + cell, count * cells
    enthalpy, gibbs, rates = c + _ENTHALPY * group, c + _GIBBS * group, c + _RATES * group
    seeds, results = c + _SEEDS * group, c + _RESULTS * group
    forms = (falloffs, (log_pressures, term_starts, terms), (shapes, ranges, coefficients))
    T, one = tl.load(temperature + cell), tl.load(seed + cell)
    by_T, log_T, total = 1.0 / T, tl.log(T), _total(c, count, cells)
    _thermodynamics(nasa, T, by_T, log_T, enthalpy, gibbs, count, cells)
    _clear(rates, count, cells)
    seed_total, of_temperature = tl.zeros_like(T), tl.zeros_like(T)
    if MODE != "values":
        _clear(results, count, cells)
    if MODE == "tangents":
        seed_total = _total(seeds, count, cells)
    if MODE == "adjoints":
        _include_heat(seeds, enthalpy, T, one, count, cells)

    for r in range(reactions):
        mine = reaction_numbers + r * _NUMBERS
        reaction = (integers + r * _INTEGERS, mine, species, numbers)
        third = tl.load(mine + _DEFAULT) * total + _sum(reaction, _COLLIDERS, c, cells)
        rate = _rate_constant(reaction, forms, T, by_T, log_T, total, third)
        progress = _progress(reaction, c, gibbs, log_T, cells)
        _spread(reaction, _NET, rate[0] * progress[0], rates, cells)
        live = (c, enthalpy, seeds, results, cells)
        if MODE == "tangents":
            _tangent(reaction, rate, progress, live, by_T, one, seed_total)
        if MODE == "adjoints":
            more, more_total = _adjoint(reaction, rate, progress, live, by_T)
            of_temperature += more
            seed_total += more_total

    if MODE == "values":
        of_temperature = _heat(enthalpy, rates, T, count, cells)
    else:
        of_temperature += _heat_slope(nasa, rates, T, count, cells) * one
    if MODE == "tangents":
        of_temperature += _heat(enthalpy, results, T, count, cells)
    if MODE == "adjoints":
        for s in range(count):
            _add(results + s * cells, seed_total)
    tl.store(found + cell, of_temperature)
