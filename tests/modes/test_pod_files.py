"""The same answer from memory, from files read by pieces, and from dask."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import xarray as xr

from sciml.modes.columns import Columns
from sciml.modes.layout import Layout
from sciml.modes.pod import Pod, PodOptions
from sciml.modes.scratch import Scratch, unpacked_whole


@pytest.fixture
def flow(rng) -> xr.Dataset:
    a = rng.normal(size=(20, 4)) * 2.0 ** -np.arange(4)
    velocity = np.tensordot(a, rng.normal(size=(4, 30, 40, 2)), 1) + 3
    mask = np.ones((30, 40), bool)
    mask[3:9, 10:12] = False
    return xr.Dataset(
        {
            "velocity": (("time", "y", "x", "i"), velocity.astype("f4")),
            "pressure": (("time", "y", "x"), velocity[..., 0] ** 2),
            "cell_volume": (("y", "x"), rng.uniform(0.5, 2.0, (30, 40))),
            "mask": (("y", "x"), mask),
        },
        coords={"time": np.arange(20.0)},
    )


def same(ds: xr.Dataset, flow: xr.Dataset, **options) -> None:
    wanted, found = Pod(PodOptions(rank=3)), Pod(PodOptions(rank=3, **options))
    xr.testing.assert_allclose(found.fit(ds), wanted.fit(flow), rtol=1e-8, atol=1e-8)
    xr.testing.assert_allclose(found.encode(ds), wanted.encode(flow), rtol=1e-6)


@pytest.mark.parametrize("engine", ["h5netcdf", "zarr"])
@pytest.mark.parametrize("chunks", [None, (1, 30, 40, 2), (20, 7, 40, 2)])
def test_files_are_read_by_pieces(flow, tmp_path, engine, chunks):
    path = tmp_path / "flow"
    encoding = {"velocity": {"chunksizes": chunks, "zlib": True}} if chunks else {}
    if engine == "zarr":
        packed = {"velocity": {"chunks": chunks}} if chunks else {}
        flow.to_zarr(path, encoding=packed, consolidated=False)
        opened = xr.open_dataset(path, engine="zarr", chunks=None, consolidated=False)
    else:
        flow.to_netcdf(path, engine=engine, encoding=encoding)
        opened = xr.open_dataset(path, engine=engine)
    with opened as ds:
        columns = Columns(ds, Layout.of(ds), memory=2**16)
        assert len(columns.pieces()) > 10
        laid_anew = isinstance(columns.source(), Scratch)
        assert laid_anew == unpacked_whole(ds["velocity"], "time")
        assert laid_anew == (chunks is not None and chunks[0] == 1)
        same(ds, flow, memory=2**16)


@pytest.mark.parametrize("chunks", [{"x": 9}, {"time": 6, "y": 10}, {"time": 5}])
def test_dask_finds_the_same(flow, chunks):
    same(flow.chunk(chunks), flow)
    same(flow.chunk(chunks), flow, method="qr")


def test_a_torch_device_finds_the_same(flow):
    same(flow, flow, device="cpu")
    same(flow, flow, device="cpu", method="qr")
    same(flow.isel(time=slice(None, None, -1)).isel(time=slice(None, None, -1)), flow, memory=2**14)


def test_scales_do_not_need_the_whole_file(flow, tmp_path):
    flow.to_netcdf(tmp_path / "flow.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "flow.nc", engine="h5netcdf") as ds:
        assert Layout.of(ds, scaling="deviation").scales == pytest.approx(
            Layout.of(flow, scaling="deviation").scales
        )


def test_a_file_takes_no_more_memory_than_allowed(rng, tmp_path):
    rows = rng.standard_normal((50, 200_000), dtype=np.float32)
    path = tmp_path / "flow.nc"
    xr.Dataset({"velocity": (("time", "cell"), rows)}).to_netcdf(path, engine="h5netcdf")
    limit, size = 2**22, rows.nbytes
    del rows
    with xr.open_dataset(path, engine="h5netcdf") as ds:
        tracemalloc.start()
        pod = Pod(PodOptions(rank=1, memory=limit))
        pod.fit(ds)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    held = sum(a.nbytes for a in (pod._mean, pod.layout.weights, pod._modes))
    assert peak - 3 * held < 2 * limit < 0.25 * size


def test_a_field_on_another_mesh_is_refused(flow):
    pod = Pod(PodOptions(rank=2))
    pod.fit(flow)
    with pytest.raises(ValueError, match=r"velocity has \(30, 39, 2\) points"):
        pod.encode(flow.isel(x=slice(1, None)))
    with pytest.raises(ValueError, match="the data has no velocity"):
        pod.encode(flow[["pressure"]])
