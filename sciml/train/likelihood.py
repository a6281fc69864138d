"""Gaussian likelihood with a full covariance, given or learned."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


def gaussian_nll(
    prediction: Float[Tensor, "*sample component"],
    truth: Float[Tensor, "*sample component"],
    factor: Float[Tensor, "... component component"],
    mask: Float[Tensor, "*sample component"] | Bool[Tensor, "*sample component"] | None = None,
) -> Float[Tensor, ""]:
    r"""Mean over samples of the negative logarithm of a Gaussian density.

    $$-\log p = \tfrac12 \|L^{-1} (u - \hat u)\|^2 + \sum_i \log L_{ii} + \tfrac d2 \log 2\pi,
      \qquad \Sigma = L L^\top .$$

    Where components are missing it is the density of those that are there, with the rows and
    columns of $\Sigma$ that belong to them; a sample without any counts zero.

    Args:
        prediction: $\hat u$, the mean of the density.
        truth: $u$.
        factor: $L$, lower triangular with a positive diagonal: one for all samples or one a
            sample. `torch.linalg.cholesky` gives it for a known $\Sigma$, `LearnedCovariance`
            for one to be learned, `cholesky_factor` for one that a network puts out.
        mask: 1 where a component was observed, else 0; what `truth` holds there does not count,
            not even NaN.

    Returns:
        The mean in natural units; negative where the density is above one.

    Raises:
        ValueError: the diagonal of a factor is not positive.

    Example:
        >>> error = torch.tensor([[1.0, 0.0]])
        >>> gaussian_nll(error, torch.zeros(1, 2), torch.eye(2)) - math.log(2 * math.pi)
        tensor(0.5000)
    """
    diagonal = factor.diagonal(dim1=-2, dim2=-1)
    if not (diagonal > 0).all():
        raise ValueError(
            f"the factor's diagonal goes down to {diagonal.min().item():.3g}, expected above 0: "
            "give the lower Cholesky factor of a positive definite covariance"
        )
    count = torch.full_like(prediction[..., 0], prediction.shape[-1])
    error = truth - prediction
    if mask is not None:
        seen = mask.bool()
        error = torch.where(seen, error, 0.0)
        factor, count = _marginal(factor, seen), seen.sum(dim=-1).to(prediction.dtype)
    white = _solve(factor, error)
    logarithm = factor.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1)
    each = 0.5 * white.square().sum(dim=-1) + logarithm + 0.5 * math.log(2 * math.pi) * count
    return each.mean()


def _solve(factor: Tensor, error: Tensor) -> Tensor:
    """L⁻¹e: for one factor with all samples as right sides at once."""
    if factor.ndim == 2:
        columns = error.reshape(-1, error.shape[-1]).T
        return torch.linalg.solve_triangular(factor, columns, upper=False).T.reshape(error.shape)
    return torch.linalg.solve_triangular(factor, error[..., None], upper=False)[..., 0]


def _marginal(factor: Tensor, seen: Tensor) -> Tensor:
    """Factor of Σ with the rows and columns of missing components replaced by the identity's."""
    covariance = factor @ factor.mT
    both = seen[..., :, None] & seen[..., None, :]
    identity = torch.eye(factor.shape[-1], dtype=factor.dtype, device=factor.device)
    return torch.linalg.cholesky(torch.where(both, covariance, identity))


def cholesky_factor(
    entries: Float[Tensor, "*sample entry"], *, floor: float = 1e-6
) -> Float[Tensor, "*sample component component"]:
    r"""Lower triangular $L$ with a positive diagonal from $d (d + 1) / 2$ free numbers.

    The first $d$ numbers $a_i$ give the diagonal, $L_{ii} = \epsilon + \log(1 + e^{a_i})$; the
    rest stand below it, row by row.

    Args:
        entries: the numbers, of which a network may put out as many as it likes.
        floor: $\epsilon$, in the unit of a standard deviation: keeps a likelihood bounded.

    Raises:
        ValueError: the number of entries is not $d (d + 1) / 2$ for any $d$.

    Example:
        >>> cholesky_factor(torch.tensor([0.0, 0.0, 3.0]))
        tensor([[0.6931, 0.0000],
                [3.0000, 0.6931]])
    """
    total = entries.shape[-1]
    size = (math.isqrt(8 * total + 1) - 1) // 2
    if size < 1 or size * (size + 1) // 2 != total:
        raise ValueError(
            f"{total} numbers form no triangle: give d (d + 1) / 2 of them for d components"
        )
    diagonal = floor + nn.functional.softplus(entries[..., :size])
    row, column = torch.tril_indices(size, size, -1, device=entries.device)
    factor = torch.diag_embed(diagonal)
    below = torch.zeros_like(factor)
    below[..., row, column] = entries[..., size:]
    return factor + below


class LearnedCovariance(nn.Module):
    r"""A covariance $\Sigma = L L^\top$ to be learned, the same for all samples.

    Called, it gives $L$ for `gaussian_nll`. To be trained it must be a part of the network that
    is fitted. It starts as a multiple of the identity.

    Args:
        components: $d$.
        deviation: standard deviation at the start, in the unit of the components.
        floor: smallest standard deviation on the diagonal of $L$.

    Raises:
        ValueError: the deviation is not above the floor.

    Example:
        >>> LearnedCovariance(2, deviation=3.0).covariance().detach().round(decimals=3)
        tensor([[9., 0.],
                [0., 9.]])
    """

    def __init__(self, components: int, *, deviation: float = 1.0, floor: float = 1e-6) -> None:
        super().__init__()
        if deviation <= floor:
            raise ValueError(f"deviation is {deviation}, expected above the floor of {floor}")
        entries = torch.zeros(components * (components + 1) // 2)
        entries[:components] = deviation - floor + math.log(-math.expm1(floor - deviation))
        self.floor, self.entries = floor, nn.Parameter(entries)

    def forward(self) -> Float[Tensor, "component component"]:
        """$L$."""
        return cholesky_factor(self.entries, floor=self.floor)

    def covariance(self) -> Float[Tensor, "component component"]:
        r"""$\Sigma$, in squared units of the components."""
        factor = self()
        return factor @ factor.mT
