"""PyDMD's kinds of DMD on POD amplitudes: what they find directly, and what they are for."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from sciml.modes.analytic import Wave, linear_system, travelling_waves, two_oscillations
from sciml.modes.dmd import Dmd, DmdOptions
from sciml.modes.variants import DmdVariant, DmdVariantOptions

pydmd = pytest.importorskip("pydmd")

KNOWN = [0.95 + 0.25j, 0.9 - 0.4j]
WAVES = (Wave(frequency=0.4), Wave(frequency=0.9, wavenumber=2, amplitude=0.5))


def fitted(ds, kind, **options):
    variant = DmdVariant(DmdVariantOptions(kind=kind, variables=("velocity",), **options))
    return variant, variant.fit(ds)


def nearest(found, wanted):
    """Distance from each wanted eigenvalue to the nearest that was found."""
    return np.abs(np.asarray(wanted)[:, None] - np.asarray(found)).min(1)


@pytest.fixture
def noisy():
    return travelling_waves(WAVES, noise=0.05, points=60, steps=90)


def test_optimised_eigenvalues_are_the_direct_ones(noisy):
    rows, t = noisy["velocity"].values, noisy["time"].values
    direct = pydmd.BOPDMD(svd_rank=4, varpro_opts_dict={"tol": 1e-12, "maxiter": 30})
    direct.fit(rows.T, t)
    _, result = fitted(noisy, "optimised", rank=4)
    found = result["growth_rate"].values + 2j * np.pi * result["frequency"].values
    assert nearest(found, direct.eigs).max() < 1e-6


def test_higher_order_eigenvalues_are_the_direct_ones(noisy):
    direct = pydmd.HODMD(svd_rank=6, d=8, svd_rank_extra=-1).fit(noisy["velocity"].values.T)
    _, result = fitted(noisy, "higher order", rank=6, delays=8)
    assert nearest(result["eigenvalues"], direct.eigs).max() < 1e-6


def test_multi_resolution_eigenvalues_are_the_direct_ones(noisy):
    one = pydmd.DMD(svd_rank=4, exact=True, opt=True)
    direct = pydmd.MrDMD(one, max_level=2, max_cycles=2).fit(noisy["velocity"].values.T)
    _, result = fitted(noisy, "multi-resolution", rank=30, levels=2, cycles=2)
    assert 0 < len(direct.eigs) <= 30
    _, leaf = fitted(noisy, "multi-resolution", rank=4, levels=2, cycles=2)
    assert nearest(direct.eigs, leaf["eigenvalues"]).max() < 1e-6
    assert leaf.sizes["mode"] <= 4 < result.sizes["mode"]


def test_control_separates_the_flow_from_what_is_done_to_it(rng):
    A = np.array([[0.9, 0.3, 0.0], [-0.3, 0.9, 0.0], [0.0, 0.0, 0.8]])
    B, basis = rng.normal(size=(3, 1)), np.linalg.qr(rng.normal(size=(20, 3)))[0]
    u, x = rng.normal(size=(60, 1)), np.zeros((60, 3))
    x[0] = 1.0
    for n in range(59):
        x[n + 1] = A @ x[n] + B @ u[n]
    ds = xr.Dataset(
        {"velocity": (("time", "x"), x @ basis.T), "jet": ("time", u[:, 0])},
        coords={"time": np.arange(60.0)},
    )
    past, future = ds.isel(time=slice(0, 40)), ds.isel(time=slice(40, None))
    variant, result = fitted(past, "control", rank=3, control="jet")
    assert nearest(result["eigenvalues"], np.linalg.eigvals(A)).max() < 1e-9
    np.testing.assert_allclose(result["control_effect"][0], basis @ B[:, 0], atol=1e-9)
    known = variant.forecast(past, 20, control=ds["jet"].isel(time=slice(39, 59)))
    np.testing.assert_allclose(known["velocity"], future["velocity"], atol=1e-9)
    with pytest.raises(ValueError, match="20 steps under control need 20 values of it"):
        variant.forecast(past, 20)
    alone = Dmd(DmdOptions(rank=3, variables=("velocity",))).fit(past)
    assert nearest(alone["eigenvalues"], np.linalg.eigvals(A)).max() > 1e-2


def test_noise_biases_exact_dmd_more_than_the_optimised():
    exact, optimised = [], []
    for seed in range(4):
        ds = two_oscillations(noise=0.3, seed=seed, steps=120)
        options = DmdOptions(rank=4, variables=("velocity",))
        exact.append(Dmd(options).fit(ds)["growth_rate"].values[:2])
        optimised.append(fitted(ds, "optimised", rank=4)[1]["growth_rate"].values[:2])
    assert np.mean(exact) < 0
    assert abs(np.mean(optimised)) < 0.1 * abs(np.mean(exact))


def test_trials_tell_how_sure_a_rate_is_and_repeat_with_the_seed(noisy):
    before = np.random.get_state()[1].copy()
    _, one = fitted(noisy, "optimised", rank=4, trials=6, seed=3)
    _, two = fitted(noisy, "optimised", rank=4, trials=6, seed=3)
    xr.testing.assert_equal(one, two)
    assert np.array_equal(before, np.random.get_state()[1])
    error = np.abs(2 * np.pi * (one["frequency"][::2] - [0.4, 0.9]))
    assert bool((error < 5 * one["rate_deviation"][::2]).all())


def test_optimised_takes_unequal_steps(rng):
    ds = linear_system(KNOWN, steps=50)
    some = ds.isel(time=np.sort(rng.choice(np.arange(1, 49), 30, replace=False)))
    _, result = fitted(some, "optimised", rank=4)
    rates = np.log(np.asarray(KNOWN))
    found = result["growth_rate"].values + 2j * np.pi * result["frequency"].values
    assert nearest(found, rates).max() < 1e-6
    with pytest.raises(ValueError, match=r"must be equal: .*kind=\"optimised\""):
        fitted(some, "higher order", rank=2, delays=2)


def test_higher_order_finds_what_one_number_hides():
    ds = linear_system([np.exp(0.5j), np.exp(1.3j)], points=8, steps=80).isel(x=[0])
    variant, result = fitted(ds, "higher order", rank=4, delays=10)
    assert nearest(result["eigenvalues"], [np.exp(0.5j), np.exp(1.3j)]).max() < 1e-9
    past, future = ds.isel(time=slice(0, 50)), ds.isel(time=slice(50, None))
    found = variant.forecast(past, 30)["velocity"]
    np.testing.assert_allclose(found, future["velocity"], atol=1e-8)
    np.testing.assert_allclose(
        variant.trajectory(ds["time"])["velocity"], ds["velocity"], atol=1e-8
    )


def test_multi_resolution_hears_a_burst_only_where_it_is():
    slow = travelling_waves([Wave(frequency=0.05)], steps=256, time_step=0.1)
    fast = travelling_waves([Wave(frequency=0.6, wavenumber=3)], steps=256, time_step=0.1)
    late = fast["velocity"].where(fast["time"] >= 12.75, 0.0)
    ds = (slow["velocity"] + late).to_dataset(name="velocity")
    variant, result = fitted(ds, "multi-resolution", rank=30, levels=3, cycles=2)
    bursts = result.where(abs(result["frequency"] - 0.6) < 0.05, drop=True)
    assert bursts.sizes["mode"] > 0
    assert float(bursts["window_start"].min()) >= 12.7
    told = variant.trajectory(ds["time"])["velocity"]
    error = float(((told - ds["velocity"]) ** 2).sum() / (ds["velocity"] ** 2).sum())
    assert error < 0.05


@pytest.mark.parametrize("kind", ["optimised", "higher order", "multi-resolution"])
def test_what_is_saved_is_the_same_when_loaded(noisy, tmp_path, kind):
    variant, result = fitted(noisy, kind, rank=6, levels=2)
    again = DmdVariant.load(variant.save(tmp_path / "dmd"))
    xr.testing.assert_equal(again.result, result)
    xr.testing.assert_allclose(again.forecast(noisy, 3), variant.forecast(noisy, 3))
    xr.testing.assert_allclose(again.reconstruct(noisy), variant.reconstruct(noisy))


def test_too_little_data_is_refused(noisy):
    few = noisy.isel(time=slice(0, 12))
    with pytest.raises(ValueError, match='kind="higher order" need at least 14 snapshots'):
        fitted(few, "higher order", rank=4, delays=10)
    with pytest.raises(ValueError, match="need at least 32 snapshots"):
        fitted(few, "multi-resolution", rank=4)
    fast = travelling_waves([Wave(frequency=4.0)], steps=200)
    with pytest.raises(ValueError, match="no mode makes at most 2 periods in its window"):
        fitted(fast, "multi-resolution", rank=2, levels=1)
    with pytest.raises(ValueError, match="needs the name of the variable"):
        DmdVariant(DmdVariantOptions(kind="control"))
