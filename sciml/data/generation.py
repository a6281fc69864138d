"""Data sets made sample by sample, in parallel, that survive being killed at any moment."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import h5netcdf
import h5py
import numpy as np
import xarray as xr
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sciml.data.files import atomic, read_json, write_json
from sciml.data.netcdf import require_units
from sciml.data.threads import limited_threads

__all__ = ["SampleFailure", "SampleTask", "generate"]

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
HEADER = "__header__"
ADDED = ("sample_index", "failure_index", "failure_reason")


class SampleFailure(Exception):
    """A sample that must not be stored; it is counted and its reason recorded.

    >>> SampleFailure("did not become steady in 20000 steps").reason
    'did not become steady in 20000 steps'
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@runtime_checkable
class SampleTask(Protocol):
    """Makes one sample from its number and its own random numbers.

    It must be picklable (a function or a frozen dataclass of an importable module).
    The options of a dataclass are recorded, and a resumed run must have the same.
    """

    def __call__(self, index: int, rng: np.random.Generator) -> xr.Dataset:
        """One sample, without a `sample` dimension; every number has `units`.

        Raises:
            SampleFailure: this sample must not be stored.
        """
        ...


def generate(
    task: SampleTask,
    count: int,
    path: str | os.PathLike[str],
    *,
    seed: int = 0,
    workers: int = 1,
    resume: bool = False,
    attributes: Mapping[str, str | int | float] | None = None,
    progress: bool = True,
) -> Path:
    """Make `count` samples and store them in one NetCDF4 file.

    Sample i draws from `np.random.default_rng(np.random.SeedSequence([seed, i]))`,
    so the file is the same whatever the order and the number of workers. Each
    finished sample is kept as a file of its own in `<path>.parts` until all are
    there; after a crash, `resume=True` makes only what is missing and gives the
    same contents as a run that was never interrupted.

    The file has the task's variables with a leading `sample` dimension (coordinates
    of other dimensions are kept once), `sample_index`, and for the samples that
    failed `failure_index` and `failure_reason` over the dimension `failure` (absent
    if none failed). Its attributes are `attributes`, and `generation`, which says
    in JSON which task, seed and count made it.

    Args:
        task: makes one sample.
        count: the number of samples asked for, failures among them.
        path: the file to write.
        seed: of all random numbers.
        workers: processes, each with one thread; with 1 all runs in this process.
        resume: go on with what an interrupted run left; a finished file is kept.
        attributes: provenance, stored as attributes of the file.
        progress: show a bar, if the standard error stream is a terminal.

    Returns:
        the path written.

    Raises:
        FileExistsError: the file or parts of it are there and `resume` is false.
        ValueError: the parts belong to another task, seed or count; samples differ
            in their variables; or every sample failed.
        ChildProcessError: a worker was killed; finished samples are kept.

    >>> import tempfile
    >>> def roll(index, rng):
    ...     return xr.Dataset({"eyes": ((), rng.integers(1, 7), {"units": "1"})})
    >>> path = generate(roll, 5, Path(tempfile.mkdtemp()) / "dice.nc", seed=1)
    >>> xr.open_dataset(path).eyes.values.tolist()
    [3, 4, 4, 3, 4]
    """
    path = Path(path)
    if count < 1 or workers < 1:
        raise ValueError(f"count and workers must be at least 1, not {count} and {workers}")
    manifest = _manifest(task, count, seed, attributes or {})
    parts = path.with_name(path.name + ".parts")
    if _finished(path, parts, manifest, resume=resume):
        return path
    _open_parts(parts, manifest, resume=resume)
    _make_missing(task, count, seed, workers, parts, progress)
    _join(count, parts, path, manifest)
    shutil.rmtree(parts)
    return path


# What is being made, and what is already there.


def _manifest(
    task: SampleTask, count: int, seed: int, attributes: Mapping[str, str | int | float]
) -> dict[str, Any]:
    kind = task if hasattr(task, "__qualname__") else type(task)
    options = repr(task) if dataclasses.is_dataclass(task) else ""
    name = f"{kind.__module__}:{kind.__qualname__}"  # type: ignore[union-attr]
    return {
        "task": name,
        "options": options,
        "seed": seed,
        "count": count,
        "attributes": dict(attributes),
    }


def _finished(path: Path, parts: Path, manifest: Mapping[str, Any], *, resume: bool) -> bool:
    if not path.exists():
        return False
    if not resume:
        raise FileExistsError(f"{path} exists; resume (--resume) to keep it, or remove it")
    with h5py.File(path, "r") as file:
        found = json.loads(file.attrs.get("generation", "{}"))
    _require_same_manifest(path, found, manifest)
    if parts.exists():
        shutil.rmtree(parts)
    return True


