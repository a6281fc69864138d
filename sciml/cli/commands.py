"""The subcommands: their options, and what each does.

What a subcommand needs is imported when it runs, after the cheap checks: `sciml --help` must
not wait for torch.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, UseAppendAction, arg, subcommand

from sciml.case import Tier, cases, find_case, summary_of
from sciml.cli.modes import Modes
from sciml.cli.terminal import lines, print_result, stage

if TYPE_CHECKING:
    import xarray as xr

    from sciml.case import Case, Job

__all__ = ["FALLS_SHORT", "HOLDS", "Cases", "Command", "Data", "Info", "Modes", "Predict", "Run"]

HOLDS, FALLS_SHORT = 0, 1

CaseName = Annotated[str, Positional, arg(metavar="CASE")]
SurrogateFolder = Annotated[Path, Positional, arg(metavar="SURROGATE_DIR")]
Folder = Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="")]
Count = Annotated[int | None, arg(metavar="N", help_behavior_hint="")]


@dataclass(frozen=True, kw_only=True)
class Cases:
    """List the cases, with one line each."""

    def __call__(self) -> int:
        known = cases()
        width = max(map(len, known), default=0)
        for name, folder in known.items():
            print(f"{name:<{width}}  {summary_of(folder)}")
        return HOLDS


@dataclass(frozen=True, kw_only=True)
class Run:
    """Run a case: data, fit, comparison with the reference, report."""

    case: CaseName
    """name of a case (see `sciml cases`), or a folder that holds a case.py"""
    tier: Tier = "smoke"
    """how much it may cost: a test, half an hour on two CPU cores, or a GPU"""
    out: Folder = None
    """where to write; by default results/CASE-TIER"""
    seed: int = 0
    """where every random number comes from"""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """what to compute on; auto takes a GPU where there is one"""
    workers: Count = None
    """processes that generate data; by default one for each core"""
    data: Folder = None
    """where generated data is kept; by default the user's cache"""
    resume: bool = False
    """go on with a run that was cut off"""
    record: bool = False
    """keep the result as the expected one, in the case's expected.json"""

    def __call__(self) -> int:
        case = _load(self.case)

        from sciml.case import record, run
        from sciml.data import limited_threads
        from sciml.report import write_report

        outcome = run(case, self._job(case), stage=stage)
        with stage("report"), limited_threads(case.threads):
            report = write_report(case, outcome)
        print_result(case, outcome.result)
        print(f"report: {report}")
        if not outcome.result.holds:
            return FALLS_SHORT
        if self.record:
            print(f"recorded: {record(outcome.result, find_case(self.case) / 'expected.json')}")
        return HOLDS

    def _job(self, case: Case) -> Job:
        from sciml.case import Job

        return Job(
            tier=self.tier,
            seed=_at_least("--seed", self.seed, 0),
            folder=self.folder,
            data=_data_folder(self.data, case.name),
            device=_device(self.device),
            workers=_workers(self.workers),
            resume=self.resume,
        )

    @property
    def folder(self) -> Path:
        """Where the run writes."""
        name = find_case(self.case).name.replace("_", "-")
        return self.out or Path("results") / f"{name}-{self.tier}"

    @property
    def resumption(self) -> str:
        """How to go on after an interruption."""
        options = ["--tier", self.tier, "--out", self.folder, "--seed", self.seed]
        return _again("run", self.case, *options, *_given("--data", self.data))


@dataclass(frozen=True, kw_only=True)
class Data:
    """Generate the data of a case, and nothing more."""

    case: CaseName
    """name of a case (see `sciml cases`), or a folder that holds a case.py"""
    tier: Tier = "full"
    """the tier that the data is for"""
    samples: Count = None
    """how many samples; by default what the tier asks for"""
    workers: Count = None
    """processes; by default one for each core"""
    seed: int = 0
    """where every random number comes from"""
    data: Folder = None
    """where to write; by default the user's cache, where `sciml run` looks"""
    resume: bool = False
    """go on with a generation that was cut off"""

    def __call__(self) -> int:
        case = _load(self.case)

        from sciml.case import Job

        if self.samples is not None:
            _at_least("--samples", self.samples, 1)
        folder = _data_folder(self.data, case.name)
        job = Job(
            tier=self.tier,
            seed=_at_least("--seed", self.seed, 0),
            folder=folder,
            data=folder,
            workers=_workers(self.workers),
            resume=self.resume,
            samples=self.samples,
        )
        for path in case.generate(job):
            print(path)
        return HOLDS

    @property
    def resumption(self) -> str:
        """How to go on after an interruption."""
        options = ["--tier", self.tier, *_given("--samples", self.samples), "--seed", self.seed]
        return _again("data", self.case, *options, *_given("--data", self.data))


