"""How well methods keep large and small scales, fast and slow ones, and the time to come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Float, Float64, Int

from sciml.modes.layout import TIME
from sciml.modes.measures.yardstick import Yardstick, share
from sciml.modes.method import Forecasting

__all__ = ["Octaves", "forecast_error", "frequency_octaves", "wavenumber_octaves"]

BLOCK = 4096
"""Points whose spectra are taken together."""


@dataclass(frozen=True, kw_only=True)
class Octaves:
    """Errors by octave.

    Attributes:
        centre: geometric middle of each octave, in waves per length or per time.
        energy: its share of the energy of the truth's deviation from the mean.
        error: root of the energy lost in it over its energy.
    """

    centre: Float64[np.ndarray, " octave"]
    energy: Float64[np.ndarray, " octave"]
    error: Float64[np.ndarray, " octave"]

    def to_dict(self) -> dict[str, list[float]]:
        """As `result.json` holds it."""
        names = ("centre", "energy", "error")
        return {name: [float(v) for v in getattr(self, name)] for name in names}


def frequency_octaves(
    yardstick: Yardstick, truth: xr.Dataset, found: xr.Dataset, step: float
) -> Octaves:
    """Errors by octave of frequency, of snapshots that follow each other evenly.

    Args:
        yardstick: how errors are weighed.
        truth: snapshots.
        found: what a method makes of them.
        step: time between them.
    """
    frequency = np.fft.rfftfreq(truth.sizes[TIME], step)
    whole, lost = np.zeros(len(frequency)), np.zeros(len(frequency))
    a, b = np.asarray(yardstick.layout.rows(truth)), np.asarray(yardstick.layout.rows(found))
    window = np.hanning(len(a) + 2)[1:-1, None]
    for start in range(0, a.shape[1], BLOCK):
        part = slice(start, start + BLOCK)
        weight = yardstick.layout.weights[part]
        mean = yardstick.mean[part]
        whole += _power(window * (a[:, part] - mean)) @ weight
        lost += _power(window * (b[:, part].astype(np.float64) - a[:, part])) @ weight
    return _by_octave(frequency, whole, lost)


def _power(rows: Float[np.ndarray, "time point"]) -> Float64[np.ndarray, "frequency point"]:
    return np.abs(np.fft.rfft(rows, axis=0)) ** 2


def wavenumber_octaves(
    truth: Float[np.ndarray, "time channel *grid"],
    found: Float[np.ndarray, "time channel *grid"],
    spacing: Sequence[float],
) -> Octaves:
    """Errors by octave of wavenumber, of fields on an evenly spaced grid.

    Args:
        truth: deviations from the mean, zero in the solid.
        found: what a method makes of them.
        spacing: of the grid along each of its dimensions.
    """
    grid = truth.shape[2:]
    axes = tuple(range(2, truth.ndim))
    squares = np.zeros(grid)
    for axis, (size, width) in enumerate(zip(grid, spacing, strict=True)):
        shape = [1] * len(grid)
        shape[axis] = size
        squares = squares + np.fft.fftfreq(size, width).reshape(shape) ** 2
    whole = _summed(truth, axes)
    lost = _summed(found - truth, axes)
    return _by_octave(np.sqrt(squares).ravel(), whole.ravel(), lost.ravel())


def _summed(
    fields: Float[np.ndarray, "time channel *grid"], axes: tuple[int, ...]
) -> Float64[np.ndarray, "*grid"]:
    """Power over the grid of wavenumbers, snapshot by snapshot to save memory."""
    total = np.zeros(fields.shape[2:])
    for field in fields:
        power = np.abs(np.fft.fftn(field, axes=[axis - 1 for axis in axes])) ** 2
        total += power.sum(0)
    return total


def _by_octave(
    scale: Float[np.ndarray, " mode"],
    whole: Float64[np.ndarray, " mode"],
    lost: Float64[np.ndarray, " mode"],
) -> Octaves:
    """Sums over octaves from the smallest scale above zero; what is constant is left out."""
    place = _octave(scale)
    count = int(place.max()) + 1 if len(place) else 0
    inside = place >= 0
    energy = np.bincount(place[inside], whole[inside], count)
    missed = np.bincount(place[inside], lost[inside], count)
    least = scale[scale > 0].min()
    error = [float(np.sqrt(share(m, e))) for m, e in zip(missed, energy, strict=True)]
    return Octaves(
        centre=least * 2.0 ** (np.arange(count) + 0.5),
        energy=energy / max(float(whole.sum()), 1e-300),
        error=np.array(error),
    )


def _octave(scale: Float[np.ndarray, " mode"]) -> Int[np.ndarray, " mode"]:
    """Number of the octave above the smallest scale; -1 for zero."""
    positive = scale > 0
    least = scale[positive].min()
    octave = np.full(len(scale), -1)
    octave[positive] = np.floor(np.log2(scale[positive] / least) + 1e-9).astype(int)
    return octave


def forecast_error(
    method: object, past: xr.Dataset, future: xr.Dataset, yardstick: Yardstick
) -> Float64[np.ndarray, " time"] | None:
    """Relative error of each snapshot that follows the past; None if the method does not foresee.

    Args:
        method: a fitted one.
        past: snapshots up to the moment that is forecast from.
        future: the ones that follow, evenly in the same step.
        yardstick: errors are relative to the mean energy of the future's deviations.
    """
    if not isinstance(method, Forecasting):
        return None
    found = method.forecast(past, future.sizes[TIME])
    lost, whole = yardstick.energies(future, found)
    return np.sqrt(lost / max(float(whole.mean()), 1e-300))
