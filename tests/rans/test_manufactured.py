from __future__ import annotations

import numpy as np
import pytest

from sciml.rans import KINDS, clean, joined, manufactured_flow, wallin_johansson

NAMES = ("velocity_gradient", "turbulent_kinetic_energy", "dissipation_rate")


def rates(flow):
    G, k, epsilon = (flow[name].values for name in NAMES)
    G = G * (k / epsilon)[:, None, None]
    return (G + G.transpose(0, 2, 1)) / 2, (G - G.transpose(0, 2, 1)) / 2


@pytest.mark.parametrize("kind", KINDS)
def test_states_are_incompressible_and_their_labels_sound(kind):
    flow = manufactured_flow(kind, 500, seed=1)
    G, k, epsilon = (flow[name].values for name in NAMES)
    size = np.linalg.norm(G, axis=(1, 2)) * k / epsilon
    assert 0.1 <= size.min() < 0.2 and 5 < size.max() <= 10 + 1e-9
    trace = np.trace(G, axis1=1, axis2=2)
    assert np.abs(trace * k / epsilon).max() < 1e-13
    assert clean(flow)[1].kept == 500
    np.testing.assert_array_equal(flow["anisotropy"], wallin_johansson(G, k, epsilon))
    assert all("units" in variable.attrs for variable in flow.values())


def test_each_kind_is_what_it_is_called():
    flows = {kind: rates(manufactured_flow(kind, 200)) for kind in KINDS}
    for kind, (s, r) in flows.items():
        values = np.sort(np.linalg.eigvalsh(s), axis=1)
        size = np.abs(values).max(1)
        strain, rotation = (np.linalg.norm(a, axis=(1, 2)) for a in (s, r))
        if kind in ("plane strain", "axisymmetric strain"):
            assert (rotation < 1e-12 * strain).all()
        if kind in ("homogeneous shear", "plane strain", "rotation and strain"):
            assert (np.abs(values[:, 1]) < 1e-12 * size + 1e-14).all()
        if kind == "homogeneous shear":
            np.testing.assert_allclose(strain, rotation)
        if kind == "axisymmetric strain":
            apart = np.minimum(values[:, 1] - values[:, 0], values[:, 2] - values[:, 1])
            assert (apart < 1e-12 * size).all()
    strain, rotation = (np.linalg.norm(a, axis=(1, 2)) for a in flows["rotation and strain"])
    assert (rotation > 2 * strain).any() and (strain > 2 * rotation).any()


def test_general_states_determine_the_coefficients():
    """The tensors with coefficients span what b lies in, so that least squares finds these."""
    flow = manufactured_flow("general", 50, strain=(1.0, 10.0))
    s, r = rates(flow)

    def deviator(a):
        return a - np.trace(a, axis1=1, axis2=2)[:, None, None] * np.eye(3) / 3

    tensors = [s, s @ r - r @ s, deviator(r @ r), deviator(r @ r @ s + s @ r @ r)]
    tensors.append(r @ s @ r @ r - r @ r @ s @ r)
    columns = np.stack(tensors, -1).reshape(50, 9, 5)
    known = flow["coefficients"].values[:, [0, 1, 3, 5, 6]]
    for column, b, g in zip(columns, flow["anisotropy"].values, known, strict=True):
        found, _, rank, _ = np.linalg.lstsq(column, b.ravel(), rcond=1e-12)
        assert rank == 5
        np.testing.assert_allclose(found, g, rtol=1e-6, atol=1e-10)


def test_seeds_repeat_and_differ():
    first = manufactured_flow("general", 5, seed=1)
    assert first.identical(manufactured_flow("general", 5, seed=1))
    assert not np.isclose(
        first["velocity_gradient"], manufactured_flow("general", 5, seed=2)["velocity_gradient"]
    ).any()


def test_states_have_no_preferred_axes():
    G = manufactured_flow("homogeneous shear", 4000, strain=(1.0, 1.0))["velocity_gradient"].values
    share = (G**2 / (G**2).sum((1, 2), keepdims=True)).mean(0)
    np.testing.assert_allclose(share.diagonal(), 1 / 15, atol=0.01)
    np.testing.assert_allclose(share[~np.eye(3, dtype=bool)], 2 / 15, atol=0.01)


def test_flows_are_joined_with_their_number():
    flows = [manufactured_flow(kind, 3 + n) for n, kind in enumerate(KINDS)]
    flows[0] = flows[0].drop_vars("coefficients")
    row = joined(flows)
    assert row.sizes["sample"] == 25 and row.attrs["flows"] == list(KINDS)
    assert "coefficients" not in row and row["velocity_gradient"].dims == ("sample", "i", "j")
    for n, flow in enumerate(flows):
        chosen = row["anisotropy"].values[row["flow"].values == n]
        np.testing.assert_array_equal(chosen, flow["anisotropy"])
    other = flows[1].copy()
    other["dissipation_rate"] = other["dissipation_rate"].assign_attrs(units="1")
    assert joined([flows[2], other])["dissipation_rate"].attrs["units"] == "as in each flow"
    with pytest.raises(ValueError, match="0 flows have no variable in common"):
        joined([])


def test_bad_requests_are_refused():
    with pytest.raises(ValueError, match="no kind 'vortex' of flow, only homogeneous shear"):
        manufactured_flow("vortex", 3)
    with pytest.raises(ValueError, match="count is 0"):
        manufactured_flow("general", 0)
    with pytest.raises(ValueError, match="a range above zero"):
        manufactured_flow("general", 3, strain=(0.0, 1.0))
