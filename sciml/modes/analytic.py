"""Data whose modes, frequencies and growth rates are known: what a decomposition has to find."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Float64

__all__ = [
    "Wave",
    "linear_system",
    "translating_pulse",
    "translating_vortex",
    "travelling_waves",
    "two_oscillations",
]

Series = Float64[np.ndarray, "time *mesh"]


@dataclass(frozen=True, kw_only=True)
class Wave:
    r"""One wave $a\,e^{\sigma t}\cos(2\pi(kx - ft))$ on a periodic line of length one.

    Attributes:
        frequency: f, in periods per unit of time; the wave runs to the right where f > 0.
        wavenumber: k, in periods per unit of length.
        amplitude: a.
        growth_rate: σ, per unit of time.
    """

    frequency: float
    wavenumber: int = 1
    amplitude: float = 1.0
    growth_rate: float = 0.0


def travelling_waves(
    waves: Sequence[Wave] = (Wave(frequency=0.2), Wave(frequency=0.4, wavenumber=2, amplitude=0.3)),
    *,
    points: int = 64,
    steps: int = 200,
    time_step: float = 0.1,
    noise: float = 0.0,
    seed: int = 0,
) -> xr.Dataset:
    """A sum of waves: two POD modes and a pair of DMD eigenvalues each.

    Args:
        waves: what is summed.
        points: on the line.
        steps: number of snapshots.
        time_step: between them.
        noise: standard deviation of what is added to each number.
        seed: of the noise.

    Returns:
        `velocity` over (time, x), and over `wave` what is known: `true_frequency`,
        `true_growth_rate`.

    Raises:
        ValueError: no waves, or fewer than two points or steps.

    >>> travelling_waves(steps=5)["velocity"].shape
    (5, 64)
    """
    _check(points, steps, time_step)
    if not waves:
        raise ValueError("there are no waves: give at least one")
    x, time = np.arange(points) / points, time_step * np.arange(steps)
    u = np.zeros((steps, points))
    for wave in waves:
        phase = wave.wavenumber * x - wave.frequency * time[:, None]
        u += wave.amplitude * np.exp(wave.growth_rate * time)[:, None] * np.cos(2 * np.pi * phase)
    ds = _labelled({"velocity": (("time", "x"), _noisy(u, noise, seed))}, time, x=x)
    ds["true_frequency"] = ("wave", [wave.frequency for wave in waves], {"units": "1"})
    ds["true_growth_rate"] = ("wave", [wave.growth_rate for wave in waves], {"units": "1"})
    return ds


def two_oscillations(
    frequencies: tuple[float, float] = (0.15, 0.37),
    *,
    amplitudes: tuple[float, float] = (1.0, 0.5),
    growth_rates: tuple[float, float] = (0.0, 0.0),
    shape: tuple[int, int] = (16, 24),
    steps: int = 200,
    time_step: float = 0.25,
    noise: float = 0.0,
    seed: int = 0,
) -> xr.Dataset:
    """Two oscillating structures in a plane whose cells differ in volume, with noise.

    Each is a pair of shapes, the second a quarter of a period behind the first: a patch of waves
    that runs along x, as in a wake. Cells grow along y, so that weights matter.

    Args:
        frequencies: in periods per unit of time.
        amplitudes: of the two.
        growth_rates: per unit of time.
        shape: points along y and x.
        steps: number of snapshots.
        time_step: between them.
        noise: standard deviation of what is added to each number.
        seed: of the noise.

    Returns:
        `velocity` over (time, y, x), `cell_volume`, and over `wave` what is known:
        `true_frequency`, `true_growth_rate`.

    Raises:
        ValueError: fewer than two points or steps.
    """
    _check(min(shape), steps, time_step)
    time = time_step * np.arange(steps)
    y, volume = _graded(shape[0])
    x = (np.arange(shape[1]) + 0.5) / shape[1]
    u = np.zeros((steps, *shape))
    for n in range(2):
        patch = np.exp(-(((y - (0.35 + 0.3 * n)) / 0.15) ** 2))[:, None]
        along, turn = 2 * np.pi * (n + 1) * x, 2 * np.pi * frequencies[n] * time[:, None, None]
        growth = amplitudes[n] * np.exp(growth_rates[n] * time)[:, None, None]
        u += growth * patch * np.cos(along - turn)
    ds = _labelled({"velocity": (("time", "y", "x"), _noisy(u, noise, seed))}, time, y=y, x=x)
    ds["cell_volume"] = (("y", "x"), np.tile(volume[:, None] / shape[1], shape[1]), {"units": "1"})
    ds["true_frequency"] = ("wave", list(frequencies), {"units": "1"})
    ds["true_growth_rate"] = ("wave", list(growth_rates), {"units": "1"})
    return ds


def translating_pulse(
    *,
    width: float = 0.02,
    speed: float = 1.0,
    points: int = 512,
    steps: int = 200,
    time_step: float = 0.005,
) -> xr.Dataset:
    r"""A pulse $\exp(-(x - ct)^2 / 2s^2)$ that runs round a periodic line of length one.

    Over whole rounds its POD modes are sines and cosines, with the energies of its Fourier series:
    at the width given, 29 of them hold 99 % of the energy. Aligned, it is a single shape.

    Args:
        width: s.
        speed: c.
        points: on the line.
        steps: number of snapshots; as given they make one round.
        time_step: between them.

    Returns:
        `velocity` over (time, x), and `true_shift` over time: where the crest is.

    Raises:
        ValueError: a width that is not positive, or fewer than two points or steps.

    >>> translating_pulse(steps=2).sizes["x"]
    512
    """
    _check(points, steps, time_step)
    if not width > 0:
        raise ValueError(f"width is {width}, and must be positive")
    x, time = np.arange(points) / points, time_step * np.arange(steps)
    shift = (speed * time) % 1.0
    u = np.exp(-0.5 * (_distance(x, shift[:, None]) / width) ** 2)
    ds = _labelled({"velocity": (("time", "x"), u)}, time, x=x)
    ds["true_shift"] = ("time", shift, {"units": "1"})
    return ds


def translating_vortex(
    *,
    radius: float = 0.06,
    speed: float = 1.0,
    shape: tuple[int, int] = (32, 64),
    steps: int = 80,
    time_step: float = 0.0125,
) -> xr.Dataset:
    r"""A vortex carried along x through a periodic box of length one and height one half.

    Its stream function is $\psi = r\,\exp(-d^2 / 2r^2)$ with d the distance from its centre: the
    flow is free of divergence and dies out away from the vortex.

    Args:
        radius: r.
        speed: at which it is carried.
        shape: points along y and x.
        steps: number of snapshots; as given they make one round.
        time_step: between them.

    Returns:
        `velocity` over (time, y, x, i), and `true_shift` over time: where the centre is.

    Raises:
        ValueError: a radius that is not positive, or fewer than two points or steps.
    """
    _check(min(shape), steps, time_step)
    if not radius > 0:
        raise ValueError(f"radius is {radius}, and must be positive")
    time = time_step * np.arange(steps)
    y, x = (np.arange(shape[0]) + 0.5) / shape[0] / 2, np.arange(shape[1]) / shape[1]
    shift = (speed * time) % 1.0
    dx, dy = _distance(x, shift[:, None, None]), (y - 0.25)[:, None]
    envelope = np.exp(-0.5 * (dx**2 + dy**2) / radius**2) / radius
    velocity = np.stack([-dy * envelope, dx * envelope], axis=-1)
    ds = _labelled({"velocity": (("time", "y", "x", "i"), velocity)}, time, y=y, x=x)
    ds["true_shift"] = ("time", shift, {"units": "1"})
    return ds


def linear_system(
    eigenvalues: Sequence[float | complex],
    *,
    points: int = 40,
    steps: int = 60,
    time_step: float = 1.0,
    seed: int = 0,
) -> xr.Dataset:
    r"""Snapshots of $x_{n+1} = A x_n$ whose eigenvalues are given.

    The modes are random and not orthogonal; each is excited alike.

    Args:
        eigenvalues: of A, of one step; a complex one brings its conjugate with it.
        points: numbers in a snapshot.
        steps: number of snapshots.
        time_step: between them.
        seed: of the modes.

    Returns:
        `velocity` over (time, x).

    Raises:
        ValueError: more eigenvalues than points, or fewer than two points or steps.
    """
    _check(points, steps, time_step)
    values = np.asarray(eigenvalues, dtype=complex)
    if 2 * len(values) > points:
        raise ValueError(f"{len(values)} eigenvalues need at least {2 * len(values)} points")
    rng = np.random.default_rng(seed)
    modes = rng.standard_normal((2, len(values), points)) / np.sqrt(points)
    powers = values ** np.arange(steps)[:, None]
    u = (powers @ (modes[0] + 1j * modes[1])).real
    time, x = time_step * np.arange(steps), np.arange(points) / points
    return _labelled({"velocity": (("time", "x"), u)}, time, x=x)


def _labelled(
    variables: dict[str, tuple[tuple[str, ...], Series]],
    time: Float64[np.ndarray, " time"],
    **axes: np.ndarray,
) -> xr.Dataset:
    units = {"units": "1"}
    return xr.Dataset(
        {name: (*variable, units) for name, variable in variables.items()},
        coords={"time": ("time", time, units)}
        | {name: (name, values, units) for name, values in axes.items()},
        attrs={"source": "analytic"},
    )


def _noisy(u: Series, noise: float, seed: int) -> Series:
    if not noise:
        return u
    return u + noise * np.random.default_rng(seed).standard_normal(u.shape)


def _graded(points: int) -> tuple[Float64[np.ndarray, " y"], Float64[np.ndarray, " y"]]:
    """Centres and heights of cells that grow from the bottom to the top of a unit interval."""
    edges = np.linspace(0, 1, points + 1) ** 1.5
    return (edges[1:] + edges[:-1]) / 2, np.diff(edges)


def _distance(x: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """To the nearest of a point's images on a periodic line of length one, with its sign."""
    return (x - centre + 0.5) % 1.0 - 0.5


def _check(points: int, steps: int, time_step: float) -> None:
    if points < 2 or steps < 2 or not time_step > 0:
        raise ValueError(
            f"{points} points and {steps} steps of {time_step}: give at least two of each, and a "
            "positive time step"
        )
