"""Flows in the tunnel as labelled samples."""

from __future__ import annotations

import numpy as np
import pytest

from sciml.flow import SolverOptions, Tunnel, flow_inputs, solve_flow
from sciml.flow.shapes import circle, ellipse
from sciml.flow.tunnel import coarser

COARSE = Tunnel(cells=32, solver=SolverOptions(levels=2))
CIRCLE = circle(0.25).translate(0.6, 0.5)


@pytest.fixture(scope="module")
def sample():
    return solve_flow(CIRCLE, 20.0, COARSE)


def test_every_number_of_a_sample_has_its_unit(sample):
    units = {str(name): sample[name].attrs.get("units") for name in sample.variables}
    assert units == {
        "velocity": "m s-1",
        "pressure": "Pa",
        "signed_distance": "m",
        "force": "N m-1",
        "reynolds_number": "1",
        "diameter": "m",
        "viscosity": "m2 s-1",
        "steps": "1",
        "residual": "1",
        "steady": "1",
        "component": "1",
        "x": "m",
        "y": "m",
        "family": None,
        "shape": None,
    }


def test_reynolds_number_is_that_of_speed_length_and_viscosity(sample):
    assert float(sample["diameter"]) == pytest.approx(0.25)
    assert float(sample["diameter"] / sample["viscosity"]) == pytest.approx(20.0)


def test_flow_is_steady_and_at_rest_in_the_solid(sample):
    solid = sample["signed_distance"].values <= 0
    assert solid.sum() / 32**2 == pytest.approx(np.pi * 0.125**2, rel=0.1)
    assert (sample["velocity"].values[:, solid] == 0).all()
    assert (sample["pressure"].values[solid] == 0).all()
    assert sample["steady"] == 1 and 0 < sample["residual"] < COARSE.solver.tolerance


def test_stream_enters_at_one_metre_per_second_and_pushes_the_body(sample):
    np.testing.assert_allclose(sample["velocity"].values[0, :, 0].mean(), 1.0, atol=1e-3)
    drag, lift = sample["force"].values
    assert 0.2 < drag < 0.6  # a coefficient of about 3 in a channel of four diameters
    assert abs(lift) < 1e-3 * drag


def test_drag_coefficient_falls_with_the_reynolds_number(sample):
    slower = solve_flow(CIRCLE, 5.0, COARSE)
    assert slower["force"].values[0] > 1.3 * sample["force"].values[0]


def test_a_finer_grid_changes_the_drag_little(sample):
    finer = solve_flow(CIRCLE, 20.0, Tunnel(cells=64))
    assert finer["force"].values[0] == pytest.approx(sample["force"].values[0], rel=0.03)


def test_nose_up_lifts():
    body = ellipse(0.3, 0.1).rotate(-0.3).translate(0.6, 0.5)
    assert solve_flow(body, 15.0, COARSE)["force"].values[1] > 0.02


def test_inputs_are_the_sample_without_its_flow(sample):
    inputs = flow_inputs(CIRCLE, 20.0, COARSE.grid).isel(sample=0)
    assert set(inputs.variables) < set(sample.variables)
    for name in inputs.variables:
        assert (inputs[name] == sample[name]).all()


def test_means_over_squares_are_values_at_the_centres_of_coarser_cells(rng):
    a, b = rng.normal(size=2)
    y, x = np.meshgrid(np.arange(8) + 0.5, np.arange(12) + 0.5, indexing="ij")
    means = coarser(a * x + b * y, 4)
    y, x = np.meshgrid(4 * np.arange(2) + 2.0, 4 * np.arange(3) + 2.0, indexing="ij")
    np.testing.assert_allclose(means, a * x + b * y)


@pytest.mark.parametrize("reynolds", [0.0, -3.0, float("nan")])
def test_reynolds_numbers_that_are_not_positive_are_refused(reynolds):
    with pytest.raises(ValueError, match=r"a Reynolds number of .* it must be positive"):
        solve_flow(CIRCLE, reynolds, COARSE)


def test_body_that_does_not_stand_in_the_tunnel_is_refused():
    with pytest.raises(ValueError, match="reaches the bottom"):
        solve_flow(circle(0.25).translate(0.6, 0.1), 20.0, COARSE)


@pytest.mark.parametrize("cells", [30, 16])
def test_tunnels_that_cannot_be_made_coarser_are_refused(cells):
    with pytest.raises(ValueError, match=f"{cells} cells across .* multiple of 4, at least 32"):
        Tunnel(cells=cells)
