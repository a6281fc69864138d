"""Spectral POD: energies that add up, orthonormal modes, tones found under noise."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from sciml.modes.analytic import Wave, travelling_waves, two_oscillations
from sciml.modes.spectral import SpectralPod, SpectralPodOptions, spectral_pod

WAVE = ("velocity",)


def fitted(ds, **options):
    spod = SpectralPod(SpectralPodOptions(variables=WAVE, **options))
    return spod, spod.fit(ds)


def test_energies_add_up_to_the_variance(rng):
    rows = rng.normal(size=(60, 7))
    rows -= rows.mean(0)
    found = spectral_pod(rows, block=20, overlap=0.0, window="none")
    assert found.energies.sum() == pytest.approx((rows**2).sum(1).mean(), rel=1e-12)


def test_windowed_energies_add_up_to_the_variance_in_the_mean():
    ds = two_oscillations(noise=0.5, steps=2000)
    spod, _ = fitted(ds, block=100)
    assert float(spod.spectrum["energy"].sum()) == pytest.approx(1, rel=0.02)


def test_modes_at_a_frequency_are_orthonormal_and_diagonalise_the_spectrum(rng):
    rows = rng.normal(size=(90, 12))
    found = spectral_pod(rows, block=30, window="none", overlap=0.0)
    blocks = np.fft.rfft(rows.reshape(3, 30, 12), axis=1)[:, 4] / 30
    density = 2 * np.einsum("bi,bj->ij", blocks, blocks.conj()) / 3
    modes, energy = found.vectors[4], found.energies[4]
    np.testing.assert_allclose(modes @ modes.conj().T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(density @ modes.T, modes.T * energy, atol=1e-12)


def test_modes_on_the_mesh_are_orthonormal_in_its_inner_product():
    ds = two_oscillations(noise=0.2, steps=200)
    _, result = fitted(ds, rank=60, block=40, select="energy")
    bins = (result["frequency"] * 40 * 0.25).round().values
    several = [b for b in np.unique(bins) if b > 0 and (bins == b).sum() > 1]
    assert several
    for b in several:
        modes = result["modes"].values[bins == b].reshape((bins == b).sum(), -1)
        gram = (modes * ds["cell_volume"].values.ravel()) @ modes.conj().T
        np.testing.assert_allclose(gram, np.eye(len(modes)), atol=1e-9)


def test_tones_are_found_under_noise():
    ds = two_oscillations((0.15, 0.4), noise=0.6, steps=800)
    spod, result = fitted(ds, rank=4, block=160)
    found = np.sort(result["frequency"].values[::2])
    half = 0.5 / (160 * 0.25)
    np.testing.assert_allclose(found, [0.15, 0.4], atol=half)
    leading = spod.spectrum["energy"].isel(order=0)
    second = spod.spectrum["energy"].isel(order=1)
    peak = leading.sel(frequency=0.15, method="nearest")
    assert float(peak / second.sel(frequency=0.15, method="nearest")) > 20


def test_the_mode_of_a_wave_is_the_wave():
    wave = Wave(frequency=0.5, wavenumber=3)
    ds = travelling_waves([wave], noise=0.3, steps=600, points=32)
    _, result = fitted(ds, rank=2, block=100)
    x = ds["x"].values
    wanted = np.exp(-2j * np.pi * 3 * x) / np.sqrt(32)
    assert abs(np.vdot(wanted, result["modes"].values[0])) > 0.999


def test_it_encodes_forecasts_and_comes_back(tmp_path):
    ds = travelling_waves([Wave(frequency=0.5), Wave(frequency=1.0, wavenumber=2)], steps=200)
    past, future = ds.isel(time=slice(0, 160)), ds.isel(time=slice(160, None))
    spod, _ = fitted(past, rank=4, block=40)
    np.testing.assert_allclose(spod.forecast(past, 40)["velocity"], future["velocity"], atol=1e-6)
    again = SpectralPod.load(spod.save(tmp_path / "spod"))
    xr.testing.assert_equal(again.spectrum, spod.spectrum)
    xr.testing.assert_allclose(again.reconstruct(future), spod.reconstruct(future))
    np.testing.assert_allclose(again.trajectory(ds["time"])["velocity"], ds["velocity"], atol=1e-6)


def test_a_translated_flow_has_translated_modes_and_the_same_energies():
    ds = travelling_waves(noise=0.1)[["velocity"]]
    one, result = fitted(ds, rank=2)
    two, moved = fitted(ds.roll(x=5), rank=2)
    np.testing.assert_allclose(two.spectrum["energy"], one.spectrum["energy"], atol=1e-10)
    np.testing.assert_allclose(moved["modes"], np.roll(result["modes"], 5, axis=1), atol=1e-8)


def test_blocks_that_do_not_fit_are_refused():
    ds = travelling_waves(steps=30)
    with pytest.raises(ValueError, match="blocks of 40 snapshots were asked for, and there are 30"):
        fitted(ds, block=40)
    with pytest.raises(ValueError, match="overlap is 1"):
        fitted(ds, overlap=1.0)
    with pytest.raises(ValueError, match="must be equal"):
        fitted(ds.isel(time=[0, 1, 2, 3, 4, 6]))
