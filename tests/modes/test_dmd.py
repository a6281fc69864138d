"""Dynamic modes: eigenvalues that are known, exact to rounding, and the same on any mesh."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from sciml.modes.analytic import Wave, linear_system, travelling_waves, two_oscillations
from sciml.modes.dmd import Dmd, DmdOptions, exact_dmd
from sciml.modes.pod import PrecisionWarning
from sciml.modes.readers import ReadOptions, read_snapshots

KNOWN = [0.95 + 0.25j, 0.9 - 0.4j, 0.97]


def ordered(values):
    return np.sort_complex(np.round(values, 9))


def full(values):
    values = np.asarray(values, complex)
    return np.concatenate([values, values[values.imag != 0].conj()])


def velocity(ds):
    return ds[["velocity"]]


def test_eigenvalues_of_a_linear_system_are_exact():
    rows = linear_system(KNOWN)["velocity"].values
    found, _ = exact_dmd(rows, 5)
    np.testing.assert_allclose(ordered(found), ordered(full(KNOWN)), atol=1e-11)


@pytest.mark.parametrize("method", ["gram", "qr"])
def test_eigenvalues_survive_the_pod_beneath(method):
    result = Dmd(DmdOptions(rank=5, method=method)).fit(linear_system(KNOWN))
    found = result["eigenvalues"].values
    np.testing.assert_allclose(ordered(found), ordered(full(KNOWN)), atol=1e-9)


def test_exact_modes_are_eigenvectors_of_the_fitted_map(rng):
    rows = rng.normal(size=(12, 30))
    values, modes = exact_dmd(rows, 6)
    left, s, right = np.linalg.svd(rows[:-1].T, full_matrices=False)
    A = rows[1:].T @ right[:6].T / s[:6] @ left[:, :6].T
    np.testing.assert_allclose(A @ modes.T, modes.T * values, atol=1e-11)


def test_frequency_and_growth_of_weighted_fields_are_found():
    ds = two_oscillations(growth_rates=(0.01, -0.02))
    result = Dmd(DmdOptions(rank=4, variables=("velocity",))).fit(ds)
    np.testing.assert_allclose(result["frequency"], [0.15, -0.15, 0.37, -0.37], atol=1e-11)
    np.testing.assert_allclose(result["growth_rate"], [0.01, 0.01, -0.02, -0.02], atol=1e-11)
    volume = ds["cell_volume"].values
    norms = (np.abs(result["modes"].values) ** 2 * volume).sum((1, 2))
    np.testing.assert_allclose(norms, 1, rtol=1e-12)
    assert float(result["energy"].sum()) == pytest.approx(1, abs=1e-12)


def test_forecast_and_trajectory_are_the_system_itself():
    ds = linear_system(KNOWN)
    past, future = ds.isel(time=slice(0, 30)), ds.isel(time=slice(30, None))
    dmd = Dmd(DmdOptions(rank=5))
    dmd.fit(past)
    xr.testing.assert_allclose(velocity(dmd.forecast(past, 30)), velocity(future), atol=1e-9)
    xr.testing.assert_allclose(velocity(dmd.trajectory(ds["time"])), velocity(ds), atol=1e-9)
    xr.testing.assert_allclose(velocity(dmd.reconstruct(future)), velocity(future), atol=1e-9)
    coefficients = dmd.encode(future)
    assert coefficients.dtype == np.float64 and coefficients.sizes["mode"] == dmd.rank == 5


def test_rotated_states_have_the_same_eigenvalues_and_rotated_modes(rng):
    rows = rng.normal(size=(15, 8))
    Q, _ = np.linalg.qr(rng.normal(size=(8, 8)))
    values, modes = exact_dmd(rows, 6)
    turned, turned_modes = exact_dmd(rows @ Q, 6)
    here, there = np.argsort(values.round(9)), np.argsort(turned.round(9))
    np.testing.assert_allclose(turned[there], values[here], atol=1e-10)
    for one, two in zip(modes[here] @ Q, turned_modes[there], strict=True):
        overlap = abs(np.vdot(one, two)) / np.linalg.norm(one) / np.linalg.norm(two)
        assert overlap == pytest.approx(1, abs=1e-10)


def test_a_translated_flow_has_translated_modes():
    ds = travelling_waves([Wave(frequency=0.3, wavenumber=3)], noise=0.01)[["velocity"]]
    moved = ds.roll(x=7)
    one, two = (Dmd(DmdOptions(rank=2)).fit(each) for each in (ds, moved))
    np.testing.assert_allclose(two["eigenvalues"], one["eigenvalues"], atol=1e-10)
    np.testing.assert_allclose(two["modes"], np.roll(one["modes"], 7, axis=1), atol=1e-8)


def test_cells_split_in_two_change_nothing():
    ds = two_oscillations(noise=0.05)[["velocity", "cell_volume"]]
    halves = xr.concat([ds, ds], "x")
    halves["velocity"] = halves["velocity"].transpose("time", "y", "x")
    halves["cell_volume"] = halves["cell_volume"].transpose("y", "x") / 2
    one, two = (Dmd(DmdOptions(rank=4)).fit(each) for each in (ds, halves))
    np.testing.assert_allclose(two["eigenvalues"], one["eigenvalues"], atol=1e-9)
    np.testing.assert_allclose(two["amplitudes"], one["amplitudes"], rtol=1e-9)


def test_the_engine_of_others_finds_the_same_eigenvalues():
    pydmd = pytest.importorskip("pydmd")
    ds = travelling_waves(noise=0.1, points=50, steps=80)
    theirs = pydmd.DMD(svd_rank=6, exact=True).fit(ds["velocity"].values.T).eigs
    ours = Dmd(DmdOptions(rank=6, variables=("velocity",))).fit(ds)["eigenvalues"].values
    np.testing.assert_allclose(ordered(ours), ordered(theirs), atol=1e-8)


def test_solids_vectors_and_dask_come_back_as_they_went(rng, tmp_path):
    ds = two_oscillations()[["velocity", "cell_volume"]]
    mask = xr.ones_like(ds["cell_volume"], dtype=bool)
    mask[3, 4] = False
    both = xr.concat([ds["velocity"], 2 * ds["velocity"]], "i").where(mask)
    flow = xr.Dataset({"velocity": both, "mask": mask, "cell_volume": ds["cell_volume"]})
    dmd = Dmd(DmdOptions(rank=4))
    result = dmd.fit(flow.chunk(time=50))
    np.testing.assert_allclose(result["frequency"][::2], [0.15, 0.37], atol=1e-10)
    again = Dmd.load(dmd.save(tmp_path / "dmd"))
    xr.testing.assert_allclose(again.result, result)
    found = again.forecast(flow.isel(time=slice(0, 60)), 3)["velocity"]
    assert bool(found.sel(i=0).isnull()[:, 3, 4].all())
    wanted = flow["velocity"].isel(time=slice(60, 63))
    xr.testing.assert_allclose(found.transpose(*wanted.dims), wanted, atol=1e-9)


def test_dates_count_in_seconds():
    ds = travelling_waves([Wave(frequency=0.05)], steps=60, time_step=1.0)[["velocity"]]
    dated = ds.assign_coords(time=np.datetime64("2024-01-01", "ns") + np.arange(60) * 10**9)
    dmd = Dmd(DmdOptions(rank=2))
    result = dmd.fit(dated)
    assert float(result["frequency"][0]) == pytest.approx(0.05, abs=1e-10)
    assert result["frequency"].attrs["units"] == "s-1"
    assert dmd.forecast(dated, 2)["time"].values[-1] == np.datetime64("2024-01-01T00:01:01")


def test_data_without_an_answer_is_refused():
    ds = travelling_waves(steps=12)[["velocity"]]
    uneven = ds.assign_coords(time=np.append(ds["time"][:-1], 1.5))
    with pytest.raises(ValueError, match=r"steps in time lie between 0.1 and 0.5.*interpolate"):
        Dmd(DmdOptions(rank=2)).fit(uneven)
    with pytest.raises(ValueError, match="4 modes need at least 5 snapshots, and there are 4"):
        Dmd(DmdOptions(rank=4)).fit(ds.isel(time=slice(0, 4)))
    broken = ds.where(ds["x"] + ds["time"] > 0)
    with pytest.raises(ValueError, match=r"snapshot 0 holds nan.*must be finite; mark points"):
        Dmd(DmdOptions(rank=2)).fit(broken)
    with pytest.raises(ValueError, match="no coordinate time"):
        Dmd().fit(ds.drop_vars("time"))
    with pytest.raises(ValueError, match="does not increase at snapshot 3"):
        Dmd().fit(ds.isel(time=[0, 1, 2, 2, 4]))
    with pytest.raises(ValueError, match="must hold real numbers"):
        Dmd(DmdOptions(rank=2)).fit(ds * 1j)
    with pytest.raises(ValueError, match="not fitted"):
        Dmd().encode(ds)
    with pytest.raises(ValueError, match="rank is 0"):
        Dmd(DmdOptions(rank=0))
    with pytest.warns(PrecisionWarning, match="10 modes were asked for, and the snapshots have 4"):
        Dmd().fit(ds)


def test_a_cylinder_wake_sheds_at_its_known_frequencies(reference):
    path = reference("modes/cylinder_re100_grid")
    wake = read_snapshots(path, ReadOptions(start=250.0, stop=270.0))
    result = Dmd(DmdOptions(rank=9)).fit(wake)
    found = result["frequency"].values
    strouhal = np.sort(found[found > 0.01])
    np.testing.assert_allclose(strouhal, [0.1791, 0.3581, 0.5372, 0.7162], atol=1e-4)
    assert np.abs(np.abs(result["eigenvalues"].values) - 1).max() <= 2.3e-5
