"""Normal equations of a chain of states that share parameters, solved through their structure.

The matrix is block tridiagonal in the states of each sample, with a border for the parameters:
an arrow. Eliminating the states first costs a number of operations linear in their number.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["ArrowSystem", "solve_block_tridiagonal"]

FLOOR = 1e-14
"""Smallest part of the largest diagonal entry that is put on all, so that blocks stay regular."""


def solve_block_tridiagonal(
    diagonal: Float[Tensor, "sample block component component"],
    above: Float[Tensor, "sample link component component"],
    right: Float[Tensor, "sample block component side"],
) -> Float[Tensor, "sample block component side"]:
    r"""Solve a symmetric positive definite block tridiagonal system for each sample.

    $U_{k-1}^\top x_{k-1} + D_k x_k + U_k x_{k+1} = b_k$, by block elimination.

    Args:
        diagonal: D, the blocks on the diagonal.
        above: U, the blocks above it, one fewer.
        right: b, any number of right-hand sides.

    Returns:
        x, shaped as `right`.

    Example:
        >>> one = torch.ones(1, 1, 1, 1)
        >>> solve_block_tridiagonal(2 * one.repeat(1, 3, 1, 1), -one.repeat(1, 2, 1, 1),
        ...     one.repeat(1, 3, 1, 1)).flatten()
        tensor([1.5000, 2.0000, 1.5000])
    """
    size = diagonal.shape[-1]
    pivots, sides = [diagonal[:, 0]], [right[:, 0]]
    for k in range(1, diagonal.shape[1]):
        upper = above[:, k - 1]
        reduced = torch.linalg.solve(pivots[-1], torch.cat([upper, sides[-1]], -1))
        pivots.append(diagonal[:, k] - upper.mT @ reduced[..., :size])
        sides.append(right[:, k] - upper.mT @ reduced[..., size:])
    values = [torch.linalg.solve(pivots[-1], sides[-1])]
    for k in reversed(range(len(pivots) - 1)):
        values.append(torch.linalg.solve(pivots[k], sides[k] - above[:, k] @ values[-1]))
    return torch.stack(values[::-1], 1)


@dataclass(frozen=True, kw_only=True)
class ArrowSystem:
    r"""Normal equations $H \delta = g$ in the parameters θ and the states u of all samples.

    Args:
        parameters: $H_{\theta\theta}$.
        border: $H_{u\theta}$.
        diagonal: $H_{uu}$ of each state with itself.
        above: $H_{uu}$ of each state with the next of its sample; None where none are linked.
        parameter_side: $g_\theta$.
        side: $g_u$.
    """

    parameters: Float[Tensor, "parameter parameter"]
    border: Float[Tensor, "sample state component parameter"]
    diagonal: Float[Tensor, "sample state component component"]
    above: Float[Tensor, "sample link component component"] | None
    parameter_side: Float[Tensor, " parameter"]
    side: Float[Tensor, "sample state component"]

    def solve(
        self, damping: float | Float[Tensor, " sample"]
    ) -> tuple[Float[Tensor, " parameter"], Float[Tensor, "sample state component"]] | None:
        r"""$(H + \lambda\,\mathrm{diag} H)\,\delta = g$; None where that is not positive definite.

        Args:
            damping: λ, without unit (Marquardt's); one for each sample where there are no
                parameters.
        """
        count = len(self.parameters)
        eliminated = self._eliminate(damping)
        flat = self.border.flatten(0, 2)
        # With δ_u = E_g − E_θ δ_θ the parameters see the Schur complement alone.
        reduced, shift = eliminated[..., :count], eliminated[..., count]
        complement = self.complement(damping, reduced)
        factor, failed = torch.linalg.cholesky_ex(complement)
        if failed:
            return None
        side = self.parameter_side - flat.mT @ shift.flatten()
        parameters = torch.cholesky_solve(side[:, None], factor)[:, 0]
        return parameters, shift - reduced @ parameters

    def complement(
        self,
        damping: float | Float[Tensor, " sample"] = 0.0,
        reduced: Float[Tensor, "sample state component parameter"] | None = None,
    ) -> Float[Tensor, "parameter parameter"]:
        r"""The Schur complement $H_{\theta\theta} - H_{\theta u} H_{uu}^{-1} H_{u\theta}$.

        It is the information about the parameters that is left when the states are unknown.
        """
        count = len(self.parameters)
        if count == 0:
            return self.parameters
        if reduced is None:
            reduced = self._eliminate(damping)[..., :count]
        complement = self.parameters - self.border.flatten(0, 2).mT @ reduced.flatten(0, 2)
        diagonal = self.parameters.diagonal()
        floor = FLOOR * diagonal.max()
        return (complement + complement.mT) / 2 + torch.diag(damping * diagonal + floor)

    def _eliminate(self, damping: float | Tensor) -> Tensor:
        r"""$(H_{uu} + \lambda\,\mathrm{diag})^{-1}$ of the border and of $g_u$, side by side."""
        own = self.diagonal.diagonal(dim1=-2, dim2=-1)
        factor = damping[:, None, None] if isinstance(damping, Tensor) else damping
        blocks = self.diagonal + torch.diag_embed(factor * own + FLOOR * own.max())
        right = torch.cat([self.border, self.side[..., None]], -1)
        if self.above is None:
            return torch.linalg.solve(blocks, right)
        return solve_block_tridiagonal(blocks, self.above, right)
