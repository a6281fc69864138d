"""Scalars of the mean flow that no change of axes alters: what a closure may depend on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = [
    "FEATURES",
    "REQUIRED",
    "FeatureGroup",
    "TimeScale",
    "feature_count",
    "features",
    "required",
    "turbulence_time",
]

FeatureGroup = Literal["wall", "viscosity", "length", "energy", "pressure", "integrity"]

TimeScale = Literal["turnover", "viscous"]

REQUIRED: dict[FeatureGroup, dict[str, str]] = {
    "wall": {"wall_distance": "m", "kinematic_viscosity": "m2 s-1"},
    "viscosity": {"kinematic_viscosity": "m2 s-1"},
    "length": {"wall_distance": "m"},
    "energy": {"turbulent_kinetic_energy_gradient": "m s-2"},
    "pressure": {"turbulent_kinetic_energy_gradient": "m s-2", "pressure_gradient": "m s-2"},
    "integrity": {"turbulent_kinetic_energy_gradient": "m s-2", "pressure_gradient": "m s-2"},
}
"""Variables, with their units, that each group needs besides gradient, k and ε."""

Scalar = Float[Tensor, " cell"]
Vectors = Float[Tensor, "cell 3"]
Matrices = Float[Tensor, "cell 3 3"]
Fields = Mapping[str, Tensor]

_TINY = 1e-30
_SHAPES = {"m": (1,), "m2 s-1": (1,), "m s-2": (1, 3)}


def required(groups: Sequence[FeatureGroup], time_scale: TimeScale = "turnover") -> dict[str, str]:
    """The variables that some groups and a time scale need, with their units, each once."""
    needed = {name: unit for group in groups for name, unit in REQUIRED[group].items()}
    return needed | REQUIRED["viscosity"] if time_scale == "viscous" else needed


def turbulence_time(
    turbulent_kinetic_energy: Scalar,
    dissipation_rate: Scalar,
    fields: Fields | None = None,
    *,
    scale: TimeScale = "turnover",
) -> Scalar:
    r"""The time T by which strain and rotation are made dimensionless, s.

    - "turnover": $T = k/\varepsilon$, which vanishes at a wall as it does where nothing is sheared;
    - "viscous": $T = k/\varepsilon + \sqrt{\nu/\varepsilon}$, which becomes Kolmogorov's time at a
      wall: a wall and the middle of a channel can be told apart. Z. Yang, T. H. Shih, AIAA J. 31
      (1993) 1191, doi:10.2514/3.11752.

    Args:
        turbulent_kinetic_energy: k, m²/s².
        dissipation_rate: ε, m²/s³.
        fields: with the `kinematic_viscosity` ν, m²/s, for the second.
        scale: which.

    >>> turbulence_time(torch.ones(1), torch.full((1,), 4.0)).item()
    0.25
    """
    turnover = turbulent_kinetic_energy / dissipation_rate
    if scale == "turnover":
        return turnover
    return turnover + ((fields or {})["kinematic_viscosity"] / dissipation_rate).sqrt()


def features(
    velocity_gradient: Matrices,
    turbulent_kinetic_energy: Scalar,
    dissipation_rate: Scalar,
    fields: Fields | None = None,
    *,
    groups: Sequence[FeatureGroup] = (),
    time_scale: TimeScale = "turnover",
) -> Float[Tensor, "cell feature"]:
    r"""Features of each cell, unchanged by rotation, reflection and motion of the frame.

    Always there are those of the velocity gradient G alone, with |G|² = |S|² + |R|²:

        ln(|G| T),  (|S|² - |R|²)/|G|²,  its cube root,
        4 tr S³/|G|³,  4 tr R²S/|G|³,  4 tr R²S²/|G|⁴

    which are Pope's five invariants, as numbers of order one, with T of `turbulence_time`; the root
    tells states on either side of shear apart, where most of a flow is. The groups add

    - `wall`: √k d/ν, its logarithm and limited to 100, of the wall distance d;
    - `viscosity`: ln(k²/(ε ν)), the ratio of the viscosities but for a constant;
    - `length`: ln(L/d) with L = k^{3/2}/ε;
    - `energy`: ln(|∇k| L/k), and how its direction n lies to S and R: n·Sn, |Sn|², |Rn|², Sn·Rn;
    - `pressure`: the same of the pressure gradient, by k/L, and its angle to ∇k;
    - `integrity`: 47 invariants of S, R, ∇p and ∇k, see :func:`integrity_basis`.

    Args:
        velocity_gradient: G, G[:, i, j] = ∂Uᵢ/∂xⱼ, 1/s.
        turbulent_kinetic_energy: k, m²/s².
        dissipation_rate: ε, m²/s³.
        fields: the variables of `required(groups)`, by name.
        groups: what to add, in the order above whatever is given.
        time_scale: T, see :func:`turbulence_time`.

    Returns:
        The features in float64.

    Raises:
        KeyError: a field that a group or the time scale needs was not given.

    J.-X. Wang, J.-L. Wu, H. Xiao, Phys. Rev. Fluids 2 (2017) 034603,
    doi:10.1103/PhysRevFluids.2.034603, and Ling, Templeton, Phys. Fluids 27 (2015) 085103,
    doi:10.1063/1.4927765, for scalars of this kind.

    >>> shear = torch.tensor([[[0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]])
    >>> features(shear, torch.ones(1), torch.ones(1))[0, 1:]
    tensor([ 0.0000,  0.0000,  0.0000,  0.0000, -0.5000], dtype=torch.float64)
    """
    given = (velocity_gradient, turbulent_kinetic_energy, dissipation_rate, fields or {})
    flow = _Flow(*given, time_scale)
    columns = _gradient(flow)
    for group in FEATURES:
        columns += FEATURES[group](flow) if group in groups else []
    return torch.stack(columns, 1)


def feature_count(groups: Sequence[FeatureGroup] = ()) -> int:
    """How many features some groups give, found on one cell.

    >>> feature_count(), feature_count(["integrity"])
    (6, 53)
    """
    ones = {name: torch.ones(_SHAPES[unit]) for name, unit in required(groups).items()}
    return features(torch.eye(3)[None], torch.ones(1), torch.ones(1), ones, groups=groups).shape[1]


class _Flow:
    """A mean flow in float64, with what several groups use."""

    def __init__(
        self, G: Matrices, k: Scalar, epsilon: Scalar, fields: Fields, scale: TimeScale
    ) -> None:
        G = G.double()
        self.k, self.epsilon = k.double(), epsilon.double()
        self.fields = {name: field.double() for name, field in fields.items()}
        self.size = G.square().sum((1, 2)).sqrt()
        self.strained = self.size * turbulence_time(self.k, self.epsilon, self.fields, scale=scale)
        unit = G / (self.size + _TINY)[:, None, None]
        self.strain, self.rotation = (unit + unit.mT) / 2, (unit - unit.mT) / 2
        self.length = self.k**1.5 / self.epsilon


def _gradient(flow: _Flow) -> list[Scalar]:
    s, r = flow.strain, flow.rotation
    s2, r2 = s @ s, r @ r
    imbalance = _trace(s2) + _trace(r2)
    return [
        (flow.strained + 1e-3).log(),
        imbalance,
        _root(imbalance),
        4 * _trace(s2 @ s),
        4 * _trace(r2 @ s),
        4 * _trace(r2 @ s2),
    ]


def _wall(flow: _Flow) -> list[Scalar]:
    reynolds = flow.k.sqrt() * flow.fields["wall_distance"] / flow.fields["kinematic_viscosity"]
    return [(reynolds + 1e-2).log(), (reynolds / 50).clamp(max=2)]


def _viscosity(flow: _Flow) -> list[Scalar]:
    return [(flow.k**2 / (flow.epsilon * flow.fields["kinematic_viscosity"]) + 1e-2).log()]


def _length(flow: _Flow) -> list[Scalar]:
    return [(flow.length / flow.fields["wall_distance"].clamp(min=_TINY) + 1e-3).log()]


def _energy(flow: _Flow) -> list[Scalar]:
    return _direction(flow, flow.fields["turbulent_kinetic_energy_gradient"])


def _pressure(flow: _Flow) -> list[Scalar]:
    pressure = flow.fields["pressure_gradient"]
    energy = flow.fields["turbulent_kinetic_energy_gradient"]
    cosine = (_unit(pressure) * _unit(energy)).sum(1)
    return [*_direction(flow, pressure), cosine]


def _direction(flow: _Flow, gradient: Vectors) -> list[Scalar]:
    """Size of a gradient of k or p, and how it lies to strain and rotation."""
    n = _unit(gradient)[:, :, None]
    sn, rn = (flow.strain @ n)[..., 0], (flow.rotation @ n)[..., 0]
    size = gradient.square().sum(1).sqrt() * flow.length / flow.k
    return [
        (size + 1e-3).log(),
        (n[..., 0] * sn).sum(1),
        sn.square().sum(1),
        rn.square().sum(1),
        (sn * rn).sum(1),
    ]


def _integrity(flow: _Flow) -> list[Scalar]:
    scale = (flow.length / flow.k)[:, None]
    pressure = flow.fields["pressure_gradient"] * scale
    energy = flow.fields["turbulent_kinetic_energy_gradient"] * scale
    time = (flow.strained / (1 + flow.strained))[:, None, None]
    found = integrity_basis(
        time * flow.strain, time * flow.rotation, _bounded(pressure), _bounded(energy)
    )
    return [_root(column) for column in found.unbind(1)]


def integrity_basis(
    strain: Matrices, rotation: Matrices, pressure: Vectors, energy: Vectors
) -> Float[Tensor, "cell 47"]:
    r"""The 47 invariants of a symmetric tensor, a rotation rate and two gradients.

    A gradient v takes part as the antisymmetric matrix of v×. The invariants are the traces of the
    products of one symmetric and three antisymmetric matrices that form a minimal integrity basis
    for rotations. Those with an odd number of gradients change their sign in a mirror: of these
    the absolute value is returned, so that none changes.

    Args:
        strain: Ŝ, normalised.
        rotation: R̂, normalised.
        pressure: ∇p, normalised.
        energy: ∇k, normalised.

    J.-L. Wu, H. Xiao, E. Paterson, Phys. Rev. Fluids 3 (2018) 074602, table of its appendix,
    doi:10.1103/PhysRevFluids.3.074602.
    """
    letters = {"S": strain, "R": rotation, "P": _matrix(pressure), "K": _matrix(energy)}
    columns = []
    for word in _WORDS:
        trace = _trace(reduce(torch.matmul, (letters[letter] for letter in word)))
        mirrored = (word.count("P") + word.count("K")) % 2 == 1
        columns.append(trace.abs() if mirrored else trace)
    return torch.stack(columns, 1)


def _words() -> Iterator[str]:
    """Products of the basis: S is symmetric; R, P and K are antisymmetric."""
    yield from ("SS", "SSS")
    for a in "RPK":
        yield from (a + a, a + a + "S", a + a + "SS", a + a + "S" + a + "SS")
    for a, b in ("RP", "RK", "PK"):
        yield from (a + b, a + b + "S", a + b + "SS")
        for twice, once in ((a, b), (b, a)):
            both = twice + twice
            yield from (both + once + "S", both + once + "SS", both + "S" + once + "SS")
    yield from ("RPK", "RPKS", "RKPS", "RPKSS", "RKPSS", "RPSKSS")


_WORDS = tuple(_words())


FEATURES: dict[FeatureGroup, Callable[[_Flow], list[Scalar]]] = {
    "wall": _wall,
    "viscosity": _viscosity,
    "length": _length,
    "energy": _energy,
    "pressure": _pressure,
    "integrity": _integrity,
}
"""Each group by name."""


def _trace(a: Matrices) -> Scalar:
    return a.diagonal(dim1=1, dim2=2).sum(1)


def _root(a: Scalar) -> Scalar:
    """The real cube root."""
    return a.sign() * a.abs() ** (1 / 3)


def _unit(v: Vectors) -> Vectors:
    return v / (v.square().sum(1, keepdim=True).sqrt() + _TINY)


def _bounded(v: Vectors) -> Vectors:
    return v / (1 + v.square().sum(1, keepdim=True).sqrt())


def _matrix(v: Vectors) -> Matrices:
    """The matrix of v×."""
    x, y, z = v.unbind(1)
    none = torch.zeros_like(x)
    rows = ((none, -z, y), (z, none, -x), (-y, x, none))
    return torch.stack([torch.stack(row, 1) for row in rows], 1)
