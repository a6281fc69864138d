"""Local polynomials through noisy observations with gaps: first guesses of states and rates."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.dynamics.shooting import Observations

__all__ = ["Smooth", "smooth"]

WIDTHS = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0)
"""Bandwidths tried, in mean gaps between the observations of a component."""

RIDGE = 1e-5
"""Ridge on slope and curvature, relative, for targets with too few observations around."""

BLOCK = 4_000_000
"""Pairs of times weighed at a time."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Smooth:
    """Smoothed trajectories.

    Args:
        state: at all times, observed or not.
        rate: time derivative there.
        bandwidth: standard deviation of the kernel in time, for each component.
        error: root mean square error of predicting each observation from the others.
    """

    state: Float[Tensor, "sample time component"]
    rate: Float[Tensor, "sample time component"]
    bandwidth: Float[Tensor, " component"]
    error: Float[Tensor, " component"]


@torch.no_grad()
def smooth(seen: Observations) -> Smooth:
    r"""Local quadratic regression with a Gaussian kernel, component by component.

    $\min_{a,b,c} \sum_j e^{-(t_j - t)^2 / 2h^2}
    \left(y_j - a - b (t_j - t) - c (t_j - t)^2\right)^2$; a is the state at t, b its rate.

    The bandwidth h is that of the least error in predicting each observation from the others, so
    that nothing but the observations decides.

    Args:
        seen: the observations.

    Raises:
        ValueError: a component that a sample never shows.

    Cleveland, "Robust locally weighted regression and smoothing scatterplots", 1979,
    doi:10.1080/01621459.1979.10481038.

    Example:
        >>> import numpy as np
        >>> times = np.linspace(0, 1, 21)
        >>> values = torch.from_numpy(1 + times**2)[None, :, None]
        >>> found = smooth(Observations(values=values, times=times))
        >>> bool((found.state - values).abs().max() < 1e-3)
        True
    """
    counts = seen.seen.sum(1)
    if (counts == 0).any():
        sample, component = (counts == 0).nonzero()[0].tolist()
        raise ValueError(
            f"sample {sample} never shows component {component}: "
            "leave the sample out, or give a first guess of your own"
        )
    rows = seen.rows.to(seen.values)
    mean_gap = (rows[:, -1] - rows[:, 0]).mean() / counts.to(rows).mean(0)
    values = seen.values.where(seen.seen, 0.0)
    best: list[tuple[float, Tensor, Tensor, Tensor]] = []
    for width in WIDTHS:
        state, rate, own = _regress(rows, values, seen.seen.to(rows), width * mean_gap)
        left_out = (values - state) / (1 - own).clamp_min(1e-6) * seen.seen
        errors = (left_out.square().sum((0, 1)) / counts.sum(0)).sqrt()
        best.append((width, state, rate, errors))
    choice = torch.stack([errors for *_, errors in best]).argmin(0)
    pick = [best[k] for k in choice.tolist()]
    return Smooth(
        state=torch.stack([p[1][..., c] for c, p in enumerate(pick)], -1),
        rate=torch.stack([p[2][..., c] for c, p in enumerate(pick)], -1),
        bandwidth=torch.stack([p[0] * mean_gap[c] for c, p in enumerate(pick)]),
        error=torch.stack([p[3][c] for c, p in enumerate(pick)]),
    )


def _regress(
    rows: Float[Tensor, "sample time"],
    values: Float[Tensor, "sample time component"],
    seen: Float[Tensor, "sample time component"],
    bandwidth: Float[Tensor, " component"],
) -> tuple[Tensor, Tensor, Tensor]:
    """Value and slope at every time, and the weight of the own observation in the value."""
    samples, times = rows.shape
    block = max(1, BLOCK // (samples * times))
    parts = [
        torch.stack(
            [
                _local(rows, values[..., c], seen[..., c], bandwidth[c], slice(k, k + block))
                for c in range(values.shape[-1])
            ],
            -1,
        )
        for k in range(0, times, block)
    ]
    value, slope, own = torch.cat(parts, 2).unbind(0)
    return value, slope, own


def _local(rows: Tensor, values: Tensor, seen: Tensor, bandwidth: Tensor, block: slice) -> Tensor:
    """[3, sample, target]: value, slope and own weight, of one component."""
    offset = (rows[:, None, :] - rows[:, block, None]) / bandwidth
    # Far observations keep a little weight, so that a target in a gap still finds some.
    power = torch.exp(-0.5 * offset.square()).clamp_min(1e-30)
    sides = torch.stack([seen, seen * values], -1)
    moments = []
    for _ in range(5):
        moments.append(power @ sides)
        power = power * offset
    count = torch.stack([m[..., 0] for m in moments], -1)
    matrix = torch.stack([count[..., k : k + 3] for k in range(3)], -2)
    ridge = RIDGE * matrix[..., :1, :1] * torch.diag(rows.new_tensor([1e-6, 1.0, 1.0]))
    right = torch.stack([m[..., 1] for m in moments[:3]], -1)
    unit = torch.zeros_like(right)
    unit[..., 0] = 1.0
    found = torch.linalg.solve(matrix + ridge, torch.stack([right, unit], -1))
    return torch.stack([found[..., 0, 0], found[..., 1, 0] / bandwidth, found[..., 0, 1]])