@dataclass(frozen=True, kw_only=True)
class Predict:
    """Predict with a saved surrogate: a NetCDF file in, a NetCDF file and a picture out."""

    surrogate: SurrogateFolder
    """folder of a saved surrogate"""
    input: Annotated[Path, Positional, arg(metavar="INPUT")]
    """NetCDF data set, or a file the surrogate can read: an airfoil's .dat, a mask's .png, ..."""
    out: Annotated[Path, arg(aliases=["-o"], metavar="OUT")]
    """NetCDF file to write; the picture takes its place with the suffix .png"""
    set: Annotated[tuple[str, ...], UseAppendAction, arg(metavar="NAME=VALUE")] = ()
    """what the file does not say, such as reynolds_number=20"""
    outside: Literal["raise", "warn", "mask"] = "warn"
    """outside the range of the training data: refuse, warn, or give NaN"""

    def __call__(self) -> int:
        settings = _settings(self.set)
        _surrogate_json(self.surrogate)
        if not self.input.is_file():
            raise FileNotFoundError(f"there is no input file {self.input}")

        from sciml.data import netcdf
        from sciml.surrogate import Surrogate

        surrogate: Surrogate[Any] = Surrogate.load(self.surrogate)
        inputs = _inputs(surrogate, self.input, settings)
        prediction = surrogate.predict(inputs, outside=self.outside)
        print(netcdf.save(prediction, self.out))
        if hasattr(surrogate, "draw"):
            from sciml.report import save_figure, style

            with style():
                figure = surrogate.draw(prediction.merge(inputs, compat="override"))
            print(save_figure(figure, self.out.with_suffix(".png")))
        return HOLDS


@dataclass(frozen=True, kw_only=True)
class Info:
    """Tell what a saved surrogate is: variables, ranges, sizes, versions."""

    surrogate: SurrogateFolder
    """folder of a saved surrogate"""

    def __call__(self) -> int:
        from sciml.data.files import read_json

        for line in lines(read_json(_surrogate_json(self.surrogate))):
            print(line)
        return HOLDS


Command = (
    Annotated[Cases, subcommand("cases")]
    | Annotated[Run, subcommand("run")]
    | Annotated[Data, subcommand("data")]
    | Annotated[Predict, subcommand("predict")]
    | Annotated[Info, subcommand("info")]
    | Annotated[Modes, subcommand("modes")]
)


def _given(option: str, value: object) -> list[object]:
    return [] if value is None else [option, value]


def _again(*words: object) -> str:
    """The command that goes on, ready to be pasted into a shell."""
    return f"; go on with: {shlex.join(['sciml', *map(str, words), '--resume'])}"


def _load(name: str) -> Case:
    """A case, once it is known to be there: what it needs takes seconds to import."""
    folder = find_case(name)
    from sciml.case.discovery import load_case

    return load_case(folder)


def _at_least(option: str, value: int, least: int) -> int:
    if value < least:
        raise ValueError(f"{option} must be at least {least}, not {value}")
    return value


def _workers(asked: int | None) -> int:
    return os.cpu_count() or 1 if asked is None else _at_least("--workers", asked, 1)


def _device(asked: Literal["auto", "cpu", "cuda"]) -> Literal["auto", "cpu", "cuda"]:
    if asked == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise ValueError("--device cuda needs a GPU that torch can use, and finds none")
    return asked


def _data_folder(asked: Path | None, case: str) -> Path:
    if asked is not None:
        return asked
    import pooch

    return Path(pooch.os_cache("sciml-cfd")) / case


def _settings(assignments: Sequence[str]) -> dict[str, Any]:
    """The values of `--set NAME=VALUE`: numbers where they read as numbers, else text.

    >>> _settings(["reynolds_number=20", "name=naca"])
    {'reynolds_number': 20, 'name': 'naca'}
    """
    settings: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not (name.isidentifier() and equals and value):
            raise ValueError(f"--set takes NAME=VALUE, such as angle=5, not {assignment!r}")
        settings[name] = _number(value)
    return settings


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


def _surrogate_json(folder: Path) -> Path:
    path = folder / "surrogate.json"
    if not path.is_file():
        what = "holds no saved surrogate (no surrogate.json)" if folder.is_dir() else "is no folder"
        raise FileNotFoundError(f"{folder} {what}; a run of a case writes one to OUT/surrogate")
    return path


def _inputs(surrogate: Any, path: Path, settings: dict[str, Any]) -> xr.Dataset:
    """The inputs in a file: a NetCDF data set, or what the surrogate itself can read."""
    from sciml.data import netcdf

    if path.suffix in {".nc", ".h5"}:
        if settings:
            raise ValueError(f"--set goes with a file other than NetCDF; {path} says it all itself")
        return netcdf.load(path)
    if not hasattr(surrogate, "read_inputs"):
        raise ValueError(f"{type(surrogate).__name__} reads NetCDF files (.nc) only, not {path}")
    known = inspect.signature(surrogate.read_inputs).parameters
    for name in settings:
        if name not in known:
            raise ValueError(f"--set {name}: the settings are {', '.join(list(known)[1:])}")
    return surrogate.read_inputs(path, **settings)
