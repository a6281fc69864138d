"""Running a case: load its data, fit its models side by side, judge them, keep what was found."""

from __future__ import annotations

import inspect
import math
import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import xarray as xr

from sciml.case.definition import Case, Job, Model, Outcome, Persistent
from sciml.case.environment import data_of, environment
from sciml.case.result import Bound, ModelResult, Result, Score
from sciml.data.files import read_json, write_json
from sciml.data.splits import Splits
from sciml.data.threads import limited_threads

__all__ = ["run"]

Stage = Callable[[str], AbstractContextManager[Any]]
"""Announces a piece of work by a sentence and lasts as long as the work does."""


def run(case: Case, job: Job, *, stage: Stage = nullcontext) -> Outcome:
    """Run a case: fit every model, judge it on every test set, write `result.json`.

    In `job.folder` stand then `result.json`, `models/<name>/` with the checkpoints and scores of
    each model, and `surrogate/`, the principal model ready to be loaded. A run that was cut off
    goes on under `job.resume`: a model whose scores stand there is not fitted again, and keeps
    the times measured by the run that fitted it.

    Args:
        case: what to run.
        job: how, and where to write.
        stage: shows what is being done, for a terminal.

    Returns:
        the outcome, with predictions and histories for figures; the scores are its `result`.

    Raises:
        ValueError: the case has no such tier; the folder holds an unfinished run and `resume`
            is not set, or `resume` is set and the folder holds nothing to resume, or what it
            holds is of another case, tier, seed or data.
    """
    bounds = _bounds(case, job)
    _enter(case, job)
    with limited_threads(case.threads):
        return _outcome(case, job, bounds, stage)


def _outcome(
    case: Case, job: Job, bounds: Mapping[str, Mapping[str, Bound]], stage: Stage
) -> Outcome:
    """What came of the case, written to the folder."""
    surroundings = environment(job.device)
    with stage("data"):
        splits = case.load(job)
        data = data_of(splits)
    _check_bounds(case, bounds, splits)
    judged = {
        name: _judge(
            case,
            make(job),
            splits,
            folder=job.folder / "models" / name,
            resume=job.resume,
            checksum=data["checksum"],
            stage=stage,
        )
        for name, make in case.models.items()
    }
    _keep_surrogate(job.folder, *judged[case.principal][:2])
    result = Result(
        case=case.name,
        tier=job.tier,
        seed=job.seed,
        models={
            name: _model_result(case, finished, bounds.get(name, {}))
            for name, (_, finished, _) in judged.items()
        },
        environment=surroundings,
        data=data,
    )
    result.write(job.folder / "result.json")
    return Outcome(
        job=job,
        splits=splits,
        models={name: model for name, (model, _, _) in judged.items()},
        predictions={name: predictions for name, (_, _, predictions) in judged.items()},
        histories=dict(_histories(job.folder / "models")),
        result=result,
    )


def _bounds(case: Case, job: Job) -> Mapping[str, Mapping[str, Bound]]:
    if job.tier not in case.accept:
        raise ValueError(
            f"case {case.name!r} has no tier {job.tier!r}; it has {', '.join(case.accept)}"
        )
    return case.accept[job.tier]


def _enter(case: Case, job: Job) -> None:
    """Make the folder ours, or refuse it: what an earlier run left is never lost unasked."""
    asked = {"case": case.name, "tier": job.tier, "seed": job.seed}
    mark = job.folder / "run.json"
    if job.resume:
        if not mark.exists():
            raise ValueError(f"{job.folder} holds no run to resume; start it without --resume")
        found = read_json(mark)
        if found != asked:
            raise ValueError(
                f"{job.folder} holds a run of {_words(found)}, not of {_words(asked)}; "
                "resume it with the same options or choose another folder"
            )
        return
    begun = (job.folder / "models").exists() and not (job.folder / "result.json").exists()
    if mark.exists() and begun:
        raise ValueError(
            f"{job.folder} holds an unfinished run of {_words(read_json(mark))}; "
            "continue it with --resume, remove the folder, or choose another with --out"
        )
    _clear(job.folder)
    write_json(mark, asked)


def _words(run: Mapping[str, Any]) -> str:
    return f"{run['case']}, tier {run['tier']}, seed {run['seed']}"


def _clear(folder: Path) -> None:
    """Remove what a finished run left, and nothing else."""
    for name in ("result.json", "run.json"):
        (folder / name).unlink(missing_ok=True)
    for name in ("models", "surrogate"):
        shutil.rmtree(folder / name, ignore_errors=True)


def _check_bounds(case: Case, bounds: Mapping[str, Mapping[str, Bound]], splits: Splits) -> None:
    for model, metrics in bounds.items():
        for metric in metrics:
            name = metric.partition("@")[2]
            if name and name not in list(splits.tests)[1:]:
                raise ValueError(
                    f"case {case.name!r} bounds {metric!r} of {model!r}, but its further test "
                    f"sets are {', '.join(list(splits.tests)[1:]) or 'none'}"
                )


