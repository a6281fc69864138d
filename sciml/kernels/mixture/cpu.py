"""The frame of a learned step for one CPU core, compiled by numba.

Cells are taken in blocks, species by species, so that inner loops run over neighbouring cells and
become vector instructions.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sciml.kernels.kinetics.mechanism import Mechanism
from sciml.kernels.kinetics.tables import tables
from sciml.kernels.kinetics.vector import compiled, exp, log
from sciml.kernels.mixture.conservation import (
    ABSENT,
    ITERATIONS,
    LONGEST,
    RIDGE,
    TOLERANCE,
    arrays,
)
from sciml.kernels.mixture.step import FLOOR

__all__ = ["close", "explicit"]

BLOCK = 64
"""Cells that are worked on together."""

_TINY = 1e-300
_CLOSE = 1e-14
"""Relative error of the elements at which the search for a composition ends."""

_NEWTON = 12
"""Iterations at most in search of a temperature."""

Cells = Float[Tensor, " cell"]
Species = Float[Tensor, "cell species"]
Reactive = Float[Tensor, "cell reactive"]


def explicit(
    mechanism: Mechanism,
    mass_fractions: Species,
    rates: Species,
    time_step: Cells,
    exponent: float,
) -> tuple[Reactive, Reactive]:
    """Transformed mass fractions and their change in an explicit step."""
    Y, r, dt = (x.detach().contiguous().numpy() for x in (mass_fractions, rates, time_step))
    moving = _data(mechanism).moving
    z, change = np.empty((2, len(Y), len(moving)))
    _explicit(Y, r, dt, moving, exponent, z, change)
    return torch.from_numpy(z), torch.from_numpy(change)


def close(
    mechanism: Mechanism,
    temperature: Cells,
    mass_fractions: Species,
    transformed: Reactive,
    exponent: float,
) -> tuple[Cells, Species, Bool[Tensor, " cell"]]:
    """Temperature and composition with the enthalpy and the elements from before."""
    T, Y, z = (x.detach().contiguous().numpy() for x in (temperature, mass_fractions, transformed))
    data = _data(mechanism)
    T_after, Y_after, failed = np.empty_like(T), Y.copy(), np.zeros(len(T), np.bool_)
    _close(data, T, Y, z, exponent, T_after, Y_after, failed)
    return torch.from_numpy(T_after), torch.from_numpy(Y_after), torch.from_numpy(failed)


class _Data(NamedTuple):
    """What the compiled functions know of the species."""

    moving: np.ndarray
    by_weight: np.ndarray
    atoms: np.ndarray  # in the reactive species, of independent elements
    low: np.ndarray  # coefficients of h / (R T) and cp / R
    high: np.ndarray
    middle: np.ndarray


@lru_cache(maxsize=16)
def _data(mechanism: Mechanism) -> _Data:
    atoms, weights, moving = (x.numpy() for x in arrays(mechanism))
    t = tables(mechanism)
    return _Data(np.flatnonzero(moving), 1 / weights, atoms, t.low, t.high, t.middle)


@compiled
def _explicit(Y, rates, dt, moving, exponent, z, change):  # type: ignore[no-untyped-def]
    before, after = np.empty(BLOCK), np.empty(BLOCK)
    for first in range(0, len(Y), BLOCK):
        n = min(BLOCK, len(Y) - first)
        before[:] = 1.0
        after[:] = 1.0
        for j in range(len(moving)):
            for i in range(n):
                y = max(Y[first + i, moving[j]], FLOOR)
                r = dt[first + i] * rates[first + i, moving[j]]
                before[i] = y
                after[i] = y + r if r > 0.0 else y * y / (y - r)
            _transform(before, exponent)
            _transform(after, exponent)
            for i in range(n):
                z[first + i, j] = before[i]
                change[first + i, j] = after[i] - before[i]


@compiled
def _transform(row, exponent):  # type: ignore[no-untyped-def]
    if exponent == 0.0:
        for i in range(BLOCK):
            row[i] = log(max(row[i], FLOOR))
    else:
        for i in range(BLOCK):
            row[i] = (exp(exponent * log(max(row[i], FLOOR))) - 1.0) / exponent


@compiled
def _restore(row, exponent):  # type: ignore[no-untyped-def]
    if exponent == 0.0:
        for i in range(BLOCK):
            row[i] = exp(row[i])
    else:
        for i in range(BLOCK):
            row[i] = exp(log(max(1.0 + exponent * row[i], _TINY)) / exponent)


@compiled
def _close(data, T_all, Y_all, z_all, exponent, T_after, Y_after, failed):  # type: ignore[no-untyped-def]
    moving, by_weight, atoms = data.moving, data.by_weight, data.atoms
    low, high, middle = data.low, data.high, data.middle
    species, reactive, elements = Y_all.shape[1], len(moving), len(atoms)
    n, guess = np.empty((species, BLOCK)), np.empty((reactive, BLOCK))
    wanted, step = np.empty((elements, BLOCK)), np.empty((elements, BLOCK))
    multipliers, matrix = np.empty((elements, BLOCK)), np.empty((elements, elements, BLOCK))
    T, h, work, bad = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    cp, factor = np.empty(BLOCK), np.empty(BLOCK)
    for first in range(0, len(T_all), BLOCK):
        cells = min(BLOCK, len(T_all) - first)
        for i in range(BLOCK):
            cell = first + min(i, cells - 1)
            T[i], bad[i] = T_all[cell], 0.0
            for k in range(species):
                n[k, i] = Y_all[cell, k] * by_weight[k]
            for j in range(reactive):
                guess[j, i] = z_all[cell, j]
        h[:] = 0.0
        for k in range(species):
            _enthalpy(low[k], high[k], middle[k], T, n[k], h, cp)
        wanted[:] = 0.0
        for e in range(elements):
            for j in range(reactive):
                if atoms[e, j] != 0.0:
                    for i in range(BLOCK):
                        wanted[e, i] += atoms[e, j] * n[moving[j], i]
        for j in range(reactive):
            _restore(guess[j], exponent)
            weight = by_weight[moving[j]]
            for i in range(BLOCK):
                guess[j, i] *= weight
            for e in range(elements):
                if atoms[e, j] > 0.0:
                    for i in range(BLOCK):
                        guess[j, i] = guess[j, i] if wanted[e, i] > ABSENT else 0.0
        _conserve(atoms, moving, wanted, guess, n, multipliers, step, matrix, factor, work, bad)
        _temperature(low, high, middle, n, h, T, cp, work, factor, bad)
        for i in range(cells):
            cell = first + i
            failed[cell] = bad[i] != 0.0
            T_after[cell] = T_all[cell] if failed[cell] else T[i]
            if not failed[cell]:
                for j in range(reactive):
                    Y_after[cell, moving[j]] = n[moving[j], i] / by_weight[moving[j]]


@compiled
def _conserve(atoms, moving, wanted, guess, n, multipliers, step, matrix, factor, worst, bad):  # type: ignore[no-untyped-def]
    """Multiply by exp(Σ λ a), λ by Newton's method, until the elements are those wanted."""
    elements, reactive = atoms.shape
    if elements == 0:
        return
    multipliers[:] = 0.0
    for _ in range(ITERATIONS):
        _normal_equations(atoms, wanted, guess, multipliers, n, moving, step, matrix, factor)
        worst[:] = 0.0
        for e in range(elements):
            for i in range(BLOCK):
                scale = max(wanted[e, i], ABSENT)
                worst[i] = max(worst[i], abs(step[e, i]) / scale)
        _eliminate(matrix, step, factor)
        done = True
        for i in range(BLOCK):
            done = done and worst[i] <= _CLOSE
        factor[:] = 0.0
        for e in range(elements):
            for i in range(BLOCK):
                factor[i] = max(factor[i], abs(step[e, i]))
        for e in range(elements):
            for i in range(BLOCK):
                multipliers[e, i] += step[e, i] * min(1.0, LONGEST / max(factor[i], LONGEST))
        if done:
            break
        if worst.max() <= 1e-12:  # as near as rounding lets it come
            break
    for i in range(BLOCK):
        bad[i] = bad[i] if worst[i] <= TOLERANCE else 1.0
    # The last step is so small that its exponential is linear.
    for j in range(reactive):
        factor[:] = 1.0
        for e in range(elements):
            if atoms[e, j] != 0.0:
                for i in range(BLOCK):
                    factor[i] += atoms[e, j] * step[e, i]
        for i in range(BLOCK):
            n[moving[j], i] *= factor[i]


