"""Snapshots come out of every kind of file as they went in."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from sciml.modes.readers import ReadOptions, galerkin_snapshots, options, read_snapshots

TIMES = np.arange(7) * 0.5


@pytest.fixture
def waves(rng) -> xr.Dataset:
    """A field on a grid, whose times and places have different numbers."""
    return xr.Dataset(
        {"pressure": (("time", "y", "x"), rng.normal(size=(7, 4, 5)), {"units": "Pa"})},
        coords={"time": ("time", TIMES, {"units": "s"}), "x": np.arange(5.0), "y": np.arange(4.0)},
    )


def arrays(ds: xr.Dataset, *dims: str) -> dict[str, np.ndarray]:
    """Without names of dimensions."""
    field = ds["pressure"].transpose(*dims)
    return {"p": field.values, "t": ds["time"].values, "x": ds["x"].values, "y": ds["y"].values}


def same(found: xr.DataArray, ds: xr.Dataset) -> None:
    wanted = ds["pressure"]
    assert found.dims[0] == "time"
    np.testing.assert_allclose(found["time"], wanted["time"])
    np.testing.assert_array_equal(found.transpose(*wanted.dims), wanted)


@pytest.mark.parametrize("engine", ["h5netcdf", "scipy"])
def test_netcdf(waves, tmp_path, engine):
    path = tmp_path / "waves.nc"
    waves.rename({"time": "T"}).transpose("y", "T", "x").to_netcdf(path, engine=engine)
    with pytest.raises(ValueError, match="pressre; over time and a mesh stand: pressure"):
        read_snapshots(path, ReadOptions(time_dimension="T", variables=("pressre",)))
    same(read_snapshots(path, ReadOptions(time_dimension="T"))["pressure"], waves)


def test_dates_become_seconds(waves, tmp_path):
    dates = np.datetime64("2020-01-01", "ns") + (TIMES * 1e9).astype("timedelta64[ns]")
    path = tmp_path / "waves.nc"
    waves.assign_coords(time=dates).to_netcdf(path, engine="h5netcdf")
    found = read_snapshots(path)
    same(found["pressure"], waves)
    assert found["time"].attrs["units"] == "s"


def test_zarr(waves, tmp_path):
    pytest.importorskip("zarr", reason="zarr is not installed")
    waves.to_zarr(tmp_path / "waves.zarr")
    same(read_snapshots(tmp_path / "waves.zarr")["pressure"], waves)


@pytest.mark.parametrize("dims", [("time", "y", "x"), ("x", "y", "time"), ("y", "time", "x")])
def test_arrays_without_names_of_dimensions(waves, tmp_path, dims):
    import h5py
    import scipy.io

    held = arrays(waves, *dims)
    np.savez(tmp_path / "waves.npz", **held)
    scipy.io.savemat(tmp_path / "waves.mat", held)
    for name in ("waves.h5", "waves73.mat"):
        with h5py.File(tmp_path / name, "w") as file:
            for key, array in held.items():
                file[key] = array.T if name.endswith(".mat") else array
    for name in ("waves.npz", "waves.mat", "waves.h5", "waves73.mat"):
        same(read_snapshots(tmp_path / name)["p"], waves)


def test_an_array_alone_needs_its_time_dimension(waves, tmp_path):
    path = tmp_path / "p.npy"
    np.save(path, waves["pressure"].values.reshape(7, 20).T)
    with pytest.raises(ValueError, match=r"\(20, 7\), and nothing tells .*--time-dimension"):
        read_snapshots(path)
    told = ReadOptions(time_dimension=-1, time_step=0.5, shape=(4, 5))
    same(read_snapshots(path, told)["field"], waves)
    with pytest.raises(ValueError, match=r"20,\) points is not of the shape \(4, 6\)"):
        read_snapshots(path, ReadOptions(time_dimension=-1, shape=(4, 6)))


def test_some_times_only(waves, tmp_path):
    path = tmp_path / "waves.npz"
    np.savez(path, **arrays(waves, "time", "y", "x"))
    found = read_snapshots(path, ReadOptions(start=0.5, stop=2.6, every=2))
    assert found["time"].values.tolist() == [0.5, 1.5, 2.5]
    np.testing.assert_array_equal(found["p"], waves["pressure"][1:6:2])
    with pytest.raises(ValueError, match=r"between start 9 and stop inf; .* from 0 to 3"):
        read_snapshots(path, ReadOptions(start=9.0))


def test_rounding_in_imaginary_parts_is_dropped_and_more_is_kept(rng, tmp_path):
    real, imaginary = rng.normal(size=(2, 7, 5))
    held = {"t": TIMES, "small": real + 1e-7j * imaginary, "large": real + 1j * imaginary}
    np.savez(tmp_path / "z.npz", **held)
    found = read_snapshots(tmp_path / "z.npz")
    np.testing.assert_array_equal(found["small"], real)
    np.testing.assert_array_equal(found["large_imaginary"], imaginary)


def test_points_that_never_have_a_value_are_masked(waves, tmp_path):
    held = arrays(waves, "time", "y", "x")
    held["p"][:, 1, 2] = np.nan
    np.savez(tmp_path / "waves.npz", **held)
    mask = read_snapshots(tmp_path / "waves.npz")["mask"]
    assert np.argwhere(~mask.values).tolist() == [[1, 2]]
    held["p"][3, 0, 0] = np.nan
    np.savez(tmp_path / "waves.npz", **held)
    with pytest.raises(ValueError, match="p has no value at some times in 1 points"):
        read_snapshots(tmp_path / "waves.npz")


def test_an_uneven_grid_weighs_the_extent_about_points(waves, tmp_path):
    x = np.array([0.0, 1.0, 3.0, 4.0, 7.0])
    waves.assign_coords(x=x).to_netcdf(tmp_path / "waves.nc", engine="h5netcdf")
    with pytest.warns(UserWarning, match="not evenly spaced"):
        found = read_snapshots(tmp_path / "waves.nc")
    assert float(found["cell_volume"].sum()) == pytest.approx(7.0)


def test_an_expansion_is_rebuilt(rng, tmp_path):
    mean, modes = rng.normal(size=(2, 4, 5)), rng.normal(size=(3, 2, 4, 5))
    a = rng.normal(size=(7, 3))
    path = tmp_path / "modes.npz"
    np.savez(path, mean=mean, modes=modes, a=a, t=TIMES, x=np.arange(5.0), y=np.arange(4.0))
    found = read_snapshots(path)["velocity"]
    assert found.dims == ("time", "i", "y", "x")
    np.testing.assert_allclose(found, mean + np.einsum("tk,k...->t...", a, modes))


def test_a_galerkin_model_is_integrated():
    model = {"C": np.array([1.0, 0.0]), "L": np.array([[0.0, -2.0], [2.0, 0.0]])}
    model["Q"] = np.zeros((2, 2, 2))
    found = galerkin_snapshots(model, ReadOptions(), duration=5.0, steps=50)["coefficient"]
    wanted = np.sin(2 * found["time"]) / 2  # a' = C + L a from rest
    np.testing.assert_allclose(found.isel(cell=0), wanted, atol=1e-4)


def write_vtu(path: Path, values: np.ndarray) -> None:
    import meshio

    points = np.array([[0, 0, 0], [2, 0, 0], [2, 1, 0], [0, 1, 0], [3, 0, 0], [3, 1, 0]], float)
    cells = [("quad", np.array([[0, 1, 2, 3]])), ("triangle", np.array([[1, 4, 5], [1, 5, 2]]))]
    speed = [values[:1], values[1:3]]
    meshio.Mesh(points, cells, {"p": values}, {"speed": speed}).write(path)


def test_a_series_of_vtk_files(rng, tmp_path):
    pytest.importorskip("meshio", reason="meshio is not installed")
    values = rng.normal(size=(12, 6))
    for step, row in enumerate(values):
        write_vtu(tmp_path / f"flow_{step}.vtu", row)
    listed = [{"name": f"flow_{k}.vtu", "time": 0.1 * k} for k in range(12)]
    (tmp_path / "flow.vtu.series").write_text(json.dumps({"files": listed}))
    sets = "".join(f'<DataSet timestep="{f["time"]}" file="{f["name"]}"/>' for f in listed)
    (tmp_path / "flow.pvd").write_text(f"<VTKFile><Collection>{sets}</Collection></VTKFile>")
    for path in (tmp_path, tmp_path / "flow_3.vtu"):
        np.testing.assert_array_equal(read_snapshots(path)["p"], values)
    for path in (tmp_path / "flow.pvd", tmp_path / "flow.vtu.series"):
        found = read_snapshots(path, ReadOptions(every=3))
        np.testing.assert_array_equal(found["p"], values[::3])
        np.testing.assert_allclose(found["time"], [0.0, 0.3, 0.6, 0.9])
    assert float(found["cell_volume"].sum()) == pytest.approx(3.0)
    cells = read_snapshots(tmp_path, ReadOptions(variables=("speed",)))
    assert cells["cell_volume"].values.tolist() == pytest.approx([2.0, 0.5, 0.5])


def test_what_is_no_data_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file or folder .*flow.nc"):
        read_snapshots(tmp_path / "flow.nc")
    for name in ("flow.nc", "flow.npz", "flow.mat", "flow.h5", "flow.xyz"):
        (tmp_path / name).write_bytes(b"no data at all")
        with pytest.raises(ValueError, match=f"{name}"):
            read_snapshots(tmp_path / name)


EXPECTED = {
    "burgers": {"time": 101, "x": 256},
    "cylinder_re100_grid": {"time": 3000, "i": 2, "y": 96, "x": 192},
    "heat": {"time": 100, "y": 21, "x": 21},
    "kdv": {"time": 201, "x": 512},
    "mrcosts": {"time": 3660, "z": 80},
}


@pytest.mark.parametrize("name", EXPECTED)
def test_every_file_of_the_catalogue(reference, name):
    told = ReadOptions(time_dimension=-1, shape=(21, 21)) if name == "heat" else None
    found = read_snapshots(reference(f"modes/{name}"), told)
    assert dict(found.sizes) == EXPECTED[name]


def test_large_data_is_thinned_aloud(waves, tmp_path, monkeypatch):
    path = tmp_path / "waves.npz"
    np.savez(path, **arrays(waves, "time", "y", "x"))
    monkeypatch.setattr(options, "MOST_BYTES", 3 * 20 * 8)
    with pytest.warns(UserWarning, match="one in 3 is read"):
        assert read_snapshots(path).sizes["time"] == 3


def test_quadrature_weights_are_the_volume_of_the_box(reference):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = read_snapshots(reference("modes/cylinder_re100_nek"), ReadOptions(start=298.0))
    assert found.sizes["time"] == 20
    assert float(found["cell_volume"].sum()) == pytest.approx(200 - np.pi / 4, abs=1e-3)
