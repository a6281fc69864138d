"""What a run found: scores against bounds, times, machine and data, as `result.json` holds them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from sciml.data.files import read_json, write_json

__all__ = [
    "Bound",
    "Direction",
    "ModelResult",
    "Result",
    "Score",
    "Tier",
    "at_least",
    "at_most",
    "record",
]

Tier = Literal["smoke", "full", "paper"]
"""How much a run costs: a test, half an hour on two CPU cores, or a GPU."""

Direction = Literal["at most", "at least"]


@dataclass(frozen=True, kw_only=True)
class Bound:
    """The value a metric may not pass, and from which side.

    >>> Bound(value=0.04, direction="at most").holds(0.041)
    False
    >>> Bound(value=0.9, direction="at least").holds(0.95)
    True
    >>> Bound(value=0.9, direction="at least").holds(float("nan"))
    False
    """

    value: float
    direction: Direction

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise ValueError(f"a bound must be a finite number, not {self.value}")
        if self.direction not in get_args(Direction):
            raise ValueError(
                f"a bound's direction is 'at most' or 'at least', not {self.direction!r}"
            )

    def holds(self, value: float) -> bool:
        """Whether the value stays on the right side; NaN never does, nor does infinity."""
        if not math.isfinite(value):
            return False
        return value <= self.value if self.direction == "at most" else value >= self.value


def at_most(value: float) -> Bound:
    """An upper bound.

    >>> at_most(0.04).holds(0.03)
    True
    """
    return Bound(value=value, direction="at most")


def at_least(value: float) -> Bound:
    """A lower bound.

    >>> at_least(0.9).holds(0.8)
    False
    """
    return Bound(value=value, direction="at least")


@dataclass(frozen=True, kw_only=True)
class Score:
    """The value of one metric for one model, beside its bound where it has one."""

    value: float
    unit: str
    bound: Bound | None = None

    @property
    def holds(self) -> bool | None:
        """Whether the bound holds; None where there is no bound."""
        return None if self.bound is None else self.bound.holds(self.value)

    def to_dict(self) -> dict[str, Any]:
        """As `result.json` holds it: a value that is not finite becomes null."""
        return {
            "value": self.value if math.isfinite(self.value) else None,
            "bound": None if self.bound is None else self.bound.value,
            "direction": None if self.bound is None else self.bound.direction,
            "holds": self.holds,
            "unit": self.unit,
        }

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any]) -> Score:
        """The inverse of `to_dict`; null becomes NaN."""
        bound = None
        if entry["bound"] is not None:
            bound = Bound(value=float(entry["bound"]), direction=entry["direction"])
        value = math.nan if entry["value"] is None else float(entry["value"])
        return cls(value=value, unit=entry["unit"], bound=bound)


@dataclass(frozen=True, kw_only=True)
class ModelResult:
    """The scores of one model and what it cost.

    Args:
        metrics: `metric` on the principal test set, `metric@set` on another.
        fit_seconds: wall time of the fit, in the run that fitted it.
        predict_seconds: wall time of a prediction for one sample of the principal test set:
            the whole set is predicted at once, the median of several is divided by its size.
    """

    metrics: Mapping[str, Score]
    fit_seconds: float
    predict_seconds: float

    def to_dict(self) -> dict[str, Any]:
        return {
            "metrics": {name: score.to_dict() for name, score in self.metrics.items()},
            "fit_seconds": self.fit_seconds,
            "predict_seconds": self.predict_seconds,
        }

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any]) -> ModelResult:
        """The inverse of `to_dict`."""
        return cls(
            metrics={name: Score.from_dict(score) for name, score in entry["metrics"].items()},
            fit_seconds=float(entry["fit_seconds"]),
            predict_seconds=float(entry["predict_seconds"]),
        )


@dataclass(frozen=True, kw_only=True)
class Result:
    """Everything a run found, as `result.json` holds it.

    Args:
        case: name of the case.
        tier: which of its tiers.
        seed: the seed that every random number of the run comes from.
        models: the models side by side, the principal one first.
        environment: package versions, machine and commit.
        data: checksum and origin of the data, and the number of samples of each part.
    """

    case: str
    tier: Tier
    seed: int
    models: Mapping[str, ModelResult]
    environment: Mapping[str, Any]
    data: Mapping[str, Any]

    @property
    def holds(self) -> bool:
        """Whether every bound holds."""
        return not any(True for _ in self.shortfalls())

    def shortfalls(self) -> Iterator[tuple[str, str, Score]]:
        """Each model, metric and score whose bound does not hold."""
        for name, model in self.models.items():
            for metric, score in model.metrics.items():
                if score.holds is False:
                    yield name, metric, score

    def to_dict(self) -> dict[str, Any]:
        return {
            "case": self.case,
            "tier": self.tier,
            "seed": self.seed,
            "models": {name: model.to_dict() for name, model in self.models.items()},
            "environment": dict(self.environment),
            "data": dict(self.data),
        }

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any]) -> Result:
        """The inverse of `to_dict`.

        Raises:
            ValueError: a part is missing.
        """
        try:
            return cls(
                case=entry["case"],
                tier=entry["tier"],
                seed=entry["seed"],
                models={
                    name: ModelResult.from_dict(model) for name, model in entry["models"].items()
                },
                environment=entry["environment"],
                data=entry["data"],
            )
        except KeyError as error:
            raise ValueError(f"a result needs {error}, which is not there") from error

    def write(self, path: Path) -> Path:
        """Write `result.json`, atomically; return the path."""
        return write_json(path, self.to_dict())

    @classmethod
    def read(cls, path: Path) -> Result:
        """Read a `result.json`."""
        return cls.from_dict(read_json(path))


def record(result: Result, path: Path) -> Path:
    """Keep a result as the expected one of its tier; the other tiers stay as they are.

    Args:
        result: a result whose bounds all hold.
        path: `cases/<case>/expected.json`.

    Raises:
        ValueError: a bound falls short; such a result is not worth expecting.
    """
    short = [f"{metric} of {model}" for model, metric, _ in result.shortfalls()]
    if short:
        raise ValueError(
            f"the result is not recorded, because it falls short in {', '.join(short)}"
        )
    kept = read_json(path) if path.exists() else {}
    kept[result.tier] = result.to_dict()
    return write_json(path, {tier: kept[tier] for tier in get_args(Tier) if tier in kept})
