"""The surrogate as its user meets it: fitted, saved, asked about a file, drawn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from matplotlib.figure import Figure

from sciml.flow import (
    EncoderDecoderOptions,
    FreeStream,
    SteadyFlow,
    SteadyFlowOptions,
    Tunnel,
    UNetOptions,
    flow_inputs,
    mirror,
)
from sciml.flow.shapes import circle
from sciml.metrics import relative_l2_error
from sciml.surrogate import OutsideRangeWarning, Surrogate
from sciml.train import TrainOptions

SMALL = UNetOptions(width=12, depth=3, multipliers=(1, 2, 2, 2))
TRAINING = TrainOptions(epochs=30, batch_size=4, learning_rate=4e-3, device="cpu", seed=3)
DIAMOND = "a diamond\n 1 0\n .5 .1\n 0 0\n .5 -.1\n"


def error(truth: xr.Dataset, prediction: xr.Dataset) -> float:
    fluid = truth["signed_distance"] > 0
    each = relative_l2_error(
        truth["velocity"], prediction["velocity"], ("component", "y", "x"), weights=fluid
    )
    return float(each.mean())


@pytest.fixture(scope="module")
def fitted(flows) -> SteadyFlow:
    surrogate = SteadyFlow(SteadyFlowOptions(core=SMALL), training=TRAINING)
    surrogate.fit(flows, progress=False)
    return surrogate


def test_a_short_fit_beats_the_free_stream(fitted, flows):
    prediction = fitted.predict(flows, outside="raise")
    assert error(flows, prediction) < 0.5 * error(flows, FreeStream().predict(flows))
    assert fitted.history.train_loss[-1] < 0.5 * fitted.history.train_loss[0]


@pytest.mark.parametrize(
    "options",
    [
        SteadyFlowOptions(core=SMALL, head="stream_function", representation="both"),
        SteadyFlowOptions(
            core=EncoderDecoderOptions(channels=(16, 32), strides=(4, 4)),
            representation="mask",
            symmetric=False,
            augment=False,
            force_weight=0.0,
        ),
    ],
)
def test_other_networks_learn_too(flows, options):
    training = TrainOptions(epochs=15, batch_size=4, learning_rate=3e-3, device="cpu")
    history = SteadyFlow(options, training=training).fit(flows, progress=False)
    assert history.train_loss[-1] < 0.9 * history.train_loss[0]


def test_a_loaded_surrogate_predicts_the_same_bits(fitted, flows, tmp_path):
    fitted.save(tmp_path / "surrogate")
    loaded = Surrogate.load(tmp_path / "surrogate")
    assert isinstance(loaded, SteadyFlow) and loaded.options == fitted.options
    xr.testing.assert_identical(loaded.predict(flows), fitted.predict(flows))


def test_scales_are_the_spread_of_the_training_data(fitted, flows):
    fluid = flows["signed_distance"].values > 0
    velocity = np.moveaxis(flows["velocity"].values, 1, -1)[fluid] - [1.0, 0.0]
    spread = np.sqrt((velocity.astype(float) ** 2).mean(0))
    np.testing.assert_allclose(fitted.network.velocity_scale, spread, rtol=1e-5)
    pressure = np.sqrt((flows["pressure"].values[fluid].astype(float) ** 2).mean())
    np.testing.assert_allclose(fitted.network.pressure_scale, [pressure], rtol=1e-5)


def test_loss_is_the_same_for_a_mirrored_batch(fitted, flows):
    columns = zip(*fitted.samples(flows), strict=True)
    batch = [torch.from_numpy(np.stack(column)) for column in columns]
    distance, reynolds, diameter, velocity, pressure, force = batch
    flipped = mirror(velocity, pressure)
    mirrored = (distance.flip(-2), reynolds, diameter, *flipped, force * torch.tensor([1.0, -1.0]))
    with torch.no_grad():
        losses = [fitted.loss(fitted.network, tuple(b)) for b in (batch, mirrored)]
    torch.testing.assert_close(losses[0], losses[1])


def test_tensors_and_labels_give_the_same_answer(fitted, flows):
    few = flows.isel(sample=slice(0, 3))
    fields = [torch.from_numpy(few[name].values.astype(np.float32)) for name in fitted.inputs]
    velocity, pressure = fitted.evaluate(*fields)
    prediction = fitted.predict(few)
    np.testing.assert_array_equal(prediction["velocity"], velocity)
    np.testing.assert_array_equal(prediction["pressure"], pressure)


@pytest.mark.filterwarnings("ignore::sciml.surrogate.OutsideRangeWarning")
def test_another_grid_is_answered_on_that_grid(fitted):
    body = circle(0.25).translate(0.6, 0.5)
    inputs = flow_inputs(body, 10.0, Tunnel(cells=48).grid)
    prediction = fitted.predict(inputs)
    assert prediction["velocity"].shape == (1, 2, 48, 96)
    assert np.isfinite(prediction["velocity"]).all()
    solid = inputs["signed_distance"].values[0] <= 0
    assert (prediction["velocity"].values[0][:, solid] == 0).all()


def test_reynolds_numbers_beyond_the_training_are_noticed(fitted, flows):
    faster = flows.assign(reynolds_number=10 * flows["reynolds_number"])
    faster["reynolds_number"].attrs["units"] = "1"
    with pytest.warns(OutsideRangeWarning, match="reynolds_number is .* trained from"):
        fitted.predict(faster)
    with pytest.raises(ValueError, match="outside the training data"):
        fitted.predict(faster, outside="raise")


def test_body_is_read_from_a_file_scaled_placed_and_turned(tmp_path):
    (tmp_path / "diamond.dat").write_text(DIAMOND)
    inputs = SteadyFlow.read_inputs(
        tmp_path / "diamond.dat", reynolds_number=12.0, diameter=0.4, angle=15.0, x=0.7, y=0.4
    )
    assert inputs["signed_distance"].shape == (1, 128, 256)
    assert inputs["reynolds_number"].item() == 12.0
    assert inputs["diameter"].item() == pytest.approx(0.4)
    solid = inputs["signed_distance"].isel(sample=0) <= 0
    assert float(solid.x.where(solid).mean()) == pytest.approx(0.7, abs=2 / 128)
    assert float(solid.y.where(solid).mean()) == pytest.approx(0.4, abs=2 / 128)
    front = solid.where(solid.x < 0.6, False)
    assert float(front.y.where(front).mean()) > 0.42  # nose up


@pytest.mark.parametrize(
    ("name", "text", "asked", "error", "sentence"),
    [
        ("wing.dat", "nothing\n", {}, ValueError, "No line holds a pair"),
        ("wing.doc", DIAMOND, {}, ValueError, "has the extension '.doc'"),
        ("wing.dat", DIAMOND, {"diameter": 1.5, "angle": 60.0}, ValueError, "reaches the"),
        ("wing.dat", DIAMOND, {"reynolds_number": -1.0}, ValueError, "must be positive"),
        ("wing.dat", DIAMOND, {"cells": 50}, ValueError, "50 cells across"),
        ("wing.dat", DIAMOND, {"diameter": 0.0}, ValueError, "positive"),
        ("wing.dat", None, {}, FileNotFoundError, "There is no file"),
    ],
)
def test_what_gives_no_body_is_refused(tmp_path, name, text, asked, error, sentence):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(error, match=sentence):
        SteadyFlow.read_inputs(tmp_path / name, **asked)


def test_a_flow_is_drawn(fitted, flows):
    one = flows.isel(sample=[4])
    figure = SteadyFlow.draw(one.assign(fitted.predict(one)))
    assert isinstance(figure, Figure)
    assert "Re = " in figure.get_label()
