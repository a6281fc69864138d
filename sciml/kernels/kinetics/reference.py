"""Rates of production of an ideal gas in plain torch: the definition."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sciml.kernels.kinetics.mechanism import GAS_CONSTANT, Chebyshev, Mechanism
from sciml.kernels.kinetics.tables import Tables, tables

__all__ = [
    "enthalpies",
    "entropies",
    "gibbs_energies",
    "heat_capacities",
    "production_rates",
    "rate_constants",
]

_TINY = 1e-300

Temperature = Float[Tensor, " cell"]
Species = Float[Tensor, "cell species"]
Reactions = Float[Tensor, "cell reaction"]


def production_rates(
    mechanism: Mechanism, temperature: Temperature, concentrations: Species
) -> tuple[Species, Temperature]:
    """Net rates of production and the heat that they release."""
    t, T, c = tables(mechanism), temperature, concentrations
    put = _like(T)
    k = rate_constants(t, T, c)
    forward = k * _products(t.orders.dense(c.shape[1]), c)
    # ln Kc = -Σ ν g/RT + Σ ν ln(p0 / (R T))
    net = put(t.net.dense(c.shape[1]))
    log_standard = math.log(t.reference_pressure / GAS_CONSTANT) - T.log()
    log_equilibrium = -gibbs_energies(t, T) @ net.T + net.sum(1) * log_standard[:, None]
    backward = k * torch.exp(-log_equilibrium) * _products(t.products.dense(c.shape[1]), c)
    rates = torch.where(put(t.reversible) > 0, forward - backward, forward) @ net
    return rates, -GAS_CONSTANT * T * (enthalpies(t, T) * rates).sum(1)


def rate_constants(t: Tables, T: Temperature, c: Species) -> Reactions:
    """k of the forward reactions, times [M] where a third body takes part in mass action."""
    put = _like(T)
    k = _arrhenius(T, *map(put, (t.factor, t.exponent, t.temperature)))
    colliders = put(t.colliders.dense(c.shape[1]))
    third = c @ colliders.T + put(t.default) * c.sum(1, keepdim=True)
    columns = list(k.unbind(1))
    for place, n in enumerate(t.falloff.tolist()):
        columns[n] = _falloff(t, place, T, columns[n], third[:, n])
    log_pressure = (GAS_CONSTANT * T * c.sum(1)).log()
    for place, n in enumerate(t.grids.reaction.tolist()):
        columns[n] = _pressure_dependent(t, place, T, log_pressure)
    for n, rate in t.chebyshev:
        columns[n] = _chebyshev(rate, T, log_pressure)
    return torch.stack(columns, dim=1) * torch.where(put(t.multiplied) > 0, third, 1.0)


def heat_capacities(t: Tables, T: Temperature) -> Species:
    """cp/R."""
    zero = torch.zeros_like(T)
    return _polynomials(t, T, torch.ones_like(T), T, T**2, T**3, T**4, zero, zero)


def enthalpies(t: Tables, T: Temperature) -> Species:
    """h/(R T)."""
    one, zero = torch.ones_like(T), torch.zeros_like(T)
    return _polynomials(t, T, one, T / 2, T**2 / 3, T**3 / 4, T**4 / 5, 1 / T, zero)


def entropies(t: Tables, T: Temperature) -> Species:
    """s/R at the reference pressure."""
    one, zero = torch.ones_like(T), torch.zeros_like(T)
    return _polynomials(t, T, T.log(), T, T**2 / 2, T**3 / 3, T**4 / 4, zero, one)


def gibbs_energies(t: Tables, T: Temperature) -> Species:
    """g/(R T) at the reference pressure."""
    return enthalpies(t, T) - entropies(t, T)


def _polynomials(t: Tables, T: Temperature, *basis: Temperature) -> Species:
    """Σ a_i basis_i with NASA's coefficients of the range that T lies in."""
    put, powers = _like(T), torch.stack(basis, dim=1)
    low, high = powers @ put(t.low).T, powers @ put(t.high).T
    return torch.where(T[:, None] <= put(t.middle), low, high)


