"""Labelled fields of a flow, and what is computed from them."""

from __future__ import annotations

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float

from sciml.flow.forces import force_on_body

__all__ = ["divergence", "drag_and_lift", "images", "label_fields"]


def label_fields(
    ds: xr.Dataset,
    velocity: Float[np.ndarray, "sample 2 y x"],
    pressure: Float[np.ndarray, "sample y x"],
) -> xr.Dataset:
    """Velocity and pressure on the coordinates of `ds`."""
    image = ("sample", "y", "x")
    return xr.Dataset(
        {
            "velocity": (("sample", "component", "y", "x"), velocity, {"units": "m s-1"}),
            "pressure": (image, pressure, {"units": "Pa"}),
        },
        coords={name: ds[name] for name in ("sample", "y", "x") if name in ds.coords},
    ).assign_coords(component=("component", [0, 1], {"units": "1"}))


def drag_and_lift(ds: xr.Dataset, fields: xr.Dataset | None = None) -> xr.DataArray:
    """Forces [N m-1] from velocity and pressure in `fields`; the body is described by `ds`."""
    fields = ds if fields is None else fields
    force = force_on_body(
        torch.from_numpy(images(fields["velocity"])).double(),
        torch.from_numpy(fields["pressure"].values).double(),
        torch.from_numpy(ds["signed_distance"].values).double(),
        torch.from_numpy((ds["diameter"] / ds["reynolds_number"]).values).double(),
        spacing=float(ds["y"][1] - ds["y"][0]),
    )
    return xr.DataArray(force.numpy(), dims=("sample", "component"), attrs={"units": "N m-1"})


def divergence(ds: xr.Dataset, fields: xr.Dataset | None = None) -> xr.DataArray:
    """Root mean square of ∂u_x/∂x + ∂u_y/∂y [s-1] over the fluid of each sample.

    Differences are taken between the means of neighbouring pairs of cells, on the corners whose
    four cells are fluid; it vanishes for every velocity from :func:`sciml.flow.curl`.

    Args:
        ds: says where the fluid is (`signed_distance`).
        fields: holds `velocity`; `ds` itself if not given.
    """
    velocity = images((ds if fields is None else fields)["velocity"]).astype(np.float64)
    spacing = float(ds["y"][1] - ds["y"][0])
    ux, uy = velocity[:, 0], velocity[:, 1]
    along_x = np.diff(ux[:, 1:] + ux[:, :-1], axis=2)
    along_y = np.diff(uy[..., 1:] + uy[..., :-1], axis=1)
    fluid = ds["signed_distance"].transpose("sample", "y", "x").values > 0
    whole = fluid[:, 1:, 1:] & fluid[:, 1:, :-1] & fluid[:, :-1, 1:] & fluid[:, :-1, :-1]
    squares = ((along_x + along_y) / (2 * spacing)) ** 2
    mean = np.mean(squares, axis=(1, 2), where=whole)
    return xr.DataArray(np.sqrt(mean), dims="sample", attrs={"units": "s-1"})


def images(velocity: xr.DataArray) -> Float[np.ndarray, "sample 2 y x"]:
    """Velocities as an array with its axes in the order of the networks."""
    return velocity.transpose("sample", "component", "y", "x").values
