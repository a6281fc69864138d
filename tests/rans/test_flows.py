from __future__ import annotations

import numpy as np
import pytest

from sciml.data import entry, names
from sciml.rans import (
    CHALLENGE_TEST,
    CHALLENGE_TRAIN,
    CHALLENGE_VALID,
    FLOWS,
    anisotropy_of,
    clean,
    joined,
    load_flow,
)

FULL = {
    "position",
    "cell_volume",
    "velocity",
    "velocity_gradient",
    "turbulent_kinetic_energy",
    "dissipation_rate",
    "eddy_viscosity",
    "kinematic_viscosity",
    "pressure",
    "pressure_gradient",
    "turbulent_kinetic_energy_gradient",
    "wall_distance",
    "reynolds_stress",
    "anisotropy",
    "velocity_reference",
}


@pytest.fixture
def flow(reference):
    """A flow by name, or a skip."""

    def load(name):
        reference("rans/channel_profiles" if name.startswith("channel_") else f"rans/{name}")
        return load_flow(name)

    return load


def test_the_split_is_by_flow():
    parts = [CHALLENGE_TRAIN, CHALLENGE_VALID, CHALLENGE_TEST]
    assert len({name for part in parts for name in part}) == sum(map(len, parts))
    assert set().union(*parts) < set(FLOWS) and len(set(FLOWS)) == len(FLOWS)
    assert "CBFS13700" not in set().union(*parts)


def test_the_test_flows_are_those_of_the_challenge():
    challenge = pytest.importorskip("closure_challenge", reason="closure-challenge is missing")
    assert {*CHALLENGE_TEST, "NASA_2DWMH"} == set(challenge.case_names())


def test_every_flow_is_in_the_catalogue():
    files = {name.removeprefix("rans/") for name in names("rans/")}
    assert {name for name in FLOWS if not name.startswith("channel_")} < files
    for name in names("rans/"):
        assert "commit" in entry(name).origin and not entry(name).url


@pytest.mark.parametrize(
    ("name", "cells", "family", "model"),
    [
        ("alpha_10_9000_3036", 15600, "periodic hills", "k-omega SST"),
        ("AR_1_Ret_180", 2209, "duct", "k-omega SST"),
        ("CDC_12600", 14000, "converging-diverging channel", "k-omega"),
        ("k_epsilon_duct_2200", 15625, "duct", "k-epsilon"),
    ],
)
def test_flows_with_all_fields(flow, name, cells, family, model):
    ds = flow(name)
    assert set(map(str, ds)) >= FULL and ds.sizes == {"cell": cells, "i": 3, "j": 3}
    assert (ds.attrs["flow"], ds.attrs["family"]) == (name, family)
    assert ds.attrs["turbulence_model"] == model and "commit" in ds.attrs["source"]
    for variable in ds.values():
        assert variable.dtype == np.float64 and variable.attrs["units"]
    k, epsilon = ds["turbulent_kinetic_energy"], ds["dissipation_rate"]
    assert float((k > 0).mean()) == 1.0 and float((epsilon > 0).mean()) == 1.0
    ratio = ds["eddy_viscosity"] * epsilon / k**2
    assert float(ratio.median()) == pytest.approx(0.09, rel=1e-3)
    assert float(np.abs(np.trace(ds["velocity_gradient"].values, axis1=1, axis2=2)).max()) < 1e-9


def test_the_gradient_has_the_velocity_first(flow):
    """Above the middle of the lower wall of a duct U falls towards the wall at y = h."""
    ds = flow("AR_1_Ret_180")
    y, z = ds["position"].values[:, 1:].T
    middle = np.flatnonzero(z == z.min())
    line = middle[np.argsort(y[middle])]
    slope = np.gradient(ds["velocity"].values[line, 0], y[line])
    found = ds["velocity_gradient"].values[line]
    np.testing.assert_allclose(found[2:-2, 0, 1], slope[2:-2], rtol=0.05, atol=300.0)
    assert np.abs(found[:, 1, 0]).max() < 1e-3 * np.abs(found[:, 0, 1]).max()


