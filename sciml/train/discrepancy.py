"""Maximum mean discrepancy between two clouds of points."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor


def maximum_mean_discrepancy(
    first: Float[Tensor, "first component"],
    second: Float[Tensor, "second component"],
    *,
    bandwidth: float | None = None,
    factors: Sequence[float] = (0.5, 1.0, 2.0),
    unbiased: bool = True,
) -> Float[Tensor, ""]:
    r"""Squared maximum mean discrepancy for a mixture of Gaussian kernels.

    $$\mathrm{MMD}^2 = \langle k(x, x') \rangle + \langle k(y, y') \rangle
      - 2 \langle k(x, y) \rangle, \qquad
      k(x, y) = \frac1K \sum_{k=1}^K \exp\left(-\frac{\|x - y\|^2}{2 (c_k \sigma)^2}\right)$$

    The unbiased estimate leaves the pairs of a point with itself out: its mean is zero for two
    samples of one distribution, and it may be negative. The biased one is never negative and is
    zero for the same points.

    Args:
        first: points $x$, of any number.
        second: points $y$, of any number.
        bandwidth: $\sigma$ in the unit of the points; None for `median_distance` of all points,
            through which no gradient goes.
        factors: $c_k$.
        unbiased: which estimate.

    Raises:
        ValueError: too few points, or a bandwidth that is not positive.

    References:
        Gretton et al., J. Mach. Learn. Res. 13 (2012) 723-773,
        https://jmlr.org/papers/v13/gretton12a.html.

    Example:
        >>> x = torch.linspace(0, 1, 5)[:, None]
        >>> maximum_mean_discrepancy(x, x, unbiased=False).item()
        0.0
    """
    least = 2 if unbiased else 1
    if min(len(first), len(second)) < least:
        raise ValueError(
            f"there are {len(first)} and {len(second)} points, expected at least {least} each"
        )
    centre = torch.cat([first, second]).detach().mean(dim=0)
    x, y = first - centre, second - centre
    sigma = median_distance(torch.cat([x, y])) if bandwidth is None else bandwidth
    if sigma <= 0:
        raise ValueError(
            f"the bandwidth is {sigma}, expected above 0: give one, or points that differ"
        )
    widths = [factor * sigma for factor in factors]
    within = _mean(_kernel(x, x, widths), unbiased) + _mean(_kernel(y, y, widths), unbiased)
    return within - 2 * _kernel(x, y, widths).mean()


def median_distance(points: Float[Tensor, "point component"]) -> float:
    """Median of the distances between different points, the usual bandwidth of a kernel.

    Example:
        >>> median_distance(torch.tensor([[0.0], [1.0], [4.0]]))
        3.0
    """
    row, column = torch.triu_indices(len(points), len(points), 1, device=points.device)
    square = _squared_distances(points.detach(), points.detach())
    return square[row, column].median().sqrt().item()


def _squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """By products, not differences: memory of one matrix, whatever the components."""
    square = x.square().sum(dim=1)[:, None] + y.square().sum(dim=1) - 2 * x @ y.T
    return square.clamp_min(0.0)


def _kernel(x: Tensor, y: Tensor, widths: Sequence[float]) -> Tensor:
    square = _squared_distances(x, y)
    terms = [torch.exp(-square / (2 * width**2)) for width in widths]
    return torch.stack(terms).mean(dim=0)


def _mean(kernel: Tensor, unbiased: bool) -> Tensor:
    """Mean over pairs of one cloud, whose diagonal is 1."""
    count = len(kernel)
    if unbiased:
        return (kernel.sum() - kernel.diagonal().sum()) / (count * (count - 1))
    return kernel.mean()
