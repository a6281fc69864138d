"""Aligned POD: what travels is one structure, wherever it is."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from sciml.modes.aligned import AlignedPod, AlignedPodOptions
from sciml.modes.analytic import translating_pulse, translating_vortex
from sciml.modes.pod import Pod, PodOptions


def fitted(ds, **options):
    aligned = AlignedPod(AlignedPodOptions(**options))
    return aligned, aligned.fit(ds)


def travelled(result):
    """Shift since the first snapshot."""
    return (result["shift"] - result["shift"][0]).values


@pytest.fixture(scope="module")
def pulse():
    return translating_pulse(points=256)[["velocity"]]


def test_29_modes_become_one(pulse):
    energy = Pod(PodOptions(rank=40, mean="none")).fit(pulse)["energy"].cumsum("mode")
    assert int((energy < 0.99).sum()) + 1 == 29
    _, result = fitted(pulse, rank=2)
    assert float(result["energy"][0]) == pytest.approx(1, abs=1e-10)


def test_shifts_are_found_between_points(pulse):
    _, result = fitted(pulse, rank=2)
    np.testing.assert_allclose(travelled(result), pulse["time"].values, atol=1e-10)


def test_a_vortex_is_one_mode_in_two_dimensions():
    ds = translating_vortex()
    plain = Pod(PodOptions(rank=10, mean="none", variables=("velocity",))).fit(ds)
    assert float(plain["energy"].sum()) < 0.99
    aligned, result = fitted(ds, rank=2, variables=("velocity",))
    assert float(result["energy"][0]) == pytest.approx(1, abs=1e-8)
    assert aligned.decode(aligned.encode(ds))["velocity"].dims == ds["velocity"].dims
    found = aligned.reconstruct(ds)["velocity"]
    np.testing.assert_allclose(found, ds["velocity"], atol=1e-5)


def test_noise_moves_the_shift_little(pulse, rng):
    noisy = pulse + 0.2 * rng.normal(size=pulse["velocity"].shape)
    _, result = fitted(noisy, rank=2)
    error = travelled(result) - pulse["time"].values
    assert np.abs(error - error.mean()).max() < 0.01


def test_a_translated_flow_has_the_same_shape_elsewhere(pulse):
    one, first = fitted(pulse, rank=2)
    two, second = fitted(pulse.roll(x=40), rank=2)
    np.testing.assert_allclose(travelled(second), travelled(first), atol=1e-10)
    np.testing.assert_allclose(second["energy"], first["energy"], atol=1e-10)
    elsewhere = one.reconstruct(pulse.roll(x=40))
    np.testing.assert_allclose(
        elsewhere["velocity"], two.reconstruct(pulse.roll(x=40))["velocity"], atol=1e-8
    )


def test_it_forecasts_and_comes_back(pulse, tmp_path):
    past, future = pulse.isel(time=slice(0, 80)), pulse.isel(time=slice(80, None))
    aligned, result = fitted(past, rank=3)
    found = aligned.forecast(past, future.sizes["time"])["velocity"]
    np.testing.assert_allclose(found, future["velocity"], atol=1e-6)
    again = AlignedPod.load(aligned.save(tmp_path / "aligned"))
    xr.testing.assert_equal(again.result, result)
    xr.testing.assert_allclose(again.forecast(past, 3), aligned.forecast(past, 3))
    assert aligned.encode(past).shape == (80, aligned.rank)


def test_a_solid_along_the_line_stays_out():
    ds = translating_vortex(steps=20)[["velocity"]]
    mask = xr.DataArray(np.arange(32) > 0, dims="y")
    flow = ds.where(mask).assign(mask=mask, cell_volume=("y", np.linspace(1, 2, 32)))
    aligned, _ = fitted(flow, rank=2)
    found = aligned.reconstruct(flow)["velocity"]
    assert bool(found.isel(y=0).isnull().all())
    np.testing.assert_allclose(found.isel(y=slice(1, None)), ds["velocity"][:, 1:], atol=1e-4)


def test_what_cannot_be_shifted_is_refused(pulse):
    with pytest.raises(ValueError, match="which lacks y: snapshots can be shifted"):
        fitted(pulse, dim="y")
    with pytest.raises(ValueError, match="x is not evenly spaced"):
        fitted(pulse.isel(x=[0, 1, 3, 4]))
    with pytest.raises(ValueError, match="cell_volume changes along x"):
        fitted(pulse.assign(cell_volume=1 + pulse["x"]))
    with pytest.raises(ValueError, match="at least 2: the shift and one mode"):
        AlignedPod(AlignedPodOptions(rank=1))
    with pytest.raises(ValueError, match="not finite: mark points"):
        fitted(pulse.where(pulse["x"] > 0))
    uneven = pulse.isel(time=[0, 1, 2, 4, 8])
    aligned, _ = fitted(uneven, rank=2)
    with pytest.raises(ValueError, match="no map from one snapshot to the next"):
        aligned.forecast(uneven, 2)
