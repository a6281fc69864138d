"""k-omega SST in channels and ducts, and flows with a given Reynolds stress."""

from __future__ import annotations

import numpy as np
import pytest

from sciml.rans import load_flow
from sciml.rans.propagation import (
    Diverged,
    Duct,
    PropagationOptions,
    SolverOptions,
    beyond_linear,
    channel,
    duct_of,
    propagate,
    rectangle,
    solve_laminar,
    solve_sst,
)

H, NU = 1e-3, 1.5e-5
BEYOND = PropagationOptions(gives="remainder")
SHORT = SolverOptions(tolerance=1e-5)


@pytest.fixture(scope="module")
def square():
    """A coarse square duct by k-omega SST."""
    section = rectangle(H, cells=(24, 24), growth=(60.0, 60.0))
    duct = Duct(section=section, viscosity=NU, bulk_velocity=85.4)
    return duct, solve_sst(duct, options=SHORT)


@pytest.fixture(scope="module")
def flow(reference):
    """A reference flow with its duct."""

    def load(name):
        reference(f"rans/{name}")
        ds = load_flow(name)
        return ds, duct_of(ds)

    return load


def relative(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)


def energy_of(ds):
    return np.trace(ds["reynolds_stress"].values, axis1=1, axis2=2) / 2


def secondary(ds):
    return np.hypot(*ds["velocity"].values[:, 1:].T)


def test_a_channel_follows_the_law_of_the_wall():
    """Re_tau 2000: U_b/u_tau = 21.7 in the DNS of Hoyas and Jimenez 2006."""
    section = channel(1.0, cells=80, growth=800.0)
    duct = Duct(section=section, viscosity=1.0, bulk_velocity=21.7 * 2000)
    state = solve_sst(duct, options=SolverOptions(tolerance=1e-4))
    assert state.attrs["converged"] == 1
    friction = np.sqrt(float(state["driving_force"]))
    assert friction == pytest.approx(2000, rel=0.02)
    y = state["wall_distance"].values * friction
    u = state["velocity"].values[:, 0] / friction
    linear, log = y < 1, (y > 60) & (y < 400)
    np.testing.assert_allclose(u[linear], y[linear], rtol=0.01)
    np.testing.assert_allclose(u[log], np.log(y[log]) / 0.41 + 5.2, rtol=0.04)


def test_the_square_duct_is_symmetric_about_its_diagonal(square):
    duct, state = square
    for name in ("velocity", "turbulent_kinetic_energy", "specific_dissipation_rate"):
        values = state[name].values.reshape(*duct.section.shape, -1)[..., 0]
        np.testing.assert_allclose(values, values.T, rtol=1e-8)


def test_friction_balances_the_driving_force(square):
    duct, state = square
    speed = state["velocity"].values[:, 0].reshape(duct.section.shape)
    y, z = duct.section.y_widths, duct.section.z_widths
    force = NU * (speed[:, -1] @ z / (y[-1] / 2) + speed[-1] @ y / (z[-1] / 2))
    assert force == pytest.approx(float(state["driving_force"]) * H**2, rel=1e-9)


def test_a_linear_closure_has_no_secondary_flow(square):
    duct, state = square

    def linear(ds):
        gradient = ds["velocity_gradient"].values
        strain = (gradient + gradient.transpose(0, 2, 1)) / 2
        scale = ds["eddy_viscosity"] / ds["turbulent_kinetic_energy"]
        return -scale.values[:, None, None] * strain

    result = propagate(duct, state, linear, solver=SHORT)
    assert secondary(result).max() < 1e-12 * duct.bulk_velocity
    assert relative(result["velocity"].values, state["velocity"].values) < 1e-4
    aware = propagate(
        duct,
        state,
        linear,
        options=PropagationOptions(turbulence="linear", interval=5),
        solver=SHORT,
    )
    assert secondary(aware).max() < 1e-12 * duct.bulk_velocity


def test_a_closure_that_is_symmetric_makes_a_flow_that_is(square, rng):
    duct, state = square
    y, z = state["position"].values[:, 1:].T / H
    b = np.zeros((y.size, 3, 3))
    b[:, 1, 1], b[:, 2, 2] = 0.2 * y**4, 0.2 * z**4
    b[:, 0, 0] = -b[:, 1, 1] - b[:, 2, 2]
    result = propagate(duct, state, b, options=BEYOND, solver=SHORT)
    assert result.attrs["converged"] == 1, result.attrs["verdict"]
    v, w = (result["velocity"].values[:, n].reshape(duct.section.shape) for n in (1, 2))
    assert secondary(result).max() > 0.002 * duct.bulk_velocity
    np.testing.assert_allclose(v, w.T, atol=1e-9 * duct.bulk_velocity)


