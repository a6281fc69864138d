"""Polynomial fields, free or under linear constraints on their coefficients."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciml.dynamics.fields.constraints import Constraint
from sciml.dynamics.fields.monomials import Monomials

__all__ = ["Polynomial"]


class Polynomial(nn.Module):
    r"""A polynomial in the components of the state, $\dot x_i = \sum_k \phi_k(x)\, C_{ki}$.

    Every linear property of the coefficients can be imposed: with constraints $M c = b$ on
    $c = \mathrm{vec}\, C$ the parameters are coordinates $\theta$ of their solutions,
    $c = c_0 + Z \theta$, the columns of Z an orthonormal basis of the null space of M. The
    properties then hold for all θ, to rounding.

    Args:
        components: number of components of x.
        degree: the highest of the monomials.
        constraints: what the coefficients shall obey; see `sciml.dynamics.fields.constraints`.
        names: of the components.

    Attributes:
        library: the monomials; `library.terms` names them.
        weights: θ, the parameters: without constraints the coefficients themselves, in a vector.

    Raises:
        ValueError: constraints that contradict each other.

    Example:
        >>> field = Polynomial(3, degree=2)
        >>> field.set_coefficients({("x", "y"): 10.0, ("y", "x z"): -1.0})
        >>> print(field)
        dx/dt = 10 y
        dy/dt = -1 x z
        dz/dt = 0
    """

    library: Monomials
    origin: Tensor
    basis: Tensor | None

    def __init__(
        self,
        components: int,
        *,
        degree: int = 2,
        constraints: Sequence[Constraint] = (),
        names: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        self.components = components
        self.library = Monomials(components, degree, names=names)
        count = len(self.library) * components
        origin, basis = torch.zeros(count, dtype=torch.float64), None
        if constraints:
            origin, basis = _solutions(self.library, components, constraints)
        self.register_buffer("origin", origin)
        self.register_buffer("basis", basis)
        self.weights = nn.Parameter(torch.zeros(count if basis is None else basis.shape[1]))

    def coefficients(self) -> Float[Tensor, "term component"]:
        """C: a row for each term, a column for the rate of each component."""
        if self.basis is None:
            return self.weights.view(len(self.library), self.components)
        kind = self.weights.dtype
        flat = self.origin.to(kind) + self.basis.to(kind) @ self.weights
        return flat.view(len(self.library), self.components)

    def forward(
        self, state: Float[Tensor, "*batch component"]
    ) -> Float[Tensor, "*batch component"]:
        """Rate of change of `state`."""
        return self.library(state) @ self.coefficients()

    @torch.no_grad()
    def set_coefficients(
        self, values: dict[tuple[str, str], float] | Float[Tensor, "term component"]
    ) -> None:
        """Set the coefficients; under constraints, the nearest ones that obey these.

        Args:
            values: the matrix C, or (component, term) -> coefficient with zero for all others.

        Raises:
            ValueError: a component or a term that the field does not have.
        """
        matrix = self._matrix(values) if isinstance(values, dict) else values
        flat = matrix.to(torch.float64).reshape(-1)
        if self.basis is not None:
            flat = self.basis.mT @ (flat - self.origin)
        self.weights.copy_(flat)

    def _matrix(self, values: dict[tuple[str, str], float]) -> Tensor:
        matrix = torch.zeros(len(self.library), self.components, dtype=torch.float64)
        for (component, term), value in values.items():
            if component not in self.library.names or term not in self.library.terms:
                raise ValueError(
                    f"the field has no coefficient of {term!r} in the rate of {component!r}: "
                    f"components are {self.library.names}, terms {self.library.terms}"
                )
            row, column = self.library.terms.index(term), self.library.names.index(component)
            matrix[row, column] = value
        return matrix

    def __str__(self) -> str:
        rows = self.coefficients().detach().mT.tolist()
        return "\n".join(
            f"d{name}/dt = {_sum(row, self.library.terms)}"
            for name, row in zip(self.library.names, rows, strict=True)
        )


def _sum(row: Sequence[float], terms: Sequence[str]) -> str:
    parts = [
        f"{value:.6g}" if term == "1" else f"{value:.6g} {term}"
        for value, term in zip(row, terms, strict=True)
        if value != 0
    ]
    return " + ".join(parts).replace("+ -", "- ") or "0"


def _solutions(
    library: Monomials, components: int, constraints: Sequence[Constraint]
) -> tuple[Float[Tensor, " all"], Float[Tensor, "all free"]]:
    """The shortest solution of all constraints, and an orthonormal basis of what they leave."""
    systems = [constraint(library) for constraint in constraints]
    matrix = torch.cat([m.reshape(len(m), len(library) * components) for m, _ in systems])
    values = torch.cat([b for _, b in systems])
    left, sizes, right = torch.linalg.svd(matrix, full_matrices=True)
    rank = int((sizes > 1e-10 * sizes.max().clamp_min(1e-300)).sum())
    origin = right[:rank].mT @ ((left[:, :rank].mT @ values) / sizes[:rank])
    if not torch.allclose(
        matrix @ origin, values, rtol=0, atol=1e-9 * (1 + float(values.abs().max()))
    ):
        raise ValueError("the constraints contradict each other: drop one of them")
    return origin, right[rank:].mT.contiguous()
