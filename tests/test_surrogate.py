"""A surrogate of y = 2 x + 1 with units: fitted, checked, saved, loaded."""

from __future__ import annotations

import json
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pytest
import torch
import xarray as xr
from torch import Tensor, nn

from sciml.data.samples import Samples
from sciml.nn import MLP, Standardize
from sciml.surrogate import OutsideRangeWarning, Surrogate, extremes
from sciml.train import TrainOptions, mean_squared

QUICK = TrainOptions(epochs=40, batch_size=8, learning_rate=0.2, device="cpu", weight_decay=0.0)


@dataclass(frozen=True, kw_only=True)
class Shape:
    hidden: tuple[int, ...] = ()
    activation: Literal["tanh", "gelu"] = "tanh"


@dataclass(frozen=True, kw_only=True)
class LineOptions:
    shape: Shape = Shape()
    scaled: bool = True
    limit: float | None = None


class LineNet(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.scaling = Standardize(1)
        self.body = MLP(1, 1, hidden=shape.hidden, activation=shape.activation)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(self.scaling(x))


class Line(Surrogate[LineOptions]):
    """Elongation of a spring under a load.

    A second paragraph that the card leaves out.
    """

    inputs: ClassVar = {"load": "N"}
    outputs: ClassVar = {"elongation": "m"}

    def build(self) -> nn.Module:
        return LineNet(self.options.shape)

    def calibrate(self, net: nn.Module, train: xr.Dataset) -> None:
        net.scaling.fit(train["load"].values[:, None])

    def samples(self, ds: xr.Dataset) -> Samples:
        return Samples(ds, ("load", "elongation"))

    def loss(self, net: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        load, elongation = batch
        return mean_squared(net(load[:, None]), elongation[:, None])

    def summaries(self, ds: xr.Dataset) -> xr.Dataset:
        return extremes(ds, self.inputs)

    def evaluate(self, *fields: Tensor) -> tuple[Tensor, ...]:
        return (self.network(fields[0][:, None])[:, 0],)

    def _predict(self, ds: xr.Dataset) -> xr.Dataset:
        (elongation,) = self.evaluate(torch.as_tensor(ds["load"].values, dtype=torch.float32))
        return xr.Dataset({"elongation": ("sample", elongation.numpy(), {"units": "m"})})


class Other(Line):
    """Another class of the same shape."""


def data(low: float = 0.0, high: float = 4.0, count: int = 32) -> xr.Dataset:
    load = np.linspace(low, high, count)
    return xr.Dataset(
        {
            "load": ("sample", load, {"units": "N"}),
            "elongation": ("sample", 2 * load + 1, {"units": "m"}),
        },
        attrs={"title": "springs"},
    )


@pytest.fixture(scope="module")
def fitted() -> Line:
    line = Line(LineOptions(), training=QUICK)
    line.fit(data(), data(0.1, 3.9, 10))
    return line


def test_recovers_the_line(fitted: Line) -> None:
    test = data(0.5, 3.5, 7)
    prediction = fitted.predict(test, outside="raise")
    np.testing.assert_allclose(prediction["elongation"], test["elongation"], atol=0.05)


def test_a_loaded_surrogate_predicts_the_same_bits(fitted: Line, tmp_path: Path) -> None:
    options = LineOptions(shape=Shape(hidden=(5, 3), activation="gelu"), limit=2.0)
    line = Line(options, training=QUICK)
    line.fit(data())
    line.save(tmp_path / "line")
    loaded = Surrogate.load(tmp_path / "line")
    assert type(loaded) is Line
    assert loaded.options == options and loaded.training == QUICK
    assert loaded.ranges == line.ranges
    expected = line.predict(data())["elongation"].values
    assert (loaded.predict(data())["elongation"].values == expected).all()


def test_saving_a_loaded_surrogate_changes_nothing(fitted: Line, tmp_path: Path) -> None:
    fitted.save(tmp_path / "a")
    Line.load(tmp_path / "a").save(tmp_path / "b")
    for name in ("surrogate.json", "weights.safetensors", "README.md"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_the_same_seed_gives_the_same_weights(fitted: Line) -> None:
    torch.rand(3)  # the caller's random numbers do not matter
    again = Line(LineOptions(), training=QUICK)
    again.fit(data(), data(0.1, 3.9, 10))
    expected = fitted.predict(data())["elongation"].values
    assert (again.predict(data())["elongation"].values == expected).all()


def test_fitting_leaves_the_callers_random_numbers_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(2)
    torch.manual_seed(7)
    Line(LineOptions(), training=QUICK).fit(data())
    assert torch.equal(torch.rand(2), expected)


def test_the_card_tells_a_stranger(fitted: Line, tmp_path: Path) -> None:
    fitted.save(tmp_path / "line", figures={"relative error": 0.0123})
    card = (tmp_path / "line" / "README.md").read_text()
    for fact in ("Elongation of a spring", "`load` | N", "`elongation` | m", "0.0123", ".load("):
        assert fact in card
    assert "second paragraph" not in card
    record = json.loads((tmp_path / "line" / "surrogate.json").read_text())
    assert record["data"]["sha256"] in card
    assert record["data"] == {
        "samples": 32,
        "sha256": record["data"]["sha256"],
        "attributes": {"title": "springs"},
    }
    assert record["ranges"] == {"load": {"low": 0.0, "high": 4.0, "units": "N"}}


def test_the_checksum_follows_the_data(fitted: Line, tmp_path: Path) -> None:
    changed = data()
    changed["elongation"].values[3] += 1e-9
    line = Line(LineOptions(), training=TrainOptions(epochs=1, device="cpu"))
    line.fit(changed)
    assert line._data["sha256"] != fitted._data["sha256"]


def test_outside_the_training_range(fitted: Line) -> None:
    beyond = data(3.0, 5.0, 5)
    with pytest.raises(ValueError, match=r"load is 4.5 to 5 N in 2 of 5 .* from 0 to 4 N"):
        fitted.predict(beyond, outside="raise")
    with pytest.warns(OutsideRangeWarning, match="load"):
        assert np.isfinite(fitted.predict(beyond)["elongation"]).all()
    masked = fitted.predict(beyond, outside="mask")["elongation"]
    assert np.isnan(masked.values).tolist() == [False, False, False, True, True]
    assert masked.attrs["units"] == "m"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted.predict(data())


def test_wrong_input_is_refused(fitted: Line) -> None:
    with pytest.raises(ValueError, match=r"no variable 'load'.*units of 'N'"):
        fitted.predict(data().drop_vars("load"))
    kilo = data()
    kilo["load"].attrs["units"] = "kN"
    with pytest.raises(ValueError, match="'load' is given in 'kN', expected 'N'"):
        fitted.predict(kilo)
    del kilo["load"].attrs["units"]
    with pytest.raises(ValueError, match="'load' has no units"):
        fitted.predict(kilo)
    with pytest.raises(ValueError, match="no variable 'elongation'"):
        Line(LineOptions()).fit(data().drop_vars("elongation"))


def test_an_unfitted_surrogate_refuses(tmp_path: Path) -> None:
    line = Line(LineOptions())
    for call in (lambda: line.predict(data()), lambda: line.save(tmp_path / "line")):
        with pytest.raises(ValueError, match="not fitted"):
            call()
    assert not (tmp_path / "line").exists()


def test_what_is_no_surrogate_is_refused(fitted: Line, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no folder"):
        Line.load(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match=r"no surrogate\.json"):
        Line.load(tmp_path)
    fitted.save(tmp_path / "line")
    with pytest.raises(ValueError, match="holds a Line, expected Other"):
        Other.load(tmp_path / "line")


def alter(folder: Path, **changes: object) -> None:
    path = folder / "surrogate.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_record_cannot_name_any_class(fitted: Line, tmp_path: Path) -> None:
    fitted.save(tmp_path / "line")
    for name, message in (
        ("antigravity:Joke", "import antigravity first"),
        ("sciml.nothing:Line", "was not found"),
        ("sciml.train.options:TrainOptions", "expected Surrogate"),
        ("subprocess:Popen", "expected Surrogate"),
    ):
        alter(tmp_path / "line", **{"class": name})
        with pytest.raises(ValueError, match=message):
            Surrogate.load(tmp_path / "line")


def test_files_of_two_surrogates_are_not_mixed(fitted: Line, tmp_path: Path) -> None:
    fitted.save(tmp_path / "a")
    weights = tmp_path / "a" / "weights.safetensors"
    damaged = bytearray(weights.read_bytes())
    damaged[-1] ^= 1
    weights.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"not what surrogate\.json describes"):
        Line.load(tmp_path / "a")


def test_save_never_removes_a_strangers_folder(fitted: Line, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(FileExistsError, match="not overwritten"):
        fitted.save(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_two_writers_leave_one_whole_surrogate(fitted: Line, tmp_path: Path) -> None:
    target = tmp_path / "line"

    def write() -> None:
        for _ in range(10):
            fitted.save(target)

    writers = [threading.Thread(target=write) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [path.name for path in tmp_path.iterdir()] == ["line"]
    assert (Line.load(target).predict(data()) == fitted.predict(data()))["elongation"].all()
