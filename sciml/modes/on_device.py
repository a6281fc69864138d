"""The sums of a POD by torch, on a graphics card or wherever it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["gram_on", "project_on", "require_device", "triangle_on"]

SOME = 2**15
"""Points that are reflected together."""


def require_device(device: str) -> None:
    """Refuse a device that is not there.

    Raises:
        ValueError: torch knows no such device, or has no access to it.
    """
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"torch cannot use the device {device!r} ({str(error).splitlines()[0]}): "
            "leave `device` out to use the processor"
        ) from error


def gram_on(
    values: np.ndarray,
    kept: np.ndarray | None,
    weights: Float64[np.ndarray, " point"],
    *,
    centre: bool,
    device: str,
) -> tuple[Float64[np.ndarray, " point"], Float64[np.ndarray, "row row"]]:
    """The same as :func:`sciml.modes.gram.gram_of`, and the lower triangle too."""
    mean, block = _weighted(values, kept, weights, centre, device)
    return mean, (block @ block.mT).cpu().numpy()


def triangle_on(
    values: np.ndarray,
    kept: np.ndarray | None,
    weights: Float64[np.ndarray, " point"],
    *,
    centre: bool,
    device: str,
) -> tuple[Float64[np.ndarray, " point"], Float64[np.ndarray, "row row"]]:
    """The same as :func:`sciml.modes.qr.triangle_of`, up to signs."""
    import torch

    mean, block = _weighted(values, kept, weights, centre, device)
    R = block.new_zeros(len(block), len(block))
    for some in block.split(SOME, 1):
        R = torch.linalg.qr(torch.cat([R, some.mT]), mode="r").R
    return mean, R.cpu().numpy()


def project_on(
    values: np.ndarray,
    kept: np.ndarray | None,
    mean: Float64[np.ndarray, " point"],
    *,
    onto: Float64[np.ndarray, "row mode"],
    kind: np.dtype,
    device: str,
) -> np.ndarray:
    """The same as :func:`sciml.modes.gram.project`."""
    import torch

    block = _there(values, kept, device) - torch.from_numpy(mean).to(device)
    found = torch.from_numpy(np.ascontiguousarray(onto)).to(device).mT @ block
    return found.cpu().numpy().astype(kind)


def _there(values: np.ndarray, kept: np.ndarray | None, device: str) -> Tensor:
    """Numbers (row, point) in float64 on a device; they travel as they are stored."""
    import torch

    own = np.array(values if kept is None else values[:, kept])
    return torch.from_numpy(own).to(device).double()


def _weighted(
    values: np.ndarray,
    kept: np.ndarray | None,
    weights: Float64[np.ndarray, " point"],
    centre: bool,
    device: str,
) -> tuple[Float64[np.ndarray, " point"], Tensor]:
    import torch

    block = _there(values, kept, device)
    mean = block.mean(0)
    if not torch.isfinite(mean).all():
        raise ValueError(
            "snapshots hold numbers that are not finite: mark points without flow by a variable "
            "`mask`, true in the fluid"
        )
    mean = mean if centre else torch.zeros_like(mean)
    return mean.cpu().numpy(), (block - mean) * torch.from_numpy(weights).to(device).sqrt()
