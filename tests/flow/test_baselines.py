"""What any surrogate must beat."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from sciml.flow import CoarseSolver, FreeStream, NearestShape, SolverOptions
from sciml.metrics import relative_l2_error


def error(truth: xr.Dataset, prediction: xr.Dataset) -> float:
    fluid = truth["signed_distance"] > 0
    each = relative_l2_error(
        truth["velocity"], prediction["velocity"], ("component", "y", "x"), weights=fluid
    )
    return float(each.mean())


def test_nearest_shape_gives_a_training_sample_back(flows):
    model = NearestShape()
    model.fit(flows)
    order = [7, 0, 7, 11, 3]
    asked = flows.isel(sample=order)
    prediction = model.predict(asked)
    for name in ("velocity", "pressure"):
        np.testing.assert_array_equal(prediction[name].values, asked[name].values)


def test_nearest_shape_cuts_the_flow_to_the_new_body(flows):
    model = NearestShape()
    model.fit(flows.isel(sample=slice(0, 8)))
    asked = flows.isel(sample=slice(8, 12))
    prediction = model.predict(asked)
    solid = asked["signed_distance"].values <= 0
    assert (prediction["pressure"].values[solid] == 0).all()
    assert (np.moveaxis(prediction["velocity"].values, 1, -1)[solid] == 0).all()


def test_nearest_shape_weighs_the_reynolds_number(flows):
    """The same body at two Reynolds numbers: the nearer one answers."""
    body = flows.isel(sample=[0, 0])
    train = body.assign(reynolds_number=body["reynolds_number"].copy(data=np.array([5.0, 15.0])))
    train = train.assign(pressure=train["pressure"].copy(data=np.stack([np.ones((32, 64))] * 2)))
    train["pressure"][1] = 2.0
    model = NearestShape()
    model.fit(train)
    asked = train.assign(reynolds_number=body["reynolds_number"].copy(data=np.array([14.0, 6.0])))
    outside = asked["signed_distance"].values > 0
    pressure = model.predict(asked)["pressure"].values
    assert (pressure[0][outside[0]] == 2).all() and (pressure[1][outside[1]] == 1).all()


def test_nearest_shape_says_that_it_is_not_fitted(flows):
    with pytest.raises(ValueError, match="not fitted"):
        NearestShape().predict(flows)


def test_free_stream_is_the_inlet_velocity_outside_the_body(flows):
    prediction = FreeStream().predict(flows)
    fluid = (flows["signed_distance"] > 0).values
    np.testing.assert_array_equal(prediction["velocity"].values[:, 0], fluid)
    assert (prediction["velocity"].values[:, 1] == 0).all()
    assert (prediction["pressure"].values == 0).all()
    assert 0.1 < error(flows, prediction) < 0.6


def test_coarse_solver_approaches_the_solver_with_its_grid(lifting):
    options = SolverOptions(levels=1, tolerance=1e-5, patience=1000.0)
    same, half, quarter = (
        error(lifting, CoarseSolver(factor=factor, solver=options).predict(lifting))
        for factor in (1, 2, 4)
    )
    assert same < 1e-4 < half < 0.6 * quarter
    assert quarter < error(lifting, FreeStream().predict(lifting))


def test_coarse_solver_gives_nan_where_it_finds_nothing_steady(lifting):
    impatient = SolverOptions(levels=1, patience=1.0)
    prediction = CoarseSolver(factor=4, solver=impatient).predict(lifting)
    fluid = lifting["signed_distance"].values > 0
    assert np.isnan(prediction["pressure"].values[fluid]).all()
