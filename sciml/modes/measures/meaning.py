"""Whether modes and latents can be read: independent, of one frequency, ordered, stable."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float64

__all__ = [
    "correlation_determinant",
    "ordering",
    "power_spectra",
    "principal_angles",
    "spectral_purity",
]

QUIET = 1e-6
"""Latents whose energy is below this share of the largest say nothing."""


def correlation_determinant(values: Float[np.ndarray, "sample mode"]) -> float:
    r"""Determinant of the correlation matrix, $\det R$: 1 if all are uncorrelated, 0 if not.

    Columns that hardly vary are left out.

    Args:
        values: latents (time, mode), or the transpose of weighted modes (point, mode).

    >>> t = 2 * np.pi * np.arange(100) / 100
    >>> round(correlation_determinant(np.stack([np.cos(t), np.sin(t)], 1)), 6)
    1.0
    """
    return _determinant(values - values.mean(0))


def gram_determinant(rows: Float[np.ndarray, "mode point"]) -> float:
    """Of the cosines between weighted modes: 1 if they are orthogonal."""
    return _determinant(rows.T)


def _determinant(columns: Float[np.ndarray, "sample mode"]) -> float:
    norms = np.linalg.norm(columns, axis=0)
    heard = norms**2 > QUIET * max(float((norms**2).max()), 1e-300)
    unit = columns[:, heard] / norms[heard]
    return float(np.linalg.det(unit.T @ unit))


def power_spectra(
    latents: Float[np.ndarray, "time mode"], step: float
) -> tuple[Float64[np.ndarray, " frequency"], Float64[np.ndarray, "frequency mode"]]:
    """Frequencies and the power of each latent at them, through a Hann window, mean removed."""
    window = np.hanning(len(latents) + 2)[1:-1, None]
    deviation = latents - latents.mean(0)
    power = np.abs(np.fft.rfft(window * deviation, axis=0)) ** 2
    return np.fft.rfftfreq(len(latents), step)[1:], power[1:]


def spectral_purity(latents: Float[np.ndarray, "time mode"]) -> Float64[np.ndarray, " mode"]:
    """The share of each latent's power at its strongest frequency and the two beside it.

    1 is a pure oscillation; noise comes near 3 over the number of frequencies. Latents that
    hardly vary give NaN.

    >>> t = np.arange(64) / 64
    >>> mixed = np.sin(2 * np.pi * 4 * t) + np.sin(2 * np.pi * 16 * t)
    >>> spectral_purity(np.stack([np.sin(2 * np.pi * 4 * t), mixed], 1)).round(2)
    array([1. , 0.5])
    """
    _, power = power_spectra(latents, 1.0)
    padded = np.pad(power, ((1, 1), (0, 0)))
    about = padded[:-2] + padded[1:-1] + padded[2:]
    strongest = power.argmax(0)
    total = power.sum(0)
    variance = latents.var(0)
    heard = (variance > QUIET**2 * max(float(variance.max()), 1e-300)) & (total > 0)
    peak = about[strongest, np.arange(power.shape[1])]
    return np.where(heard, peak / np.where(total > 0, total, 1.0), np.nan)


def ordering(energies: Float[np.ndarray, " mode"]) -> float:
    """The share of pairs of modes in which the earlier holds more energy: 1 is in order.

    >>> ordering(np.array([3.0, 2.0, 1.0])), ordering(np.array([1.0, 2.0, 3.0]))
    (1.0, 0.0)
    """
    earlier, later = np.triu_indices(len(energies), 1)
    if not len(earlier):
        return 1.0
    slack = 1e-9 * float(np.max(energies))
    return float((energies[earlier] >= energies[later] - slack).mean())


def principal_angles(
    first: Float[np.ndarray, "_ point"],
    second: Float[np.ndarray, "_ point"],
    *,
    kept: float = 0.999,
) -> Float64[np.ndarray, " angle"]:
    r"""Angles [rad] between the spaces that two sets of weighted rows span.

    Of each set those directions count that hold the share `kept` of its squares: the least ones
    are noise, and may point anywhere. Small angles come from sines (Björck and Golub 1973,
    doi:10.2307/2005662).

    >>> principal_angles(np.eye(3)[:2], np.eye(3)[1:]).round(3)
    array([0.   , 1.571])
    """
    a, b = _span(first, kept), _span(second, kept)
    if len(a) > len(b):
        a, b = b, a
    cosines = np.linalg.svd(a @ b.T, compute_uv=False)
    sines = np.linalg.svd(a - (a @ b.T) @ b, compute_uv=False)[::-1]
    return np.where(
        cosines**2 < 0.5, np.arccos(np.clip(cosines, -1, 1)), np.arcsin(np.clip(sines, -1, 1))
    )


def _span(rows: Float[np.ndarray, "_ point"], kept: float) -> Float64[np.ndarray, "some point"]:
    """Orthonormal directions of rows that hold a share of their squares."""
    _, values, directions = np.linalg.svd(rows.astype(np.float64), full_matrices=False)
    held = np.cumsum(values**2) / max(float((values**2).sum()), 1e-300)
    return directions[: int(np.searchsorted(held, kept * (1 - 1e-12))) + 1]
