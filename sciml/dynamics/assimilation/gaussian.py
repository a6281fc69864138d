"""Gaussian priors of assimilation, and the square roots of their covariances."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Background", "square_root"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Background:
    """What is known of the state before any observation: x(t₀) ~ N(x_b, B).

    Attributes:
        time: t₀, at or before the first observation.
        mean: x_b [sample, component], one row for each experiment that is run side by side.
        covariance: B [component, component], symmetric and positive definite, or
            [sample, component, component].

    Raises:
        ValueError: a mean that is not finite or not [sample, component], a covariance of another
            size, not symmetric, or not positive definite.

    >>> Background(time=0.0, mean=torch.zeros(1, 2), covariance=torch.eye(2)).components
    2
    """

    time: float
    mean: Float[Tensor, "..."]
    covariance: Float[Tensor, "..."]

    def __post_init__(self) -> None:
        mean = self.mean.detach().double()
        if mean.ndim != 2:
            raise ValueError(
                f"the background mean has shape {list(mean.shape)}, expected [sample, component]: "
                f"give one row for each experiment"
            )
        if not mean.isfinite().all():
            sample, component = (~mean.isfinite()).nonzero()[0].tolist()
            raise ValueError(
                f"the background mean of sample {sample}, component {component} is not finite: "
                f"give a finite one"
            )
        object.__setattr__(self, "mean", mean)
        object.__setattr__(self, "covariance", self.covariance.detach().double())
        square_root(self.covariance, mean.shape[1], "background")
        if self.covariance.ndim == 3 and len(self.covariance) != len(mean):
            raise ValueError(
                f"there are background covariances of {len(self.covariance)} samples and means "
                f"of {len(mean)}: give one covariance for all or one for each"
            )

    @property
    def components(self) -> int:
        """n, the dimension of the state."""
        return self.mean.shape[1]

    def sample(self, index: int) -> Background:
        """That of one sample."""
        own = self.covariance if self.covariance.ndim == 2 else self.covariance[index]
        return Background(time=self.time, mean=self.mean[index : index + 1], covariance=own)


def square_root(
    covariance: Float[Tensor, "..."], size: int, name: str
) -> Float[Tensor, "*batch size size"]:
    """The lower triangular L with L Lᵀ = covariance, in float64.

    Args:
        covariance: [..., size, size].
        size: what the last two dimensions must be.
        name: of the covariance in an error's sentence.

    Raises:
        ValueError: of another size, not finite, not symmetric, or not positive definite.

    >>> square_root(torch.tensor([[4.0]]), 1, "background")
    tensor([[2.]], dtype=torch.float64)
    """
    covariance = covariance.detach().double()
    if covariance.ndim < 2 or covariance.shape[-2:] != (size, size):
        raise ValueError(
            f"the {name} covariance has shape {list(covariance.shape)}, expected "
            f"[{size}, {size}]: give a square matrix of the dimension it describes"
        )
    if not covariance.numel():
        return covariance
    scale = covariance.abs().amax().clamp(min=torch.finfo(torch.float64).tiny)
    if not ((covariance - covariance.mT).abs() <= 1e-9 * scale).all():
        raise ValueError(
            f"the {name} covariance is not finite and symmetric: give (C + Cᵀ)/2 if only "
            f"rounding separates them"
        )
    factor, failed = torch.linalg.cholesky_ex(covariance)
    if failed.any():
        smallest = float(torch.linalg.eigvalsh(covariance).min())
        raise ValueError(
            f"the {name} covariance is not positive definite (smallest eigenvalue "
            f"{smallest:.3g}): add variance to its diagonal"
        )
    return factor
