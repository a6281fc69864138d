"""Cases: bounds, results, and runs that are cut off."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import xarray as xr

from sciml.case import Bound, Job, Metric, Result, Score, cases, find_case, record, run, summary_of
from sciml.case.discovery import load_case
from sciml.case.environment import data_of
from sciml.data import load, save
from sciml.data.files import read_json

FOLDER = Path(__file__).parent / "cases" / "straight_line"
KEYS = {"value", "bound", "direction", "holds", "unit"}


@pytest.fixture
def case():
    return load_case(FOLDER)


@pytest.fixture
def job(tmp_path) -> Job:
    return Job(tier="smoke", folder=tmp_path / "out", data=tmp_path / "data", device="cpu")


def metrics_of(result: Result) -> dict[str, dict]:
    return {name: model["metrics"] for name, model in result.to_dict()["models"].items()}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_holds_no_bound(value):
    assert not Bound(value=1.0, direction="at most").holds(value)
    assert not Bound(value=1.0, direction="at least").holds(value)
    assert not Score(value=value, unit="1", bound=Bound(value=1.0, direction="at least")).holds


def test_a_bound_is_finite():
    with pytest.raises(ValueError, match="finite"):
        Bound(value=math.nan, direction="at most")


def test_a_run_finds_the_line(case, job):
    outcome = run(case, job)
    found = outcome.models["line"]
    noise_of_the_slope = 0.02 / math.sqrt(64 / 3)
    assert abs(found.a - 2.0) < 5 * noise_of_the_slope
    assert outcome.result.holds
    assert outcome.result.models["mean"].metrics["error"].value > 0.5
    assert len(outcome.histories["line"]["train_loss"]) == 60


def test_the_result_has_the_agreed_form(case, job):
    result = run(case, job).result
    entry = json.loads((job.folder / "result.json").read_text())
    assert list(entry) == ["case", "tier", "seed", "models", "environment", "data"]
    assert (entry["case"], entry["tier"], entry["seed"]) == ("straight-line", "smoke", 0)
    assert list(entry["models"]) == ["line", "mean"]
    for model in entry["models"].values():
        assert set(model) == {"metrics", "fit_seconds", "predict_seconds"}
        assert model["predict_seconds"] > 0
        names = [f"{m}{s}" for s in ("", "@farther <away>") for m in ("error", "distance")]
        assert list(model["metrics"]) == [*names, "slope"]
        assert all(set(score) == KEYS for score in model["metrics"].values())
    assert entry["models"]["line"]["metrics"]["error"]["direction"] == "at most"
    assert entry["models"]["mean"]["metrics"]["error"]["bound"] is None
    assert entry["models"]["line"]["metrics"]["slope"]["value"] == pytest.approx(2.0, abs=0.02)
    assert entry["models"]["mean"]["metrics"]["slope"]["value"] is None
    assert entry["environment"]["machine"]["cores"] == os.cpu_count()
    assert set(entry["environment"]) == {"packages", "machine", "commit"}
    assert entry["data"]["checksum"].startswith("sha256:")
    assert entry["data"]["origin"] == "a line with normal noise, drawn anew"
    assert Result.read(job.folder / "result.json") == result


def test_the_seed_decides_the_data_and_the_checksum_tells(case, job, tmp_path):
    first = run(case, job).result
    again = run(case, replace(job, folder=tmp_path / "again")).result
    other = run(case, replace(job, folder=tmp_path / "other", seed=1)).result
    assert metrics_of(first) == metrics_of(again)
    assert first.data == again.data
    assert other.data["checksum"] != first.data["checksum"]


def test_the_checksum_is_of_the_files_and_of_the_rows_taken(case, job):
    points = case.load(job)
    path = save(points.train, job.data / "points.nc")

    def checksum(rows: slice, ds: xr.Dataset) -> str:
        return data_of(replace(points, train=ds.isel(sample=rows)))["checksum"]

    whole = checksum(slice(None), load(path))
    assert whole == checksum(slice(None), load(path))
    assert whole != checksum(slice(9), load(path))
    save(points.train.assign(y=points.train.y.copy(data=points.train.y + 1e-9)), path)
    assert whole != checksum(slice(None), load(path))


def test_a_bound_that_falls_short_is_told(case, job):
    result = run(case, replace(job, tier="full")).result
    assert not result.holds
    assert [(model, metric) for model, metric, _ in result.shortfalls()] == [("line", "error")]


def test_nan_is_written_as_null_and_falls_short(case, job):
    broken = Metric(function=lambda truth, found: math.nan, unit="1", description="none")
    result = run(replace(case, metrics={**case.metrics, "error": broken}), job).result
    assert not result.holds
    entry = read_json(job.folder / "result.json")["models"]["line"]["metrics"]["error"]
    assert (entry["value"], entry["holds"]) == (None, False)
    assert math.isnan(Result.read(job.folder / "result.json").models["line"].metrics["error"].value)


def test_a_sample_that_fails_is_not_averaged_away():
    metric = Metric(function=lambda truth, found: [0.0, math.nan, 0.0], unit="1", description="")
    nothing = xr.Dataset()
    assert math.isnan(metric(nothing, nothing))
    assert math.isnan(replace(metric, reduce="median")(nothing, nothing))


CUT_OFF = """
import sys, time
from dataclasses import replace
from pathlib import Path
from sciml.case import Job, run
from sciml.case.discovery import load_case
from sciml.case.environment import data_of
from sciml.data import load, save

