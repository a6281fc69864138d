"""Autoencoders: the subspace of POD, fields that add up, weights and masks in the loss."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from sciml.modes.autoencoder import Autoencoder, AutoencoderOptions
from sciml.modes.frames import image_frame, span_frame, structured
from sciml.modes.layout import Layout
from sciml.modes.pod import Pod, PodOptions
from sciml.surrogate import OutsideRangeWarning
from sciml.train import TrainOptions

QUICK = TrainOptions(epochs=1, batch_size=16, device="cpu")
LINEAR = TrainOptions(epochs=6, optimiser="lbfgs", device="cpu")
KINDS = ("linear", "dense", "convolutional", "mode-decomposing", "variational")


def flow(times: np.ndarray, *, noise: float = 0.0, seed: int = 0) -> xr.Dataset:
    """Two waves past a square body: the second has twice the phase of the first."""
    rng = np.random.default_rng(seed)
    x, y = np.linspace(0, 2, 32), np.linspace(0, 1, 24)
    phase = 2 * np.pi * (x - times[:, None, None])
    first = np.sin(np.pi * y)[:, None] * np.cos(phase)
    second = 0.4 * np.sin(2 * np.pi * y)[:, None] * np.sin(2 * phase)
    velocity = np.stack([1 + first + second, 0.5 * first - second], -1)
    velocity += noise * rng.standard_normal(velocity.shape)
    fluid = (abs(x - 0.5) > 0.15) | (abs(y - 0.5) > 0.15)[:, None]
    velocity[:, ~fluid] = np.nan
    return xr.Dataset(
        {
            "velocity": (("time", "y", "x", "i"), velocity, {"units": "m s-1"}),
            "mask": (("y", "x"), fluid),
            "cell_volume": (("y", "x"), np.broadcast_to(0.1 + x**3, (24, 32)), {"units": "m3"}),
        },
        coords={"time": times, "x": x, "y": y},
    )


@pytest.fixture(scope="module")
def train() -> xr.Dataset:
    return flow(np.linspace(0, 3, 60, endpoint=False), noise=0.05)


@pytest.fixture(scope="module")
def unseen() -> xr.Dataset:
    return flow(np.linspace(3.02, 4.02, 15, endpoint=False), noise=0.05, seed=1)


def cells(ds: xr.Dataset) -> xr.Dataset:
    """The same as a list of cells."""
    return ds.stack(cell=("y", "x")).drop_vars(["cell", "x", "y"])


def quick(kind: str, **options: object) -> Autoencoder:
    given = {"rank": 2, "widths": (4, 8), **options}
    training = LINEAR if kind == "linear" else QUICK
    return Autoencoder(AutoencoderOptions(kind=kind, **given), training=training)


def angles(model: Autoencoder, ds: xr.Dataset) -> np.ndarray:
    """Principal angles between the decoder's fields and POD modes, in the mesh's inner product."""
    pod = Pod(PodOptions(rank=model.rank))
    names = {str(name): name for name in ds.data_vars}
    modes = pod.fit(ds).modes.rename(mode="time").to_dataset(name=names["velocity"])
    unit = xr.DataArray(np.eye(model.rank), dims=("time", "mode"))
    root = np.sqrt(pod.layout.weights)
    found, wanted = (
        np.linalg.qr((pod.layout.rows(one) * root).T).Q
        for one in (model.mode_fields(unit).sum("mode", skipna=False), modes)
    )
    outside = wanted - found @ (found.T @ wanted)
    return np.arcsin(np.linalg.svd(outside, compute_uv=False).clip(0, 1))


def lost(model: Autoencoder | Pod, ds: xr.Dataset) -> float:
    """Part of the energy of the deviations from the mean that is lost, by volume."""
    weight = ds["cell_volume"].where(ds["mask"], 0.0)
    mean = ds["velocity"].mean("time")
    energy = ((ds["velocity"] - mean) ** 2 * weight).sum()
    return float(
        ((model.reconstruct(ds)["velocity"] - ds["velocity"]) ** 2 * weight).sum() / energy
    )


@pytest.mark.parametrize("rank", [2, 4])
def test_linear_autoencoder_finds_the_subspace_of_pod(train, rank):
    training = replace(LINEAR, epochs=10)
    model = Autoencoder(AutoencoderOptions(kind="linear", rank=rank), training=training)
    history = model.fit(train)
    assert angles(model, train).max() < 1e-3
    pod = Pod(PodOptions(rank=rank))
    energy = float(pod.fit(train)["energy"].sum())
    assert history.train_loss[-1] == pytest.approx(1 - energy, rel=1e-4)


def test_volumes_weigh(train):
    """Of two waves side by side, the weaker one leads if it fills more of the volume."""
    left = train["x"] < 1
    waves = xr.where(left, np.cos(6 * train["x"] - 5 * train["time"]), 0.0)
    waves = waves + xr.where(left, 0.0, 0.5 * np.cos(6 * train["x"] - 11 * train["time"]))
    volume = xr.where(left, 0.01, 1.0).broadcast_like(train["mask"])
    ds = train.assign(velocity=waves.transpose("time", "x"), cell_volume=volume).isel(y=0)
    weighted, plain = (quick("linear") for _ in range(2))
    weighted.fit(ds)
    assert angles(weighted, ds).max() < 1e-3
    plain.fit(ds.drop_vars("cell_volume"))
    assert angles(plain, ds).min() > 1.0


def test_fewer_directions_than_snapshots_hold_the_leading_subspace(train):
    model = Autoencoder(AutoencoderOptions(kind="linear", rank=4, span=40), training=LINEAR)
    model.fit(train)
    assert angles(model, train).max() < 1e-2


def test_convolutions_hold_in_two_latents_what_pod_needs_four_for(train, unseen):
    """All lies on one closed curve: a curved surface through it loses less than a plane."""
    training = TrainOptions(epochs=40, batch_size=8, learning_rate=5e-3, device="cpu")
    options = AutoencoderOptions(kind="convolutional", rank=2, widths=(8, 16))
    model = Autoencoder(options, training=training)
    model.fit(train)
    pod = Pod(PodOptions(rank=2))
    pod.fit(train)
    assert lost(model, unseen) < 0.4 * lost(pod, unseen)


@pytest.mark.parametrize("kind", ["linear", "mode-decomposing"])
@pytest.mark.parametrize("listed", [False, True])
def test_fields_of_the_latents_add_up(train, unseen, kind, listed):
    train, unseen = (cells(train), cells(unseen)) if listed else (train, unseen)
    model = quick(kind, rank=3)
    model.fit(train)
    z = model.encode(unseen)
    parts = model.mode_fields(z)
    assert parts["velocity"].dims[:2] == ("time", "mode")
    mean = train["velocity"].mean("time")
    total = parts["velocity"].sum("mode", skipna=False) + mean
    np.testing.assert_allclose(total, model.decode(z)["velocity"], rtol=1e-5, atol=1e-6)
    other = model.mode_fields(z + xr.DataArray([0.0, 1.0, 0.0], dims="mode"))
    changed = abs(other - parts)["velocity"].max(("time", *mean.dims))
    assert changed[1] > 0 and changed[0] == changed[2] == 0


def test_a_larger_beta_leaves_less_in_the_latents(train):
    """Divergence from the normal distribution falls as beta rises, and the loss of energy rises."""
    training = TrainOptions(epochs=25, batch_size=8, learning_rate=5e-3, device="cpu")
    divergence, losses = [], []
    for beta in (1e-4, 1e-1, 10.0):
        options = AutoencoderOptions(
            kind="variational", body="dense", rank=4, widths=(16,), beta=beta
        )
        model = Autoencoder(options, training=training)
        model.fit(train)
        mean, spread = model.encode(train), model.spread(train)
        each = 0.5 * (mean**2 + spread**2 - 1) - np.log(spread)
        divergence.append(float(each.mean()))
        losses.append(lost(model, train))
    assert divergence[0] > 1.5 * divergence[1] > 3 * divergence[2]
    assert losses[0] < losses[1] < losses[2]
    assert divergence[2] < 0.01 and losses[2] > 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_values_in_the_solid_change_nothing(train, unseen, kind, rng):
    def spoilt(ds: xr.Dataset) -> xr.Dataset:
        chance = 1e6 * rng.standard_normal(ds["velocity"].shape)
        return ds.assign(velocity=ds["velocity"].where(ds["mask"], chance))

    first, second = quick(kind), quick(kind)
    first.fit(train)
    second.fit(spoilt(train))
    wanted, found = first.reconstruct(unseen), second.reconstruct(spoilt(unseen))
    xr.testing.assert_equal(found, wanted)
    assert bool(
        found["velocity"]
        .isnull()
        .equals(
            (~train["mask"]).broadcast_like(found["velocity"]).transpose(*found["velocity"].dims)
        )
    )


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded_is_the_same(train, unseen, kind, tmp_path):
    model = quick(kind)
    model.fit(train)
    again = Autoencoder.load(model.save(tmp_path / "model"))
    assert again.options == model.options and again.rank == 2
    z = model.encode(unseen)
    xr.testing.assert_identical(again.encode(unseen), z)
    xr.testing.assert_equal(again.decode(z), model.decode(z))
    with pytest.raises(ValueError, match="holds a Autoencoder, not a Pod"):
        Pod.load(tmp_path / "model")


@pytest.mark.parametrize("kind", ["linear", "dense"])
def test_a_finished_fit_is_resumed_and_not_repeated(train, unseen, kind, tmp_path):
    model, again = quick(kind), quick(kind)
    history = model.fit(train, unseen, folder=tmp_path)
    assert again.fit(train, unseen, folder=tmp_path, resume=True).seconds == history.seconds
    xr.testing.assert_equal(again.reconstruct(unseen), model.reconstruct(unseen))


@pytest.mark.parametrize("kind", ["convolutional", "dense"])
def test_units_do_not_matter(train, unseen, kind):
    """A power of two, so that rounding is the same."""
    model, scaled = quick(kind), quick(kind)
    model.fit(train)
    scaled.fit(train.assign(velocity=train["velocity"] * 1024))
    found = scaled.reconstruct(unseen.assign(velocity=unseen["velocity"] * 1024))["velocity"]
    np.testing.assert_allclose(found / 1024, model.reconstruct(unseen)["velocity"], rtol=1e-4)


def test_predict_is_reconstruct_and_warns_beyond_the_training(train, unseen):
    model = quick("dense")
    model.fit(train)
    found = model.predict(train)
    xr.testing.assert_allclose(found, model.reconstruct(train), rtol=1e-6)
    louder = unseen.assign(velocity=3 * unseen["velocity"])
    with pytest.warns(OutsideRangeWarning, match="amplitude is"):
        model.predict(louder)


def test_a_frame_keeps_energies(train):
    """Images and coordinates have the energy of the rows, over that of the training."""
    layout = Layout.of(train)
    rows = np.asarray(layout.rows(train))
    energy = (rows - rows.mean(0)) ** 2 @ layout.weights
    for frame in (image_frame(layout, rows), span_frame(layout, rows, span=256, seed=0)):
        z = frame.inputs(rows)
        found = (frame.weight * z**2).reshape(len(z), -1).sum(1)
        np.testing.assert_allclose(found, energy / energy.mean(), rtol=1e-10)
        np.testing.assert_allclose(frame.rows(z), rows, rtol=1e-10, atol=1e-10)


def test_channels_are_variables_and_components(train):
    both = train.assign(pressure=2 * train["velocity"].sel(i=1) + 3)
    layout = Layout.of(both)
    assert structured(layout) == ("y", "x") and structured(Layout.of(cells(both))) == ()
    frame = image_frame(layout, np.asarray(layout.rows(both)))
    image = frame.inputs(np.asarray(layout.rows(both)))
    assert image.shape == (60, 3, 24, 32)
    np.testing.assert_allclose(image[:, 1], image[:, 2], rtol=1e-10, atol=1e-12)
    assert not image[:, :, ~train["mask"].values].any()


def test_what_cannot_be_is_refused(train):
    with pytest.raises(ValueError, match="convolutions need a grid of one to three axes"):
        quick("convolutional").fit(cells(train))
    with pytest.raises(ValueError, match="the autoencoder is not fitted"):
        quick("dense").encode(train)
    with pytest.raises(ValueError, match="9 latents were asked for, and 5 snapshots differ in 4"):
        quick("dense", rank=9).fit(train.isel(time=slice(5)))
    with pytest.raises(ValueError, match="numbers of a snapshot are not finite"):
        quick("dense").fit(train.drop_vars("mask"))
    with pytest.raises(ValueError, match="the snapshots do not change"):
        quick("dense").fit(train.isel(time=[0, 0, 0]))
    with pytest.raises(ValueError, match="rank=0"):
        AutoencoderOptions(rank=0)
    model = quick("dense")
    model.fit(train)
    with pytest.raises(ValueError, match="are no sum over its latents"):
        model.mode_fields(model.encode(train))
