"""What is learned for a solver: with the exact remainder, the flow is that of the simulation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from sciml.rans import load_flow
from sciml.rans.propagation import Duct, SolverOptions, rectangle, solve_sst
from sciml.rans.propagation.figures import secondary_flow
from sciml.rans.propagation.learning import (
    Propagated,
    channel_state,
    fluctuation_scale,
    with_remainder,
)


@pytest.fixture(scope="module")
def square() -> xr.Dataset:
    """A coarse square duct by k-omega SST."""
    section = rectangle(1e-3, cells=(16, 16), growth=(40.0, 40.0))
    duct = Duct(section=section, viscosity=1.5e-5, bulk_velocity=40.0)
    return solve_sst(duct, options=SolverOptions(tolerance=1e-4))


def test_a_linear_stress_leaves_no_remainder(square: xr.Dataset) -> None:
    G, k = square["velocity_gradient"].values, square["turbulent_kinetic_energy"].values
    linear = -square["eddy_viscosity"].values[:, None, None] * (G + G.transpose(0, 2, 1))
    stress = linear + 2 / 3 * k[:, None, None] * np.eye(3)
    b = with_remainder(square, stress, G)["anisotropy"].values
    assert abs(b).max() < 1e-12


def test_the_scale_is_the_friction_velocity_at_walls(square: xr.Dataset) -> None:
    scale, force = fluctuation_scale(square), float(square["driving_force"])
    walls = square["wall_distance"].values < 1e-5
    assert walls.any()
    mean = force * 1e-3 / 2  # the force on a quarter of h x h is borne by two walls of length h
    assert 0.3 * mean < scale[walls].mean() < 3 * mean
    assert (scale >= square["turbulent_kinetic_energy"].values).all()


@pytest.fixture(scope="module")
def duct(reference: Callable[[str], Path]) -> xr.Dataset:
    reference("rans/AR_1_Ret_180")
    flow = load_flow("AR_1_Ret_180")
    gradient = flow["velocity_gradient_reference"].values
    return with_remainder(flow, flow["reynolds_stress"].values, gradient)


def test_the_exact_remainder_has_the_simulation_as_its_flow(duct: xr.Dataset) -> None:
    truth = duct["velocity_reference"].values
    model = Propagated(lambda state: state["anisotropy"].values)
    found = model.predict(duct.rename(cell="sample"))
    assert (found["converged"] == 1).all()
    error = np.linalg.norm(found["velocity"].values - truth, axis=1).mean()
    assert error < 0.01 * np.linalg.norm(truth, axis=1).mean()
    strength = [np.hypot(*u[:, 1:].T).max() for u in (found["velocity"].values, truth)]
    assert strength[0] == pytest.approx(strength[1], rel=0.05)


def test_the_secondary_flow_is_drawn(duct: xr.Dataset) -> None:
    truth = duct["velocity_reference"].values
    assert "Secondary flow" in secondary_flow(duct, truth, {"half": 0.5 * truth}).get_label()


def test_a_channel_brings_the_stress_of_its_simulation(
    reference: Callable[[str], Path],
) -> None:
    reference("rans/channel_profiles")
    state, profile = channel_state("channel_MKM_395", cells=50), load_flow("channel_MKM_395")
    b, y = state["anisotropy"].values, profile["position"].values[:, 1]
    stress = 2 * fluctuation_scale(state)[:, None, None] * b
    mean = state["velocity_gradient"].values.mean(0)[0]
    normal, across = (1, 2) if abs(mean[1]) > abs(mean[2]) else (2, 1)
    truth = profile["reynolds_stress"].values[:, 0, 0] - profile["reynolds_stress"].values[:, 1, 1]
    place = state["wall_distance"].values * y[-1]
    # an eddy viscosity has no normal stresses of its own: all of them are left to be learned
    found = stress[:, 0, 0] - stress[:, normal, normal]
    np.testing.assert_allclose(found, np.interp(place, y, truth), atol=1e-10)
    # but it has about the right shear away from the wall
    assert abs(stress[place > 30, 0, normal]).max() < 0.3 * abs(found).max()
    assert abs(stress[:, 0, across]).max() < 1e-12
