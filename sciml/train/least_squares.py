"""Losses that are mean squares, and say of what."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from sciml.train.batches import Batch

Residuals = Callable[[nn.Module, Batch], Tensor]


@runtime_checkable
class HasResiduals(Protocol):
    """A loss, or a surrogate, whose loss is the mean square of residuals."""

    def residuals(self, net: nn.Module, batch: Batch, /) -> Tensor:
        """Residuals of every sample of a batch, the samples along the first dimension."""
        ...


class LeastSquares:
    r"""The loss $\frac{1}{NM} \sum_{n=1}^N \sum_{m=1}^M r_{nm}(\theta)^2$, with its residuals.

    Any update takes it; `LevenbergMarquardt` needs it, for it linearises the residuals instead of
    their sum. An observation that is missing has residual zero (multiply by the mask), one with
    standard deviation $\sigma$ is divided by $\sigma$.

    Args:
        residuals: `residuals(net, batch)`, of shape (sample, ...); sample $n$ of the batch alone
            decides row $n$.

    Example:
        >>> import torch
        >>> loss = LeastSquares(lambda net, batch: net(batch[0]) - batch[1])
        >>> loss(nn.Identity(), (torch.tensor([[1.0, 3.0]]), torch.tensor([[1.0, 1.0]])))
        tensor(2.)
    """

    def __init__(self, residuals: Residuals) -> None:
        self._residuals = residuals

    def residuals(self, net: nn.Module, batch: Batch, /) -> Tensor:
        """Residuals of every sample of a batch, the samples along the first dimension."""
        return self._residuals(net, batch)

    def __call__(self, net: nn.Module, batch: Batch) -> Tensor:
        """Mean square over samples and residuals."""
        return self._residuals(net, batch).square().mean()


def least_squares(loss: object) -> LeastSquares:
    """The mean square that a loss stands for.

    Args:
        loss: an object with `residuals`, or a method of one (the `loss` of a surrogate).

    Raises:
        ValueError: there are no residuals.
    """
    owner = loss.__self__ if inspect.ismethod(loss) else loss
    if isinstance(owner, LeastSquares):
        return owner
    if not isinstance(owner, HasResiduals):
        raise ValueError(
            f"{_name(loss)} does not say of which residuals it is the mean square, as "
            "Levenberg-Marquardt needs: give it a method residuals(net, batch) or use "
            'sciml.train.LeastSquares, or choose optimiser="lbfgs"'
        )
    return LeastSquares(owner.residuals)


def _name(loss: object) -> str:
    return f"the loss {getattr(loss, '__qualname__', type(loss).__name__)}"