def _judge(
    case: Case,
    model: Model,
    splits: Splits,
    *,
    folder: Path,
    resume: bool,
    checksum: str,
    stage: Stage,
) -> tuple[Model, Mapping[str, Any], Mapping[str, xr.Dataset]]:
    """Fit a model, or bring it back, and score it on every test set.

    Two files mark the way: `fitted.json` after the fit, with its time, and `finished.json` after
    the scores.
    """
    with stage(f"{folder.name}: fit"):
        model, fit_seconds = _fit(
            model,
            lambda: case.prepared(folder.name, splits),
            folder=folder,
            resume=resume,
            checksum=checksum,
        )
    finished = _read(folder / "finished.json") if resume else None
    with stage(f"{folder.name}: predict"):
        start = time.perf_counter()
        principal = model.predict(splits.test)
        first = time.perf_counter() - start
        others = {name: model.predict(ds) for name, ds in list(splits.tests.items())[1:]}
        predictions = {next(iter(splits.tests)): principal, **others}
        if finished is None:
            finished = {
                "fit_seconds": fit_seconds,
                "predict_seconds": _predict_seconds(model, splits.test, first),
                "metrics": _scores(case, model, splits, predictions),
            }
            write_json(folder / "finished.json", finished)
    return model, finished, predictions


def _fit(
    model: Model, prepared: Callable[[], Splits], *, folder: Path, resume: bool, checksum: str
) -> tuple[Model, float]:
    """The fitted model and the wall time of its fit, over all the runs that worked on it.

    Preparing the data is part of that time.
    """
    kept = folder / "surrogate"
    fitted = _read(folder / "fitted.json") if resume else None
    if fitted is not None and fitted["checksum"] != checksum:
        raise ValueError(
            f"the data changed since {folder} was fitted; start the run anew in another folder"
        )
    if fitted is not None and isinstance(model, Persistent):
        return model.load(kept), fitted["seconds"]
    start = time.perf_counter()
    splits = prepared()
    model.fit(splits.train, splits.valid, folder=folder, resume=resume)
    seconds = max(time.perf_counter() - start, _epoch_seconds(folder))
    if fitted is not None:
        return model, fitted["seconds"]
    if isinstance(model, Persistent):
        model.save(kept)
    write_json(folder / "fitted.json", {"seconds": seconds, "checksum": checksum})
    return model, seconds


def _read(path: Path) -> Any:
    return read_json(path) if path.exists() else None


def _epoch_seconds(folder: Path) -> float:
    """Time of all epochs, those before an interruption included."""
    return math.fsum(math.fsum(history.get("seconds", ())) for _, history in _histories(folder))


def _histories(folder: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every `history.json` below a folder, by the path of its own folder."""
    for path in sorted(folder.rglob("history.json")):
        yield path.parent.relative_to(folder).as_posix(), read_json(path)


def _predict_seconds(model: Model, ds: xr.Dataset, first: float) -> float:
    """Seconds a sample or snapshot: the median of up to five predictions, a second in all.

    The first prediction may have compiled or loaded something, so that it counts only where it
    took so long that it is not worth repeating.
    """
    times = [first] if first > 1.0 else []
    while len(times) < 5 and sum(times) < 1.0:
        start = time.perf_counter()
        model.predict(ds)
        times.append(time.perf_counter() - start)
    return statistics.median(times) / max(1, ds.sizes.get("sample", ds.sizes.get("time", 1)))


def _scores(
    case: Case, model: Model, splits: Splits, predictions: Mapping[str, xr.Dataset]
) -> dict[str, float | None]:
    """Every metric on every test set, and every diagnostic; null where it is not finite."""
    principal = next(iter(splits.tests))
    scores: dict[str, float] = {}
    for name, truth in splits.tests.items():
        for metric, measure in case.metrics.items():
            key = metric if name == principal else f"{metric}@{name}"
            scores[key] = measure(truth, predictions[name])
    for name, diagnose in case.diagnostics.items():
        scores[name] = diagnose(model, splits)
    return {name: value if math.isfinite(value) else None for name, value in scores.items()}


def _model_result(
    case: Case, finished: Mapping[str, Any], bounds: Mapping[str, Bound]
) -> ModelResult:
    scores = {
        key: Score(
            value=math.nan if value is None else value,
            unit=case.unit(key),
            bound=bounds.get(key),
        )
        for key, value in finished["metrics"].items()
    }
    return ModelResult(
        metrics=scores,
        fit_seconds=finished["fit_seconds"],
        predict_seconds=finished["predict_seconds"],
    )


def _keep_surrogate(folder: Path, model: Model, finished: Mapping[str, Any]) -> None:
    """Save the principal model to `surrogate/`, its card with what was measured."""
    if not isinstance(model, Persistent):
        return
    if "figures" not in inspect.signature(model.save).parameters:
        model.save(folder / "surrogate")
        return
    measured = {name: value for name, value in finished["metrics"].items() if value is not None}
    model.save(folder / "surrogate", figures=measured)
