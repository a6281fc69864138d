"""Compositions that keep the elements of others, by construction."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sciml.kernels.kinetics import Mechanism

__all__ = ["conserve_elements", "reactive_species"]

Species = Float[Tensor, "cell species"]

_ITERATIONS = 60
_ABSENT = 1e-25
"""kmol/kg of an element that count as none."""


def reactive_species(mechanism: Mechanism) -> Bool[np.ndarray, " species"]:
    """Which species take part in any reaction; the others are inert."""
    return (mechanism.stoichiometry != 0).any(0)


def conserve_elements(mechanism: Mechanism, mass_fractions: Species, like: Species) -> Species:
    r"""The nearest composition with the elements of another.

    Of all compositions with those elements, the one with the least relative entropy
    Σ (Y/W) ln(Y/Y₀): each mass fraction is multiplied by exp(Σ_e λ_e a_ek), which keeps it
    positive, and the multipliers λ follow by Newton's method. Mass is conserved with the elements.
    Inert species stay as they are in the other, and so do all in a mechanism without reactions.

    Differentiable by both arguments, with the gradients of the solution.

    Args:
        mechanism: of the species.
        mass_fractions: Y₀ in float64, positive where the elements are needed.
        like: whose elements are taken; mass fractions that sum to one.

    Raises:
        ValueError: a composition that cannot hold those elements.

    >>> from sciml.chemistry import load_mechanism
    >>> gas = load_mechanism("h2o2.yaml")
    >>> water, guess = torch.zeros(2, 1, 10, dtype=torch.float64)
    >>> water[:, gas.names.index("H2O")], guess[:, :8] = 1.0, 1.0
    >>> bool((conserve_elements(gas, guess, water).sum() - 1).abs() < 1e-14)
    True
    """
    atoms, weights, moving = (x.to(like.device) for x in _arrays(mechanism))
    if not len(atoms):
        return like
    n = (mass_fractions / weights)[:, moving]
    wanted = (like / weights)[:, moving] @ atoms.T
    missing = wanted <= _ABSENT
    # Nothing holds an element that is not there.
    n = torch.where(missing.to(atoms) @ (atoms > 0).to(atoms) > 0, 0.0, n)
    with torch.no_grad():
        multipliers = _solve(n, wanted, atoms, missing)
    found = n * torch.exp(multipliers @ atoms)
    multipliers = multipliers + _step(found, wanted, atoms, missing)
    result = like.clone()
    result[:, moving] = n * torch.exp(multipliers @ atoms) * weights[moving]
    return result


def _solve(n: Tensor, wanted: Tensor, atoms: Tensor, missing: Tensor) -> Tensor:
    multipliers = torch.zeros_like(wanted)
    scale = torch.where(missing, 1.0, wanted)
    for _ in range(_ITERATIONS):
        found = n * torch.exp(multipliers @ atoms)
        error = torch.where(missing, 0.0, (wanted - found @ atoms.T) / scale)
        if bool((error.abs() <= 1e-13).all()):
            return multipliers
        step = _step(found, wanted, atoms, missing)
        largest = step.abs().amax(1, keepdim=True).clamp_min(1e-300)
        multipliers = multipliers + step * (2.0 / largest).clamp_max(1.0)
    _refuse(error)
    return multipliers


def _step(found: Tensor, wanted: Tensor, atoms: Tensor, missing: Tensor) -> Tensor:
    """Newton's; an element that is not there has no equation."""
    error = torch.where(missing, 0.0, wanted - found @ atoms.T)
    curvature = torch.einsum("ek,nk,fk->nef", atoms, found.detach(), atoms)
    alone = missing | (curvature.diagonal(dim1=1, dim2=2) <= 0)
    curvature = curvature + torch.diag_embed(alone.to(curvature))
    return torch.linalg.solve(curvature, error[..., None])[..., 0]


def _refuse(error: Float[Tensor, "cell element"]) -> None:
    worst = int(error.abs().amax(1).argmax())
    if not float(error.abs().max()) <= 1e-10:
        raise ValueError(
            f"no composition like that of cell {worst} has the elements asked for; the species "
            "with these elements must have positive mass fractions"
        )


@lru_cache(maxsize=16)
def _arrays(mechanism: Mechanism) -> tuple[Tensor, Tensor, Tensor]:
    """Atoms in the reactive species, of elements that vary independently; weights; which react."""
    moving = reactive_species(mechanism)
    rows: list[np.ndarray] = []
    for row in mechanism.composition[:, moving]:
        if np.linalg.matrix_rank(np.array([*rows, row])) > len(rows):
            rows.append(row)
    atoms = np.array(rows).reshape(len(rows), int(moving.sum()))
    return (
        torch.from_numpy(atoms),
        torch.from_numpy(mechanism.molecular_weights),
        torch.from_numpy(moving),
    )
