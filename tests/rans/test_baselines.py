"""Baselines: which of them notice the axes, and which do not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr

from sciml.rans import (
    TensorBasisClosure,
    TensorBasisOptions,
    linear_eddy_viscosity,
    quadratic_eddy_viscosity,
    random_rotation,
    turned,
)
from sciml.rans.baselines import (
    Algebraic,
    BoostedTrees,
    ComponentClosure,
    ComponentOptions,
    scalars,
    strain_axes,
)
from sciml.surrogate import Surrogate

pytestmark = pytest.mark.filterwarnings("ignore::sciml.surrogate.OutsideRangeWarning")

STATE = ("velocity_gradient", "turbulent_kinetic_energy", "dissipation_rate")


@pytest.fixture(scope="module")
def short(training):
    return replace(training, epochs=20, batch_size=32)


@pytest.fixture(scope="module")
def fitted(planes, short):
    """All on the same states, whose axes are the same."""
    models = {
        "components": ComponentClosure(ComponentOptions(hidden=(32, 32)), training=short),
        "tensor basis": TensorBasisClosure(TensorBasisOptions(hidden=(32, 32)), training=short),
        "trees": BoostedTrees(iterations=40),
        "linear": Algebraic(linear_eddy_viscosity),
    }
    for model in models.values():
        model.fit(planes[0])
    return models


def error(model, ds):
    return float(np.sqrt(((model.predict(ds) - ds)["anisotropy"].values ** 2).mean()))


def test_in_the_axes_of_the_training_components_are_enough(fitted, planes):
    unseen = planes[1]
    none = float(np.sqrt((unseen["anisotropy"].values ** 2).mean()))
    assert error(fitted["linear"], unseen) > 0.3 * none
    for name in ("components", "tensor basis", "trees"):
        assert error(fitted[name], unseen) < 0.2 * none, name


@pytest.mark.parametrize("sign", [1, -1], ids=["rotation", "reflection"])
def test_only_components_notice_other_axes(fitted, planes, sign):
    unseen = planes[1]
    other = turned(unseen, sign * random_rotation(3))
    here, there = ({name: error(fitted[name], ds) for name in fitted} for ds in (unseen, other))
    assert there["components"] > 2.5 * here["components"]
    assert there["components"] > 2.5 * there["tensor basis"]
    assert there["linear"] == pytest.approx(here["linear"], rel=1e-10)
    assert there["tensor basis"] == pytest.approx(here["tensor basis"], abs=1e-6)
    assert there["trees"] == pytest.approx(here["trees"], rel=0.05)


def test_what_the_trees_say_turns_with_the_axes(train, unseen):
    """Cell by cell, in flows without symmetries."""
    trees = BoostedTrees(iterations=5)
    trees.fit(train)
    some = unseen.isel(sample=unseen["flow"].values == unseen.attrs["flows"].index("general"))
    b = trees.predict(some)["anisotropy"].values
    assert abs(b).max() > 0.02
    np.testing.assert_allclose(np.trace(b, axis1=1, axis2=2), 0, atol=1e-12)
    np.testing.assert_allclose(b, b.transpose(0, 2, 1), atol=1e-12)
    for Q in (random_rotation(4), -random_rotation(5)):
        there = trees.predict(turned(some, Q))["anisotropy"].values
        np.testing.assert_allclose(there, Q @ b @ Q.T, atol=1e-9)


def test_the_axes_of_the_strain_are_a_right_handed_frame_of_eigenvectors(unseen):
    frame, G = strain_axes(unseen), unseen["velocity_gradient"].values
    identity = np.tile(np.eye(3), (len(G), 1, 1))
    np.testing.assert_allclose(frame.transpose(0, 2, 1) @ frame, identity, atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(frame), 1, rtol=1e-12)
    S = (G + G.transpose(0, 2, 1)) / 2
    own = frame.transpose(0, 2, 1) @ S @ frame
    size = abs(S).max((1, 2), keepdims=True)
    assert (abs(own * (1 - np.eye(3))) < 1e-10 * size).all()
    assert (np.diff(np.diagonal(own, axis1=1, axis2=2)) <= 1e-10 * size[:, 0]).all()
    vorticity = np.stack(
        [G[:, 2, 1] - G[:, 1, 2], G[:, 0, 2] - G[:, 2, 0], G[:, 1, 0] - G[:, 0, 1]]
    )
    along = np.einsum("cij,ic->cj", frame[:, :, :2], vorticity)
    assert (along > -1e-10 * size[:, 0]).all()


def test_the_frame_turns_with_the_axes(unseen):
    """In a mirror all three axes are reversed: tensors do not notice."""
    some = unseen.isel(sample=unseen["flow"].values == unseen.attrs["flows"].index("general"))
    here, Q = strain_axes(some), random_rotation(6)
    np.testing.assert_allclose(strain_axes(turned(some, Q)), Q @ here, atol=1e-8)
    there = strain_axes(turned(some, -Q))
    np.testing.assert_allclose(abs(there), abs(Q @ here), atol=1e-8)
    np.testing.assert_allclose(np.linalg.det(there), 1)


def test_trees_of_one_seed_are_the_same(planes):
    one, other = BoostedTrees(iterations=3, seed=1), BoostedTrees(iterations=3, seed=1)
    for trees in (one, other):
        trees.fit(planes[0])
    xr.testing.assert_identical(one.predict(planes[1]), other.predict(planes[1]))


@pytest.mark.parametrize("closure", [linear_eddy_viscosity, quadratic_eddy_viscosity])
def test_algebraic_closures_are_themselves(unseen, closure):
    model = Algebraic(closure)
    assert model.fit(unseen) is None
    found = model.predict(unseen.transpose("j", "i", "basis", "sample"))["anisotropy"]
    assert found.dims == ("sample", "i", "j") and found.attrs["units"] == "1"
    np.testing.assert_array_equal(found, closure(*(unseen[name].values for name in STATE)))


def test_turned_copies_are_the_same_flow_in_other_axes(planes, short):
    """Of each copy: the same scalars, S with the same norm, and b : S as it was."""
    count, copies = planes[0].sizes["sample"], 3
    plain = ComponentClosure(ComponentOptions(), training=short).samples(planes[0])
    options = ComponentOptions(turned=copies)
    more = ComponentClosure(options, training=short).samples(planes[0])
    assert (len(plain), len(more)) == (count, (1 + copies) * count)
    told, b, weight = (a.view(1 + copies, count, *a.shape[1:]).double() for a in more.fields)
    known = scalars(planes[0], ()).shape[1]
    for field, first in zip((told[0], b[0], weight[0]), plain.fields, strict=True):
        torch.testing.assert_close(field, first.double())
    often = torch.tensor([1.0, 2.0, 2.0, 1.0, 2.0, 1.0], dtype=torch.float64)
    S, R = told[:, :, known : known + 6], told[:, :, known + 6 :]
    kept = [
        told[:, :, :known],
        (S * S * often).sum(-1),
        (R * R).sum(-1),
        (b * b * often).sum(-1),
        (b * S * often).sum(-1),
        weight,
    ]
    for values in kept:
        torch.testing.assert_close(values, values[:1].expand_as(values), rtol=1e-4, atol=1e-6)
    assert (told[1:] - told[:1]).abs().max() > 0.5
    again = ComponentClosure(options, training=short).samples(planes[0])
    torch.testing.assert_close(again.fields[0], more.fields[0], rtol=0, atol=0)


def test_turned_copies_teach_something_of_the_axes(fitted, planes, short):
    taught = ComponentClosure(
        ComponentOptions(hidden=(32, 32), turned=3),
        training=replace(short, epochs=6, batch_size=64),
    )
    taught.fit(planes[0], progress=False)
    other = turned(planes[1], random_rotation(3))
    assert error(taught, other) < 0.6 * error(fitted["components"], other)


def test_a_loaded_component_closure_predicts_the_same_bits(fitted, planes, tmp_path):
    fitted["components"].save(tmp_path / "components")
    loaded = Surrogate.load(tmp_path / "components")
    b = fitted["components"].predict(planes[1])
    xr.testing.assert_identical(loaded.predict(planes[1]), b)
    np.testing.assert_allclose(np.trace(b["anisotropy"].values, axis1=1, axis2=2), 0, atol=1e-6)


def test_further_features_are_asked_for_by_name(planes, short):
    wary = ComponentClosure(ComponentOptions(groups=("wall",)), training=short)
    for model in (wary, BoostedTrees(groups=("wall",))):
        with pytest.raises(ValueError, match="no variable 'wall_distance'"):
            model.fit(planes[0])
