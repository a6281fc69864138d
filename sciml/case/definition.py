"""The parts of a case, and what a run hands to its figures and tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np
import xarray as xr

from sciml.case.result import Bound, Result, Tier
from sciml.data.splits import Splits

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Case", "Diagnostic", "Job", "Metric", "Model", "Outcome", "Persistent", "Table"]


@dataclass(frozen=True, kw_only=True)
class Job:
    """What one run asks of its case.

    Args:
        tier: how much the run may cost.
        seed: where every random number comes from.
        folder: where the run writes.
        data: where generated data is kept, for this run and later ones.
        device: "auto", "cpu" or "cuda".
        workers: processes that generate data.
        resume: whether to continue what an earlier run began.
        samples: how many samples to generate; None leaves it to the tier.
    """

    tier: Tier
    folder: Path
    data: Path
    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    workers: int = 1
    resume: bool = False
    samples: int | None = None


@runtime_checkable
class Model(Protocol):
    """What can be fitted and asked: a network, a POD, a solver on a coarse grid.

    A resumed run brings a fitted model back by its `load`, if it has `save(folder)` and a class
    method `load(folder)`; else by `fit(..., resume=True)`, which should be cheap then.
    """

    def fit(
        self,
        train: xr.Dataset,
        valid: xr.Dataset | None = None,
        *,
        folder: Path | None = None,
        resume: bool = False,
    ) -> Any:
        """Learn from the training samples; checkpoints go to `folder`."""

    def predict(self, ds: xr.Dataset) -> xr.Dataset:
        """Labelled inputs in, labelled outputs out; every output has `units`."""


@runtime_checkable
class Persistent(Protocol):
    """A model that can be kept in a folder; `load` is a class method that brings it back.

    A `save` that takes `figures` too is given what was measured, for its model card.
    """

    def save(self, folder: Path, **options: Any) -> Any: ...

    def load(self, folder: Path) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A figure of merit: function of truth and prediction, one value or one per sample.

    Args:
        function: (truth, prediction) -> float, or a DataArray over `sample`.
        unit: unit of the value; "1" for a ratio.
        description: the sentence that the report prints under its tables.
        reduce: how the values of the samples become one; a single value stands as it is.

    >>> error = Metric(
    ...     function=lambda truth, prediction: abs(prediction["u"] - truth["u"]),
    ...     unit="m s-1", description="error of the velocity", reduce="median")
    >>> truth = xr.Dataset({"u": ("sample", [0.0, 0.0, 0.0])})
    >>> error(truth, xr.Dataset({"u": ("sample", [1.0, -2.0, 9.0])}))
    2.0
    """

    function: Callable[[xr.Dataset, xr.Dataset], Any]
    unit: str
    description: str
    reduce: Literal["mean", "median", "10th percentile"] = "mean"

    def __call__(self, truth: xr.Dataset, prediction: xr.Dataset) -> float:
        """The metric of a test set; NaN where any sample gives NaN."""
        values = np.asarray(self.function(truth, prediction), dtype=np.float64)
        percentile = {"median": 50, "10th percentile": 10}.get(self.reduce)
        return float(np.mean(values) if percentile is None else np.percentile(values, percentile))


@dataclass(frozen=True, kw_only=True)
class Diagnostic:
    """A figure of a fitted model itself, not of its predictions, such as a Lyapunov exponent.

    Args:
        function: (model, splits) -> float; None where the model has no such figure.
        unit: unit of the value; "1" for a ratio.
        description: the sentence that the report prints under its table.
    """

    function: Callable[[Any, Splits], float | None]
    unit: str
    description: str

    def __call__(self, model: Model, splits: Splits) -> float:
        """The figure; NaN where the model has none."""
        value = self.function(model, splits)
        return math.nan if value is None else float(value)


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of the report.

    Args:
        title: its heading.
        columns: the heads; the first column names the rows.
        rows: text stands as it is, numbers are set to three significant digits.
        note: a sentence under the table.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | float | int | bool | None]]
    note: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(
                    f"table {self.title!r} has {len(self.columns)} columns, "
                    f"but the row {row[0] if row else row!r} has {len(row)} entries"
                )


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """A finished run: what the figures and tables of a case are drawn from.

    Args:
        job: what was asked.
        splits: the data.
        models: the fitted models.
        predictions: of every model on every test set.
        histories: for each fit that left a `history.json`, its columns over the epochs.
        result: the scores, as `result.json` holds them.
    """

    job: Job
    splits: Splits
    models: Mapping[str, Model]
    predictions: Mapping[str, Mapping[str, xr.Dataset]]
    histories: Mapping[str, Mapping[str, Any]]
    result: Result


