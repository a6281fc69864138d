"""Polynomial fields by sequentially thresholded least squares (SINDy), strong and weak."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.dynamics.fields.constraints import Known
from sciml.dynamics.fields.monomials import Monomials
from sciml.dynamics.fields.polynomial import Polynomial

__all__ = ["central_differences", "fit_polynomial", "fit_polynomial_weakly", "thresholded"]


def central_differences(
    states: Float[Tensor, "*batch time component"], step: float, *, order: int = 8
) -> tuple[Float[Tensor, "*batch inner component"], Float[Tensor, "*batch inner component"]]:
    r"""States away from the ends and their rates, by central differences.

    $\dot x_n \approx \frac1h \sum_{k=1}^{p/2} d_k (x_{n+k} - x_{n-k})$, of order p, exact for
    polynomials of degree p.

    Args:
        states: x at constant steps of time.
        step: h.
        order: p, even.

    Returns:
        The states at which the rates are known, and the rates.

    Raises:
        ValueError: an odd order, or too few times for it.

    Example:
        >>> t = torch.linspace(0, 1, 11, dtype=torch.float64)[:, None]
        >>> inner, rates = central_differences(t**4, 0.1, order=4)
        >>> bool(torch.allclose(rates, 4 * t[2:-2] ** 3))
        True
    """
    half, count = order // 2, states.shape[-2]
    if order < 2 or order % 2 or count <= order:
        raise ValueError(
            f"central differences of order {order} on {count} times: "
            "the order must be even and smaller than the number of times"
        )
    weights = [
        (-1) ** (k + 1) * math.comb(2 * half, half + k) / math.comb(2 * half, half) / k
        for k in range(1, half + 1)
    ]
    inner = count - 2 * half
    rates = torch.zeros_like(states[..., half : half + inner, :])
    for k, weight in enumerate(weights, start=1):
        ahead = states[..., half + k : half + k + inner, :]
        rates = rates + weight * (ahead - states[..., half - k : half - k + inner, :])
    return states[..., half : half + inner, :], rates / step


def fit_polynomial(
    states: Float[Tensor, "*batch component"],
    rates: Float[Tensor, "*batch component"],
    *,
    degree: int = 2,
    threshold: float = 0.0,
    ridge: float = 0.0,
) -> Polynomial:
    """The sparse polynomial field that fits given rates.

    Args:
        states: x.
        rates: rates of change of x; rows with a value that is not finite are left out.
        degree: of the polynomial.
        threshold: smaller coefficients are set to zero and the others fitted again.
        ridge: weight of the squared coefficients of the scaled monomials, relative to the data.

    Returns:
        A float64 field; coefficients that were set to zero are no parameters of it.

    Brunton, Proctor and Kutz, "Discovering governing equations from data by sparse identification
    of nonlinear dynamical systems", 2016, doi:10.1073/pnas.1517384113.

    >>> x = torch.rand(50, 1, dtype=torch.float64)
    >>> print(fit_polynomial(x, -3 * x**2, threshold=0.1))
    dx/dt = -3 x x
    """
    components = states.shape[-1]
    points = states.reshape(-1, components).to(torch.float64)
    values = rates.reshape(-1, components).to(torch.float64)
    kept = torch.isfinite(points).all(1) & torch.isfinite(values).all(1)
    library = Monomials(components, degree)
    matrix = thresholded(library(points[kept]), values[kept], threshold, ridge=ridge)
    return _field(matrix, components, degree)


def fit_polynomial_weakly(
    states: Float[Tensor, "batch time component"],
    step: float,
    *,
    degree: int = 2,
    width: int = 20,
    power: int = 8,
    stride: int = 1,
    threshold: float = 0.0,
    ridge: float = 0.0,
) -> Polynomial:
    r"""The sparse polynomial field that fits trajectories, without derivatives of these.

    For test functions $\phi_m(t) = (1 - (t - t_m)^2/a^2)^q$, zero where $|t - t_m| \ge a$,

    $-\int \dot\phi_m\, x \,dt = \int \phi_m\, f(x)\, dt$

    is linear in the coefficients of f, and noise is averaged rather than differentiated.

    Args:
        states: x at constant steps of time, without gaps.
        step: between the times.
        degree: of the polynomial.
        width: a / step.
        power: q; the rule of trapezoids is then of order 2 [q/2] + 2 or so.
        stride: steps between the centres t_m.
        threshold: see `fit_polynomial`.
        ridge: see `fit_polynomial`.

    Raises:
        ValueError: trajectories shorter than a test function.

    Messenger and Bortz, "Weak SINDy", 2021, doi:10.1137/20M1343166.
    """
    if states.shape[1] < 2 * width + 1:
        raise ValueError(
            f"{states.shape[1]} times are fewer than the {2 * width + 1} of a test function: "
            "give longer trajectories or a smaller width"
        )
    library = Monomials(states.shape[-1], degree)
    s = torch.arange(-width, width + 1, dtype=torch.float64) / width
    bump = (1 - s**2) ** power
    slope = -2 * power * s * (1 - s**2) ** (power - 1) / (width * step)
    x = states.to(torch.float64)
    left = _integrals(library(x), bump, stride)
    right = -_integrals(x, slope, stride)
    return _field(thresholded(left, right, threshold, ridge=ridge), states.shape[-1], degree)


def thresholded(
    values: Float[Tensor, "row term"],
    targets: Float[Tensor, "row component"],
    threshold: float,
    *,
    ridge: float = 0.0,
) -> Float[Tensor, "term component"]:
    """Sequentially thresholded least squares, column by column of `targets`.

    Terms are scaled to root mean square one for the fit; the threshold is on the coefficients.

    Raises:
        ValueError: fewer rows than terms.
    """
    if len(values) < values.shape[1]:
        raise ValueError(
            f"{len(values)} finite samples cannot fit {values.shape[1]} terms: give more of them"
        )
    columns = [_thresholded(values, target, threshold, ridge) for target in targets.unbind(1)]
    return torch.stack(columns, 1)


def _thresholded(values: Tensor, target: Tensor, threshold: float, ridge: float) -> Tensor:
    active = torch.ones(values.shape[1], dtype=torch.bool)
    for _ in range(values.shape[1] + 1):
        found = torch.zeros(values.shape[1], dtype=values.dtype)
        if active.any():
            found[active] = _least_squares(values[:, active], target, ridge)
        kept = active & (found.abs() > threshold)
        if torch.equal(kept, active):
            break
        active = kept
    return found


def _least_squares(values: Tensor, target: Tensor, ridge: float) -> Tensor:
    size = values.square().mean(0).sqrt().clamp_min(1e-300)
    scaled = values / size
    if ridge > 0:
        damping = math.sqrt(ridge * len(values)) * torch.eye(values.shape[1], dtype=values.dtype)
        scaled = torch.cat([scaled, damping])
        target = torch.cat([target, target.new_zeros(values.shape[1])])
    return torch.linalg.lstsq(scaled, target[:, None]).solution[:, 0] / size


def _integrals(series: Tensor, weights: Tensor, stride: int) -> Tensor:
    """Sums of windows of every trajectory against weights, as rows."""
    windows = series.unfold(1, len(weights), stride)
    return (windows @ weights).reshape(-1, series.shape[-1])


def _field(matrix: Tensor, components: int, degree: int) -> Polynomial:
    library = Monomials(components, degree)
    zeros = {
        (library.names[i], term): 0.0
        for k, term in enumerate(library.terms)
        for i in range(components)
        if matrix[k, i] == 0
    }
    constraints = [Known(values=zeros)] if zeros else []
    field = Polynomial(components, degree=degree, constraints=constraints).double()
    field.set_coefficients(matrix)
    return field
