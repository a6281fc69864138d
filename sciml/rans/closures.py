r"""Algebraic closures: the anisotropy as a known function of the mean velocity gradient.

They are what a network has to beat. With τ = k/ε, s = τ S and r = τ R, each is a sum of Pope's
tensors with coefficients of its own,

    b = Σ gₙ Tₙ(s, r)

and holds away from walls: none of them has a damping function. A trace that a discretised gradient
has is taken off s, so that b is traceless.

S. B. Pope, A more general effective-viscosity hypothesis, J. Fluid Mech. 72 (1975) 331-340,
doi:10.1017/S0022112075003382
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float, Float64

from sciml.rans.states import DIVERGENCE, check_states

__all__ = [
    "C_MU",
    "gatski_speziale",
    "linear_eddy_viscosity",
    "quadratic_eddy_viscosity",
    "wallin_johansson",
    "wallin_johansson_coefficients",
]

C_MU = 0.09

Matrices = Float64[np.ndarray, "cell 3 3"]
Numbers = Float64[np.ndarray, " cell"]
Given = Float[np.ndarray, "..."]
"""Of any shape: a wrong one is refused by `check_states`, with a sentence."""


def linear_eddy_viscosity(
    velocity_gradient: Given,
    turbulent_kinetic_energy: Given,
    dissipation_rate: Given,
    *,
    c_mu: float | Given = C_MU,
    tolerance: float = DIVERGENCE,
) -> Matrices:
    r"""Boussinesq's closure, LEVM.

        b = -C_μ s

    Args:
        velocity_gradient: G, (cell, 3, 3), `G[:, i, j]` = ∂Uᵢ/∂xⱼ, 1/s.
        turbulent_kinetic_energy: k, (cell,), m²/s².
        dissipation_rate: ε, (cell,), m²/s³.
        c_mu: C_μ; of one number for each cell, ν_t ε / k² takes the eddy viscosity of the model
            that made the flow, whose limiter lowers it below 0.09 (k-ω SST).
        tolerance: of the trace of G, see :func:`sciml.rans.check_states`.

    Returns:
        b, symmetric and traceless.

    Raises:
        ValueError: states that `check_states` refuses, or a `c_mu` of another shape.

    >>> shear = np.zeros((1, 3, 3))
    >>> shear[0, 0, 1] = 10 / 3
    >>> linear_eddy_viscosity(shear, np.ones(1), np.ones(1))[0, 0, 1].round(12).item()
    -0.15
    """
    s, r = _rates(velocity_gradient, turbulent_kinetic_energy, dissipation_rate, tolerance)
    return _sum(s, r, {1: -_of_each_cell(c_mu, len(s))})


def quadratic_eddy_viscosity(
    velocity_gradient: Given,
    turbulent_kinetic_energy: Given,
    dissipation_rate: Given,
    *,
    c_mu: float | Given = C_MU,
    tolerance: float = DIVERGENCE,
) -> Matrices:
    r"""The quadratic part of the closure of Craft, Launder and Suga, QEVM.

        b = -C_μ s + 2 C_μ (c₁ T₃ - c₂ T₂ - c₃ T₄),   c₁ = -0.1, c₂ = 0.1, c₃ = 0.26

    Their strain and rotation are twice S and R, hence the factor. Their cubic terms are left out,
    and so is their C_μ that falls with the strain (0.3 / (1 + 0.35 η^1.5) and so on): with it
    belongs their own k-ε model, and here C_μ is 0.09, or that of the model that made the flow.

    Arguments, result and refusals as in :func:`linear_eddy_viscosity`.

    T. J. Craft, B. E. Launder, K. Suga, Development and application of a cubic eddy-viscosity model
    of turbulence, Int. J. Heat Fluid Flow 17 (1996) 108-115, doi:10.1016/0142-727X(95)00079-6
    """
    s, r = _rates(velocity_gradient, turbulent_kinetic_energy, dissipation_rate, tolerance)
    c = _of_each_cell(c_mu, len(s))
    return _sum(s, r, {1: -c, 2: -0.2 * c, 3: -0.2 * c, 4: -0.52 * c})


def wallin_johansson(
    velocity_gradient: Given,
    turbulent_kinetic_energy: Given,
    dissipation_rate: Given,
    *,
    tolerance: float = DIVERGENCE,
) -> Matrices:
    r"""The explicit algebraic stress model of Wallin and Johansson, for three-dimensional flow.

    In weak equilibrium, with the pressure strain of Launder, Reece and Rodi (c₁ = 1.8, c₂ = 5/9),
    the Reynolds stress equation becomes linear in b for a given ratio N of time scales,

        N b = -3/5 s + b r - r b,   N = 9/4 (c₁ - 1) - 9/2 tr(b s),

    and has the solution that :func:`wallin_johansson_coefficients` gives. The corrections of the
    paper for low Reynolds numbers near walls are left out.

    Arguments, result and refusals as in :func:`linear_eddy_viscosity`.

    S. Wallin, A. V. Johansson, An explicit algebraic Reynolds stress model for incompressible and
    compressible turbulent flows, J. Fluid Mech. 403 (2000) 89-132, doi:10.1017/S0022112000007004
    """
    s, r = _rates(velocity_gradient, turbulent_kinetic_energy, dissipation_rate, tolerance)
    return _sum(s, r, _wallin_johansson(s, r))


def wallin_johansson_coefficients(
    velocity_gradient: Given,
    turbulent_kinetic_energy: Given,
    dissipation_rate: Given,
    *,
    tolerance: float = DIVERGENCE,
) -> Float64[np.ndarray, "cell 10"]:
    r"""The coefficients of Pope's ten tensors in the model of Wallin and Johansson.

    With λ₁ = tr s², λ₂ = tr r², λ₄ = tr r²s, Q = 5/6 (N² - 2 λ₂) (2 N² - λ₂), and half the paper's
    βₙ, whose anisotropy is 2 b:

        g₁ = -N (2 N² - 7 λ₂) / 2Q,   g₂ = -(N² - 2 λ₂) / Q,   g₄ = -6 λ₄ / (N Q),
        g₆ = -3 N / Q,                g₇ = 3 / Q,              the others are zero.

    N solves a cubic where the mean flow is two-dimensional. In three dimensions the paper adds a
    correction of first order, which meets the definition of N to 1 % in nine of ten random states
    up to |G| k/ε = 5, and badly under strong rotation; b solves its equation for whatever N.

    Arguments and refusals as in :func:`linear_eddy_viscosity`.

    >>> wallin_johansson_coefficients(np.zeros((1, 3, 3)), np.ones(1), np.ones(1))[0, :2].round(4)
    array([-0.3333, -0.1852])
    """
    s, r = _rates(velocity_gradient, turbulent_kinetic_energy, dissipation_rate, tolerance)
    found = np.zeros((len(s), 10))
    for n, g in _wallin_johansson(s, r).items():
        found[:, n - 1] = g
    return found


def gatski_speziale(
    velocity_gradient: Given,
    turbulent_kinetic_energy: Given,
    dissipation_rate: Given,
    *,
    tolerance: float = DIVERGENCE,
) -> Matrices:
    r"""The explicit algebraic stress model of Gatski and Speziale, regularised.

    From the pressure strain of Speziale, Sarkar and Gatski, made linear (C₁ = 6.8, C₂ = 0.36,
    C₃ = 1.25, C₄ = 0.4), with the production of equilibrium P/ε = 0.83/0.44, g = 1 / (C₁/2 + P/ε -
    1), α₁ = (4/3 - C₂) g/2, α₂ = (2 - C₄) g/2, α₃ = (2 - C₃) g:

        b = -F α₁ (s + α₂ T₂ - α₃ T₃),   F = 3 (1 + η²) / (3 + η² + 6 η² ξ² + 6 ξ²),
        η² = α₃² tr(s²)/4,   ξ² = -α₂² tr(r²)

    F stands for 3 / (3 - 2 η² + 6 ξ²), which is singular far from equilibrium and within a percent
    of F near by; F lies between 0 and 3. The form is exact in two-dimensional mean flow alone.

    Arguments, result and refusals as in :func:`linear_eddy_viscosity`.

    T. B. Gatski, C. G. Speziale, On explicit algebraic stress models for complex turbulent flows,
    J. Fluid Mech. 254 (1993) 59-78, doi:10.1017/S0022112093002034
    """
    s, r = _rates(velocity_gradient, turbulent_kinetic_energy, dissipation_rate, tolerance)
    g = 1 / (6.8 / 2 + 0.83 / 0.44 - 1)
    first, second, third = (4 / 3 - 0.36) * g / 2, (2 - 0.4) * g / 2, (2 - 1.25) * g
    eta, xi = third**2 * _trace(s @ s) / 4, -(second**2) * _trace(r @ r)
    F = 3 * (1 + eta) / (3 + eta + 6 * eta * xi + 6 * xi)
    return _sum(s, r, {1: -F * first, 2: -F * first * second, 3: F * first * third})


def _wallin_johansson(s: Matrices, r: Matrices) -> dict[int, Numbers]:
    s2, r2 = s @ s, r @ r
    strain, rotation, mixed, fifth = _trace(s2), _trace(r2), _trace(r2 @ s), _trace(r2 @ s2)
    N = _time_scale_ratio(strain, rotation, mixed, fifth - strain * rotation / 2)
    Q = 5 / 6 * (N**2 - 2 * rotation) * (2 * N**2 - rotation)
    return {
        1: -N * (2 * N**2 - 7 * rotation) / (2 * Q),
        2: -(N**2 - 2 * rotation) / Q,
        4: -6 * mixed / (N * Q),
        6: -3 * N / Q,
        7: 3 / Q,
    }


def _time_scale_ratio(strain: Numbers, rotation: Numbers, mixed: Numbers, out: Numbers) -> Numbers:
    """N: the positive root of the cubic of two-dimensional flow, corrected by `mixed` and `out`.

    `mixed` is tr r²s and `out` is tr r²s² - tr s² tr r² / 2; both vanish in two dimensions.
    """
    c = 9 / 4 * (1.8 - 1)
    N = _root_of_cubic(c, strain, rotation)
    D = 20 * N**4 * (N - c / 2) - rotation * (10 * N**3 + 15 * c * N**2) + 10 * c * rotation**2
    return N + 162 * (mixed**2 + out * N**2) / D


def _root_of_cubic(c: float, strain: Numbers, rotation: Numbers) -> Numbers:
    """The positive root of (N - c) (N² - 2 λ₂) = 27/10 λ₁ N, in closed form.

    A Newton step mends what the closed form loses by cancellation under strong rotation.
    """
    P1 = (c**2 / 27 + 9 / 20 * strain - 2 / 3 * rotation) * c
    cube = (c**2 / 9 + 9 / 10 * strain + 2 / 3 * rotation) ** 3
    root = np.sqrt(np.maximum(P1**2 - cube, 0))
    one = np.cbrt(P1 + root) + np.cbrt(P1 - root)
    safe = np.maximum(cube, P1**2)
    three = 2 * safe ** (1 / 6) * np.cos(np.arccos(P1 / np.sqrt(safe)) / 3)
    N = c / 3 + np.where(cube > P1**2, three, one)
    square = N**2 - 2 * rotation
    residual = (N - c) * square - 2.7 * strain * N
    return N - residual / (square + 2 * N * (N - c) - 2.7 * strain)


def _rates(
    velocity_gradient: Given, energy: Given, dissipation: Given, tolerance: float
) -> tuple[Matrices, Matrices]:
    """s, without a trace, and r."""
    G, k, epsilon = check_states(velocity_gradient, energy, dissipation, tolerance=tolerance)
    G = G * (k / epsilon)[:, None, None]
    transposed = G.transpose(0, 2, 1)
    return _deviator((G + transposed) / 2), (G - transposed) / 2


def _of_each_cell(c_mu: float | np.ndarray, cells: int) -> Numbers:
    c = np.asarray(c_mu, dtype=np.float64)
    if c.shape not in ((), (cells,)):
        raise ValueError(f"c_mu has the shape {c.shape}; give a number, or one for each of {cells}")
    return np.broadcast_to(c, (cells,))


def _sum(s: Matrices, r: Matrices, coefficients: Mapping[int, Numbers]) -> Matrices:
    b = np.zeros_like(s)
    for n, g in coefficients.items():
        b += g[:, None, None] * _TENSORS[n](s, r)
    return b


def _trace(a: Matrices) -> Numbers:
    return np.trace(a, axis1=1, axis2=2)


def _deviator(a: Matrices) -> Matrices:
    return a - _trace(a)[:, None, None] * np.eye(3) / 3


_TENSORS: Mapping[int, Callable[[Matrices, Matrices], Matrices]] = {
    1: lambda s, r: s,
    2: lambda s, r: s @ r - r @ s,
    3: lambda s, r: _deviator(s @ s),
    4: lambda s, r: _deviator(r @ r),
    6: lambda s, r: _deviator(r @ r @ s + s @ r @ r),
    7: lambda s, r: r @ s @ r @ r - r @ r @ s @ r,
}
"""Those of Pope's tensors that a closure here uses, by his numbers."""