def _products(orders: Float[np.ndarray, "reaction species"], c: Species) -> Reactions:
    """Π c_kᵅ for each reaction."""
    columns = []
    for row in orders:
        product = torch.ones_like(c[:, 0])
        for k in np.flatnonzero(row):
            order = float(row[k])
            if order.is_integer() and order > 0:
                for _ in range(int(order)):
                    product = product * c[:, k]
            else:
                product = product * c[:, k].clamp_min(_TINY) ** order
        columns.append(product)
    return torch.stack(columns, dim=1)


def _arrhenius(T: Temperature, factor: Tensor, exponent: Tensor, temperature: Tensor) -> Tensor:
    T = T[:, None]
    return factor * torch.exp(exponent * T.log() - temperature / T)


def _falloff(t: Tables, place: int, T: Temperature, high: Tensor, third: Tensor) -> Tensor:
    put = _like(T)
    low = _arrhenius(
        T, *(put(a[place : place + 1]) for a in (t.low_factor, t.low_exponent, t.low_temperature))
    )[:, 0]
    reduced = low * third / high
    return high * reduced / (1 + reduced) * _broadening(t, place, T, reduced)


def _broadening(t: Tables, place: int, T: Temperature, reduced: Tensor) -> Tensor:
    if t.terms[place] == 0:
        return torch.ones_like(T)
    a, by_t3, by_t1, t2 = t.troe[place].tolist()
    centre = (1 - a) * torch.exp(-T * by_t3) + a * torch.exp(-T * by_t1)
    if t.terms[place] == 4:
        centre = centre + torch.exp(-t2 / T)
    log_centre = centre.clamp_min(_TINY).log10()
    f = reduced.clamp_min(_TINY).log10() - 0.4 - 0.67 * log_centre
    n = 0.75 - 1.27 * log_centre
    return 10 ** (log_centre / (1 + (f / (n - 0.14 * f)) ** 2))


def _pressure_dependent(t: Tables, place: int, T: Temperature, log_pressure: Tensor) -> Tensor:
    grids, put = t.grids, _like(T)
    group = range(grids.start[place], grids.start[place + 1])
    logs = []
    for pressure in group:
        terms = slice(grids.term[pressure], grids.term[pressure + 1])
        arrays = (grids.factor, grids.exponent, grids.temperature)
        logs.append(_arrhenius(T, *(put(a[terms]) for a in arrays)).sum(1).log())
    found = logs[0]
    for n, pressure in enumerate(group[1:], 1):
        left, right = grids.log_pressure[pressure - 1 : pressure + 1].tolist()
        inside = logs[n - 1] + (logs[n] - logs[n - 1]) * (log_pressure - left) / (right - left)
        found = torch.where(log_pressure > left, inside, found)
        found = torch.where(log_pressure > right, logs[n], found)
    return found.exp()


def _chebyshev(rate: Chebyshev, T: Temperature, log_pressure: Tensor) -> Tensor:
    coldest, hottest = (1 / x for x in rate.temperature)
    least, most = (math.log(x) for x in rate.pressure)
    of_temperature = (2 / T - coldest - hottest) / (hottest - coldest)
    of_pressure = (2 * log_pressure - least - most) / (most - least)
    a = _like(T)(np.array(rate.coefficients))
    rows, columns = (
        _polynomials_of_chebyshev(x, n)
        for x, n in zip((of_temperature, of_pressure), a.shape, strict=True)
    )
    return 10 ** torch.einsum("ic,ij,jc->c", rows, a, columns)


def _polynomials_of_chebyshev(x: Tensor, count: int) -> Tensor:
    found = [torch.ones_like(x), x]
    while len(found) < count:
        found.append(2 * x * found[-1] - found[-2])
    return torch.stack(found[:count])


def _like(T: Tensor) -> Callable[[np.ndarray], Tensor]:
    """Arrays to tensors beside the temperature."""
    return lambda array: torch.as_tensor(array, dtype=T.dtype, device=T.device)
