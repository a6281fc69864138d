from __future__ import annotations

import numpy as np
import pytest

from sciml.rans import (
    clean,
    gatski_speziale,
    linear_eddy_viscosity,
    load_flow,
    quadratic_eddy_viscosity,
    wallin_johansson,
    wallin_johansson_coefficients,
)

CLOSURES = (linear_eddy_viscosity, quadratic_eddy_viscosity, wallin_johansson, gatski_speziale)


def deviator(a):
    return a - np.trace(a, axis1=1, axis2=2)[:, None, None] * np.eye(3) / 3


def parts(G):
    return (G + G.transpose(0, 2, 1)) / 2, (G - G.transpose(0, 2, 1)) / 2


@pytest.fixture
def states(rng):
    """Gradients of all sizes, k and ε."""
    G = deviator(rng.standard_normal((300, 3, 3))) * 10 ** rng.uniform(-1, 0.7, (300, 1, 1))
    return G, rng.uniform(0.5, 2, 300), rng.uniform(0.5, 2, 300)


@pytest.fixture
def rotation(rng):
    Q, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    return Q


def shear(rate):
    """Of the flow U(y), with k/ε one."""
    G = np.zeros((1, 3, 3))
    G[0, 0, 1] = rate
    return G, np.ones(1), np.ones(1)


@pytest.mark.parametrize("closure", CLOSURES)
def test_symmetric_and_traceless(states, closure):
    b = closure(*states)
    assert b.shape == (300, 3, 3) and b.dtype == np.float64
    assert np.abs(b - b.transpose(0, 2, 1)).max() < 1e-14
    assert np.abs(np.trace(b, axis1=1, axis2=2)).max() < 1e-14


@pytest.mark.parametrize("closure", CLOSURES)
def test_turns_and_mirrors_with_the_flow(states, rotation, closure):
    G, k, epsilon = states
    for Q in (rotation, -rotation, rotation @ np.diag([1.0, 1.0, -1.0])):
        turned = closure(Q @ G @ Q.T, k, epsilon)
        assert np.abs(turned - Q @ closure(G, k, epsilon) @ Q.T).max() < 1e-13


@pytest.mark.parametrize("closure", CLOSURES)
def test_units_of_time_and_length_do_not_matter(states, closure):
    G, k, epsilon = states
    length, time = 3.0, 0.2
    scaled = closure(G / time, k * (length / time) ** 2, epsilon * length**2 / time**3)
    assert np.abs(scaled - closure(G, k, epsilon)).max() < 1e-13


@pytest.mark.parametrize("closure", CLOSURES)
def test_weak_strain_gives_an_eddy_viscosity(states, closure):
    """The linear limit: -C_μ s, with the model's own C_μ at vanishing strain."""
    G, k, epsilon = states
    G = 1e-7 * G
    s = parts(G)[0] * (k / epsilon)[:, None, None]
    c_mu = {wallin_johansson: 1 / 3, gatski_speziale: (4 / 3 - 0.36) / 2 / (2.4 + 0.83 / 0.44)}
    expected = -c_mu.get(closure, 0.09) * s
    np.testing.assert_allclose(closure(G, k, epsilon), expected, atol=3e-6 * np.abs(s).max())


def test_quadratic_terms_of_craft_launder_and_suga_in_their_own_notation(states):
    """Their stress tensor, from twice the strain and the rotation, term by term."""
    G, k, epsilon = states
    nut, time = 0.09 * k**2 / epsilon, k / epsilon
    S, W = (2 * part for part in parts(G))
    c1, c2, c3 = -0.1, 0.1, 0.26
    square = np.einsum("nik,nkj->nij", S, S)
    mixed = np.einsum("nik,nkj->nij", W, S) + np.einsum("njk,nki->nij", W, S)
    rotation = np.einsum("nik,njk->nij", W, W)
    quadratic = c1 * deviator(square) + c2 * mixed + c3 * deviator(rotation)
    stress = -nut[:, None, None] * (S - time[:, None, None] * quadratic)
    found = quadratic_eddy_viscosity(G, k, epsilon)
    np.testing.assert_allclose(found, stress / (2 * k[:, None, None]), atol=1e-13)


def test_wallin_johansson_solves_its_implicit_equation(states):
    """N b = -3/5 s + b r - r b in three dimensions, whatever N is."""
    G, k, epsilon = states
    b = wallin_johansson(*states)
    g = wallin_johansson_coefficients(*states)
    N = (-g[:, 5] / g[:, 6])[:, None, None]
    s, r = (part * (k / epsilon)[:, None, None] for part in parts(G))
    assert np.abs(N * b + 0.6 * s - b @ r + r @ b).max() < 1e-13


def test_wallin_johansson_balances_production_exactly_in_two_dimensions(states, rotation):
    G, k, epsilon = states
    G = G.copy()
    G[:, 2], G[:, :, 2] = 0, 0
    G = (
        rotation
        @ (G - np.trace(G, axis1=1, axis2=2)[:, None, None] * np.diag([0.5, 0.5, 0]))
        @ (rotation.T)
    )
    b, g = wallin_johansson(G, k, epsilon), wallin_johansson_coefficients(G, k, epsilon)
    s = parts(G)[0] * (k / epsilon)[:, None, None]
    N = -g[:, 5] / g[:, 6]
    np.testing.assert_allclose(N, 1.8 - 4.5 * np.einsum("nij,nji->n", b, s), rtol=1e-10)


