"""Compositions that keep the elements of others, by construction."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sciml.kernels.kinetics import Mechanism

__all__ = ["conserve_elements", "reactive_species", "try_conserve_elements"]

Species = Float[Tensor, "cell species"]

ITERATIONS = 60
ABSENT = 1e-25
"""kmol/kg of an element that count as none."""

LONGEST = 2.0
"""Largest change of a multiplier in one iteration."""

RIDGE = 1e-13
"""Relative addition to the diagonal of Newton's matrix, for elements that vary only together."""

TOLERANCE = 1e-10
"""Relative error of an element with which a composition counts as found."""


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
    kept, found = try_conserve_elements(mechanism, mass_fractions, like)
    if not bool(found.all()):
        raise ValueError(
            f"no composition like that of cell {int((~found).nonzero()[0])} has the elements asked "
            "for; the species with these elements must have positive mass fractions"
        )
    return kept


def try_conserve_elements(
    mechanism: Mechanism, mass_fractions: Species, like: Species
) -> tuple[Species, Bool[Tensor, " cell"]]:
    """As `conserve_elements`, and in which cells that succeeded, instead of an error."""
    atoms, weights, moving = (x.to(like.device) for x in arrays(mechanism))
    if not len(atoms):
        return like, torch.ones_like(like[:, 0], dtype=torch.bool)
    n = (mass_fractions / weights)[:, moving]
    wanted = (like / weights)[:, moving] @ atoms.T
    missing = wanted <= ABSENT
    # Nothing holds an element that is not there.
    n = torch.where(missing.to(atoms) @ (atoms > 0).to(atoms) > 0, 0.0, n)
    with torch.no_grad():
        multipliers = _solve(n, wanted, atoms, missing)
    composition = n * torch.exp(multipliers @ atoms)
    error = _error(composition, wanted, atoms, missing).abs().amax(1)
    multipliers = multipliers + _step(composition, wanted, atoms, missing)
    result = like.clone()
    result[:, moving] = n * torch.exp(multipliers @ atoms) * weights[moving]
    return result, error <= TOLERANCE


def _solve(n: Tensor, wanted: Tensor, atoms: Tensor, missing: Tensor) -> Tensor:
    multipliers = torch.zeros_like(wanted)
    for _ in range(ITERATIONS):
        found = n * torch.exp(multipliers @ atoms)
        if bool((_error(found, wanted, atoms, missing).abs() <= 1e-13).all()):
            break
        step = _step(found, wanted, atoms, missing)
        largest = step.abs().amax(1, keepdim=True).clamp_min(1e-300)
        multipliers = multipliers + step * (LONGEST / largest).clamp_max(1.0)
    return multipliers


def _error(found: Tensor, wanted: Tensor, atoms: Tensor, missing: Tensor) -> Tensor:
    """Relative error of each element."""
    return torch.where(missing, 0.0, (wanted - found @ atoms.T) / torch.where(missing, 1.0, wanted))


def _step(found: Tensor, wanted: Tensor, atoms: Tensor, missing: Tensor) -> Tensor:
    """Newton's; an element that is not there has no equation."""
    error = torch.where(missing, 0.0, wanted - found @ atoms.T)
    curvature = torch.einsum("ek,nk,fk->nef", atoms, found.detach(), atoms)
    alone = missing | (curvature.diagonal(dim1=1, dim2=2) <= 0)
    diagonal = torch.where(alone, 1.0, RIDGE * curvature.diagonal(dim1=1, dim2=2))
    curvature = curvature + torch.diag_embed(diagonal)
    return torch.linalg.solve_ex(curvature, error[..., None])[0][..., 0]


@lru_cache(maxsize=16)
def arrays(mechanism: Mechanism) -> tuple[Tensor, Tensor, Tensor]:
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