class Slow:
    def fit(self, train, valid=None, *, folder=None, resume=False):
        folder.mkdir(parents=True)
        (folder / "started").touch()
        time.sleep(60)

case = load_case(Path(sys.argv[1]))
case = replace(case, models={**case.models, "slow": lambda job: Slow()})
out = Path(sys.argv[2])
run(case, Job(tier="smoke", folder=out, data=out / "data", device="cpu"))
"""


def cut_off(folder: Path) -> None:
    """A run that SIGKILL ends while its third model is fitted."""
    with subprocess.Popen([sys.executable, "-c", CUT_OFF, FOLDER, folder]) as process:
        deadline = time.monotonic() + 60
        while not (folder / "models/slow/started").exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL


def test_a_killed_run_goes_on_where_it_was(case, job, tmp_path):
    cut_off(job.folder)
    assert not (job.folder / "result.json").exists()
    assert not list(job.folder.rglob(".*"))
    before = read_json(job.folder / "models/line/finished.json")

    with pytest.raises(ValueError, match=r"unfinished run of straight-line.*--resume"):
        run(case, job)
    case = replace(case, models={**case.models, "slow": case.models["mean"]})
    resumed = run(case, replace(job, resume=True)).result

    assert (job.folder / "models/line/fits.log").read_text() == "fitted\n"
    assert resumed.models["line"].fit_seconds == before["fit_seconds"]
    assert resumed.models["line"].predict_seconds == before["predict_seconds"]
    whole = run(case, replace(job, folder=tmp_path / "whole")).result
    assert metrics_of(resumed) == metrics_of(whole)
    assert (
        Path(job.folder / "surrogate/line.json").read_bytes()
        == (tmp_path / "whole/surrogate/line.json").read_bytes()
    )


def test_a_run_is_resumed_only_as_what_it_was(case, job):
    with pytest.raises(ValueError, match="no run to resume"):
        run(case, replace(job, resume=True))
    run(case, job)
    with pytest.raises(ValueError, match="seed 0, not of straight-line, tier smoke, seed 3"):
        run(case, replace(job, resume=True, seed=3))
    other_data = replace(case, load=lambda job: case.load(replace(job, seed=9)))
    with pytest.raises(ValueError, match="the data changed"):
        run(other_data, replace(job, resume=True))


def test_a_finished_run_may_be_run_anew(case, job):
    run(case, replace(job, tier="full"))
    (job.folder / "notes.txt").write_text("mine")
    run(case, job)
    assert read_json(job.folder / "result.json")["tier"] == "smoke"
    assert (job.folder / "models/line/fits.log").read_text() == "fitted\n"
    assert (job.folder / "notes.txt").read_text() == "mine"


def test_a_run_that_failed_before_it_fitted_anything_may_be_run_anew(case, job):
    def unreadable(job):
        raise ValueError("no data")

    with pytest.raises(ValueError, match="no data"):
        run(replace(case, load=unreadable), job)
    assert run(case, job).result.holds


def test_a_prediction_that_takes_long_is_timed_once(case, job, monkeypatch):
    """Of a quick one the median of five is taken, the first left out."""
    calls = []

    class Counted(type(case.models["mean"](job))):
        def predict(self, ds):
            calls.append(ds.sizes["sample"])
            return super().predict(ds)

    counted = replace(case, models={**case.models, "mean": lambda job: Counted()})
    run(counted, job)
    assert len(calls) == 2 + 5
    calls.clear()
    ticks = iter(range(0, 10_000, 6))
    monkeypatch.setattr("sciml.case.running.time.perf_counter", lambda: float(next(ticks)))
    result = run(counted, job).result
    assert len(calls) == 2
    assert result.models["mean"].predict_seconds == 6.0 / 32


def test_record_keeps_the_other_tiers(case, job, tmp_path):
    path = tmp_path / "expected.json"
    path.write_text(json.dumps({"full": {"kept": True}}))
    result = run(case, job).result
    record(result, path)
    assert read_json(path) == {"smoke": result.to_dict(), "full": {"kept": True}}


def test_record_refuses_a_result_that_falls_short(case, job, tmp_path):
    result = run(case, replace(job, tier="full")).result
    with pytest.raises(ValueError, match="error of line"):
        record(result, tmp_path / "expected.json")
    assert not (tmp_path / "expected.json").exists()


def test_bounds_name_what_is_there(case, job):
    bound = Bound(value=1.0, direction="at most")
    with pytest.raises(ValueError, match="'eror'"):
        replace(case, accept={"smoke": {"line": {"eror": bound}}})
    with pytest.raises(ValueError, match="'lime'"):
        replace(case, accept={"smoke": {"lime": {"error": bound}}})
    elsewhere = replace(case, accept={"smoke": {"line": {"error@mars": bound}}})
    with pytest.raises(ValueError, match=r"error@mars.*farther"):
        run(elsewhere, job)
    with pytest.raises(ValueError, match="it has smoke, full"):
        run(case, replace(job, tier="paper"))


def test_a_case_is_found_by_name_folder_or_file():
    known = cases(FOLDER.parent)
    assert known == {"straight-line": FOLDER}
    assert summary_of(FOLDER) == "A straight line through noisy points, by gradient descent."
    assert find_case(str(FOLDER)) == find_case(str(FOLDER / "case.py")) == FOLDER


def test_a_case_bears_the_name_of_its_folder(tmp_path):
    folder = tmp_path / "crooked_line"
    folder.mkdir()
    (folder / "case.py").write_text((FOLDER / "case.py").read_text())
    with pytest.raises(ValueError, match="'crooked-line'"):
        load_case(folder)
    (folder / "case.py").write_text('"""Nothing."""\n')
    with pytest.raises(ValueError, match="must define `case`"):
        load_case(folder)


def test_a_model_is_fitted_on_what_is_prepared_and_predicts_from_what_is(case, job):
    def tripled(splits):
        return replace(splits, train=splits.train.assign(y=3 * splits.train["y"]))

    steeper = replace(case, prepare={"line": tripled})
    outcome = run(steeper, job)
    assert outcome.models["line"].a == pytest.approx(6.0, abs=0.1)
    assert outcome.result.models["line"].metrics["error"].value > 1
    plain = run(case, replace(job, folder=job.folder.with_name("plain")))
    mean = (o.result.models["mean"].metrics["error"] for o in (outcome, plain))
    assert len(set(mean)) == 1
    with pytest.raises(ValueError, match="prepare names 'spline'"):
        replace(case, prepare={"spline": tripled})
