"""Frozen dataclasses survive JSON; what does not fit is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from sciml.train import TrainOptions
from sciml.train.records import find_class, from_record, to_record


@dataclass(frozen=True, kw_only=True)
class Circle:
    radius: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Square:
    side: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Everything:
    shape: Circle | Square = Circle()
    shapes: tuple[Circle | Square, ...] = ()
    kind: Literal["a", "b"] = "a"
    size: tuple[int, float] = (1, 2.0)
    maybe: int | None = None
    names: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    path: Path = Path()
    yes: bool = True


FULL = Everything(
    shape=Square(side=2.5),
    shapes=(Circle(), Square()),
    kind="b",
    size=(3, 0.1),
    maybe=4,
    names={"x": (1, 2)},
    path=Path("a/b"),
    yes=False,
)


@pytest.mark.parametrize("value", [Everything(), FULL, TrainOptions(patience=3, ema_decay=0.99)])
def test_json_and_back_is_the_same(value: object) -> None:
    assert from_record(json.loads(json.dumps(to_record(value)))) == value


def test_a_record_from_before_a_field_existed_takes_its_default() -> None:
    record = to_record(TrainOptions(epochs=3))
    del record["optimiser"]
    assert from_record(record) == TrainOptions(epochs=3)


def test_whole_numbers_are_read_as_floats() -> None:
    read = from_record({**to_record(Circle()), "radius": 2})
    assert isinstance(read.radius, float)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kind", "c"),
        ("size", [1]),
        ("size", [1.5, 2.0]),
        ("maybe", "4"),
        ("maybe", True),
        ("yes", 1),
        ("shape", to_record(TrainOptions())),
        ("shape", {"radius": 1.0}),
        ("names", {"x": 1}),
    ],
)
def test_a_value_that_does_not_fit_its_field_is_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=name):
        from_record({**to_record(FULL), name: value})


def test_unknown_fields_and_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="no field colour"):
        from_record({**to_record(Circle()), "colour": "red"})
    with pytest.raises(ValueError, match="is not a dataclass"):
        from_record({"type": "pathlib:Path"})
    with pytest.raises(ValueError, match="key `type`"):
        from_record({"radius": 1.0})
    with pytest.raises(ValueError, match="import nowhere first"):
        find_class("nowhere:Thing")


def test_what_json_cannot_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="type set cannot be stored"):
        to_record({"a": {1, 2}})


def test_options_out_of_range_are_refused_when_read() -> None:
    with pytest.raises(ValueError, match="epochs is 0"):
        from_record({**to_record(TrainOptions()), "epochs": 0})
