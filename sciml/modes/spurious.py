"""Which dynamic modes are no motion of the flow: rounding and noise, or sampled too seldom."""

from __future__ import annotations

import numpy as np
import xarray as xr
from jaxtyping import Bool, Complex128, Float64, Int

from sciml.modes.dmd import Dmd
from sciml.modes.expansion import MODE, Expansion
from sciml.modes.spectral import SpectralPod
from sciml.modes.timing import even_step
from sciml.modes.variants import DmdVariant

__all__ = ["check_modes"]

HARMONICS = 8
NEAR = 0.01
"""Of the fundamental frequency: what counts as its multiple."""

Amplitudes = Complex128[np.ndarray, "time mode"]


def check_modes(
    method: Dmd | DmdVariant | SpectralPod,
    ds: xr.Dataset,
    *,
    finer: xr.Dataset | None = None,
    limit: float = 0.3,
) -> xr.Dataset:
    r"""Tell spurious and aliased modes from motions of the flow.

    With $a_k(t_n)$ what stands before mode k in snapshot n, a mode is spurious if it does not move
    as its eigenvalue says, $|a_k(t_{n+1}) - \lambda_k a_k(t_n)| > \text{limit}\,|a_k(t_{n+1})|$ in
    root mean square. Snapshots that were not fitted tell most.

    A frequency above half the sampling frequency $f_s$ appears at $|f - n f_s|$. With `finer`
    snapshots the frequency is measured there, and a mode is aliased if the two differ by a multiple
    of $f_s$. Without, one is held to be aliased that is no multiple of the fundamental, the
    strongest frequency, but lies within 1 % of it where a multiple beyond $f_s/2$ would appear:
    a suspicion, to be settled with finer snapshots.

    Colbrook and Townsend, Comm. Pure Appl. Math. 77, 221 (2024),
    https://doi.org/10.1002/cpa.22125, for residuals of dynamic modes.

    Args:
        method: fitted.
        ds: snapshots at the time step of the fit.
        finer: snapshots at a smaller step.
        limit: residual above which a mode is spurious.

    Returns:
        over `mode`: `frequency`, `residual`, `spurious`, `aliased`, `harmonic` (the multiple of the
        fundamental that it is, folded or not; -1 if none), and `true_frequency` (NaN without finer
        snapshots). `fundamental` and `nyquist_frequency` stand in the attributes.

    Raises:
        ValueError: another time step, finer snapshots that are not finer, or modes that one
            snapshot cannot tell apart.
    """
    expansion = method.expansion
    step = expansion.clock.step
    _require_independent(expansion)
    found = even_step(ds)
    if abs(found - step) > 1e-3 * step:
        raise ValueError(f"the snapshots are {found:.6g} apart, and those fitted are {step:.6g}")
    frequency = expansion.rates.imag / (2 * np.pi)
    residual = _residuals(expansion.complex_amplitudes(ds), expansion.eigenvalues)
    spurious = ~(residual <= limit)
    fundamental = _fundamental(frequency, expansion.energy, spurious)
    harmonic, folded = _harmonics(np.abs(frequency), fundamental, step)
    true = np.full(len(frequency), np.nan)
    aliased = folded & ~spurious
    if finer is not None:
        true = _measured(expansion, finer)
        aliased = (np.abs(true - frequency) * step > 0.5) & ~spurious
    return _labelled(expansion, residual, spurious, aliased, harmonic, true).assign_attrs(
        fundamental=fundamental, nyquist_frequency=0.5 / step, limit=limit
    )


def _residuals(
    amplitudes: Amplitudes, eigenvalues: Complex128[np.ndarray, " mode"]
) -> Float64[np.ndarray, " mode"]:
    """Root mean square of what the eigenvalue does not say, over that of the amplitude."""
    before, after = amplitudes[:-1], amplitudes[1:]
    missed = (np.abs(after - eigenvalues * before) ** 2).sum(0)
    size = (np.abs(after) ** 2).sum(0)
    return np.sqrt(np.divide(missed, size, out=np.full(len(size), np.inf), where=size > 0))


def _fundamental(
    frequency: Float64[np.ndarray, " mode"],
    energy: Float64[np.ndarray, " mode"],
    spurious: Bool[np.ndarray, " mode"],
) -> float:
    """Frequency of the strongest mode that oscillates; NaN if none does."""
    able = (frequency > 0) & ~spurious
    return float(frequency[np.argmax(np.where(able, energy, -1.0))]) if able.any() else np.nan


def _harmonics(
    frequency: Float64[np.ndarray, " mode"], fundamental: float, step: float
) -> tuple[Int[np.ndarray, " mode"], Bool[np.ndarray, " mode"]]:
    """Which multiple each is, and whether only if folded back below half the sampling frequency."""
    multiple = np.full(len(frequency), -1)
    folded = np.zeros(len(frequency), dtype=bool)
    if not fundamental > 0:
        return multiple, folded
    number = np.arange(HARMONICS + 1)
    place = number * fundamental
    seen = np.abs(place - np.round(place * step) / step)
    beyond = place * step > 0.5
    for fold in (True, False):
        distance = np.abs(frequency[:, None] - seen)
        distance[:, beyond != fold] = np.inf
        near = distance.min(1) < NEAR * fundamental
        multiple[near], folded[near] = distance.argmin(1)[near], fold
    return multiple, folded


def _measured(expansion: Expansion, finer: xr.Dataset) -> Float64[np.ndarray, " mode"]:
    """The mean frequency of each mode's amplitude in finer snapshots."""
    step = even_step(finer)
    if not step < 0.75 * expansion.clock.step:
        raise ValueError(
            f"the finer snapshots are {step:.6g} apart, and those fitted {expansion.clock.step:.6g}"
        )
    amplitudes = expansion.complex_amplitudes(finer)
    turn = (amplitudes[:-1].conj() * amplitudes[1:]).sum(0)
    return np.angle(turn) / (2 * np.pi * step)


def _require_independent(expansion: Expansion) -> None:
    if expansion.windows is not None or not expansion.independent:
        raise ValueError(
            "one snapshot does not tell these modes apart, so that their motion cannot be checked: "
            'use a lower rank, and another kind than "multi-resolution"'
        )


def _labelled(
    expansion: Expansion,
    residual: Float64[np.ndarray, " mode"],
    spurious: Bool[np.ndarray, " mode"],
    aliased: Bool[np.ndarray, " mode"],
    harmonic: Int[np.ndarray, " mode"],
    true: Float64[np.ndarray, " mode"],
) -> xr.Dataset:
    inverse, plain = expansion.clock.inverse, {"units": "1"}
    return xr.Dataset(
        {
            "frequency": (MODE, expansion.rates.imag / (2 * np.pi), inverse),
            "residual": (MODE, residual, plain),
            "spurious": (MODE, spurious, plain),
            "aliased": (MODE, aliased, plain),
            "harmonic": (MODE, harmonic, plain),
            "true_frequency": (MODE, true, inverse),
        },
        coords={MODE: np.arange(expansion.rank)},
    )