def _open_parts(parts: Path, manifest: Mapping[str, Any], *, resume: bool) -> None:
    if parts.exists() and any(parts.iterdir()):
        if not resume:
            raise FileExistsError(
                f"{parts} holds samples of an interrupted run; "
                "resume it (--resume), or remove that folder"
            )
        record = parts / "manifest.json"
        _require_same_manifest(parts, read_json(record) if record.exists() else {}, manifest)
        return
    parts.mkdir(parents=True, exist_ok=True)
    write_json(parts / "manifest.json", manifest)


def _require_same_manifest(
    place: Path, found: Mapping[str, Any], manifest: Mapping[str, Any]
) -> None:
    for key, value in manifest.items():
        if found.get(key) != value:
            raise ValueError(
                f"{place} was made with {key} = {found.get(key)!r}, and now {key} = {value!r} "
                "is asked for; ask for the same, or remove it"
            )


# Samples, one file each.


def _part(parts: Path, index: int) -> Path:
    return parts / f"{index:08d}.npz"


def _failure(parts: Path, index: int) -> Path:
    return parts / f"{index:08d}.json"


def _make(task: SampleTask, index: int, seed: int, parts: Path) -> bool:
    """Make and store one sample, or the reason why there is none; return whether it is stored."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, index]))
    try:
        ds = task(index, rng)
    except SampleFailure as failure:
        write_json(_failure(parts, index), {"reason": failure.reason})
        return False
    _require_sample(ds, index)
    _store(ds, _part(parts, index))
    return True


def _store(ds: xr.Dataset, path: Path) -> None:
    """One sample as arrays with a header of dimensions and attributes.

    A NetCDF file for each sample would take an order of magnitude longer.
    """
    require_units(ds, path)
    header = {
        str(name): {"dims": v.dims, "attrs": {key: _plain(a) for key, a in v.attrs.items()}}
        for name, v in ds.variables.items()
    }
    arrays = {str(name): _array(v) for name, v in ds.variables.items()}
    with atomic(path) as part:
        np.savez(part, **{HEADER: np.array(json.dumps(header))}, **arrays)  # type: ignore[arg-type]


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _array(variable: xr.Variable) -> np.ndarray:
    return variable.values.astype(str) if variable.dtype.kind in "OT" else variable.values


Sample = dict[str, xr.Variable]


def _read(path: Path) -> Sample:
    with np.load(path, allow_pickle=False) as stored:
        header = json.loads(str(stored[HEADER]))
        return {
            name: xr.Variable(about["dims"], stored[name], about["attrs"])
            for name, about in header.items()
        }


def _require_sample(ds: xr.Dataset, index: int) -> None:
    taken = {"sample", "failure"} & set(ds.dims) | set(ADDED) & set(ds.variables)
    if taken:
        raise ValueError(f"sample {index} has {sorted(map(str, taken))}, which generate() adds")


def _make_missing(
    task: SampleTask, count: int, seed: int, workers: int, parts: Path, progress: bool
) -> None:
    missing = [
        index
        for index in range(count)
        if not (_part(parts, index).exists() or _failure(parts, index).exists())
    ]
    failed = sum(_failure(parts, index).exists() for index in range(count))
    run = _in_process if workers == 1 else _in_workers
    with _bar(progress) as bar:
        row = bar.add_task("samples", total=count, completed=count - len(missing), failed=failed)
        for stored in run(task, missing, seed, min(workers, len(missing)), parts):
            failed += not stored
            bar.update(row, advance=1, failed=failed)


def _bar(progress: bool) -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]} failed"),
        TimeRemainingColumn(),
        console=console,
        disable=not (progress and console.is_terminal),
    )


def _in_process(
    task: SampleTask, indices: Iterable[int], seed: int, workers: int, parts: Path
) -> Iterator[bool]:
    with limited_threads(1):
        for index in indices:
            yield _make(task, index, seed, parts)


def _in_workers(
    task: SampleTask, indices: list[int], seed: int, workers: int, parts: Path
) -> Iterator[bool]:
    if not indices:
        return
    context = get_context("spawn")
    lifeline, held = context.Pipe(duplex=False)
    with _one_thread_environment():
        pool = ProcessPoolExecutor(workers, context, _start_worker, (lifeline,))
        try:
            futures = [pool.submit(_make, task, index, seed, parts) for index in indices]
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            raise ChildProcessError(
                "a worker process was killed, perhaps for want of memory; finished samples "
                "are kept: resume (--resume), with fewer workers if memory was short"
            ) from error
        finally:
            unfinished = any(not future.done() for future in futures)
            if unfinished:
                held.close()  # the workers end now instead of after their samples
            pool.shutdown(cancel_futures=True)
            held.close()
            lifeline.close()


@contextmanager
def _one_thread_environment() -> Iterator[None]:
    """What workers started meanwhile inherit; libraries read it when they are loaded."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _start_worker(lifeline: Connection) -> None:
    """Leave Ctrl-C to the parent, and end as soon as the parent lets go of the lifeline.

    The pipe's other end is open in the parent alone, so it closes however the
    parent ends, by SIGKILL too, and no worker is left behind.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(lifeline,), daemon=True).start()


def _end_with_parent(lifeline: Connection) -> None:
    try:
        lifeline.recv_bytes()
    except (EOFError, OSError):
        os._exit(1)


# All samples in one file.


def _join(count: int, parts: Path, path: Path, manifest: Mapping[str, Any]) -> None:
    """Copy the samples, one at a time, into one file in the order of their numbers."""
    stored = [index for index in range(count) if _part(parts, index).exists()]
    failures = {
        index: read_json(_failure(parts, index))["reason"]
        for index in sorted(set(range(count)).difference(stored))
    }
    if not stored:
        shutil.rmtree(parts)
        raise ValueError(f"all {count} samples failed, the first because {failures[0]!r}")
    first = _read(_part(parts, stored[0]))
    with atomic(path) as part:
        with h5netcdf.File(part, "w") as file:
            file.attrs.update(manifest["attributes"])
            file.attrs["Conventions"] = "CF-1.11"
            file.attrs["generation"] = json.dumps(manifest)
            _create(file, first, len(stored))
            _number(file, stored, failures)
        with h5py.File(part, "r+") as rows:  # h5netcdf takes milliseconds for each row
            for row, index in enumerate(stored):
                sample = _read(_part(parts, index))
                _require_same_layout(sample, index, first, stored[0])
                _fill(rows, row, sample)


def _is_shared(name: str, variable: xr.Variable) -> bool:
    """Whether it is the coordinate of a dimension, kept once for all samples."""
    return variable.dims == (name,)


def _create(file: h5netcdf.File, first: Sample, rows: int) -> None:
    """Dimensions, variables and shared coordinates as in the first sample."""
    file.dimensions["sample"] = rows
    for variable in first.values():
        file.dimensions.update(
            {d: n for d, n in variable.sizes.items() if d not in file.dimensions}
        )
    for name, variable in first.items():
        shared = _is_shared(name, variable)
        dims = variable.dims if shared else ("sample", *variable.dims)
        kind = variable.dtype.kind
        dtype = {"U": h5py.string_dtype(), "b": np.dtype("int8")}.get(kind, variable.dtype)
        new = file.create_variable(name, dims, dtype)
        new.attrs.update(variable.attrs)
        if kind == "b":
            new.attrs["dtype"] = "bool"  # as xarray marks it
        if shared:
            new[...] = variable.values


def _number(file: h5netcdf.File, stored: list[int], failures: Mapping[int, str]) -> None:
    """The numbers of the samples, and those that failed with their reasons."""
    text = "number of the sample in its run"
    _add(file, "sample_index", "sample", np.array(stored), text)
    if failures:
        file.dimensions["failure"] = len(failures)
        text = "number of the sample that failed"
        _add(file, "failure_index", "failure", np.array(list(failures)), text)
        reasons = file.create_variable("failure_reason", ("failure",), h5py.string_dtype())
        reasons[:] = np.array(list(failures.values()), dtype=object)


def _add(file: h5netcdf.File, name: str, dimension: str, values: np.ndarray, text: str) -> None:
    variable = file.create_variable(name, (dimension,), "int64", data=values)
    variable.attrs.update({"units": "1", "long_name": text})


def _require_same_layout(sample: Sample, index: int, first: Sample, first_index: int) -> None:
    for name in sorted(sample.keys() | first.keys()):
        here, there = _layout(sample.get(name)), _layout(first.get(name))
        if here != there:
            raise ValueError(
                f"variable {name!r} of sample {index} is {here}, but {there} in sample "
                f"{first_index}; a task gives every sample the same variables"
            )
        if _is_shared(name, first[name]) and not sample[name].equals(first[name]):
            raise ValueError(
                f"coordinate {name!r} of sample {index} differs from that of sample "
                f"{first_index}; what varies by sample must not be named after a dimension"
            )


def _layout(variable: xr.Variable | None) -> str:
    if variable is None:
        return "missing"
    dtype = "text" if variable.dtype.kind == "U" else str(variable.dtype)
    return f"{dtype} {dict(variable.sizes)} in {variable.attrs.get('units', 'no units')}"


def _fill(rows: h5py.File, row: int, sample: Sample) -> None:
    for name, variable in sample.items():
        if not _is_shared(name, variable):
            stored = rows[name]
            text = variable.dtype.kind == "U"
            stored[row] = variable.values.astype(object if text else stored.dtype)
