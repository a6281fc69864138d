"""Frequency, growth and saturation of oscillations whose numbers are known."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from sciml.modes.shedding import linear_growth, saturation_time, shedding_frequency


def series(values: np.ndarray, time: np.ndarray) -> xr.DataArray:
    return xr.DataArray(values, {"time": time}, "time")


def test_frequency_is_found_whatever_phase_mean_and_harmonics(rng):
    time = np.arange(0, 60, 0.25) + rng.uniform()
    frequency, phase = rng.uniform(0.15, 0.18), rng.uniform(0, 2 * np.pi)
    turn = 2 * np.pi * frequency * time + phase
    lift = 0.33 * np.cos(turn) + 0.01 * np.cos(3 * turn) + rng.normal()
    assert shedding_frequency(series(lift, time)) == pytest.approx(frequency, rel=2e-4)


def test_growth_and_saturation_of_the_landau_equation(rng):
    r"""$\dot A = \sigma A (1 - A^2)$, of which the solution is known."""
    rate, frequency = rng.uniform(0.1, 0.15), 0.12
    time = np.arange(0, 250, 0.125)
    start = 1e-3
    size = 1 / np.sqrt(1 + (1 / start**2 - 1) * np.exp(-2 * rate * time))
    lift = series(0.3 * size * np.cos(2 * np.pi * frequency * time), time)
    growth = linear_growth(lift, between=(0.005, 0.05))
    assert growth.rate == pytest.approx(rate, rel=0.01)
    assert growth.frequency == pytest.approx(frequency, rel=0.01)
    within = np.log((1 / start**2 - 1) / (1 / 0.99**2 - 1)) / (2 * rate)
    assert saturation_time(lift) == pytest.approx(within, abs=0.6 / frequency)


def test_too_little_is_refused():
    time = np.arange(0, 10, 0.25)
    lift = series(np.sin(time), time)
    with pytest.raises(ValueError, match="at least three"):
        shedding_frequency(lift)
    with pytest.raises(ValueError, match="at least 20"):
        saturation_time(lift)
    growing = np.arange(0, 100, 0.25)
    with pytest.raises(ValueError, match="longer record"):
        saturation_time(series(np.exp(0.1 * growing) * np.sin(growing), growing))
    with pytest.raises(ValueError, match="at least four"):
        linear_growth(series(np.sin(growing), growing))
