"""States of a mean flow whose anisotropy is known: an explicit algebraic model made it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr
from jaxtyping import Float64

from sciml.rans.closures import wallin_johansson, wallin_johansson_coefficients

__all__ = ["KINDS", "manufactured_flow"]

Matrices = Float64[np.ndarray, "cell 3 3"]


def manufactured_flow(
    kind: str, count: int, *, seed: int = 0, strain: tuple[float, float] = (0.1, 10.0)
) -> xr.Dataset:
    """Random states of one kind of mean flow, labelled by the model of Wallin and Johansson.

    Each state has axes of its own, k and ε uniform in their logarithm over two decades, and |G|
    k/ε uniform in its logarithm; homogeneous shear settles at about six.

    Args:
        kind: one of `KINDS`.
        count: number of states.
        seed: of the random numbers.
        strain: range of |G| k/ε, the Frobenius norm.

    Returns:
        Over `cell`, with the names of :func:`sciml.rans.load_flow`: `velocity_gradient`,
        `turbulent_kinetic_energy`, `dissipation_rate`, `cell_volume` (all one), and as labels
        `anisotropy`, `reynolds_stress` and `coefficients` of Pope's tensors over `basis`, so that b
        = Σ gₙ Tₙ. Only in general flows are the ten tensors independent enough for coefficients to
        be unique; b always is.

    Raises:
        ValueError: an unknown kind, no states, or a range without width above zero.

    >>> flow = manufactured_flow("homogeneous shear", 4)
    >>> flow["coefficients"].sizes["basis"], flow.attrs["flow"]
    (10, 'homogeneous shear')
    """
    if kind not in _GRADIENTS:
        raise ValueError(f"there is no kind {kind!r} of flow, only {', '.join(KINDS)}")
    if count < 1 or not 0 < strain[0] <= strain[1]:
        raise ValueError(
            f"count is {count} and strain {strain}; give at least one state, and a range above zero"
        )
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    k, epsilon = 10.0 ** rng.uniform(-1, 1, (2, count))
    low, high = np.log(strain[0]), np.log(strain[1])
    size = np.exp(rng.uniform(low, high, count)) * epsilon / k
    G = _turned(_GRADIENTS[kind](rng, count), rng)
    G *= (size / np.linalg.norm(G, axis=(1, 2)))[:, None, None]
    return _labelled(kind, seed, G, k, epsilon)


def _labelled(
    kind: str,
    seed: int,
    G: Matrices,
    k: Float64[np.ndarray, " cell"],
    epsilon: Float64[np.ndarray, " cell"],
) -> xr.Dataset:
    b, g = wallin_johansson(G, k, epsilon), wallin_johansson_coefficients(G, k, epsilon)
    stress = 2 * k[:, None, None] * (b + np.eye(3) / 3)
    matrix = ("cell", "i", "j")
    return xr.Dataset(
        {
            "cell_volume": ("cell", np.ones_like(k), {"units": "m3"}),
            "velocity_gradient": (matrix, G, {"units": "s-1"}),
            "turbulent_kinetic_energy": ("cell", k, {"units": "m2 s-2"}),
            "dissipation_rate": ("cell", epsilon, {"units": "m2 s-3"}),
            "reynolds_stress": (matrix, stress, {"units": "m2 s-2"}),
            "anisotropy": (matrix, b, {"units": "1"}),
            "coefficients": (("cell", "basis"), g, {"units": "1"}),
        },
        attrs={
            "flow": kind,
            "family": "manufactured",
            "turbulence_model": "none: random states",
            "reference_simulation": "explicit algebraic stress model",
            "source": "Wallin and Johansson, J. Fluid Mech. 403 (2000) 89-132",
            "doi": "10.1017/S0022112000007004",
            "seed": seed,
        },
    )


def _turned(G: Matrices, rng: np.random.Generator) -> Matrices:
    """Each in axes of its own, uniform over all rotations."""
    Q, R = np.linalg.qr(rng.standard_normal(G.shape))
    Q *= np.sign(np.diagonal(R, axis1=1, axis2=2))[:, None, :]
    Q *= np.linalg.det(Q)[:, None, None]
    return Q @ G @ Q.transpose(0, 2, 1)


_SHEAR = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
_PLANE = np.diag([1.0, -1.0, 0.0])
_TURN = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])


def _shear(rng: np.random.Generator, count: int) -> Matrices:
    return np.tile(_SHEAR, (count, 1, 1))


def _plane(rng: np.random.Generator, count: int) -> Matrices:
    return np.tile(_PLANE, (count, 1, 1))


def _axisymmetric(rng: np.random.Generator, count: int) -> Matrices:
    """Contraction or expansion."""
    return rng.choice([-1.0, 1.0], count)[:, None, None] * np.diag([2.0, -1.0, -1.0])


def _rotating(rng: np.random.Generator, count: int) -> Matrices:
    """Plane strain in a frame that turns about its normal: hyperbolic to elliptic."""
    angle = rng.uniform(0, np.pi / 2, count)[:, None, None]
    return np.cos(angle) * _PLANE + np.sin(angle) * _TURN


def _general(rng: np.random.Generator, count: int) -> Matrices:
    """Strain and rotation without common axes, of any ratio."""
    G = rng.standard_normal((count, 3, 3))
    G -= np.trace(G, axis1=1, axis2=2)[:, None, None] * np.eye(3) / 3
    S, R = (G + G.transpose(0, 2, 1)) / 2, (G - G.transpose(0, 2, 1)) / 2
    angle = rng.uniform(0, np.pi / 2, count)[:, None, None]
    return np.cos(angle) * _unit(S) + np.sin(angle) * _unit(R)


def _unit(a: Matrices) -> Matrices:
    return a / np.linalg.norm(a, axis=(1, 2), keepdims=True)


_GRADIENTS: dict[str, Callable[[np.random.Generator, int], Matrices]] = {
    "homogeneous shear": _shear,
    "plane strain": _plane,
    "axisymmetric strain": _axisymmetric,
    "rotation and strain": _rotating,
    "general": _general,
}

KINDS = tuple(_GRADIENTS)
"""Of mean flows, whose gradient is the same everywhere."""
