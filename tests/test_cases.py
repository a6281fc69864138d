"""Every case: its papers are there, what it recorded holds, and its smoke tier passes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sciml.case import Result, cases, summary_of
from sciml.case.discovery import load_case
from sciml.cli import main
from sciml.data.files import read_json

CASES = cases(Path(__file__).parents[1] / "cases")


def recorded() -> list[tuple[str, str]]:
    return [
        (name, tier)
        for name, folder in CASES.items()
        if (folder / "expected.json").exists()
        for tier in read_json(folder / "expected.json")
    ]


def test_the_command_lists_every_case(capsys):
    assert main(["cases"]) == 0
    listed = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert listed == {name: summary_of(folder) for name, folder in CASES.items()}
    assert CASES and all(listed.values())


@pytest.mark.parametrize("name", CASES)
def test_a_case_is_complete(name):
    folder = CASES[name]
    assert (folder / "README.md").stat().st_size > 0
    case = load_case(folder)
    assert case.reference
    assert {"smoke", "full"} <= set(case.accept)
    assert set(read_json(folder / "expected.json")) >= {"smoke", "full"}
    assert all(metric.unit and metric.description for metric in case.metrics.values())


@pytest.mark.parametrize(("name", "tier"), recorded())
def test_what_was_recorded_holds_the_bounds_of_today(name, tier):
    case = load_case(CASES[name])
    result = Result.from_dict(read_json(CASES[name] / "expected.json")[tier])
    assert (result.case, result.tier) == (name, tier)
    assert list(result.models) == list(case.models)
    for model, bounds in case.accept[tier].items():
        for metric, bound in bounds.items():
            assert bound.holds(result.models[model].metrics[metric].value), (model, metric)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_the_smoke_tier_passes(name, tmp_path):
    """In a process of its own, as a user runs it, on one thread: other tests run beside it."""
    folders = ["--out", tmp_path / "out", "--data", tmp_path / "data"]
    command = [sys.executable, "-m", "sciml.cli", "run", name, "--tier", "smoke", *folders]
    alone = {**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200, env=alone)
    assert done.returncode == 0, done.stdout + done.stderr
    assert Result.read(tmp_path / "out/result.json").holds
    assert (tmp_path / "out/report.html").exists()
    saved = {path.name for path in (tmp_path / "out/surrogate").iterdir()}
    assert saved & {"surrogate.json", "ensemble.json", "method.json"}
