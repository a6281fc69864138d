"""Monomials of the components of a state: their names, their values, and fits in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations_with_replacement

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["Monomials", "monomial_coefficients"]


class Monomials(nn.Module):
    r"""All monomials of x up to a degree, ordered by degree: $1, x, y, z, x^2, xy, \dots$

    Args:
        components: number of components of x.
        degree: the highest.
        names: of the components; x, y, z, or x0, x1, ... where there are more.

    Attributes:
        factors: for each monomial the indices of its factors, () for the constant.
        terms: their names, such as "1", "x", "x x", "x z".

    Example:
        >>> library = Monomials(3, 2)
        >>> library.terms
        ['1', 'x', 'y', 'z', 'x x', 'x y', 'x z', 'y y', 'y z', 'z z']
        >>> library(torch.tensor([[1.0, 2.0, 3.0]]))
        tensor([[1., 1., 2., 3., 1., 2., 3., 4., 6., 9.]])
    """

    def __init__(self, components: int, degree: int, *, names: Sequence[str] | None = None) -> None:
        super().__init__()
        if components < 1 or degree < 0:
            raise ValueError(
                f"components={components}, degree={degree}: "
                "monomials need at least one component and a degree of zero or more"
            )
        self.components, self.degree = components, degree
        self.names = list(names) if names is not None else default_names(components)
        if len(self.names) != components or len(set(self.names)) != components:
            raise ValueError(f"{components} components need as many names, not {self.names}")
        self.factors = [
            factors
            for d in range(degree + 1)
            for factors in combinations_with_replacement(range(components), d)
        ]
        self.terms = [" ".join(self.names[i] for i in factors) or "1" for factors in self.factors]
        self._parents = [self._of_degree(d) for d in range(2, degree + 1)]

    def _of_degree(self, degree: int) -> tuple[list[int], list[int]]:
        """For each monomial of a degree its place without its last factor, and that factor."""
        lower = [f for f in self.factors if len(f) == degree - 1]
        own = [f for f in self.factors if len(f) == degree]
        return [lower.index(f[:-1]) for f in own], [f[-1] for f in own]

    def __len__(self) -> int:
        return len(self.factors)

    def forward(self, state: Float[Tensor, "*batch component"]) -> Float[Tensor, "*batch term"]:
        """Values of the monomials."""
        values = [torch.ones_like(state[..., :1])]
        if self.degree > 0:
            values.append(state)
        for parents, last in self._parents:
            values.append(values[-1][..., parents] * state[..., last])
        return torch.cat(values, -1)


def default_names(components: int) -> list[str]:
    """x, y, z, or x0, x1, ... where there are more than three."""
    return list("xyz"[:components]) if components <= 3 else [f"x{i}" for i in range(components)]


def monomial_coefficients(
    field: Callable[[Tensor], Tensor],
    components: int,
    *,
    degree: int = 2,
    radius: float = 1.0,
    dtype: torch.dtype = torch.float64,
) -> tuple[Float[Tensor, "term component"], float]:
    """The coefficients of a field in monomials, by interpolation, and what they leave.

    Exact up to rounding where the field is a polynomial of this degree, however it is written or
    wrapped; elsewhere the best fit in the cube |x_i| ≤ radius, the second value telling how good.

    Args:
        field: state [batch, component] to rate.
        components: number of components.
        degree: of the monomials.
        radius: half the width of the cube of random points at which the field is asked.
        dtype: in which it is asked; parameters must have it too.

    Returns:
        Coefficients ordered as `Monomials(components, degree).terms`, and the largest residual
        relative to the largest rate.

    >>> from sciml.dynamics.systems import Lorenz63
    >>> found, residual = monomial_coefficients(Lorenz63(), 3)
    >>> round(found[Monomials(3, 2).terms.index("x z"), 1].item(), 9), residual < 1e-12
    (-1.0, True)
    """
    library = Monomials(components, degree)
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(8 * len(library), components, generator=generator, dtype=torch.float64)
    points = 2 * points - 1
    with torch.no_grad():
        rates = field((radius * points).to(dtype)).to(torch.float64)
        values = library(points)
        scaled = torch.linalg.lstsq(values, rates).solution
        residual = (values @ scaled - rates).abs().max() / rates.abs().max().clamp_min(1e-300)
    powers = torch.tensor([float(radius) ** len(f) for f in library.factors], dtype=torch.float64)
    return scaled / powers[:, None], residual.item()
