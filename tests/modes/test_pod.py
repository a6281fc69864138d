"""POD: an orthonormal basis that nothing of its rank beats, in the mesh's own inner product."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from sciml.modes.method import Method
from sciml.modes.pod import Pod, PodOptions, PrecisionWarning


@pytest.fixture
def flow(rng) -> xr.Dataset:
    """Two variables of rank five on a mesh with a solid."""
    mask = np.ones((6, 7), bool)
    mask[2, 3:5] = False
    a = rng.normal(size=(12, 5)) * 2.0 ** -np.arange(5)
    velocity = np.tensordot(a, rng.normal(size=(5, 6, 7, 2)), 1) + rng.normal(size=(6, 7, 2))
    pressure = np.tensordot(a, rng.normal(size=(5, 6, 7)), 1) + 100
    return xr.Dataset(
        {
            "velocity": (("time", "y", "x", "i"), velocity, {"units": "m s-1"}),
            "pressure": (("time", "y", "x"), 50 * pressure, {"units": "Pa"}),
            "cell_volume": (("y", "x"), rng.uniform(0.5, 2.0, (6, 7)), {"units": "m3"}),
            "mask": (("y", "x"), mask),
        },
        coords={"x": np.arange(7.0), "time": 0.1 * np.arange(12.0)},
    ).pipe(lambda ds: ds.assign(velocity=ds["velocity"].where(ds["mask"])))


def test_it_is_a_method():
    assert isinstance(Pod(), Method)


@pytest.mark.parametrize("scaling", ["none", "deviation"])
def test_modes_are_orthonormal_in_the_inner_product(flow, scaling):
    pod = Pod(PodOptions(rank=5, scaling=scaling))
    result = pod.fit(flow)
    gram = 0.0
    for name, scale in pod.layout.scales.items():
        modes = result[f"modes_{name}"].fillna(0.0)
        product = modes * modes.rename(mode="other") * flow["cell_volume"] / scale**2
        gram = gram + product.sum(["y", "x", *({"i"} & set(modes.dims))])
    np.testing.assert_allclose(gram.values, np.eye(5), atol=1e-9)
    assert float(result["energy"].sum()) == pytest.approx(1.0, abs=1e-9)
    square = result["amplitudes"].T.values @ result["amplitudes"].values
    np.testing.assert_allclose(square, np.diag(result["singular_value"] ** 2), atol=1e-6)


def test_as_many_modes_as_the_rank_give_the_fields_back(flow):
    pod = Pod(PodOptions(rank=5))
    pod.fit(flow)
    found = pod.reconstruct(flow)
    for name in ("velocity", "pressure"):
        xr.testing.assert_allclose(found[name], flow[name].where(flow["mask"]), atol=1e-9)
    xr.testing.assert_allclose(pod.encode(flow), pod.result["amplitudes"], atol=1e-9)


def test_saved_and_loaded_it_says_the_same(flow, tmp_path):
    pod = Pod(PodOptions(rank=3, variables=("velocity",)))
    pod.fit(flow)
    again = Pod.load(pod.save(tmp_path))
    assert again.options == pod.options
    xr.testing.assert_equal(again.reconstruct(flow), pod.reconstruct(flow))


def test_dates_and_single_precision_survive(flow, tmp_path):
    days = np.datetime64("2020-01-01", "ns") + np.arange(12) * np.timedelta64(1, "D")
    pod = Pod(PodOptions(rank=5, variables=("pressure",)))
    single = flow.assign(pressure=flow["pressure"].astype("f4")).assign_coords(time=days)
    pod.fit(single)
    again = Pod.load(pod.save(tmp_path))
    xr.testing.assert_equal(again.result, pod.result)
    found = again.reconstruct(single)["pressure"]
    assert found.dtype == np.float32
    xr.testing.assert_allclose(found, single["pressure"].where(flow["mask"]), rtol=1e-5)


def test_wrong_data_is_refused(flow, tmp_path):
    with pytest.raises(ValueError, match="12 modes were asked for, and 12 snapshots of 120"):
        Pod(PodOptions(rank=12)).fit(flow)
    with pytest.raises(ValueError, match=r"snapshot 0 holds nan, .* by a variable `mask`"):
        Pod(PodOptions(rank=2)).fit(flow.drop_vars("mask"))
    with pytest.raises(ValueError, match="equal to their mean"):
        Pod(PodOptions(rank=1)).fit(xr.ones_like(flow[["pressure"]]) / 3)
    with pytest.raises(ValueError, match="there are no parts"):
        Pod().fit_parts([])
    with pytest.raises(ValueError, match="not fitted"):
        Pod().encode(flow)
    with pytest.raises(FileNotFoundError, match="no method was saved"):
        Pod.load(tmp_path)
    with pytest.warns(PrecisionWarning, match="the last 2 of 7 modes"):
        Pod(PodOptions(rank=7)).fit(flow)


def test_more_snapshots_than_numbers(rng):
    series = xr.Dataset({"height": (("time", "x"), rng.normal(size=(200, 12)) + 5)})
    whole = series["height"].values - series["height"].values.mean(0)
    wanted = np.linalg.svd(whole, compute_uv=False)
    for method in ("gram", "qr"):
        pod = Pod(PodOptions(rank=12, method=method, memory=2**14))
        np.testing.assert_allclose(pod.fit(series)["singular_value"], wanted, rtol=1e-10)
        xr.testing.assert_allclose(pod.reconstruct(series)["height"], series["height"])
        xr.testing.assert_allclose(pod.encode(series), pod.result["amplitudes"])


def test_parts_seen_once_give_the_modes_of_the_whole(flow):
    options = PodOptions(rank=5)
    wanted, found = Pod(options).fit(flow), Pod(options)
    result = found.fit_parts(flow.isel(time=slice(k, k + 3)) for k in range(0, 12, 3))
    assert result.attrs["dropped_energy"] < 1e-12
    for name in ("singular_value", "energy", "mean_pressure"):
        xr.testing.assert_allclose(result[name], wanted[name], rtol=1e-9)
    alike = np.sign((result["amplitudes"] * wanted["amplitudes"]).sum("time"))
    for name in ("amplitudes", "modes_velocity", "modes_pressure"):
        xr.testing.assert_allclose(result[name] * alike, wanted[name], atol=1e-7)
    xr.testing.assert_allclose(found.encode(flow), result["amplitudes"], atol=1e-9)
