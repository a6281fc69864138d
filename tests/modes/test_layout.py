"""Fields to rows and back: nothing lost, nothing counted that is not fluid."""

from __future__ import annotations

import dask.array
import numpy as np
import pytest
import xarray as xr

from sciml.modes import Layout


@pytest.fixture
def flow(rng) -> xr.Dataset:
    mask = np.ones((4, 5), bool)
    mask[1, 2] = False
    return xr.Dataset(
        {
            "velocity": (("time", "y", "x", "i"), rng.normal(size=(6, 4, 5, 2))),
            "pressure": (("time", "y", "x"), 100 * rng.normal(size=(6, 4, 5))),
            "cell_volume": (("y", "x"), rng.uniform(0.5, 2.0, (4, 5))),
            "mask": (("y", "x"), mask),
        },
        coords={"x": np.arange(5.0), "time": np.arange(6.0)},
    )


def test_fields_of_rows_are_the_fields(flow):
    layout = Layout.of(flow)
    assert layout.points == 19 * 3
    found = layout.fields(layout.rows(flow), coordinate=flow["time"])
    for name in ("velocity", "pressure"):
        xr.testing.assert_equal(found[name], flow[name].where(flow["mask"]))


def test_inner_product_is_the_integral_over_the_fluid(flow):
    layout = Layout.of(flow)
    row = layout.rows(flow)[0]
    first = flow.isel(time=0)
    density = (first["velocity"] ** 2).sum("i") + first["pressure"] ** 2
    wanted = float((density * flow["cell_volume"]).where(flow["mask"]).sum())
    assert layout.weights @ row**2 == pytest.approx(wanted, rel=1e-12)


def test_scaling_makes_variables_count_alike(flow):
    layout = Layout.of(flow, scaling="deviation")
    rows = layout.rows(flow)
    energy = layout.weights * ((rows - rows.mean(0)) ** 2).mean(0)
    parts = layout.fields(energy[None], dim="none")
    volume = float(flow["cell_volume"].where(flow["mask"]).sum())
    assert float(parts["pressure"].sum()) == pytest.approx(volume, rel=1e-12)
    assert float(parts["velocity"].sum()) == pytest.approx(2 * volume, rel=1e-12)


def test_one_variable_is_not_copied(flow):
    plain = flow[["pressure"]]
    assert np.shares_memory(Layout.of(plain).rows(plain), plain["pressure"].values)


def test_dask_stays_lazy(flow):
    lazy = flow.chunk(time=2)
    rows = Layout.of(lazy).rows(lazy)
    assert isinstance(rows, dask.array.Array)
    np.testing.assert_array_equal(rows.compute(), Layout.of(flow).rows(flow))


def test_wrong_data_is_refused(flow):
    with pytest.raises(ValueError, match="no temperature over time; over time it has: velocity"):
        Layout.of(flow, ["temperature"])
    with pytest.raises(ValueError, match="holds complex128"):
        Layout.of(flow[["pressure"]] * 1j)
    with pytest.raises(ValueError, match="must be finite and not negative, and is not in 3 points"):
        Layout.of(
            flow.assign(cell_volume=flow["cell_volume"].where(flow["x"] != 2, -1.0)), ["pressure"]
        )
    with pytest.raises(ValueError, match="pressure is over"):
        Layout.of(flow, ["pressure"]).rows(flow.isel(x=0))
    still = flow.assign(pressure=xr.zeros_like(flow["pressure"]))
    with pytest.raises(ValueError, match="pressure does not change in time"):
        Layout.of(still, ["pressure"], scaling="deviation")
