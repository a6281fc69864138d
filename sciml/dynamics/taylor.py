"""Lorenz-63 by Taylor series, compiled by numba: the truth that every model is judged against.

The coefficients of the solution about one instant follow from each other,

(k+1) x_{k+1} = σ (y_k − x_k)
(k+1) y_{k+1} = ρ x_k − y_k − Σ_i x_i z_{k−i}
(k+1) z_{k+1} = Σ_i x_i y_{k−i} − β z_k

so that a step of any order costs a few hundred operations and rounds once. At the order and step
used here the truncated terms are below rounding.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from jaxtyping import Float

__all__ = ["taylor_series"]


def _jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile the plain function, below whatever checks of types an import hook laid over it."""
    return numba.njit(cache=True, nogil=True)(inspect.unwrap(function))


def taylor_series(
    initial: Float[np.ndarray, "sample 3"],
    times: Float[np.ndarray, "sample time"],
    parameters: tuple[float, float, float],
    *,
    order: int,
    step: float,
) -> Float[np.ndarray, "sample time 3"]:
    """States at `times` from the states at the first of them.

    Args:
        initial: (x, y, z) at the first time, without unit.
        times: increasing along each row, without unit.
        parameters: σ, ρ, β.
        order: of the series.
        step: every interval is divided in equal steps no longer than this.

    >>> equilibrium = np.array([[1.0, 1.0, 1.0]])
    >>> taylor_series(equilibrium, np.array([[0.0, 5.0]]), (1.0, 2.0, 1.0), order=20, step=0.05)
    array([[[1., 1., 1.], [1., 1., 1.]]])
    """
    states = np.empty((*times.shape, 3))
    initial, times = np.ascontiguousarray(initial), np.ascontiguousarray(times)
    _march(initial, times, *parameters, order, step, states)
    return states


@_jit
def _march(
    initial: np.ndarray,
    times: np.ndarray,
    sigma: float,
    rho: float,
    beta: float,
    order: int,
    step: float,
    states: np.ndarray,
) -> None:
    x, y, z = np.empty(order + 1), np.empty(order + 1), np.empty(order + 1)
    for sample in range(times.shape[0]):
        x[0], y[0], z[0] = initial[sample]
        states[sample, 0] = initial[sample]
        for t in range(1, times.shape[1]):
            interval = times[sample, t] - times[sample, t - 1]
            parts = max(1, int(np.ceil(interval / step - 1e-9)))
            for _ in range(parts):
                _step(x, y, z, sigma, rho, beta, interval / parts, order)
            states[sample, t, 0], states[sample, t, 1], states[sample, t, 2] = x[0], y[0], z[0]


@_jit
def _step(
    x: np.ndarray,
    y: np.ndarray,
    z: np.ndarray,
    sigma: float,
    rho: float,
    beta: float,
    h: float,
    order: int,
) -> None:
    """The coefficients about the present state, then their sum h later in their first places."""
    for k in range(order):
        xz, xy = 0.0, 0.0
        for i in range(k + 1):
            xz += x[i] * z[k - i]
            xy += x[i] * y[k - i]
        x[k + 1] = sigma * (y[k] - x[k]) / (k + 1)
        y[k + 1] = (rho * x[k] - y[k] - xz) / (k + 1)
        z[k + 1] = (xy - beta * z[k]) / (k + 1)
    a, b, c = x[order], y[order], z[order]
    for k in range(order - 1, -1, -1):
        a, b, c = a * h + x[k], b * h + y[k], c * h + z[k]
    x[0], y[0], z[0] = a, b, c
