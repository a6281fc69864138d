"""Whether a long run of a model has the attractor of the truth: its measure, spectrum and folds."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float
from scipy.ndimage import gaussian_filter1d

__all__ = ["maxima", "return_map", "spectrum_distance", "state_space_divergence"]


def state_space_divergence(
    truth: Float[np.ndarray, "*batch component"],
    model: Float[np.ndarray, "*batch component"],
    *,
    bins: int = 30,
    smoothing: float = 1e-6,
) -> float:
    r"""Kullback-Leibler divergence of two clouds of states, binned.

    $D = \sum_k p_k \ln(p_k / q_k)$ over the bins of a box in state space, p from the truth and q
    from the model; $(n_k + \alpha) / \sum (n_k + \alpha)$ are the frequencies. The box is what the
    truth fills, per component in standardised variables; states of the model outside it count in
    the bins at its faces, so that straying is not hidden.

    Args:
        truth: long run of the truth, components last.
        model: long run of the model.
        bins: m per component; 30 as is usual for Lorenz-63.
        smoothing: α.

    Returns:
        D ≥ 0, zero for equal frequencies; infinite where the model's run is not finite.

    Raises:
        ValueError: other components.

    Koppe et al., 2019, doi:10.1371/journal.pcbi.1007263; Hess et al., 2023,
    doi:10.48550/arXiv.2306.04406.

    >>> x = np.linspace(0, 1, 101)[:, None]
    >>> state_space_divergence(x, x), state_space_divergence(x, x**2) > 0.1
    (0.0, True)
    """
    p, q = (np.reshape(a, (-1, a.shape[-1])).astype(np.float64) for a in (truth, model))
    if p.shape[1] != q.shape[1]:
        raise ValueError(f"{p.shape[1]} components cannot be compared with {q.shape[1]}")
    if not np.isfinite(q).all():
        return math.inf
    low, high = p.min(0), p.max(0)
    first, second = (_frequencies(a, low, high, bins, smoothing) for a in (p, q))
    return float((first * np.log(first / second)).sum())


def spectrum_distance(
    truth: Float[np.ndarray, "sample time component"],
    model: Float[np.ndarray, "sample time component"],
    *,
    smoothing: float = 20.0,
) -> float:
    r"""Hellinger distance of the power spectra of long runs, mean over the components.

    $H = [1 - \sum_f \sqrt{P_f Q_f}]^{1/2}$ with P and Q the mean spectra of the samples about
    their means, smoothed by a Gaussian and scaled to sum 1; the constant part is left out.

    Args:
        truth: runs at constant steps of time.
        model: runs of the same length at the same steps; their number may differ.
        smoothing: standard deviation of the Gaussian, in frequencies of the spectrum.

    Returns:
        H between 0 (the same) and 1 (no frequency in common, or a run that is not finite).

    Raises:
        ValueError: other lengths or components.

    Mikhaeil, Monfared and Durstewitz, 2022, doi:10.48550/arXiv.2110.07238.

    >>> t = np.linspace(0, 100, 2001)[:-1]
    >>> slow, fast = np.sin(t)[None, :, None], np.sin(9 * t)[None, :, None]
    >>> spectrum_distance(slow, -slow), spectrum_distance(slow, fast, smoothing=2.0) > 0.99
    (0.0, True)
    """
    if truth.shape[1:] != model.shape[1:]:
        raise ValueError(
            f"runs of shape {truth.shape[1:]} and {model.shape[1:]} [time, component] cannot be "
            "compared: give as many times of both"
        )
    if not np.isfinite(model).all():
        return 1.0
    p, q = _spectrum(truth, smoothing), _spectrum(model, smoothing)
    overlap = np.sqrt(p * q).sum(0)
    return float(np.sqrt(np.clip(1 - overlap, 0, None)).mean())


def maxima(series: Float[np.ndarray, " time"]) -> Float[np.ndarray, " maximum"]:
    """Heights of the local maxima, each at the top of the parabola through three values.

    >>> t = np.linspace(0, 10, 401)
    >>> maxima(np.sin(t)).round(6)
    array([1., 1.])
    """
    before, here, after = series[:-2], series[1:-1], series[2:]
    top = (here > before) & (here >= after)
    left, right = (here - before)[top], (here - after)[top]
    return here[top] + (right - left) ** 2 / (8 * (left + right))


def return_map(
    series: Float[np.ndarray, "sample time"],
) -> tuple[Float[np.ndarray, " pair"], Float[np.ndarray, " pair"]]:
    """Successive maxima of a component: each, and the next one of the same sample.

    For z of Lorenz-63 the pairs lie on a curve with a cusp (Lorenz, 1963): the dynamics is nearly
    that of a map of the interval, steeper than one everywhere. The interpolation errs with the
    third power of the step, by at most 5e-3 for z of Lorenz-63 at 0.01.

    >>> low, high = return_map(np.sin(np.linspace(0, 20, 401))[None])
    >>> len(low), bool(np.allclose(low, high, atol=1e-5))
    (2, True)
    """
    heights = [maxima(row) for row in series]
    now = np.concatenate([h[:-1] for h in heights])
    following = np.concatenate([h[1:] for h in heights])
    return now, following


def _frequencies(
    points: np.ndarray, low: np.ndarray, high: np.ndarray, bins: int, smoothing: float
) -> Float[np.ndarray, " bin"]:
    width = np.where(high > low, high - low, 1.0)
    places = np.clip((points - low) / width * bins, 0, bins - 1).astype(np.int64)
    shape = (bins,) * points.shape[1]
    counts = np.bincount(np.ravel_multi_index(places.T, shape), minlength=math.prod(shape))
    smooth = counts / counts.sum() + smoothing / len(counts)
    return smooth / smooth.sum()


def _spectrum(runs: np.ndarray, smoothing: float) -> Float[np.ndarray, "frequency component"]:
    centred = runs - runs.mean(1, keepdims=True)
    power = (np.abs(np.fft.rfft(centred, axis=1)) ** 2).mean(0)[1:]
    smooth = gaussian_filter1d(power, smoothing, axis=0) if smoothing > 0 else power
    return smooth / smooth.sum(0)
