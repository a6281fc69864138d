"""Labels of fields, their divergence and their forces."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

from sciml.flow import divergence, drag_and_lift, force_on_body, label_fields
from sciml.flow.fields import images


def plane(u, v, *, ny: int = 20, nx: int = 30, radius: float = 0.2) -> xr.Dataset:
    """A velocity given by functions of x and y around a circle at (0.7, 0.5)."""
    x, y = (np.arange(nx) + 0.5) / ny, (np.arange(ny) + 0.5) / ny
    xx, yy = np.meshgrid(x, y)
    velocity = np.stack([u(xx, yy), v(xx, yy)])[None]
    distance = np.hypot(xx - 0.7, yy - 0.5)[None] - radius
    return xr.Dataset(
        {
            "velocity": (("sample", "component", "y", "x"), velocity),
            "signed_distance": (("sample", "y", "x"), distance),
        },
        coords={"x": x, "y": y},
    )


def test_labelled_fields_carry_units_and_the_coordinates_of_the_question(flows):
    fields = label_fields(flows, images(flows["velocity"]), flows["pressure"].values)
    assert fields["velocity"].attrs["units"] == "m s-1"
    assert fields["pressure"].attrs["units"] == "Pa"
    assert fields["velocity"].dims == ("sample", "component", "y", "x")
    for name in ("x", "y"):
        assert fields[name].equals(flows[name])
    xr.testing.assert_equal(fields["velocity"], flows["velocity"])


def test_images_have_the_axes_of_the_networks_whatever_the_labels(flows):
    turned = flows["velocity"].transpose("y", "x", "component", "sample")
    np.testing.assert_array_equal(images(turned), flows["velocity"].values)


@pytest.mark.parametrize(
    ("u", "v", "expected"),
    [
        (lambda x, y: x, lambda x, y: -y, 0.0),
        (lambda x, y: -y, lambda x, y: x, 0.0),
        (lambda x, y: 3 * x + y, lambda x, y: 2 * y - x, 5.0),
    ],
)
def test_divergence_of_linear_fields_is_exact(u, v, expected):
    assert divergence(plane(u, v)).item() == pytest.approx(expected, abs=1e-12)


def test_divergence_converges_at_second_order():
    u, v = (lambda x, y: np.sin(2 * x) * np.cos(y)), (lambda x, y: -2 * np.cos(2 * x) * np.sin(y))
    coarse, fine = (divergence(plane(u, v, ny=n, nx=3 * n // 2)).item() for n in (20, 40))
    assert coarse / fine == pytest.approx(4, rel=0.1)


def test_divergence_looks_at_the_fluid_alone():
    still = plane(lambda x, y: x, lambda x, y: -y)
    solid = still["signed_distance"] <= 0
    wild = still["velocity"].where(~solid, 1e6)
    assert divergence(still, xr.Dataset({"velocity": wild})).item() < 1e-10


def test_solver_keeps_the_divergence_small(flows):
    """Against a velocity gradient of about 4 per second, the inlet velocity over the body."""
    assert (divergence(flows) < 0.5).all()


def test_drag_and_lift_are_the_force_of_the_fields(flows):
    forces = drag_and_lift(flows)
    assert forces.dims == ("sample", "component") and forces.attrs["units"] == "N m-1"
    one = flows.isel(sample=[3])
    expected = force_on_body(
        torch.from_numpy(one["velocity"].values).double(),
        torch.from_numpy(one["pressure"].values).double(),
        torch.from_numpy(one["signed_distance"].values).double(),
        torch.from_numpy(one["viscosity"].values),
        spacing=1 / 32,
    )
    np.testing.assert_allclose(forces.isel(sample=[3]), expected, rtol=1e-6)


def test_drag_of_coarse_flows_is_near_that_on_the_links(flows):
    drag, exact = (f.isel(component=0).values for f in (drag_and_lift(flows), flows["force"]))
    np.testing.assert_allclose(drag, exact, rtol=0.1)
