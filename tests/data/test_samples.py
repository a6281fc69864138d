from __future__ import annotations

import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
import xarray as xr

from sciml.data import Samples, load, save

NAMES = ("pressure", "steady", "reynolds_number")


@pytest.fixture
def path(rng, tmp_path):
    ds = xr.Dataset(
        {
            "pressure": (("sample", "y", "x"), rng.random((9, 4, 5)), {"units": "Pa"}),
            "steady": ("sample", rng.random(9) < 0.5, {"units": "1"}),
            "reynolds_number": ("sample", rng.random(9), {"units": "1"}),
        }
    )
    return save(ds, tmp_path / "a.nc")


def assert_same(samples: Samples, ds: xr.Dataset) -> None:
    assert len(samples) == ds.sizes["sample"]
    for index, row in enumerate(samples):
        for name, value in zip(NAMES, row, strict=True):
            assert value.dtype == np.float32
            np.testing.assert_array_equal(value, ds[name].isel(sample=index).astype("float32"))


@pytest.mark.parametrize(
    "choose",
    [
        lambda ds: ds,
        lambda ds: ds.isel(sample=[7, 0, 3]),
        lambda ds: ds.isel(sample=slice(2, 8)).isel(sample=[4, 1]),
        lambda ds: ds.sel(sample=[8, 2]),
        lambda ds: ds.isel(sample=np.arange(9) % 3 > 0),
        lambda ds: ds.isel(sample=[2, 2]),
    ],
)
def test_rows_are_those_of_the_data_set_and_stay_in_the_file(path, choose):
    with load(path) as whole:
        ds = choose(whole)
        samples = Samples(ds, NAMES)
        assert set(samples._sources) == set(NAMES)
        assert_same(samples, ds)


@pytest.mark.parametrize(
    "change",
    [
        lambda ds: ds.load(),
        lambda ds: ds.isel(x=slice(None, None, -1)),
        lambda ds: ds.isel(x=slice(0, 3)),
        lambda ds: ds.transpose("x", ...),
        lambda ds: ds.assign(pressure=2 * ds.pressure),
        lambda ds: xr.concat([ds.isel(sample=[5]), ds.isel(sample=[1, 2])], "sample"),
        lambda ds: ds.drop_vars("sample"),
        lambda ds: ds.isel(sample=[]),
    ],
)
def test_changed_data_are_taken_from_the_data_set(path, change):
    with load(path) as whole:
        ds = change(whole)
        assert_same(Samples(ds, NAMES), ds)


def test_two_files_in_one_data_set_keep_apart(path, tmp_path):
    other = save(load(path).load().assign(pressure=lambda ds: -ds.pressure), tmp_path / "b.nc")
    both = xr.concat([load(path), load(other)], "sample")
    assert_same(Samples(both, NAMES), both)


def read(samples: Samples, index: int) -> np.ndarray:
    return samples[index][0]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes_read_the_same(path, method, monkeypatch):
    samples = Samples(load(path), NAMES)
    here = [row[0] for row in samples]
    if method == "spawn":
        again = pickle.loads(pickle.dumps(samples))
        assert again._stored == {}
        np.testing.assert_array_equal([row[0] for row in again], here)
        return
    with ProcessPoolExecutor(2, get_context("fork")) as pool:
        there = list(pool.map(read, [samples] * 9, range(9)))
    np.testing.assert_array_equal(there, here)


def test_what_cannot_be_sampled_is_refused_by_name(path):
    ds = load(path)
    with pytest.raises(ValueError, match="no variable 'velocity'"):
        Samples(ds, ("velocity",))
    with pytest.raises(ValueError, match="'x' has no sample dimension"):
        Samples(ds.assign_coords(x=np.arange(5)), ("x",))
    with pytest.raises(ValueError, match="no sample dimension"):
        Samples(ds.isel(sample=0), ("pressure",))
    with pytest.raises(IndexError):
        Samples(ds, NAMES)[9]
    np.testing.assert_array_equal(Samples(ds, NAMES)[-1][0], Samples(ds, NAMES)[8][0])