def test_coefficients_times_tensors_is_the_anisotropy(states):
    G, k, epsilon = states
    s, r = (part * (k / epsilon)[:, None, None] for part in parts(G))
    tensors = {1: s, 2: s @ r - r @ s, 4: deviator(r @ r), 6: deviator(r @ r @ s + s @ r @ r)}
    tensors[7] = r @ s @ r @ r - r @ r @ s @ r
    g = wallin_johansson_coefficients(*states)
    assert not g[:, [2, 4, 7, 8, 9]].any()
    found = sum(g[:, n - 1, None, None] * tensor for n, tensor in tensors.items())
    np.testing.assert_allclose(found, wallin_johansson(*states), atol=1e-13)


def test_log_layer_of_wallin_and_johansson():
    """With P = ε the cubic has a root in closed form; the paper rounds it to a12 = -0.30,
    a11 = -a22 = 0.25."""
    rate = np.sqrt(2.25 * 4.05**2 / (1.35 * 4.05 - 2.25))
    b = wallin_johansson(*shear(rate))[0]
    assert -2 * b[0, 1] * rate == pytest.approx(1.0, rel=1e-12)
    np.testing.assert_allclose(2 * b.diagonal(), [0.25, -0.25, 0.0], atol=5e-3)
    assert 2 * b[0, 1] == pytest.approx(-0.30, abs=6e-3)


def test_homogeneous_shear_in_equilibrium():
    """Where the turbulence settles, S k/ε = 6, Tavoularis and Corrsin measured b11 = 0.20,
    b22 = -0.14, b12 = -0.16 (J. Fluid Mech. 104 (1981) 311)."""
    b = gatski_speziale(*shear(6.0))[0]
    np.testing.assert_allclose(b.diagonal()[:2], [0.20, -0.14], atol=0.01)
    assert b[0, 1] == pytest.approx(-0.16, abs=0.01)
    assert -2 * b[0, 1] * 6.0 == pytest.approx(0.83 / 0.44, rel=0.03)
    assert wallin_johansson(*shear(6.0))[0, 0, 1] == pytest.approx(-0.15, abs=2e-3)


def test_regularisation_of_gatski_and_speziale():
    """Near equilibrium F differs little from the singular form, and it is never singular itself."""
    s, r = parts(shear(6.0)[0])
    g = 1 / (2.4 + 0.83 / 0.44)
    a1, a2, a3 = (4 / 3 - 0.36) * g / 2, 0.8 * g, 0.75 * g
    eta, xi = a3**2 * np.sum(s * s) / 4, a2**2 * np.sum(r * r)
    singular = -3 / (3 - 2 * eta + 6 * xi) * a1 * (s + a2 * (s @ r - r @ s) - a3 * deviator(s @ s))
    np.testing.assert_allclose(gatski_speziale(*shear(6.0)), singular, rtol=0.01)
    rates = np.array([1.0, np.sqrt(3) / a3, 1e3])
    strain = rates[:, None, None] * np.diag([1.0, -1.0, 0.0])
    b = gatski_speziale(strain, np.ones(3), np.ones(3))
    viscosity = -(b[:, 0, 0] - b[:, 1, 1]) / (2 * rates)
    assert (viscosity > 0).all() and (viscosity <= 3 * a1).all()


def test_log_layer_of_a_channel(reference):
    """All closures take about 0.3 k from the mean shear, where production meets dissipation; only
    those that are not linear know that the normal stresses differ."""
    reference("rans/channel_profiles")
    flow = load_flow("channel_MKM_395")
    y = flow["wall_distance"].values
    layer = flow.isel(cell=(y > 50) & (y < 0.4 * y.max()))
    names = ("velocity_gradient", "turbulent_kinetic_energy", "dissipation_rate")
    truth, errors = layer["anisotropy"].values, {}
    for closure in CLOSURES:
        b = closure(*(layer[name].values for name in names))
        np.testing.assert_allclose(b[:, 0, 1], truth[:, 0, 1], atol=0.03)
        errors[closure] = np.sqrt(((b - truth) ** 2).mean())
    linear = errors.pop(linear_eddy_viscosity)
    assert max(errors.values()) < 0.6 * linear and min(errors.values()) < 0.45 * linear


@pytest.mark.parametrize(
    ("name", "size", "linear", "quadratic"),
    [
        ("AR_1_Ret_360", 0.1964, 0.1955, 0.1708),
        ("alpha_15_13929_4048", 0.1032, 0.0950, 0.0727),
        ("CBFS13700", 0.1009, 0.0856, 0.0633),
    ],
)
def test_errors_recorded_with_the_data(reference, name, size, linear, quadratic):
    """Root-mean-square over nine components and cells, with the eddy viscosity of the model."""
    reference(f"rans/{name}")
    flow, _ = clean(load_flow(name))
    k, epsilon = flow["turbulent_kinetic_energy"].values, flow["dissipation_rate"].values
    c_mu = flow["eddy_viscosity"].values * epsilon / k**2
    G, truth = flow["velocity_gradient"].values, flow["anisotropy"].values
    found = [
        np.sqrt(np.mean((b - truth) ** 2))
        for b in (
            np.zeros_like(truth),
            linear_eddy_viscosity(G, k, epsilon, c_mu=c_mu),
            quadratic_eddy_viscosity(G, k, epsilon, c_mu=c_mu),
        )
    ]
    np.testing.assert_allclose(found, [size, linear, quadratic], atol=1e-4)