def _no_figures(outcome: Outcome) -> Mapping[str, Figure]:
    return {}


def _no_tables(outcome: Outcome) -> Mapping[str, Table]:
    return {}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A problem with its data, its reference, its models and what they must achieve.

    Args:
        name: as on the command line, with hyphens.
        summary: one line.
        reference: DOI or citation that the case follows.
        generate: makes the data, for `sciml data`; returns the files.
        load: training, validation and named test sets, the principal test set first.
        models: makers of the models, the principal one first.
        metrics: each is taken on every test set; `metric@set` names it on the others.
        accept: tier -> model -> metric (or `metric@set`) or diagnostic -> bound.
        diagnostics: each is taken of every model, once.
        prepare: model -> splits that it is fitted on instead, made of those of the case: smoothed
            ones, say. All models predict from the same data.
        figures: name -> matplotlib figure; a label of the figure is its caption.
        tables: name -> further table of the report.
        threads: at most so many for torch and numba, where small operations are quicker on few.

    Raises:
        ValueError: a bound or a preparation is set for a model, or a bound for a metric, that the
            case does not have.
    """

    name: str
    summary: str
    reference: str
    generate: Callable[[Job], Sequence[Path]]
    load: Callable[[Job], Splits]
    models: Mapping[str, Callable[[Job], Model]]
    metrics: Mapping[str, Metric]
    accept: Mapping[Tier, Mapping[str, Mapping[str, Bound]]]
    figures: Callable[[Outcome], Mapping[str, Figure]] = field(default=_no_figures)
    tables: Callable[[Outcome], Mapping[str, Table]] = field(default=_no_tables)
    diagnostics: Mapping[str, Diagnostic] = field(default_factory=dict)
    prepare: Mapping[str, Callable[[Splits], Splits]] = field(default_factory=dict)
    threads: int | None = None

    def __post_init__(self) -> None:
        if not self.models or not self.metrics:
            raise ValueError(f"case {self.name!r} needs at least one model and one metric")
        if twice := self.metrics.keys() & self.diagnostics.keys():
            raise ValueError(f"case {self.name!r} has {min(twice)!r} as metric and as diagnostic")
        for model in self.prepare:
            self._check("prepare", model, self.models)
        for tier, models in self.accept.items():
            for model, bounds in models.items():
                self._check(f"accept[{tier!r}]", model, self.models)
                for metric in bounds:
                    known = {**self.metrics, **self.diagnostics}
                    self._check(f"accept[{tier!r}][{model!r}]", metric.split("@")[0], known)

    def _check(self, place: str, name: str, known: Mapping[str, Any]) -> None:
        if name not in known:
            raise ValueError(
                f"case {self.name!r}: {place} names {name!r}, which is none of {', '.join(known)}"
            )

    def prepared(self, model: str, splits: Splits) -> Splits:
        """The splits with the training and validation data that a model is fitted on."""
        return self.prepare[model](splits) if model in self.prepare else splits

    def unit(self, score: str) -> str:
        """The unit of a metric, of `metric@set`, or of a diagnostic."""
        name = score.partition("@")[0]
        return self.diagnostics[name].unit if name in self.diagnostics else self.metrics[name].unit

    @property
    def principal(self) -> str:
        """Name of the model that the case is about: the first."""
        return next(iter(self.models))
