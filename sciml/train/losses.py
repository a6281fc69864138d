"""Losses over masked fields: every sample counts the same, whatever its mask leaves.

Fields have shape (batch, channel, ...), masks any shape that broadcasts to it; a mask is 1 where
a point counts. A sample whose mask is empty has loss zero.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Mask = Float[Tensor, "#batch ..."] | Bool[Tensor, "#batch ..."] | None


def mean_squared(
    prediction: Float[Tensor, "batch ..."], truth: Float[Tensor, "batch ..."], mask: Mask = None
) -> Float[Tensor, ""]:
    r"""Mean over samples of $\sum_i m_i (\hat u_i - u_i)^2 / \sum_i m_i$.

    Example:
        >>> mean_squared(torch.tensor([[1.0, 9.0]]), torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]))
        tensor(1.)
    """
    return _masked_mean((prediction - truth).square(), mask)


def mean_absolute(
    prediction: Float[Tensor, "batch ..."], truth: Float[Tensor, "batch ..."], mask: Mask = None
) -> Float[Tensor, ""]:
    r"""Mean over samples of $\sum_i m_i |\hat u_i - u_i| / \sum_i m_i$.

    Example:
        >>> mean_absolute(torch.tensor([[1.0, -3.0]]), torch.zeros(1, 2))
        tensor(2.)
    """
    return _masked_mean((prediction - truth).abs(), mask)


def mean_power(
    prediction: Float[Tensor, "batch ..."],
    truth: Float[Tensor, "batch ..."],
    mask: Mask = None,
    *,
    order: float = 2.0,
) -> Float[Tensor, ""]:
    r"""Mean over samples of $\sum_i m_i |\hat u_i - u_i|^p / \sum_i m_i$.

    The $p$-norm of the error to its power $p$, per point: so it adds up over points, components
    and times. $p = 1$ and $p = 2$ are `mean_absolute` and `mean_squared`.

    Args:
        prediction: $\hat u$.
        truth: $u$.
        mask: $m$, 0 or 1.
        order: $p$, at least 1.

    Raises:
        ValueError: $p$ is below 1, where it is no norm.

    Example:
        >>> mean_power(torch.tensor([[1.0, -3.0]]), torch.zeros(1, 2), order=4.0)
        tensor(41.)
    """
    if order < 1:
        raise ValueError(f"order is {order}, expected at least 1, where it is a norm")
    return _masked_mean((prediction - truth).abs().pow(order), mask)


def huber(
    prediction: Float[Tensor, "batch ..."],
    truth: Float[Tensor, "batch ..."],
    mask: Mask = None,
    *,
    delta: float = 1.0,
) -> Float[Tensor, ""]:
    r"""Masked mean of Huber's function: $e^2/2$ for $|e| \le \delta$, else $\delta(|e|-\delta/2)$.

    Huber, Ann. Math. Statist. 35 (1964), doi:10.1214/aoms/1177703732.

    Example:
        >>> huber(torch.tensor([[3.0]]), torch.zeros(1, 1), delta=1.0)
        tensor(2.5000)
    """
    error = torch.nn.functional.huber_loss(prediction, truth, reduction="none", delta=delta)
    return _masked_mean(error, mask)


def relative_l2(
    prediction: Float[Tensor, "batch ..."],
    truth: Float[Tensor, "batch ..."],
    mask: Mask = None,
    *,
    floor: float = 1e-12,
) -> Float[Tensor, ""]:
    r"""Mean over samples of $\|m(\hat u - u)\|_2 / \max(\|m u\|_2, \epsilon)$.

    The norms run over channels and points together: the channels of a velocity count as one
    vector.

    Args:
        prediction: $\hat u$.
        truth: $u$.
        mask: $m$, 0 or 1.
        floor: $\epsilon$, in the unit of $\|u\|_2$.

    Example:
        >>> relative_l2(torch.tensor([[3.0, 2.0]]), torch.tensor([[3.0, 4.0]])).item()
        0.4000000059604645
    """
    error = _norm(prediction - truth, mask)
    return (error / _norm(truth, mask).clamp_min(floor)).mean()


def gradient_difference(
    prediction: Float[Tensor, "batch channel y x"],
    truth: Float[Tensor, "batch channel y x"],
    mask: Mask = None,
) -> Float[Tensor, ""]:
    r"""Masked mean square of the differences between neighbours of $e = \hat u - u$, per pixel.

    $\langle (e_{y,x+1} - e_{y,x})^2 \rangle + \langle (e_{y+1,x} - e_{y,x})^2 \rangle$, the means
    over pairs with both points in the mask.

    Example:
        >>> ramp = torch.arange(4.0).expand(1, 1, 3, 4)
        >>> gradient_difference(ramp, torch.zeros(1, 1, 3, 4))
        tensor(1.)
    """
    error = prediction - truth
    whole = None if mask is None else mask.to(error.dtype).expand_as(error)
    total = torch.zeros((), dtype=error.dtype, device=error.device)
    for axis in (-2, -1):
        size = error.shape[axis] - 1
        pair = None if whole is None else whole.narrow(axis, 1, size) * whole.narrow(axis, 0, size)
        total = total + _masked_mean(error.diff(dim=axis).square(), pair)
    return total


def _norm(values: Tensor, mask: Mask) -> Tensor:
    """Euclidean norm of every sample; its gradient at zero is zero, and NaN stays NaN."""
    weighted = values if mask is None else values * mask
    square = weighted.flatten(1).square().sum(dim=1)
    zero = square == 0
    return torch.where(zero, 0.0, torch.where(zero, 1.0, square).sqrt())


def _masked_mean(values: Tensor, mask: Mask) -> Tensor:
    if mask is None:
        return values.flatten(1).mean(dim=1).mean()
    weights = mask.to(values.dtype).expand_as(values)
    count = weights.flatten(1).sum(dim=1).clamp_min(torch.finfo(values.dtype).tiny)
    return ((values * weights).flatten(1).sum(dim=1) / count).mean()
