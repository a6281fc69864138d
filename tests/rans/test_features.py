"""Features are the same in all axes, in all units and for all observers."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from sciml.rans.features import (
    FEATURES,
    REQUIRED,
    feature_count,
    features,
    required,
    turbulence_time,
)
from sciml.rans.features import integrity_basis as basis

CELLS = 40
EVERY = tuple(FEATURES)

SYMMETRIC = ("SS", "SSS")
WORDS = {
    "R": ("RR", "RRS", "RRSS", "RRSRSS"),
    "P": ("PP", "PPS", "PPSS", "PPSPSS"),
    "K": ("KK", "KKS", "KKSS", "KKSKSS"),
    "RP": ("RP", "RPS", "RPSS", "RRPS", "RRPSS", "RRSPSS", "PPRS", "PPRSS", "PPSRSS"),
    "RK": ("RK", "RKS", "RKSS", "RRKS", "RRKSS", "RRSKSS", "KKRS", "KKRSS", "KKSRSS"),
    "PK": ("PK", "PKS", "PKSS", "PPKS", "PPKSS", "PPSKSS", "KKPS", "KKPSS", "KKSPSS"),
    "RPK": ("RPK", "RPKS", "RKPS", "RPKSS", "RKPSS", "RPSKSS"),
}
"""The table of the paper: products by the antisymmetric matrices that take part."""

ALL_WORDS = (*SYMMETRIC, *(word for words in WORDS.values() for word in words))


@pytest.fixture
def flow(rng):
    """Random states with every field that a feature may need."""
    G = rng.standard_normal((CELLS, 3, 3))
    G -= np.trace(G, axis1=1, axis2=2)[:, None, None] * np.eye(3) / 3
    return {
        "velocity_gradient": G,
        "turbulent_kinetic_energy": rng.uniform(0.5, 2, CELLS),
        "dissipation_rate": rng.uniform(0.5, 2, CELLS),
        "wall_distance": rng.uniform(0.1, 2, CELLS),
        "kinematic_viscosity": rng.uniform(0.01, 0.1, CELLS),
        "pressure_gradient": rng.standard_normal((CELLS, 3)),
        "turbulent_kinetic_energy_gradient": rng.standard_normal((CELLS, 3)),
    }


def told(flow, groups=EVERY, time_scale="turnover"):
    fields = {name: torch.from_numpy(np.asarray(array, float)) for name, array in flow.items()}
    G, k, epsilon = (fields.pop(name) for name in list(fields)[:3])
    return features(G, k, epsilon, fields, groups=groups, time_scale=time_scale)


def seen(flow, Q):
    """The same in axes turned or mirrored by Q."""
    turned = dict(flow)
    turned["velocity_gradient"] = Q @ flow["velocity_gradient"] @ Q.T
    for name in ("pressure_gradient", "turbulent_kinetic_energy_gradient"):
        turned[name] = flow[name] @ Q.T
    return turned


def traces(S, R, p, k):
    """Traces of the words, computed one cell at a time from cross products."""
    letters = {"S": S, "R": R, "P": np.cross(p, np.eye(3)).T, "K": np.cross(k, np.eye(3)).T}
    return np.array(
        [np.trace(np.linalg.multi_dot([letters[a] for a in word])) for word in ALL_WORDS]
    )


@pytest.fixture
def arguments(rng):
    """A symmetric and an antisymmetric matrix and two vectors of each cell."""
    S = rng.standard_normal((CELLS, 3, 3))
    S += S.transpose(0, 2, 1)
    S -= np.trace(S, axis1=1, axis2=2)[:, None, None] * np.eye(3) / 3
    R = rng.standard_normal((CELLS, 3, 3))
    return S, R - R.transpose(0, 2, 1), *rng.standard_normal((2, CELLS, 3))


@pytest.mark.parametrize("sign", [1, -1], ids=["rotation", "reflection"])
def test_features_do_not_notice_the_axes(flow, rng, sign):
    here = told(flow)
    for _ in range(5):
        Q = sign * Rotation.random(rng=rng).as_matrix()
        torch.testing.assert_close(told(seen(flow, Q)), here, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("sign", [1, -1], ids=["rotation", "reflection"])
def test_in_plane_flow_they_do_not_either(flow, rng, sign):
    """Invariants that vanish are left with the cube root of their rounding."""
    flow["velocity_gradient"][:, 2] = flow["velocity_gradient"][:, :, 2] = 0
    flow["velocity_gradient"][:, 1, 1] = -flow["velocity_gradient"][:, 0, 0]
    flow["pressure_gradient"][:, 2] = flow["turbulent_kinetic_energy_gradient"][:, 2] = 0
    Q = sign * Rotation.random(rng=rng).as_matrix()
    torch.testing.assert_close(told(seen(flow, Q)), told(flow), rtol=1e-7, atol=2e-5)


@pytest.mark.parametrize("length", [1e-3, 1.0, 50.0])
@pytest.mark.parametrize("time", [1e-2, 1.0, 300.0])
@pytest.mark.parametrize("time_scale", ["turnover", "viscous"])
def test_features_have_no_units(flow, length, time, time_scale):
    units = {
        "velocity_gradient": 1 / time,
        "turbulent_kinetic_energy": length**2 / time**2,
        "dissipation_rate": length**2 / time**3,
        "wall_distance": length,
        "kinematic_viscosity": length**2 / time,
        "pressure_gradient": length / time**2,
        "turbulent_kinetic_energy_gradient": length / time**2,
    }
    other = {name: flow[name] * unit for name, unit in units.items()}
    here, there = (told(state, time_scale=time_scale) for state in (flow, other))
    torch.testing.assert_close(there, here, rtol=1e-9, atol=1e-11)


def test_the_viscous_time_is_kolmogorovs_at_a_wall_and_that_of_eddies_far_away():
    """In wall units k ~ y² and ε is finite at the wall, and k²/(ε ν) is large far from it."""
    k, epsilon = torch.tensor([[1e-12, 3.0], [0.2, 1e-4]], dtype=torch.float64)
    viscosity = {"kinematic_viscosity": torch.ones(2, dtype=torch.float64)}
    T = turbulence_time(k, epsilon, viscosity, scale="viscous")
    kolmogorov, turnover = (1 / epsilon).sqrt(), turbulence_time(k, epsilon)
    assert T[0] == pytest.approx(kolmogorov[0].item(), rel=1e-9) and turnover[0] < 1e-11
    assert T[1] == pytest.approx(turnover[1].item(), rel=0.01)


def test_no_feature_depends_on_a_velocity_or_a_place():
    """What two observers in uniform motion measure alike: gradients, k, ε, ν and distances."""
    alike = {
        "velocity_gradient",
        "turbulent_kinetic_energy",
        "dissipation_rate",
        "kinematic_viscosity",
        "wall_distance",
        "pressure_gradient",
        "turbulent_kinetic_energy_gradient",
    }
    arguments = list(inspect.signature(features).parameters)[:3]
    assert {*arguments, *required(EVERY)} == alike


def test_a_moving_frame_gives_the_same_features(rng):
    """Gradients of a sampled velocity, before and after a uniform velocity is added."""
    x = np.linspace(0, 1, 6)
    place = np.stack(np.meshgrid(x, x, x, indexing="ij"), -1)
    U = np.sin(place @ rng.standard_normal((3, 3)))

    def gradient(U):
        found = np.stack([np.stack(np.gradient(U[..., i], x, x, x), -1) for i in range(3)], -2)
        return torch.from_numpy(found.reshape(-1, 3, 3))

    k = torch.ones(x.size**3)
    here, there = (features(gradient(V), k, k) for V in (U, U + rng.standard_normal(3)))
    torch.testing.assert_close(there, here, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shear", [0.2, 3.0])
def test_simple_shear_by_hand(shear):
    """U = (γ y, 0, 0): S and R have 1/2 off the diagonal, of |G| = γ."""
    G = torch.zeros(1, 3, 3)
    G[0, 0, 1] = shear
    k, epsilon = torch.tensor([2.0]), torch.tensor([0.5])
    fields = {
        "wall_distance": torch.tensor([0.1]),
        "kinematic_viscosity": torch.tensor([0.01]),
        "turbulent_kinetic_energy_gradient": torch.tensor([[0.0, 3.0, 0.0]]),
        "pressure_gradient": torch.tensor([[0.5, 0.0, 0.0]]),
    }
    groups = ("wall", "viscosity", "length", "energy", "pressure")
    length = 2**1.5 / 0.5
    by_hand = [
        *(np.log(4 * shear), 0, 0, 0, 0, -1 / 2),
        *(np.log(10 * 2**0.5), 10 * 2**0.5 / 50),
        np.log(4 / 0.005),
        np.log(length / 0.1),
        *(np.log(3 * length / 2), 0, 1 / 4, 1 / 4, 1 / 4),
        *(np.log(0.5 * length / 2), 0, 1 / 4, 1 / 4, -1 / 4, 0),
    ]
    found = features(G, k, epsilon, fields, groups=groups)[0]
    np.testing.assert_allclose(found, by_hand, rtol=1e-6, atol=2e-3)


def test_strain_and_rotation_stand_at_the_ends():
    """Of (|S|² - |R|²)/|G|²; the third invariant tells expansion from contraction."""
    contraction = np.diag([2.0, -1.0, -1.0])
    turn = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    G = torch.from_numpy(np.stack([contraction, -contraction, turn]))
    found = features(G, torch.ones(3), torch.ones(3))
    np.testing.assert_allclose(found[:, 1], [1, 1, -1])
    np.testing.assert_allclose(found[:, 2], [1, 1, -1])
    cube = 4 / 6**0.5
    np.testing.assert_allclose(found[:, 3], [cube, -cube, 0], atol=1e-12)


def test_at_rest_nothing_is_infinite(flow):
    flow["velocity_gradient"][:] = 0
    flow["pressure_gradient"][:] = flow["turbulent_kinetic_energy_gradient"][:] = 0
    flow["wall_distance"][:] = 0
    assert torch.isfinite(told(flow)).all()


def test_the_first_features_are_of_order_one(flow):
    """The largest is that of an axisymmetric strain."""
    assert told(flow, ())[:, 1:].abs().max() <= 4 / 6**0.5


@pytest.mark.parametrize("group", EVERY)
def test_each_group_adds_its_columns_whatever_the_order(flow, group):
    alone = told(flow, (group,))
    assert alone.shape == (CELLS, feature_count((group,))) and alone.dtype == torch.float64
    torch.testing.assert_close(alone[:, :6], told(flow, ()))
    assert feature_count(EVERY) == 6 + sum(feature_count((one,)) - 6 for one in EVERY)
    torch.testing.assert_close(told(flow, EVERY[::-1]), told(flow, EVERY))
    given = {name: flow[name] for name in (*list(flow)[:3], *REQUIRED[group])}
    torch.testing.assert_close(told(given, (group,)), alone)


@pytest.mark.parametrize("group", EVERY)
def test_a_group_without_its_fields_is_refused_by_name(flow, group):
    for missing in REQUIRED[group]:
        given = {name: array for name, array in flow.items() if name != missing}
        with pytest.raises(KeyError, match=missing):
            told(given, (group,))


def test_the_integrity_basis_is_that_of_the_paper(arguments):
    """Each word, with the absolute value of those that a mirror turns."""
    assert len(ALL_WORDS) == len(set(ALL_WORDS)) == 47
    by_hand = np.stack([traces(*(a[cell] for a in arguments)) for cell in range(CELLS)])
    odd = [sum(word.count(letter) for letter in "PK") % 2 == 1 for word in ALL_WORDS]
    by_hand[:, odd] = np.abs(by_hand[:, odd])
    found = basis(*map(torch.from_numpy, arguments)).numpy()
    order = [np.abs(found - column[:, None]).max(0).argmin() for column in by_hand.T]
    assert sorted(order) == list(range(47))
    np.testing.assert_allclose(found[:, order], by_hand, rtol=1e-9, atol=1e-9)


def test_a_mirror_turns_the_words_with_an_odd_number_of_gradients(arguments, rng):
    S, R, p, k = (a[0] for a in arguments)
    Q = -Rotation.random(rng=rng).as_matrix()
    before, after = traces(S, R, p, k), traces(Q @ S @ Q.T, Q @ R @ Q.T, Q @ p, Q @ k)
    for word, here, there in zip(ALL_WORDS, before, after, strict=True):
        parity = (-1) ** sum(word.count(letter) for letter in "PK")
        assert there == pytest.approx(parity * here, rel=1e-9, abs=1e-9)


def test_no_word_of_the_basis_is_a_sum_of_others():
    """Distinct also in the sense of linear algebra: 47 independent functions of the state."""
    rng = np.random.default_rng(2)
    S, R = rng.standard_normal((2, 400, 3, 3))
    S += S.transpose(0, 2, 1)
    S -= np.trace(S, axis1=1, axis2=2)[:, None, None] * np.eye(3) / 3
    R -= R.transpose(0, 2, 1)
    p, k = rng.standard_normal((2, 400, 3))
    found = basis(*map(torch.from_numpy, (S, R, p, k))).numpy()
    assert np.linalg.matrix_rank(found / found.std(0), tol=1e-6) == 47


def test_the_basis_tells_apart_all_that_a_rotation_does_not_join(arguments):
    """5 + 3 + 3 + 3 numbers of a state less three of a rotation leave eleven."""
    S, R, p, k = (torch.from_numpy(a[:1]) for a in arguments)
    upper = torch.triu_indices(3, 3, 1)

    def values(x):
        diagonal = torch.stack([x[0], x[1], -x[0] - x[1]])
        s = torch.diag(diagonal)
        s = s.index_put(tuple(upper), x[2:5]).index_put(tuple(upper.flip(0)), x[2:5])
        r = torch.zeros(3, 3, dtype=x.dtype)
        r = r.index_put(tuple(upper), x[5:8]).index_put(tuple(upper.flip(0)), -x[5:8])
        return basis(s[None], r[None], x[None, 8:11], x[None, 11:14])[0]

    off = [S[0][tuple(upper)], R[0][tuple(upper)]]
    state = torch.cat([S[0].diagonal()[:2], *off, p[0], k[0]])
    torch.testing.assert_close(values(state), basis(S, R, p, k)[0])
    slopes = torch.autograd.functional.jacobian(values, state)
    assert torch.linalg.matrix_rank(slopes, rtol=1e-9) == 11
