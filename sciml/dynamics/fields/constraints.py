"""Linear constraints on the coefficients of a polynomial field.

A constraint is called with the monomials and returns M [row, term, component] and b [row]: the
coefficients C [term, component] obey it where Σ M_{rki} C_{ki} = b_r for every row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.dynamics.fields.monomials import Monomials

__all__ = ["ConstantDivergence", "Constraint", "EnergyPreserving", "Equivariant", "Known"]

System = tuple[Tensor, Tensor]
Constraint = Callable[[Monomials], System]


@dataclass(frozen=True, kw_only=True)
class ConstantDivergence:
    r"""The same divergence everywhere, $\sum_i \partial \dot x_i / \partial x_i = d$.

    Args:
        divergence: d, per unit of time; the Lyapunov exponents then sum to it.

    >>> from sciml.dynamics.fields.polynomial import Polynomial
    >>> field = Polynomial(2, degree=1, constraints=[ConstantDivergence(divergence=-3.0)])
    >>> field.coefficients()[1:].trace().item()
    -3.0
    """

    divergence: float

    def __call__(self, library: Monomials) -> System:
        """One row for each monomial of the divergence."""
        rows = _zeros(library)
        for k, factors in enumerate(library.factors):
            for i in set(factors):
                rest = list(factors)
                rest.remove(i)
                rows[library.factors.index(tuple(rest)), k, i] += factors.count(i)
        values = torch.zeros(len(library), dtype=torch.float64)
        values[0] = self.divergence
        held = [r for r, f in enumerate(library.factors) if len(f) < max(library.degree, 1)]
        return rows[held], values[held]


@dataclass(frozen=True, kw_only=True)
class EnergyPreserving:
    r"""Terms of one degree that leave $\tfrac12 \lvert x \rvert^2$ unchanged: $x^T N(x) = 0$.

    Args:
        degree: of these terms; 2 as in the equations of fluids, and of Lorenz-63.

    Schlegel and Noack, "On long-term boundedness of Galerkin models", 2015,
    doi:10.1017/jfm.2014.736.
    """

    degree: int = 2

    def __call__(self, library: Monomials) -> System:
        """One row for each monomial of xᵀN(x)."""
        above = Monomials(library.components, self.degree + 1).factors
        rows = torch.zeros(len(above), len(library), library.components, dtype=torch.float64)
        for k, factors in enumerate(library.factors):
            if len(factors) == self.degree:
                for i in range(library.components):
                    rows[above.index(tuple(sorted((*factors, i)))), k, i] = 1.0
        rows = rows[[len(f) == self.degree + 1 for f in above]]
        return rows, torch.zeros(len(rows), dtype=torch.float64)


@dataclass(frozen=True, kw_only=True)
class Equivariant:
    r"""Symmetry under changes of sign: $f(S x) = S f(x)$ with S = diag(signs).

    Args:
        signs: ±1 for each component; `sciml.dynamics.systems.SYMMETRY` for Lorenz-63.

    Raises:
        ValueError: other values than ±1.
    """

    signs: Sequence[float]

    def __post_init__(self) -> None:
        if any(abs(s) != 1 for s in self.signs):
            raise ValueError(f"signs must be 1 or -1, not {tuple(self.signs)}")

    def __call__(self, library: Monomials) -> System:
        """One row for each coefficient that must vanish."""
        if len(self.signs) != library.components:
            raise ValueError(
                f"{len(self.signs)} signs were given for {library.components} components: "
                "give one for each"
            )
        forbidden = []
        for k, factors in enumerate(library.factors):
            parity = torch.tensor([float(self.signs[i]) for i in factors]).prod().item()
            forbidden += [(k, i) for i, sign in enumerate(self.signs) if sign != parity]
        rows = _zeros(library, len(forbidden))
        for row, (k, i) in enumerate(forbidden):
            rows[row, k, i] = 1.0
        return rows, torch.zeros(len(rows), dtype=torch.float64)


@dataclass(frozen=True, kw_only=True)
class Known:
    """Coefficients that are known, zero ones included.

    Args:
        values: (component, term) -> coefficient.

    >>> from sciml.dynamics.fields.polynomial import Polynomial
    >>> print(Polynomial(1, degree=1, constraints=[Known(values={("x", "x"): -1.0})]))
    dx/dt = -1 x
    """

    values: dict[tuple[str, str], float]

    def __call__(self, library: Monomials) -> System:
        """One row for each of them."""
        rows = _zeros(library, len(self.values))
        for row, (component, term) in enumerate(self.values):
            rows[row, library.terms.index(term), library.names.index(component)] = 1.0
        return rows, torch.tensor(list(self.values.values()), dtype=torch.float64)


def _zeros(library: Monomials, rows: int | None = None) -> Float[Tensor, "row term component"]:
    rows = len(library) if rows is None else rows
    return torch.zeros(rows, len(library), library.components, dtype=torch.float64)
