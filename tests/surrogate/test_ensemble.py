"""Ensembles: their mean, their spread, and what their interval holds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
import xarray as xr
from torch import Tensor, nn

from sciml.data import Samples
from sciml.nn import MLP
from sciml.surrogate import Ensemble, Surrogate, extremes
from sciml.train import TrainOptions, mean_squared

TRAINING = TrainOptions(epochs=15, batch_size=16, learning_rate=0.02, device="cpu", seed=5)


@dataclass(frozen=True, kw_only=True)
class CurveOptions:
    hidden: tuple[int, ...] = (8,)


class Curve(Surrogate[CurveOptions]):
    """A curve and its slope."""

    inputs: ClassVar = {"place": "m"}
    outputs: ClassVar = {"height": "m", "slope": "1"}

    def build(self) -> nn.Module:
        return MLP(1, 2, hidden=self.options.hidden)

    def calibrate(self, net: nn.Module, train: xr.Dataset) -> None:
        pass

    def samples(self, ds: xr.Dataset) -> Samples:
        return Samples(ds, ("place", "height", "slope"))

    def loss(self, net: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        place, *targets = batch
        return mean_squared(net(place[:, None]), torch.stack(targets, dim=1))

    def summaries(self, ds: xr.Dataset) -> xr.Dataset:
        return extremes(ds, self.inputs)

    def evaluate(self, *fields: Tensor) -> tuple[Tensor, ...]:
        return self.network(fields[0][:, None]).unbind(1)

    def _predict(self, ds: xr.Dataset) -> xr.Dataset:
        values = self.evaluate(torch.as_tensor(ds["place"].values, dtype=torch.float32))
        return xr.Dataset(
            {
                name: ("sample", value.numpy(), {"units": units})
                for (name, units), value in zip(self.outputs.items(), values, strict=True)
            }
        )


def data(count: int, seed: int) -> xr.Dataset:
    rng = np.random.default_rng(seed)
    place = np.linspace(-1.5, 1.5, count)
    noise = rng.normal(scale=0.1, size=(2, count))
    return xr.Dataset(
        {
            "place": ("sample", place, {"units": "m"}),
            "height": ("sample", np.sin(2 * place) + noise[0], {"units": "m"}),
            "slope": ("sample", 2 * np.cos(2 * place) + noise[1], {"units": "1"}),
        }
    )


TRAIN, VALID = data(64, 0), data(200, 1)


@pytest.fixture(scope="module")
def fitted() -> Ensemble[Curve]:
    ensemble = Ensemble.of(Curve(CurveOptions(), training=TRAINING), 4, coverage=0.8)
    ensemble.fit(TRAIN, VALID)
    return ensemble


def test_members_differ_by_their_seed_alone(fitted):
    assert [member.training.seed for member in fitted.members] == [5, 6, 7, 8]
    assert len({member.options for member in fitted.members}) == 1
    heights = [member.predict(VALID)["height"].values for member in fitted.members]
    assert all((heights[0] != other).any() for other in heights[1:])


@pytest.mark.parametrize("name", ["height", "slope"])
def test_prediction_is_mean_and_scaled_deviation_of_the_members(fitted, name):
    each = np.stack([m.predict(VALID)[name].values for m in fitted.members]).astype(float)
    prediction = fitted.predict(VALID)
    np.testing.assert_allclose(prediction[name], each.mean(0), rtol=1e-12)
    half = fitted.factors[name] * each.std(0, ddof=1)
    np.testing.assert_allclose(prediction[f"{name}_interval"], half, rtol=1e-5, atol=1e-9)
    units = Curve.outputs[name]
    assert prediction[name].attrs["units"] == prediction[f"{name}_interval"].attrs["units"] == units


@pytest.mark.parametrize("name", ["height", "slope"])
def test_interval_holds_the_asked_share_of_the_validation_data(fitted, name):
    prediction = fitted.predict(VALID)
    held = abs(VALID[name] - prediction[name]) <= prediction[f"{name}_interval"] * (1 + 1e-9)
    assert float(held.mean()) == pytest.approx(0.8, abs=1.5 / VALID.sizes["sample"])


def test_mean_is_no_worse_than_the_members_are_on_average(fitted):
    """The square is convex: the error of the mean is at most the mean of the errors."""
    errors = [
        float(((m.predict(VALID)["height"] - VALID["height"]) ** 2).mean()) for m in fitted.members
    ]
    mean = float(((fitted.predict(VALID)["height"] - VALID["height"]) ** 2).mean())
    assert mean <= np.mean(errors)


class WaryCurve(Curve):
    """A curve that is to be trusted near the origin: each member a little farther than the last."""

    def _predict(self, ds: xr.Dataset) -> xr.Dataset:
        reach = 0.1 * self.training.seed
        trusted = (abs(ds["place"].values) <= reach).astype(np.int8)
        return super()._predict(ds).assign(trusted=("sample", trusted, {"units": "1"}))


def test_an_ensemble_is_trusted_where_all_members_trust_themselves():
    training = replace(TRAINING, epochs=1)
    wary = Ensemble.of(WaryCurve(CurveOptions(), training=training), 3, coverage=0.8)
    wary.members.reverse()
    wary.fit(TRAIN, VALID)
    trusted = [member.predict(VALID)["trusted"].values for member in wary.members]
    assert len({own.sum() for own in trusted}) == 3
    prediction = wary.predict(VALID)
    np.testing.assert_array_equal(prediction["trusted"], np.min(trusted, axis=0))
    np.testing.assert_array_equal(prediction["trusted"], abs(VALID["place"]) <= 0.5)
    assert prediction["trusted"].attrs["units"] == "1"
    assert "trusted_interval" not in prediction and set(wary.factors) == set(Curve.outputs)


def test_an_ensemble_of_members_that_do_not_say_where_says_nothing(fitted):
    assert "trusted" not in fitted.predict(VALID)


def test_a_loaded_ensemble_predicts_the_same_bits(fitted, tmp_path):
    fitted.save(tmp_path / "ensemble")
    loaded = Ensemble.load(tmp_path / "ensemble")
    assert loaded.coverage == fitted.coverage and loaded.factors == fitted.factors
    xr.testing.assert_identical(loaded.predict(VALID), fitted.predict(VALID))


def test_a_smaller_ensemble_replaces_a_larger_one(fitted, tmp_path):
    fitted.save(tmp_path / "ensemble")
    smaller = Ensemble(fitted.members[:2])
    smaller.factors = fitted.factors
    smaller.save(tmp_path / "ensemble")
    assert len(Ensemble.load(tmp_path / "ensemble").members) == 2


def test_an_interrupted_fit_resumes_to_the_same_bits(fitted, tmp_path, monkeypatch):
    """Two members are finished and the others not begun when the power goes."""
    folder = tmp_path / "fit"
    interrupted = Ensemble.of(Curve(CurveOptions(), training=TRAINING), 4, coverage=0.8)

    def fail(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(interrupted.members[2], "fit", fail)
    with pytest.raises(KeyboardInterrupt):
        interrupted.fit(TRAIN, VALID, folder=folder)
    assert sorted(path.name for path in folder.iterdir()) == ["member0", "member1"]
    resumed = Ensemble.of(Curve(CurveOptions(), training=TRAINING), 4, coverage=0.8)
    resumed.fit(TRAIN, VALID, folder=folder, resume=True)
    assert resumed.factors == fitted.factors
    xr.testing.assert_identical(resumed.predict(VALID), fitted.predict(VALID))


def test_an_interval_needs_validation_data():
    ensemble = Ensemble.of(Curve(CurveOptions(), training=TRAINING), 2)
    with pytest.raises(ValueError, match="no validation data"):
        ensemble.fit(TRAIN)


def test_an_ensemble_that_is_not_calibrated_says_so(fitted):
    with pytest.raises(ValueError, match="not fitted"):
        Ensemble(fitted.members).predict(VALID)


@pytest.mark.parametrize(("count", "coverage"), [(1, 0.9), (2, 0.0), (2, 1.0)])
def test_ensembles_without_a_spread_or_a_share_are_refused(count, coverage):
    members = [Curve(CurveOptions()) for _ in range(count)]
    with pytest.raises(ValueError, match=r"members were given|lies between 0 and 1"):
        Ensemble(members, coverage=coverage)
