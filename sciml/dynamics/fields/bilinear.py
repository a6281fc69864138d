"""The bilinear field: linear terms and products of linear maps."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["Bilinear"]


class Bilinear(nn.Module):
    r"""Linear terms plus products of linear maps.

    $\dot x = c + A x + D\,[(P x) \circ (Q x)]$

    With enough products it holds every quadratic field; Lorenz-63 needs two. Integrated by a
    Runge-Kutta scheme it is the bilinear residual network of Fablet, Ouala and Herzet, 2018,
    doi:10.48550/arXiv.1712.07003.

    Args:
        components: number of components of x.
        products: number of rows of P and Q.
        constant: whether there is a term c.
        scale: size of x, by which the first weights of the products are divided, so that no term
            dominates at first.

    Attributes:
        constant: c, [components], or None.
        linear: A, [components, components].
        mixing: D, [components, products].
        left: P, [products, components].
        right: Q, [products, components].

    Raises:
        ValueError: no component or no product.

    Example:
        >>> field = Bilinear(3, products=2)
        >>> field(torch.zeros(5, 3)).shape
        torch.Size([5, 3])
    """

    def __init__(
        self,
        components: int,
        *,
        products: int | None = None,
        constant: bool = True,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        products = components if products is None else products
        if components < 1 or products < 1 or scale <= 0:
            raise ValueError(
                f"components={components}, products={products}, scale={scale}: "
                "a bilinear field needs at least one of each and a positive scale"
            )
        self.components = components
        bound = 1 / math.sqrt(components)
        self.constant = nn.Parameter(torch.zeros(components)) if constant else None
        self.linear = _uniform(components, components, bound)
        self.mixing = _uniform(components, products, 1 / math.sqrt(products) / scale)
        self.left = _uniform(products, components, bound)
        self.right = _uniform(products, components, bound)

    def forward(
        self, state: Float[Tensor, "*batch component"]
    ) -> Float[Tensor, "*batch component"]:
        """Rate of change of `state`."""
        products = (state @ self.left.mT) * (state @ self.right.mT)
        rate = state @ self.linear.mT + products @ self.mixing.mT
        return rate if self.constant is None else rate + self.constant

    def quadratic(self) -> Float[Tensor, "component component component"]:
        r"""$N_{ijk} = N_{ikj}$, with $\dot x_i = c_i + A_{ij} x_j + N_{ijk} x_j x_k$."""
        full = torch.einsum("ip,pj,pk->ijk", self.mixing, self.left, self.right)
        return (full + full.mT) / 2


def _uniform(rows: int, columns: int, bound: float) -> nn.Parameter:
    return nn.Parameter(torch.empty(rows, columns).uniform_(-bound, bound))