@pytest.mark.parametrize("waves", [3, 300])
def test_errors_of_a_network_do_not_upset_the_solver(square, rng, waves):
    """Smooth and rough errors of 0.03 in each component: a root mean square as of good networks."""
    duct, state = square
    y, z = state["position"].values[:, 1:].T / H
    phases = rng.uniform(0, 2 * np.pi, (2, 3, 3, 1))
    b = 0.06 * np.cos(waves * y + phases[0]) * np.cos(waves * z + phases[1])
    b = np.moveaxis((b + b.swapaxes(0, 1)) / 2, 2, 0)
    b -= np.trace(b, axis1=1, axis2=2)[:, None, None] * np.eye(3) / 3
    result = propagate(duct, state, b, options=BEYOND, solver=SHORT)
    assert result.attrs["converged"] == 1, result.attrs["verdict"]
    assert 1e-4 < secondary(result).max() / duct.bulk_velocity < 0.2
    assert relative(result["velocity"].values, state["velocity"].values) < 0.3


@pytest.mark.parametrize("name", ["AR_1_Ret_180", "AR_1_Ret_360", "AR_3_Ret_360"])
def test_the_reference_fields_are_a_steady_state(flow, name):
    ds, duct = flow(name)
    zero = np.zeros((duct.section.size, 3, 3))
    few = SolverOptions(iterations=6)
    options = PropagationOptions(gives="remainder", turbulence="linear")
    state = propagate(duct, ds, zero, options=options, solver=few)
    for variable in ("velocity", "velocity_gradient", "turbulent_kinetic_energy", "eddy_viscosity"):
        assert relative(state[variable].values, ds[variable].values) < 5e-3, variable


def test_the_reference_fields_are_reached_from_rest(flow):
    ds, duct = flow("AR_1_Ret_180")
    state = solve_sst(duct, options=SolverOptions(tolerance=1e-4))
    assert relative(state["velocity"].values, ds["velocity"].values) < 2e-3
    for variable in ("turbulent_kinetic_energy", "specific_dissipation_rate"):
        assert relative(state[variable].values, ds[variable].values) < 1e-2, variable


def test_the_simulated_stress_gives_the_simulated_flow(flow):
    ds, duct = flow("AR_1_Ret_180")
    k = energy_of(ds)
    gradient = ds["velocity_gradient_reference"].values
    b = beyond_linear(ds["anisotropy"].values, gradient, k, ds["eddy_viscosity"].values)
    result = propagate(duct, ds, b, energy=k, options=BEYOND)
    assert result.attrs["converged"] == 1
    truth = ds["velocity_reference"].values
    error = np.linalg.norm(result["velocity"].values - truth, axis=1).mean()
    assert error < 0.004 * np.linalg.norm(truth, axis=1).mean()
    assert secondary(result).max() == pytest.approx(np.hypot(*truth[:, 1:].T).max(), rel=0.05)
    assert relative(result["reynolds_stress"].values, ds["reynolds_stress"].values) < 5e-3


def test_what_is_no_anisotropy_is_refused(square):
    duct, state = square
    with pytest.raises(ValueError, match=r"an anisotropy of shape \(3, 3\)"):
        propagate(duct, state, lambda ds: np.zeros((3, 3)))
    broken = np.zeros((duct.section.size, 3, 3))
    broken[7, 0, 1] = np.nan
    with pytest.raises(ValueError, match="1 cells that are not finite"):
        propagate(duct, state, lambda ds: broken)
    with pytest.raises(ValueError, match="without eddy_viscosity"):
        propagate(duct, state.drop_vars("eddy_viscosity"), 0 * broken)
    with pytest.raises(ValueError, match="no meaning without the implicit part"):
        PropagationOptions(gives="remainder", conditioning="explicit")


def test_a_march_that_is_cut_short_says_so(square):
    duct, state = square
    result = solve_laminar(duct)
    assert result.attrs["converged"] == 1
    short = solve_sst(duct, options=SolverOptions(iterations=8))
    assert short.attrs["converged"] == 0
    assert "after 8 iterations" in short.attrs["verdict"]
    huge = np.full((duct.section.size, 3, 3), 1e300)
    with pytest.raises(Diverged, match="not finite"), np.errstate(all="ignore"):
        propagate(duct, state, huge, options=BEYOND)
