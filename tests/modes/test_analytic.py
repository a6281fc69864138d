"""The answers that the analytic data are said to have."""

from __future__ import annotations

import numpy as np
import pytest

from sciml.modes.analytic import (
    Wave,
    linear_system,
    translating_pulse,
    translating_vortex,
    travelling_waves,
    two_oscillations,
)


def shares(ds, name="velocity"):
    """Energy of the leading singular vectors, cumulative."""
    rows = ds[name].values.reshape(ds.sizes["time"], -1)
    energy = np.linalg.svd(rows, compute_uv=False) ** 2
    return np.cumsum(energy) / energy.sum()


def test_a_wave_moves_with_its_phase_speed():
    wave = Wave(frequency=0.5, wavenumber=2, growth_rate=-0.3)
    ds = travelling_waves([wave], points=40, steps=9, time_step=0.2)
    first, second = ds["velocity"].values[[0, 1]]
    moved = 0.2 * 0.5 / 2 * 40
    np.testing.assert_allclose(second, np.exp(-0.06) * np.roll(first, round(moved)), atol=1e-12)


def test_each_wave_takes_two_modes():
    waves = [Wave(frequency=0.2), Wave(frequency=0.7, wavenumber=3, amplitude=0.1)]
    found = shares(travelling_waves(waves))
    assert found[1] < 1 - 1e-3
    assert found[3] == pytest.approx(1, abs=1e-12)


def test_two_oscillations_span_four_modes_and_noise_is_as_told():
    clean, noisy = two_oscillations(), two_oscillations(noise=0.1, seed=3)
    assert shares(clean)[3] == pytest.approx(1, abs=1e-12)
    assert float((noisy - clean)["velocity"].std()) == pytest.approx(0.1, rel=0.02)
    assert float(clean["cell_volume"].sum()) == pytest.approx(1)


def test_a_translating_pulse_needs_29_modes():
    found = shares(translating_pulse())
    assert found[27] < 0.99 < found[28]


def test_a_vortex_is_free_of_divergence_and_moves_by_whole_cells():
    ds = translating_vortex(shape=(64, 128), steps=128, time_step=1 / 128)
    u, v = ds["velocity"].values[7].transpose(2, 0, 1)
    dx, dy = 1 / 128, 1 / 128
    divergence = np.gradient(u, dx, axis=1) + np.gradient(v, dy, axis=0)
    assert np.abs(divergence[2:-2, 2:-2]).max() < 0.02 * np.abs(np.gradient(v, dx, axis=1)).max()
    moved = np.roll(ds["velocity"].values[0], 7, axis=1)
    np.testing.assert_allclose(ds["velocity"].values[7], moved, atol=1e-12)


def test_a_linear_system_obeys_its_recurrence():
    values = [0.9 + 0.3j, 0.7]
    rows = linear_system(values, points=12, steps=20)["velocity"].values
    polynomial = np.poly([0.9 + 0.3j, 0.9 - 0.3j, 0.7]).real
    left = sum(c * rows[3 - n : 20 - n] for n, c in enumerate(polynomial))
    assert np.abs(left).max() < 1e-13


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="there are no waves"):
        travelling_waves([])
    with pytest.raises(ValueError, match="at least two of each"):
        two_oscillations(steps=1)
    with pytest.raises(ValueError, match="width is 0"):
        translating_pulse(width=0.0)
    with pytest.raises(ValueError, match="3 eigenvalues need at least 6 points"):
        linear_system([0.1, 0.2, 0.3], points=5)
