"""The numbers behind the pictures of a wake, and that each picture says what it shows."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from sciml.modes.pod import Pod, PodOptions
from sciml.modes.wake_figures import (
    eigenvalue_figure,
    field_figure,
    force_figure,
    forecast_figure,
    manifold_figure,
    shift_amplitudes,
    vorticity,
)

FREQUENCY = 0.164


@pytest.fixture
def growing(rng) -> xr.Dataset:
    """Mean-field theory: an oscillation of amplitude A that shifts the mean by A²."""
    fields, _ = np.linalg.qr(rng.normal(size=(2 * 8 * 10, 4)))
    steady, cosine, sine, shift = fields.T.reshape(4, 2, 8, 10)
    time = np.arange(0, 160, 0.25)
    size = 1 / np.sqrt(1 + 1e6 * np.exp(-0.26 * time))
    turn = 2 * np.pi * FREQUENCY * time
    parts = ((size * np.cos(turn), cosine), (size * np.sin(turn), sine), (size**2, shift))
    velocity = steady + sum(a[:, None, None, None] * field for a, field in parts)
    return xr.Dataset(
        {
            "velocity": (("time", "i", "y", "x"), velocity),
            "steady_velocity": (("i", "y", "x"), steady),
            "mask": (("y", "x"), np.ones((8, 10), bool)),
        },
        coords={"time": time, "x": np.arange(10.0), "y": np.arange(8.0)},
        attrs={"size": size},
    )


def limit_cycle(ds: xr.Dataset) -> Pod:
    pod = Pod(PodOptions(rank=2, variables=("velocity",)))
    pod.fit(ds.sel(time=slice(160 - 10 / FREQUENCY, None)))
    return pod


def test_shift_follows_the_square_of_the_oscillation(growing):
    turning, shift = shift_amplitudes(growing, limit_cycle(growing))
    size = growing.attrs["size"]
    np.testing.assert_allclose(shift, size**2, atol=2e-3)
    np.testing.assert_allclose(np.hypot(*turning.T), size, atol=2e-3)


def test_vorticity_of_a_turning_body_is_twice_its_rate(rng):
    rate = rng.normal()
    x, y = xr.DataArray(np.arange(5.0), dims="x"), xr.DataArray(np.arange(4.0), dims="y")
    coords = {"x": x.values, "y": y.values}
    velocity = xr.concat([-rate * y + 0 * x, rate * x + 0 * y], "i").assign_coords(coords)
    np.testing.assert_allclose(vorticity(velocity), 2 * rate, atol=1e-12)


def test_every_figure_has_a_caption(growing):
    force = xr.DataArray(
        np.ones((8, 2)), dims=("force_time", "i"), coords={"force_time": np.arange(8.0)}
    )
    field = vorticity(growing["velocity"][0])
    figures = [
        field_figure({"one": [field, field]}, ["left", "right"], caption="Vorticity"),
        force_figure(force, 3.0, FREQUENCY),
        manifold_figure(growing, limit_cycle(growing)),
        eigenvalue_figure({"dmd": np.exp(2j * np.pi * np.arange(5) / 12)}),
        forecast_figure({"dmd": np.full(8, 0.1)}, 0.5, 1 / FREQUENCY),
    ]
    assert all(figure.get_label() for figure in figures)
    assert all(ax.get_xlabel() for ax in figures[1].axes)
