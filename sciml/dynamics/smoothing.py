"""Smooth functions through noisy observations with gaps: first guesses of states and rates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from jaxtyping import Bool, Float, Int
from scipy.optimize import minimize
from torch import Tensor

from sciml.dynamics.shooting import Observations
from sciml.dynamics.windows import with_states

__all__ = ["Smooth", "smooth", "smoothed"]

STARTS = (2.0, 8.0)
"""Length scales from which the likelihood is climbed, in mean gaps between observations."""

LEAST_NOISE = 1e-8
"""Variance of the noise at least, over that of the observations: the equations stay solvable."""

MOST = 2000
"""Observations of a component in a sample at most; the work grows with their cube."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Smooth:
    """What smoothing found.

    Args:
        state: at all times, observed or not.
        rate: time derivative there.
        length: l of each component, in time.
        noise: standard deviation of the noise of each component.
    """

    state: Float[Tensor, "sample time component"]
    rate: Float[Tensor, "sample time component"]
    length: Float[Tensor, " component"]
    noise: Float[Tensor, " component"]


@torch.no_grad()
def smooth(seen: Observations) -> Smooth:
    r"""The mean of a Gaussian process given the observations, component by component.

    $x \sim GP(m, k),\quad k(t, t') = a\, e^{-(t - t')^2 / 2 l^2},\quad
    y_j = x(t_j) + \varepsilon_j,\ \varepsilon_j \sim N(0, s^2)$

    m is the mean of the observed values; a, l and s, the same for all samples, are those of the
    largest likelihood, so that nothing but the observations decides. Where there are none, the
    state falls back to the mean.

    Args:
        seen: the observations.

    Raises:
        ValueError: a component that a sample never shows, or one with very many observations.

    Rasmussen and Williams, "Gaussian processes for machine learning", 2006,
    doi:10.7551/mitpress/3206.001.0001.

    Example:
        >>> times = np.linspace(0, 1, 21)
        >>> values = torch.from_numpy(1 + times**2)[None, :, None]
        >>> found = smooth(Observations(values=values, times=times))
        >>> bool((found.state - values).abs().max() < 1e-2)
        True
    """
    _check_counts(seen.seen.sum(1))
    rows = seen.rows.to(seen.values)
    parts = [
        _Component.of(rows, seen.values[..., c], seen.seen[..., c]).smooth(rows)
        for c in range(seen.values.shape[-1])
    ]
    state, rate, length, noise = zip(*parts, strict=True)
    return Smooth(
        state=torch.stack(state, -1),
        rate=torch.stack(rate, -1),
        length=torch.stack(length),
        noise=torch.stack(noise),
    )


def smoothed(ds: xr.Dataset) -> xr.Dataset:
    """Labelled noisy, partial observations to a smooth state at all times; see `smooth`.

    Args:
        ds: `state` [sample, time, component], with `mask` where values lack.

    >>> from sciml.dynamics.observations import hide
    >>> from sciml.dynamics.systems import trajectories
    >>> ds = trajectories(np.arange(30) * 0.01, samples=2)
    >>> bool((abs(smoothed(hide(ds, every=2))["state"] - ds["state"]) < 0.3).all())
    True
    """
    return with_states(ds, smooth(Observations.of(ds)).state)


def _check_counts(counts: Int[Tensor, "sample component"]) -> None:
    if (counts == 0).any():
        sample, component = (counts == 0).nonzero()[0].tolist()
        raise ValueError(
            f"sample {sample} never shows component {component}: "
            "leave the sample out, or give a first guess of your own"
        )
    if (counts > MOST).any():
        sample, component = (counts > MOST).nonzero()[0].tolist()
        raise ValueError(
            f"sample {sample} shows component {component} {counts[sample, component]} times, "
            f"{MOST} can be smoothed at once: cut it into shorter samples"
        )


@dataclass(frozen=True, kw_only=True)
class _Component:
    """The observations of one component, those of each sample first and padded to one number."""

    times: Float[Tensor, "sample seen"]
    values: Float[Tensor, "sample seen"]
    valid: Bool[Tensor, "sample seen"]
    mean: Tensor
    variance: Tensor

    @classmethod
    def of(cls, rows: Tensor, values: Tensor, seen: Tensor) -> _Component:
        """From the times, the values and whether each was seen, [sample, time]."""
        known = values[seen]
        first = (~seen).to(torch.int8).argsort(dim=1, stable=True)[:, : int(seen.sum(1).max())]
        valid = seen.gather(1, first)
        least = torch.finfo(values.dtype).tiny
        return cls(
            times=rows.gather(1, first),
            values=(values.gather(1, first) - known.mean()).where(valid, 0.0),
            valid=valid,
            mean=known.mean(),
            variance=known.var(correction=0).clamp_min(least),
        )

    def smooth(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """State and rate at all times, length scale and noise."""
        a, length, noise = torch.from_numpy(self._likeliest()).to(rows).exp()
        pull = torch.cholesky_solve(self.values[..., None], self._factor(a, length, noise))
        apart = rows[:, :, None] - self.times[:, None, :]
        kernel = a * torch.exp(-0.5 * (apart / length) ** 2) * self.valid[:, None]
        state = self.mean + (kernel @ pull)[..., 0]
        rate = ((-apart / length**2 * kernel) @ pull)[..., 0]
        return state, rate, length, noise.sqrt()

    def _factor(self, a: Tensor, length: Tensor, noise: Tensor) -> Tensor:
        """Cholesky factor of the covariance of the observations; of one on what is padded."""
        apart = self.times[:, :, None] - self.times[:, None, :]
        both = self.valid[:, :, None] & self.valid[:, None, :]
        covariance = (a * torch.exp(-0.5 * (apart / length) ** 2)).where(both, 0.0)
        own = torch.where(self.valid, noise, torch.ones_like(noise))
        return torch.linalg.cholesky(covariance + torch.diag_embed(own))

    def _likeliest(self) -> Float[np.ndarray, " 3"]:
        """Logarithms of a, l and s² of the largest likelihood."""
        variance = float(self.variance)
        span = float((self.times.amax(1) - self.times.amin(1)).max())
        gap = max(span / self.values.shape[1], 1e-12)
        bounds = np.log(
            [
                (1e-3 * variance, 1e3 * variance),
                (0.3 * gap, max(3 * span, gap)),
                (LEAST_NOISE * variance, variance),
            ]
        )

        @torch.enable_grad()
        def cost(logs: np.ndarray) -> tuple[float, np.ndarray]:
            given = torch.from_numpy(logs).to(self.values).requires_grad_()
            factor = self._factor(*given.exp())
            white = torch.linalg.solve_triangular(factor, self.values[..., None], upper=False)
            value = 0.5 * white.square().sum() + factor.diagonal(dim1=-2, dim2=-1).log().sum()
            (slope,) = torch.autograd.grad(value, given)
            return value.item(), slope.double().numpy()

        starts = (np.log([variance, factor * gap, 0.1 * variance]) for factor in STARTS)
        tries = (
            minimize(cost, start.clip(*bounds.T), jac=True, method="L-BFGS-B", bounds=bounds)
            for start in starts
        )
        return min(tries, key=lambda found: found.fun).x