@compiled
def _normal_equations(atoms, wanted, guess, multipliers, n, moving, error, matrix, factor):  # type: ignore[no-untyped-def]
    """The composition of the multipliers, its lack of elements, and the matrix of Newton's step."""
    elements, reactive = atoms.shape
    matrix[:] = 0.0
    error[:] = wanted
    for j in range(reactive):
        factor[:] = 0.0
        for e in range(elements):
            if atoms[e, j] != 0.0:
                for i in range(BLOCK):
                    factor[i] += atoms[e, j] * multipliers[e, i]
        row = n[moving[j]]
        for i in range(BLOCK):
            row[i] = guess[j, i] * exp(factor[i])
        for e in range(elements):
            if atoms[e, j] != 0.0:
                for i in range(BLOCK):
                    error[e, i] -= atoms[e, j] * row[i]
                for f in range(e + 1):
                    both = atoms[e, j] * atoms[f, j]
                    if both != 0.0:
                        for i in range(BLOCK):
                            matrix[e, f, i] += both * row[i]
    for e in range(elements):
        for i in range(BLOCK):
            absent = wanted[e, i] <= ABSENT or matrix[e, e, i] <= 0.0
            error[e, i] = 0.0 if absent and wanted[e, i] <= ABSENT else error[e, i]
            matrix[e, e, i] = 1.0 if absent else matrix[e, e, i] * (1.0 + RIDGE)