def test_production_takes_energy_from_the_mean_flow(flow):
    """-⟨uᵢuⱼ⟩ ∂Uᵢ/∂xⱼ is positive on the whole, which a wrong sign or order would not give."""
    for name in ("alpha_10_9000_3036", "AR_1_Ret_180", "channel_MKM_395"):
        ds, _ = clean(flow(name))
        production = -(ds["reynolds_stress"] * ds["velocity_gradient"]).sum(("i", "j"))
        loss = ds["cell_volume"] * production.clip(max=0)
        gain = ds["cell_volume"] * production.clip(min=0)
        assert float(gain.sum()) > 10 * float(-loss.sum())


def test_channels_are_in_wall_units(flow):
    ds = flow("channel_MKM_395")
    y, h = ds["wall_distance"].values, float(ds["wall_distance"].max())
    total = ds["velocity_gradient"].values[:, 0, 1] - ds["reynolds_stress"].values[:, 0, 1]
    np.testing.assert_allclose(total, 1 - y / h, atol=0.01)
    assert h == pytest.approx(392, abs=1) and "wall units" in ds.attrs["scales"]
    trace = np.trace(ds["reynolds_stress"].values, axis1=1, axis2=2)
    np.testing.assert_allclose(trace / 2, ds["turbulent_kinetic_energy"], rtol=1e-4, atol=1e-9)
    assert float(ds["cell_volume"].sum()) == pytest.approx(h)
    production = -(ds["reynolds_stress"] * ds["velocity_gradient"]).sum(("i", "j"))
    spent, gained = (
        float((term * ds["cell_volume"]).sum()) for term in (ds["dissipation_rate"], production)
    )
    assert gained == pytest.approx(spent, rel=0.01)


def test_points_of_les_have_normalised_rates(flow):
    ds = flow("les_square_duct")
    assert "velocity_gradient" not in ds and "dissipation_rate" not in ds
    s, r = ds["strain_rate"].values, ds["rotation_rate"].values
    assert ds["strain_rate"].attrs["units"] == "1" and "k/epsilon" in ds.attrs["scales"]
    np.testing.assert_array_equal(r, -r.transpose(0, 2, 1))
    np.testing.assert_allclose(s[:, 0, 1], r[:, 0, 1], atol=0.02)
    assert np.abs(ds["position"].values[:, 0]).max() == 0


def test_reference_without_a_model(flow):
    ds = flow("duct_pinelli_3500")
    assert "velocity" not in ds and "turbulent_kinetic_energy" not in ds
    U, V = ds["velocity_reference"].values, ds["cell_volume"].values
    assert (U[:, 0] * V).sum() / V.sum() == pytest.approx(1.0, abs=0.02)
    assert 0.01 < np.hypot(U[:, 1], U[:, 2]).max() < 0.03


def test_challenge_scores_of_the_models_own_fields(flow):
    """Its points are cells of the same meshes, and its truth is the reference velocity."""
    evaluation = pytest.importorskip("closure_challenge.eval", reason="it is not installed")
    from closure_challenge import evaluation_points
    from scipy.spatial import cKDTree

    ds = flow("AR_1_Ret_360")
    _, cells = cKDTree(ds["position"].values).query(evaluation_points("AR_1_Ret_360"))
    score = evaluation.evaluate_individual_case
    at = {name: ds[name].values[cells] for name in ("velocity", "velocity_reference")}
    assert score("AR_1_Ret_360", at["velocity"]) == pytest.approx(0.1288, abs=1e-4)
    assert score("AR_1_Ret_360", at["velocity_reference"]) < 1e-6


def test_flows_of_several_models_are_joined(flow):
    flows = [clean(flow(name))[0] for name in ("AR_1_Ret_180", "channel_MKM_180")]
    row = joined(flows)
    assert row.attrs["flows"] == ["AR_1_Ret_180", "channel_MKM_180"]
    assert row.sizes["sample"] == sum(ds.sizes["cell"] for ds in flows)
    assert row["velocity"].attrs["units"] == "as in each flow" and "pressure" not in row
    assert row["anisotropy"].attrs["units"] == "1"


def test_anisotropy_of_nothing_is_undefined():
    b = anisotropy_of(np.stack([np.zeros((3, 3)), np.eye(3)]))
    assert np.isnan(b[0]).all() and np.abs(b[1]).max() < 1e-15


def test_unknown_flows_are_refused():
    with pytest.raises(ValueError, match="there is no flow 'hill', only alpha_05_7071_3036"):
        load_flow("hill")
