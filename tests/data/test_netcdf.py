from __future__ import annotations

import h5py
import numpy as np
import pytest
import xarray as xr

from sciml.data import load, save


@pytest.fixture
def ds(rng):
    return xr.Dataset(
        {
            "velocity": (
                ("sample", "component", "y", "x"),
                rng.random((5, 2, 3, 4)).astype("float32"),
                {"units": "m s-1", "long_name": "velocity"},
            ),
            "steps": ("sample", rng.integers(0, 99, 5), {"units": "1"}),
            "steady": ("sample", rng.random(5) < 0.5, {"units": "1"}),
            "family": ("sample", ["circle", "blob", "ellipse", "polygon", "Bézier"]),
            "time": ("time", [0.0, 1.0], {"units": "seconds"}),
        },
        attrs={"title": "a test", "seed": 3},
    )


def test_round_trip_keeps_values_types_and_attributes(ds, tmp_path):
    again = load(save(ds, tmp_path / "a.nc"))
    xr.testing.assert_identical(again.drop_vars("sample").load(), ds)
    assert all(again[name].dtype == ds[name].dtype for name in ("velocity", "steps", "steady"))
    np.testing.assert_array_equal(again["sample"], np.arange(5))


def test_any_reader_of_netcdf_can_read_it(ds, tmp_path):
    path = save(ds, tmp_path / "a.nc")
    with xr.open_dataset(path) as plain:
        np.testing.assert_array_equal(plain.velocity, ds.velocity)
    with h5py.File(path) as file:
        assert file["velocity"].chunks is None and file["velocity"].compression is None


def test_saved_subset_is_numbered_anew(ds, tmp_path):
    whole = load(save(ds, tmp_path / "a.nc"))
    part = load(save(whole.isel(sample=[3, 1]), tmp_path / "b.nc"))
    np.testing.assert_array_equal(part["sample"], [0, 1])
    np.testing.assert_array_equal(part.velocity, ds.velocity[[3, 1]])


def test_a_number_without_units_is_refused_by_name(ds, tmp_path):
    del ds.velocity.attrs["units"]
    with pytest.raises(ValueError, match="'velocity' has no units"):
        save(ds, tmp_path / "a.nc")
    assert list(tmp_path.iterdir()) == []


def test_unreadable_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no data file .*missing\.nc"):
        load(tmp_path / "missing.nc")
    (tmp_path / "text.nc").write_text("not HDF5")
    with pytest.raises(ValueError, match=r"text\.nc is not a NetCDF4"):
        load(tmp_path / "text.nc")
