"""A flow in other axes is the same flow: invariants stay, and the way back leads back."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from sciml.rans import linear_eddy_viscosity, random_rotation, turned


@pytest.fixture
def flow(rng):
    return xr.Dataset(
        {
            "velocity": (("i", "cell"), rng.standard_normal((3, 20)), {"units": "m s-1"}),
            "force": (("cell", "i"), rng.standard_normal((20, 3)), {"units": "m s-2"}),
            "velocity_gradient": (("j", "cell", "i"), rng.standard_normal((3, 20, 3))),
            "turbulent_kinetic_energy": ("cell", rng.uniform(1, 2, 20), {"units": "m2 s-2"}),
            "coefficients": (("cell", "basis"), rng.standard_normal((20, 10))),
        },
        attrs={"flow": "some"},
    )


def arrays(ds):
    vectors = (ds[name].transpose("cell", "i").values for name in ("velocity", "force"))
    return *vectors, ds["velocity_gradient"].transpose("cell", "i", "j").values


@pytest.mark.parametrize("sign", [1, -1], ids=["rotation", "reflection"])
def test_invariants_stay(flow, sign):
    there = turned(flow, sign * random_rotation(4))
    for ds in (flow, there):
        assert ds["velocity"].attrs["units"] == "m s-1" and ds.attrs["flow"] == "some"
    found = []
    for ds in (flow, there):
        u, f, G = arrays(ds)
        powers = [np.trace(a, axis1=1, axis2=2) for a in (G, G @ G, G @ G @ G)]
        products = [np.einsum("ci,cij,cj->c", a, G, b) for a, b in ((u, f), (f, u), (u, u))]
        found.append(np.stack([*powers, *products, (u * f).sum(1), np.linalg.det(G)]))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-9, atol=1e-11)
    assert abs(arrays(there)[2] - arrays(flow)[2]).max() > 0.1


def test_what_has_no_direction_stays(flow):
    there = turned(flow, random_rotation(4))
    for name in ("turbulent_kinetic_energy", "coefficients"):
        xr.testing.assert_identical(there[name], flow[name])
    assert list(there) == list(flow)


def test_there_and_back(flow):
    Q = random_rotation(9)
    for there, here in zip(arrays(turned(turned(flow, Q), Q.T)), arrays(flow), strict=True):
        np.testing.assert_allclose(there, here, atol=1e-13)


def test_two_turns_are_one(flow):
    P, Q = random_rotation(1), random_rotation(2)
    one = turned(flow, Q @ P)
    for there, here in zip(arrays(turned(turned(flow, P), Q)), arrays(one), strict=True):
        np.testing.assert_allclose(there, here, atol=1e-13)


def test_a_gradient_turns_as_the_velocity_and_the_place_do(rng):
    """U = G x, so that QU = (Q G Qᵀ) Q x."""
    G, x, Q = rng.standard_normal((1, 3, 3)), rng.standard_normal((1, 3)), random_rotation(5)
    flow = xr.Dataset(
        {
            "velocity_gradient": (("cell", "i", "j"), G),
            "position": (("cell", "i"), x),
            "velocity": (("cell", "i"), (G @ x[..., None])[..., 0]),
        }
    )
    there = turned(flow, Q)
    U = there["velocity_gradient"].values @ there["position"].values[..., None]
    np.testing.assert_allclose(there["velocity"], U[..., 0])


def test_closures_turn_with_the_axes(rng):
    G = rng.standard_normal((5, 3, 3))
    G -= np.trace(G, axis1=1, axis2=2)[:, None, None] * np.eye(3) / 3
    Q, ones = random_rotation(6), np.ones(5)
    b = linear_eddy_viscosity(G, ones, ones)
    np.testing.assert_allclose(linear_eddy_viscosity(Q @ G @ Q.T, ones, ones), Q @ b @ Q.T)


def test_rotations_are_uniform_and_repeat():
    np.testing.assert_array_equal(random_rotation(3), random_rotation(3))
    Q = np.stack([random_rotation(seed) for seed in range(2000)])
    np.testing.assert_allclose(np.linalg.det(Q), 1)
    np.testing.assert_allclose(
        Q @ Q.transpose(0, 2, 1), np.tile(np.eye(3), (2000, 1, 1)), atol=1e-12
    )
    np.testing.assert_allclose(Q.mean(0), 0, atol=0.06)  # four deviations of 1/√(3·2000)
    np.testing.assert_allclose((Q**2).mean(0), 1 / 3, atol=0.03)
