"""How near the coefficients of a learned field are to those of Lorenz-63."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciml.dynamics.fields.monomials import Monomials, monomial_coefficients
from sciml.dynamics.systems import Lorenz63

__all__ = ["CoefficientRecovery", "recover_coefficients"]

RADIUS = 20.0
"""Half the width of the cube in which a field is asked for its coefficients."""


@dataclass(frozen=True, kw_only=True)
class CoefficientRecovery:
    """Coefficients of a field beside the true ones.

    Attributes:
        terms: names of the monomials, the rows.
        found: those of the field [term, component].
        true: those of the system.
        residual: what the monomials leave of the field, relative to its largest rate: rounding
            for a polynomial field, and else how much the comparison means.
    """

    terms: list[str]
    found: Float[Tensor, "term component"]
    true: Float[Tensor, "term component"]
    residual: float

    @property
    def error(self) -> float:
        """Largest distance of a coefficient from the true one."""
        return (self.found - self.true).abs().max().item()


def recover_coefficients(
    field: Callable[[Tensor], Tensor], *, system: Lorenz63 | None = None, degree: int = 2
) -> CoefficientRecovery:
    """Compare the coefficients of a field, expanded in monomials, with those of Lorenz-63.

    Works for whatever is a polynomial of x, y, z: polynomial, bilinear, symmetrised or scaled
    fields. The field is asked in its own type: in float64 the coefficients are exact to 1e-12.

    Args:
        field: on states (x, y, z).
        system: whose coefficients are the true ones.
        degree: of the monomials, two or more.

    >>> recover_coefficients(Lorenz63()).error < 1e-10
    True
    """
    library = Monomials(3, degree)
    kind = torch.float64
    if isinstance(field, nn.Module):
        kind = next((p.dtype for p in field.parameters()), kind)
    found, residual = monomial_coefficients(field, 3, degree=degree, radius=RADIUS, dtype=kind)
    true = torch.zeros_like(found)
    for (component, term), value in (system or Lorenz63()).coefficients().items():
        true[library.terms.index(term), library.names.index(component)] = value
    return CoefficientRecovery(terms=library.terms, found=found, true=true, residual=residual)
