"""The recorded wake: symmetric before it is disturbed, the same when cut off, whole in its mesh."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from sciml.data import load
from sciml.modes import wake
from sciml.modes.cylinder import CylinderFlow, WakeOptions
from sciml.modes.wake import record_wake

SMALL = WakeOptions(
    reynolds_number=40.0,
    cells=6,
    upstream=3,
    downstream=5,
    width=6,
    settling=(20.0,),
    disturbance=0.1,
    duration=5.0,
    interval=0.5,
    window=(-2, 4, -2, 2),
)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory) -> xr.Dataset:
    with load(record_wake(SMALL, tmp_path_factory.mktemp("wake") / "wake.nc")) as ds:
        return ds.load()


def mirrored(field: xr.DataArray) -> xr.DataArray:
    """The mirror image of a velocity."""
    return field[..., ::-1, :] * xr.DataArray([1, -1], dims="i")


def energy(field: xr.DataArray, ds: xr.Dataset) -> float:
    return float((field**2 * ds["cell_volume"]).sum())


def test_steady_flow_is_its_own_mirror_image(recorded):
    steady = recorded["steady_velocity"]
    np.testing.assert_allclose(steady, mirrored(steady).transpose(*steady.dims), atol=1e-6)
    assert float(steady[0].sel(y=0.25, x=0.75).min()) < 0.1, "the flow behind the cylinder is slow"


def test_disturbance_is_antisymmetric_and_as_large_as_asked(recorded):
    puff = recorded["velocity"][0] - recorded["steady_velocity"]
    image = mirrored(puff).transpose(*puff.dims)
    np.testing.assert_allclose(puff, -image, atol=1e-6)
    assert 0.5 * SMALL.disturbance < float(abs(puff).max()) <= SMALL.disturbance


def test_without_disturbance_nothing_breaks_the_symmetry(tmp_path):
    calm = load(record_wake(replace(SMALL, disturbance=0.0), tmp_path / "calm.nc"))
    image = mirrored(calm["velocity"]).transpose(*calm["velocity"].dims)
    np.testing.assert_allclose(calm["velocity"], image, atol=1e-5)
    np.testing.assert_allclose(calm["force_coefficient"][:, 1], 0, atol=1e-5)


def test_opposite_disturbance_gives_the_mirror_image(recorded, tmp_path):
    options = replace(SMALL, disturbance=-SMALL.disturbance)
    other = load(record_wake(options, tmp_path / "other.nc"))
    image = mirrored(other["velocity"]).transpose(*other["velocity"].dims)
    np.testing.assert_allclose(recorded["velocity"], image, atol=1e-5)
    lift = recorded["force_coefficient"][:, 1]
    assert float(abs(lift).max()) > 1e-3
    np.testing.assert_allclose(lift, -other["force_coefficient"][:, 1], atol=1e-5)


def test_mesh_holds_the_fluid_of_the_window_and_nothing_else(recorded):
    left, right, bottom, top = SMALL.window
    fluid = (right - left) * (top - bottom) - np.pi / 4
    fine = CylinderFlow(replace(SMALL, cells=24)).window
    assert fine.volume.sum() == pytest.approx(fluid, abs=0.01)
    solid = np.hypot(*np.meshgrid(fine.x, fine.y))[fine.share == 0]
    assert solid.size > 20 and solid.max() < 0.5
    assert bool((recorded["mask"] == (recorded["cell_volume"] > 0)).all())


def test_coarser_cells_keep_the_momentum():
    fine, coarse = (CylinderFlow(replace(SMALL, coarsening=c)) for c in (1, 3))
    fine.settle()
    coarse.populations = fine.populations
    momentum = [
        (flow.seen()["velocity"] * flow.window.volume).sum((-1, -2)) for flow in (fine, coarse)
    ]
    np.testing.assert_allclose(*momentum, atol=1e-5)


def test_drag_is_that_of_the_momentum_lost(recorded):
    """Newton's law for a control volume that spans the channel, whose sides do not hold back."""
    flow = CylinderFlow(replace(SMALL, window=(-2, 4, -3, 3), coarsening=1, settling=(60.0,)))
    flow.settle()
    drag = next(iter(flow._forces()))[0] / 2
    seen = flow.seen()
    stress = seen["velocity"][0] ** 2 + seen["pressure"]
    inflow, outflow = stress.sum(0)[[0, -1]] / SMALL.cells
    shear = 2 / SMALL.reynolds_number * np.gradient(seen["velocity"][0], 1 / SMALL.cells, axis=1)
    viscous = (shear.sum(0)[[0, -1]] / SMALL.cells) @ [-1, 1]
    assert drag == pytest.approx(inflow - outflow + viscous, rel=0.02)


def test_a_run_that_was_cut_off_goes_on_bit_for_bit(recorded, tmp_path, monkeypatch):
    monkeypatch.setattr(wake, "CHUNK", 4)
    path, record = tmp_path / "wake.nc", CylinderFlow.record

    def cut(flow: CylinderFlow, count: int) -> dict[str, np.ndarray]:
        if flow.done >= 8:
            raise KeyboardInterrupt
        return record(flow, count)

    monkeypatch.setattr(CylinderFlow, "record", cut)
    with pytest.raises(KeyboardInterrupt):
        record_wake(SMALL, path)
    monkeypatch.setattr(CylinderFlow, "record", record)
    with pytest.raises(FileExistsError, match="interrupted run"):
        record_wake(SMALL, path)
    resumed = load(record_wake(SMALL, path, resume=True))
    xr.testing.assert_identical(resumed.load(), recorded)
    assert list(tmp_path.iterdir()) == [path]


def test_a_finished_record_is_kept_and_no_other_taken_for_it(tmp_path):
    options = replace(SMALL, settling=(1.0,), duration=0.5)
    path = record_wake(options, tmp_path / "wake.nc")
    before = path.stat().st_mtime_ns
    assert record_wake(options, path, resume=True) == path
    assert path.stat().st_mtime_ns == before
    with pytest.raises(FileExistsError, match="resume to keep it"):
        record_wake(options, path)
    with pytest.raises(ValueError, match="made with reynolds_number = 40"):
        record_wake(replace(options, reynolds_number=50.0), path, resume=True)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"cells": 10}, "even multiple of the coarsening 3"),
        ({"window": (-9, 4, -2, 2)}, "must lie in x from -3"),
        ({"window": (-2, 4, -9, 2)}, "y within 6 / 2"),
        ({"forces": 7}, "do not divide into 7"),
        ({"reynolds_number": -1.0}, "must be positive"),
    ],
)
def test_what_cannot_be_is_refused(changed, sentence):
    with pytest.raises(ValueError, match=sentence):
        replace(SMALL, **changed)


def test_a_march_that_diverges_says_so(tmp_path):
    options = replace(SMALL, reynolds_number=1e5, settling=(5.0,), speed=0.4)
    with pytest.raises(ArithmeticError, match="give more cells or less speed"):
        record_wake(options, tmp_path / "wake.nc")
    assert not Path(tmp_path / "wake.nc").exists()
