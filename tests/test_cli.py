"""The command: what it prints, the status it ends with, and how long its help takes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
import xarray as xr
from matplotlib.figure import Figure
from torch import Tensor, nn

from sciml import Surrogate, TrainOptions, load, save
from sciml.cli import main
from sciml.data import Samples
from sciml.data.files import read_json

CASE = str(Path(__file__).parent / "cases" / "straight_line")
COMMAND = [sys.executable, "-m", "sciml.cli"]


def call(*args: str | Path, **options) -> subprocess.CompletedProcess:
    """The command in a process of its own."""
    return subprocess.run([*COMMAND, *map(str, args)], capture_output=True, text=True, **options)


def refused(capsys, *args: str | Path) -> str:
    """The sentence that the command refuses its input with."""
    assert main([str(arg) for arg in args]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("sciml: ") and said.err.count("\n") == 1
    return said.err.removeprefix("sciml: ").strip()


def test_help_is_quick_and_imports_nothing_heavy():
    modules = "import sys; from sciml.cli import main\ntry: main(['--help'])\nexcept SystemExit: "
    heavy = "print(sorted({'torch', 'matplotlib', 'xarray', 'numba', 'scipy'} & set(sys.modules)))"
    code = [sys.executable, "-c", modules + heavy]
    assert subprocess.run(code, capture_output=True, text=True).stdout.splitlines()[-1] == "[]"
    seconds = []
    for _ in range(3):
        before = os.times()
        assert call("--help").returncode == 0
        after = os.times()
        spent = after.children_user + after.children_system
        seconds.append(spent - before.children_user - before.children_system)
    assert min(seconds) < 0.5


def test_importing_sciml_imports_nothing_heavy():
    code = "import sys, sciml; print(sorted({'torch', 'matplotlib', 'xarray', 'numpy', 'tyro'} "
    found = subprocess.run(
        [sys.executable, "-c", code + "& set(sys.modules)))"], capture_output=True, text=True
    )
    assert found.stdout.strip() == "[]"


def test_every_public_name_is_there():
    import sciml

    assert all(getattr(sciml, name) is not None for name in sciml.__all__)
    assert set(sciml.__all__) <= set(dir(sciml))
    with pytest.raises(AttributeError, match="no attribute 'Surogate'"):
        _ = sciml.Surogate


def test_run_writes_everything_and_ends_with_0(tmp_path):
    done = call("run", CASE, "--out", tmp_path / "out", "--device", "cpu", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "every bound holds" in done.stdout
    assert f"report: {tmp_path / 'out' / 'report.html'}" in done.stdout
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {
        *("result.json", "report.html", "run.json", "models", "surrogate"),
        *("lines.png", "training_curves.png"),
    }


def test_run_ends_with_1_where_a_bound_falls_short(capsys, tmp_path):
    args = ["run", CASE, "--tier", "full", "--out", str(tmp_path), "--device", "cpu"]
    assert main(args) == 1
    assert re.search(r"falls short: error of line: 0\.0\d+ ✗ ≤ 1e-09", capsys.readouterr().out)
    assert (tmp_path / "report.html").exists()


def test_seed_and_resume_reach_the_run(capsys, tmp_path):
    args = ["run", CASE, "--out", str(tmp_path), "--device", "cpu", "--seed", "7"]
    assert main(args) == 0
    assert read_json(tmp_path / "result.json")["seed"] == 7
    first = (tmp_path / "result.json").read_bytes()
    assert main([*args, "--resume"]) == 0
    assert (tmp_path / "result.json").read_bytes() == first
    assert (tmp_path / "models/line/fits.log").read_text() == "fitted\n"
    capsys.readouterr()
    assert "no run to resume" in refused(capsys, *args[:2], "--resume", "--out", tmp_path / "x")
    assert "seed 7, not of" in refused(capsys, *args[:4], "--resume", "--device", "cpu")


def test_record_writes_the_expected_result(tmp_path):
    copy = tmp_path / "straight_line"
    copy.mkdir()
    (copy / "case.py").write_text(Path(CASE, "case.py").read_text())
    args = ["run", str(copy), "--out", str(tmp_path / "out"), "--device", "cpu", "--record"]
    assert main(args) == 0
    expected = read_json(copy / "expected.json")
    assert expected == {"smoke": read_json(tmp_path / "out/result.json")}
    assert main([*args, "--tier", "full"]) == 1
    assert read_json(copy / "expected.json") == expected


def test_data_generates_and_names_the_file(capsys, tmp_path):
    assert main(["data", CASE, "--samples", "5", "--data", str(tmp_path), "--workers", "1"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'points.nc'}\n"
    assert load(tmp_path / "points.nc").sizes == {"sample": 5}


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "expected one of {cases, run, data, predict, info, modes}; see sciml --help"),
        (["fly"], "unrecognized options: fly"),
        (["run"], "missing from sciml run: CASE; see sciml run --help"),
        (["run", "no-such-case"], "there is no case named 'no-such-case'"),
        (["run", CASE, "--tier", "huge"], "invalid choice 'huge' for argument '--tier'"),
        (["run", CASE, "--tier", "paper"], "no tier 'paper'; it has smoke, full"),
        (["run", CASE, "--workers", "0"], "--workers must be at least 1, not 0"),
        (["run", CASE, "--seed", "-1"], "--seed must be at least 0, not -1"),
        (["run", CASE, "--wings", "2"], "unrecognized options: --wings"),
        (["data", CASE, "--samples", "0"], "--samples must be at least 1, not 0"),
        (["info", "nowhere"], "nowhere is no folder"),
        (["info", CASE], "holds no saved surrogate"),
        (["predict", "nowhere", "in.nc", "-o", "out.nc"], "nowhere is no folder"),
        (["predict", CASE, "in.nc", "-o", "out.nc", "--set", "angle"], "takes NAME=VALUE"),
    ],
)
def test_bad_input_is_refused_with_a_sentence(args, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert said in refused(capsys, *args)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_told(capsys):
    assert "needs a GPU" in refused(capsys, "run", CASE, "--device", "cuda")


def test_the_nearest_case_is_named(capsys, monkeypatch):
    known = {"obstacle-flow": Path("x"), "wavy-channel": Path("y")}
    monkeypatch.setattr("sciml.case.discovery.cases", lambda: known)
    said = refused(capsys, "run", "obstacl_flow")
    assert "did you mean obstacle-flow? the known cases are: obstacle-flow, wavy-channel" in said


def test_a_folder_that_cannot_be_written_is_told(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    said = refused(capsys, "run", CASE, "--out", tmp_path / "file" / "x", "--device", "cpu")
    assert str(tmp_path / "file") in said


def test_an_interrupted_run_says_how_to_go_on(tmp_path):
    slow = tmp_path / "slow_line"
    slow.mkdir()
    (slow / "case.py").write_text(
        f"import sys, time; sys.path.insert(0, {CASE!r})\n"
        "from dataclasses import replace\n"
        "from case import case\n"
        "def load(job):\n    (job.folder / 'loading').touch()\n    time.sleep(60)\n"
        "case = replace(case, name='slow-line', load=load)\n"
    )
    out = tmp_path / "out"
    args = [*COMMAND, "run", str(slow), "--out", str(out), "--device", "cpu"]
    with subprocess.Popen(args, stderr=subprocess.PIPE, text=True) as process:
        while not (out / "loading").exists():
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert said == (
        f"sciml: interrupted; go on with: sciml run {slow} --tier smoke --out {out} --seed 0 "
        "--resume\n"
    )


@dataclass(frozen=True, kw_only=True)
class SpringOptions:
    """Nothing to choose."""


class Spring(Surrogate[SpringOptions]):
    """Elongation of a spring under a load."""

    inputs: ClassVar = {"load": "N"}
    outputs: ClassVar = {"elongation": "m"}

    def build(self) -> nn.Module:
        return nn.Linear(1, 1)

    def calibrate(self, net: nn.Module, train: xr.Dataset) -> None:
        pass

    def samples(self, ds: xr.Dataset) -> Samples:
        return Samples(ds, ("load", "elongation"))

    def loss(self, net: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        return ((net(batch[0][:, None])[:, 0] - batch[1]) ** 2).mean()

    def summaries(self, ds: xr.Dataset) -> xr.Dataset:
        return ds[["load"]]

    def evaluate(self, *fields: Tensor) -> tuple[Tensor, ...]:
        return (self.network(fields[0][:, None])[:, 0],)

    def _predict(self, ds: xr.Dataset) -> xr.Dataset:
        (found,) = self.evaluate(torch.as_tensor(ds["load"].values, dtype=torch.float32))
        return xr.Dataset({"elongation": ("sample", found.numpy(), {"units": "m"})})

    @staticmethod
    def read_inputs(path: Path, factor: int = 1) -> xr.Dataset:
        return springs(factor * np.loadtxt(path, ndmin=1))

    def draw(self, ds: xr.Dataset) -> Figure:
        figure = Figure()
        figure.subplots().plot(ds["load"], ds["elongation"])
        return figure


def springs(load: np.ndarray) -> xr.Dataset:
    variables = {"load": ("sample", load, {"units": "N"})}
    variables["elongation"] = ("sample", 2 * load, {"units": "m"})
    return xr.Dataset(variables)


@pytest.fixture(scope="module")
def spring(tmp_path_factory) -> Path:
    """The folder of a saved surrogate."""
    folder = tmp_path_factory.mktemp("spring") / "surrogate"
    surrogate = Spring(SpringOptions(), training=TrainOptions(epochs=2, device="cpu"))
    surrogate.fit(springs(np.linspace(0, 1, 32)), progress=False)
    surrogate.save(folder)
    return folder


def test_predict_from_netcdf_writes_fields_and_a_picture(spring, capsys, tmp_path):
    inputs = springs(np.linspace(0, 1, 5)).drop_vars("elongation")
    save(inputs, tmp_path / "in.nc")
    out = tmp_path / "new" / "out.nc"
    assert main(["predict", str(spring), str(tmp_path / "in.nc"), "-o", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}\n{out.with_suffix('.png')}\n"
    expected = Surrogate.load(spring).predict(inputs)
    np.testing.assert_array_equal(load(out).elongation, expected.elongation)
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_predict_from_a_file_of_the_domain(spring, capsys, tmp_path):
    (tmp_path / "loads.txt").write_text("0.1\n0.2\n")
    out = tmp_path / "out.nc"
    args = ["predict", str(spring), str(tmp_path / "loads.txt"), "-o", str(out)]
    assert main([*args, "--set", "factor=20"]) == 0
    warned = capsys.readouterr().err
    assert (
        warned.startswith("sciml: warning: outside the training data") and "\n" not in warned[:-1]
    )
    expected = Surrogate.load(spring).predict(springs(np.array([2.0, 4.0])), outside="mask")
    assert np.isnan(expected.elongation).all()
    assert np.isfinite(load(out).elongation).all()
    assert "outside" in refused(capsys, *args, "--set", "factor=20", "--outside", "raise")
    assert "the settings are factor" in refused(capsys, *args, "--set", "length=3")


def test_predict_refuses_what_it_cannot_read(spring, capsys, tmp_path):
    out = ["-o", tmp_path / "out.nc"]
    assert "no input file" in refused(capsys, "predict", spring, tmp_path / "no.nc", *out)
    (tmp_path / "bad.nc").write_text("text")
    assert "bad.nc is not a NetCDF4" in refused(
        capsys, "predict", spring, tmp_path / "bad.nc", *out
    )
    wrong = xr.Dataset({"load": ("sample", [1.0], {"units": "kN"})})
    save(wrong, tmp_path / "wrong.nc")
    assert "kN" in refused(capsys, "predict", spring, tmp_path / "wrong.nc", *out)
    assert not (tmp_path / "out.nc").exists()


def test_info_tells_what_a_surrogate_is_without_torch(spring):
    code = (
        "import sys; from sciml.cli import main\n"
        f"status = main(['info', {str(spring)!r}])\n"
        "assert status == 0 and not {'torch', 'xarray'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for expected in ("Spring", "load", "elongation", "N", "torch", "parameters", "sha256"):
        assert expected in done.stdout


def test_cases_are_listed(capsys, monkeypatch):
    monkeypatch.setattr("sciml.cli.commands.cases", lambda: {"straight-line": Path(CASE)})
    assert main(["cases"]) == 0
    expected = "straight-line  A straight line through noisy points, by gradient descent.\n"
    assert capsys.readouterr().out == expected
