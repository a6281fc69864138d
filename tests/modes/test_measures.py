"""Every measure has the value that mathematics gives it."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from sciml.modes.analytic import translating_pulse
from sciml.modes.grids import gridded
from sciml.modes.measures import (
    Yardstick,
    correlation_determinant,
    directions,
    exponent,
    forecast_error,
    frequency_octaves,
    gram_determinant,
    measured,
    ordering,
    principal_angles,
    spectral_purity,
    wavenumber_octaves,
)
from sciml.modes.measures.invariance import equivariance, rank_needed, transfer
from sciml.modes.measures.windows import PLANE, View, Window
from sciml.modes.pod import Pod, PodOptions
from sciml.modes.regimes import divide


def plane(rng, times: int = 30, size: int = 41) -> xr.Dataset:
    """Three smooth swirling patterns that change at random."""
    line = np.linspace(-1, 1, size)
    y, x = np.meshgrid(line, line, indexing="ij")
    shapes = [
        np.stack([np.cos(a * x + b * y), np.sin(b * x - a * y)])
        for a, b in ((2.0, 1.0), (0.5, 3.0), (3.0, 2.0))
    ]
    a = rng.normal(size=(times, 3)) * [3.0, 2.0, 1.0]
    fields = np.einsum("tk,kiyx->tiyx", a, np.stack(shapes))
    return xr.Dataset(
        {"velocity": (("time", "i", "y", "x"), fields)},
        coords={"time": np.arange(float(times)), "x": line, "y": line},
    )


def test_error_of_a_cut_off_pod_is_the_energy_left_out(rng):
    ds = plane(rng)
    pod = Pod(PodOptions(rank=1))
    energy = float(pod.fit(ds)["energy"].sum())
    found = Yardstick.of(ds).error(ds, pod.reconstruct(ds))
    assert found**2 == pytest.approx(1 - energy, rel=1e-6)


def test_directions_of_pod_are_its_modes(rng):
    ds = plane(rng)
    pod = Pod(PodOptions(rank=3))
    result = pod.fit(ds)
    yardstick = Yardstick.of(ds)
    rows = directions(pod, pod.encode(ds), yardstick.layout)
    deviation = result["amplitudes"].values.std(0)
    np.testing.assert_allclose(
        rows,
        deviation[:, None] * pod.layout.rows(result[["modes"]].rename(modes="velocity"), "mode"),
        atol=1e-9,
    )


def test_determinants(rng):
    values = rng.normal(size=(500, 3))
    orthogonal = np.linalg.qr(values - values.mean(0))[0]
    assert correlation_determinant(orthogonal) == pytest.approx(1.0)
    assert gram_determinant(orthogonal.T) == pytest.approx(1.0)
    angle = rng.uniform(0.1, 1.5)
    rows = np.array([[1.0, 0.0], [np.cos(angle), np.sin(angle)]])
    assert gram_determinant(rows) == pytest.approx(np.sin(angle) ** 2)
    doubled = np.concatenate([values, values[:, :1]], axis=1)
    assert correlation_determinant(doubled) == pytest.approx(0.0, abs=1e-9)


def test_angles_between_planes_that_share_a_line(rng):
    angle = rng.uniform(1e-9, 1e-7)
    turn = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    first = np.eye(6)[:2]
    second = np.array([[1.0, 0, 0, 0, 0, 0], [0, np.cos(angle), np.sin(angle), 0, 0, 0]])
    found = principal_angles(rng.normal(size=(2, 2)) @ first @ turn, second @ turn, kept=1.0)
    np.testing.assert_allclose(found, [0.0, angle], atol=1e-14)


def test_purity_tells_one_frequency_from_many(rng):
    t = np.arange(256) * 0.1
    pure = np.sin(2 * np.pi * 10 / 25.6 * t)
    found = spectral_purity(np.stack([pure, rng.normal(size=256), np.zeros(256)], 1))
    assert found[0] > 0.99 and found[1] < 0.4 and np.isnan(found[2])
    assert ordering(np.array([3.0, 1.0, 2.0])) == pytest.approx(2 / 3)


def test_memory_of_a_call_is_what_it_holds():
    kept, cost = measured(lambda: np.ones(4_000_000))
    assert cost.bytes is None or 0.9 * kept.nbytes < cost.bytes < 1.5 * kept.nbytes
    assert exponent([1, 10, 100], [2, 20, 200]) == pytest.approx(1.0)


def test_lost_octaves_of_frequency():
    t, x = np.arange(128) * 0.25, np.arange(5.0)
    slow = np.sin(2 * np.pi * 2 / 32 * t)[:, None] * np.cos(x)
    fast = np.sin(2 * np.pi * 20 / 32 * t)[:, None] * np.sin(x + 1)
    truth = xr.Dataset({"u": (("time", "x"), slow + fast)}, coords={"time": t})
    found = frequency_octaves(Yardstick.of(truth), truth, truth.assign(u=truth["u"] - fast), 0.25)
    heard = found.energy > 1e-3
    assert found.error[:3][heard[:3]].max() < 0.01
    assert found.error[4] == pytest.approx(1.0, abs=1e-3)
    assert found.energy.sum() == pytest.approx(1.0, abs=0.01)


def test_lost_octaves_of_wavenumber(rng):
    x = 2 * np.pi * np.arange(64) / 64
    long, short = np.cos(x + rng.uniform(0, 6)), 0.5 * np.cos(9 * x)
    truth = np.broadcast_to(long + short, (1, 1, 64, 64))
    found = wavenumber_octaves(truth, np.broadcast_to(long, (1, 1, 64, 64)), (1.0, 1.0))
    assert found.error[0] == pytest.approx(0.0, abs=1e-9)
    assert found.error[3] == pytest.approx(1.0)
    assert found.energy[3] == pytest.approx(0.2)


@pytest.mark.parametrize("angle", [90.0, 30.0, 137.0])
def test_a_window_turns_vectors_and_places(rng, angle):
    ds = plane(rng, times=2, size=101)
    window = Window.of(ds, ["velocity"])
    plain = window.seen(View())
    there = window.seen(View(angle=angle))
    back = Window.of(there.assign(time=[0.0, 1.0]), ["velocity"])
    assert window.points == 40 and plain.sizes["x"] == 81
    inner = back.seen(View(angle=-angle))["velocity"]
    deviation = plain["velocity"] - plain["velocity"].mean("time")
    wanted = deviation.sel(x=inner["x"], y=inner["y"], method="nearest")
    inside = (inner["x"] ** 2 + inner["y"] ** 2 < 0.2).values
    np.testing.assert_allclose(inner.values[..., inside], wanted.values[..., inside], atol=2e-4)


def test_mirrors_and_scales(rng):
    window = Window.of(plane(rng), ["velocity"])
    plain = window.seen(View())["velocity"].values
    mirrored = window.seen(PLANE["mirrored"])["velocity"].values
    sign = np.array([1.0, -1.0])[:, None, None]
    np.testing.assert_allclose(mirrored, sign * plain[:, :, ::-1], atol=1e-12)
    half = window.seen(PLANE["amplitude × 0.5"])["velocity"].values
    np.testing.assert_allclose(half, plain / 2)


def test_pod_is_equivariant_and_its_modes_do_not_turn(rng):
    window = Window.of(plane(rng), ["velocity"])
    train = window.seen(View(), slice(0, 20))
    pod = Pod(PodOptions(rank=3))
    pod.fit(train)
    yardstick = Yardstick.of(train)
    angles = equivariance(lambda: Pod(PodOptions(rank=3)), pod, window, slice(0, 20), yardstick)
    assert set(angles) == {"turned 90°", "mirrored"} and max(angles.values()) < 1e-6
    errors = transfer(pod, window, slice(20, 30), yardstick)
    assert errors["as it was"] < 1e-6 and errors["amplitude × 2"] < 1e-6
    assert errors["turned 90°"] > 0.1


def test_a_travelling_pulse_takes_many_modes():
    ds = translating_pulse()
    ds = ds.drop_vars("mask", errors="ignore")
    rank, held = rank_needed(
        lambda k: Pod(PodOptions(rank=k, variables=("velocity",), mean="none")),
        ds,
        (1, 20, 28, 29, 30),
        Yardstick.of(ds, ["velocity"]),
    )
    assert rank in (28, 29, 30) and held[1] < 0.1


def test_cells_are_brought_to_a_grid(rng):
    places = rng.uniform(-1, 1, size=(20000, 2))
    places = places[np.hypot(*places.T) > 0.3]
    values = places[:, 0] + 2 * places[:, 1]
    ds = xr.Dataset(
        {"p": (("time", "cell"), values[None])},
        coords={"x": ("cell", places[:, 0]), "y": ("cell", places[:, 1]), "time": [0.0]},
    )
    grid = gridded(ds, ["p"])
    wanted = grid["x"] + 2 * grid["y"]
    inside = grid["mask"].values
    assert abs((grid["p"][0] - wanted).values[inside]).max() < 0.1
    assert not inside[np.hypot(*np.meshgrid(grid["x"], grid["y"])) < 0.25].any()


class Held:
    """Foresees that all stays as it is."""

    def forecast(self, ds: xr.Dataset, steps: int) -> xr.Dataset:
        last = ds.isel(time=[-1] * steps)
        return last.assign_coords(time=np.arange(float(steps)))


def test_forecast_error_of_persistence(rng):
    t, x = np.arange(40) * 0.25, np.linspace(0, 2 * np.pi, 32, endpoint=False)
    wave = xr.Dataset({"u": (("time", "x"), np.cos(x - t[:, None]))}, coords={"time": t, "x": x})
    past, future = wave.isel(time=slice(0, 20)), wave.isel(time=slice(20, 40))
    yardstick = Yardstick(layout=Yardstick.of(past).layout, mean=np.zeros(32))
    found = forecast_error(Held(), past, future, yardstick)
    wanted = 2 * abs(np.sin((future["time"].values - t[19]) / 2))
    np.testing.assert_allclose(found, wanted, atol=1e-12)
    assert forecast_error(object(), past, future, yardstick) is None


def test_a_transient_is_told_from_the_limit_cycle():
    t, x = np.arange(0, 100, 0.1), np.linspace(0, 2 * np.pi, 16, endpoint=False)
    growth = 1 / (1 + np.exp(-(t - 35) / 2))
    u = growth[:, None] * np.cos(x - 2 * t[:, None]) + (1 - growth)[:, None]
    ds = xr.Dataset({"u": (("time", "x"), u)}, coords={"time": t, "x": x})
    parts = divide(ds, Yardstick.of(ds), most=100)
    assert 35 < parts.saturated_from < 55
    assert parts.transient is not None and float(parts.transient["time"][-1]) < parts.saturated_from
    step = np.diff(np.concatenate([parts.train["time"], parts.future["time"]]))
    np.testing.assert_allclose(step, 0.2)
    np.testing.assert_allclose(parts.between["time"] - parts.train["time"], 0.1)
    assert parts.train.sizes["time"] == 100
    late = divide(ds, Yardstick.of(ds), saturated_from=60.0)
    assert late.saturated_from == pytest.approx(60.0)
    with pytest.raises(ValueError, match="10 saturated snapshots are too few"):
        divide(ds, Yardstick.of(ds), saturated_from=99.0)