@compiled
def _eliminate(matrix, right, factor):  # type: ignore[no-untyped-def]
    """Solve in place by the factors L D Lᵀ of the lower triangle, cell by cell."""
    elements = len(matrix)
    for e in range(elements):
        for f in range(e + 1, elements):
            for i in range(BLOCK):
                factor[i] = matrix[f, e, i] / matrix[e, e, i]
            for g in range(f, elements):
                for i in range(BLOCK):
                    matrix[g, f, i] -= matrix[g, e, i] * factor[i]
            for i in range(BLOCK):
                right[f, i] -= right[e, i] * factor[i]
    for e in range(elements - 1, -1, -1):
        for f in range(e + 1, elements):
            for i in range(BLOCK):
                right[e, i] -= matrix[f, e, i] * right[f, i]
        for i in range(BLOCK):
            right[e, i] /= matrix[e, e, i]


@compiled
def _enthalpy(low, high, middle, T, moles, h, cp):  # type: ignore[no-untyped-def]
    """Add n h / R and n cp / R of one species."""
    for i in range(BLOCK):
        t = T[i]
        a = low if t <= middle else high
        h[i] += moles[i] * (
            a[5] + t * (a[0] + t * (a[1] / 2 + t * (a[2] / 3 + t * (a[3] / 4 + t * (a[4] / 5)))))
        )
        cp[i] += moles[i] * (a[0] + t * (a[1] + t * (a[2] + t * (a[3] + t * a[4]))))


@compiled
def _temperature(low, high, middle, n, h, T, cp, found, moved, bad):  # type: ignore[no-untyped-def]
    """Newton's method for the temperature at which the mixture has the enthalpy h / R."""
    for _ in range(_NEWTON):
        found[:] = 0.0
        cp[:] = 0.0
        for k in range(len(middle)):
            _enthalpy(low[k], high[k], middle[k], T, n[k], found, cp)
        largest = 0.0
        for i in range(BLOCK):
            moved[i] = (h[i] - found[i]) / cp[i]
            T[i] += min(max(moved[i], -0.5 * T[i]), T[i])
            moved[i] = abs(moved[i]) / T[i]
            largest = max(largest, moved[i])
        if largest <= 1e-13:
            break
    for i in range(BLOCK):
        bad[i] = bad[i] if moved[i] <= 1e-8 else 1.0
