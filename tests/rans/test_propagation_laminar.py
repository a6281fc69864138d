"""Laminar ducts against the analytic solution, and the balances of momentum."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import label

from sciml.rans.propagation import (
    Duct,
    PropagationOptions,
    SolverOptions,
    channel,
    propagate,
    rectangle,
    solve_laminar,
)
from sciml.rans.propagation.operators import Operators
from sciml.rans.propagation.secondary import SecondaryFlow


def series(y, z, h, width, terms=60):
    """Velocity over G/nu in a duct |y| < h, |z| < width, by Fourier series in y."""
    n = np.arange(terms)
    a = (n + 0.5) * np.pi / h
    shape = 1 - np.exp(a[:, None] * (z - width)) * (
        (1 + np.exp(-2 * a[:, None] * z)) / (1 + np.exp(-2 * a[:, None] * width))
    )
    weights = 2 * (-1.0) ** n / (h * a**3)
    return (weights[:, None] * np.cos(a[:, None] * y) * shape).sum(axis=0)


def laminar_error(cells, aspect=1.5):
    section = rectangle(1.0, aspect, cells=(cells, cells), growth=(2.0, 3.0))
    duct = Duct(section=section, viscosity=0.5, bulk_velocity=2.0)
    state = solve_laminar(duct)
    exact = series(*section.positions[:, 1:].T, 1.0, aspect)
    exact *= float(state["driving_force"]) / duct.viscosity
    force = 2.0 * 0.5 / section.mean(series(*section.positions[:, 1:].T, 1.0, aspect))
    return abs(state["velocity"].values[:, 0] - exact).max(), float(state["driving_force"]) / force


def test_the_laminar_duct_converges_to_the_series_with_second_order():
    errors = [laminar_error(cells)[0] for cells in (8, 16, 32)]
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    assert orders.min() > 1.8
    assert errors[-1] < 0.01
    assert laminar_error(32)[1] == pytest.approx(1.0, abs=2e-3)


def test_the_square_duct_has_its_friction_factor():
    """f Re = 14.227 (Shah and London 1978), with the hydraulic diameter."""
    duct = Duct(section=rectangle(1.0, cells=(40, 40)), viscosity=1.0, bulk_velocity=1.0)
    force = float(solve_laminar(duct)["driving_force"])
    assert force == pytest.approx(14.227 / 2, rel=2e-3)


def test_the_channel_is_a_parabola():
    duct = Duct(section=channel(2.0, cells=50), viscosity=0.1, bulk_velocity=3.0)
    state = solve_laminar(duct)
    y = state["position"].values[:, 1] / 2.0
    np.testing.assert_allclose(state["velocity"].values[:, 0], 4.5 * (1 - y**2), atol=2e-3)
    assert float(state["driving_force"]) == pytest.approx(3 * 0.1 * 3.0 / 2.0**2, rel=1e-3)


def test_the_whole_duct_is_its_quarter_four_times():
    options = {"cells": (9, 12), "growth": (3.0, 4.0)}
    quarter, whole = (
        solve_laminar(Duct(section=section, viscosity=1.0, bulk_velocity=1.0))
        for section in (rectangle(1.0, 2.0, **options), rectangle(1.0, 2.0, **options, whole=True))
    )
    upper = whole["velocity"].values[:, 0].reshape(24, 18)[12:, 9:]
    np.testing.assert_allclose(upper.ravel(), quarter["velocity"].values[:, 0], rtol=1e-10)


def balanced(y, z, f, g, nu):
    """The stress that balances the streamfunction f(y) g(z), and its velocity."""
    (f, df, ddf), (g, dg, ddg) = ([p.deriv(n) for n in range(3)] for p in (f, g))
    stress = np.zeros((y.size, 3, 3))
    stress[:, 1, 1] = 2 * nu * df(y) * dg(z)
    stress[:, 2, 2] = -stress[:, 1, 1]
    stress[:, 1, 2] = stress[:, 2, 1] = nu * (f(y) * ddg(z) - ddf(y) * g(z))
    return stress, np.column_stack([f(y) * dg(z), -df(y) * g(z)])


F = np.polynomial.Polynomial([0, 1, 0, -3, 0, 3, 0, -1])
"""y (1 - y²)³: with its first two derivatives zero at the wall."""
G = np.polynomial.Polynomial([0, 0, 0, 1]) * np.polynomial.Polynomial([1, 0, -1]) ** 3


def driven(cells, amplitude, nu=1.0):
    """The flow by a stress that balances a known streamfunction, and that flow."""
    section = rectangle(1.0, cells=(cells, cells), growth=(2.0, 1.5))
    stress, velocity = balanced(*section.positions[:, 1:].T, F, F, nu)
    duct = Duct(section=section, viscosity=nu, bulk_velocity=1.0)
    return given_stress(duct, amplitude * stress), amplitude * velocity


def given_stress(duct, stress):
    """A laminar flow with a stress: k = 1/2, so that the stress is its anisotropy."""
    size = duct.section.size
    rest = solve_laminar(duct).assign(turbulent_kinetic_energy=("cell", np.full(size, 0.5)))
    options = PropagationOptions(gives="remainder")
    tight = SolverOptions(tolerance=1e-12, secondary_relaxation=1.0, ramp=1)
    return propagate(duct, rest, stress, options=options, solver=tight)


def test_secondary_flow_by_a_known_stress_converges_with_second_order():
    errors = []
    for cells in (8, 16, 32):
        state, exact = driven(cells, 1e-6)
        errors.append(abs(state["velocity"].values[:, 1:] - exact).max() / abs(exact).max())
    assert np.log2(np.divide(errors[:-1], errors[1:])).min() > 1.8
    assert errors[-1] < 0.01


def test_secondary_flow_has_no_divergence_and_only_rearranges_momentum():
    state, _ = driven(16, 40.0)
    duct_areas = state["cell_volume"].values
    gradient = state["velocity_gradient"].values
    scale = abs(gradient).max()
    assert abs(np.trace(gradient, axis1=1, axis2=2)).max() < 1e-12 * scale
    assert abs(state["velocity"].values[:, 1:]).max() > 5.0
    assert state["velocity"].values[:, 0] @ duct_areas / duct_areas.sum() == pytest.approx(1.0)
    assert state.attrs["converged"] == 1
    assert wall_force(state) == pytest.approx(float(state["driving_force"]), rel=1e-9)


def wall_force(state):
    """Friction at the walls of a square quarter over its area."""
    y, z = state["position"].values[:, 1:].T
    speed = state["velocity"].values[:, 0]
    nu = float(state["kinematic_viscosity"][0])
    total = 0.0
    for across, along in ((y, z), (z, y)):
        last = across == across.max()
        width = 2 * (1.0 - across.max())
        total += nu * (speed[last] / (width / 2)) @ (state["cell_volume"].values[last] / width)
        assert along[last].size == np.sqrt(y.size)
    return total


def test_an_isotropic_stress_is_balanced_by_pressure_alone(rng):
    section = rectangle(1.0, 2.0, cells=(10, 14), growth=(3.0, 2.0))
    duct = Duct(section=section, viscosity=1.0, bulk_velocity=1.0)
    phi = rng.standard_normal(section.size)
    state = given_stress(duct, phi[:, None, None] * np.eye(3))
    assert abs(state["velocity"].values[:, 1:]).max() < 1e-13
    expected = section.mean(phi) - phi
    np.testing.assert_allclose(state["pressure"].values, expected, atol=1e-9)


def eight(whole):
    """A flow in a square duct, or its quarter, whose vortices are mirrored at the diagonals."""
    section = rectangle(1.0, cells=(14, 14), growth=(2.0, 2.0), whole=whole)
    y, z = section.positions[:, 1:].T - whole
    stress = balanced(y, z, F, G, 1.0)[0] - balanced(y, z, G, F, 1.0)[0]
    duct = Duct(section=section, viscosity=1.0, bulk_velocity=1.0)
    return duct, given_stress(duct, 300.0 * stress)


def test_a_whole_duct_has_eight_vortices_and_its_quarter_two():
    (duct, quarter), (large, whole) = eight(False), eight(True)
    velocity = whole["velocity"].values.reshape(*large.section.shape, 3)
    upper = velocity[14:, 14:].reshape(-1, 3)
    scale = abs(upper[:, 1:]).max()
    assert scale > 5.0
    np.testing.assert_allclose(upper, quarter["velocity"].values, atol=1e-9 * scale)
    for case, values, count in ((duct, quarter, 2), (large, whole, 8)):
        v = values["velocity"].values[:, 1].reshape(case.section.shape)
        psi = np.cumsum(v * case.section.z_widths[:, None], axis=0)
        turning = [label(sign * psi > 0.2 * psi.max())[1] for sign in (1, -1)]
        assert turning == [count // 2, count // 2]


def test_convection_of_the_secondary_flow_does_no_work(rng):
    """Whatever the flow that carries it, so that the iterations cannot gain energy."""
    flow = SecondaryFlow(Operators(rectangle(1.0, 2.0, cells=(7, 9), growth=(5.0, 3.0))))
    matrix = flow.convection(flow.velocity(rng.standard_normal(flow.size))).toarray()
    np.testing.assert_allclose(matrix, -matrix.T, atol=1e-12 * abs(matrix).max())
