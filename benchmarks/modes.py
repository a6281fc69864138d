"""How long does a POD take, how much memory, and how small a mode does it resolve?

    python benchmarks/modes.py [--sizes 200000x200 1000000x150] [--only TASK ...] [--out FILE.json]

One thread, one run, float32 snapshots of which the mean is subtracted; each way in a process of its
own that shares the data, in turn, the best of the turns (slow peers have one). "CPU" counts the
seconds of the processor, which other work on the machine disturbs least, "wall" the clock's. modred
leaves the mean to its user, and is also given snapshots without it, as we are then: that ratio is
what counts. Memory is what the process needed at its worst beyond the data, what it returns among
it, over the data's size. "Error" is the largest of the 20 leading singular values, relative,
against LAPACK in float64.
Peers that are not installed are left out and named.

- decompositions: 20 modes of snapshots, by the ways of this library and of others.
- precision: how many of 40 singular values from 1 to 1e-8 each way finds within 10 %.
- variants: PyDMD on POD amplitudes beside PyDMD on the snapshots.
- file: a file four times larger than the memory that the process may have (`ulimit -v`).
- workers: dask with one process and with two.

The exit status is 1 where a bound of `BOUNDS` is missed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import scipy.linalg
import xarray as xr
from threadpoolctl import threadpool_limits

from sciml.data import save
from sciml.modes.dmd import Dmd, DmdOptions
from sciml.modes.pod import Pod, PodOptions
from sciml.modes.variants import DmdVariant, DmdVariantOptions

RANK = 20
OURS, OUR_DMD = "sciml POD", "sciml DMD"
OUR_CENTRED, CENTRED = "sciml POD, mean subtracted before", "modred, mean subtracted before"
PEERS = ("modred", "xeofs", "pydmd", "torch", "dask")
BOUNDS = {"numpy SVD": 10.0, "PyDMD, DMD": 10.0, "xeofs": 5.0, CENTRED: 0.7}
"""How many times as fast as it the POD must be."""
ERROR, MEMORY, PASS, WORKERS = 1e-7, 0.5, 1.5, 1.6
VARIANT, EIGENVALUE = 5.0, 1e-6

Values = np.ndarray | None
Way = Callable[[np.ndarray], Values]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One way on one data set; `ratio` is its CPU time over that of our POD."""

    size: str
    way: str
    cpu: float
    wall: float
    ratio: float
    memory: float
    error: float | None


# The data.


def snapshots(points: int, count: int) -> np.ndarray:
    """60 structures of falling energy, noise and a mean, float32."""
    rng = np.random.default_rng(70)
    x = np.linspace(0, 1, points, dtype=np.float32)
    rows = 1e-3 * rng.standard_normal((count, points), dtype=np.float32)
    for k in range(60):
        wave = np.cos(2 * np.pi * (k + 1) * x + k)
        rows += (0.8**k * rng.standard_normal(count, dtype=np.float32))[:, None] * wave
    return rows + 3 * x


def labelled(rows: np.ndarray, step: float = 1.0) -> xr.Dataset:
    return xr.Dataset(
        {"velocity": (("time", "cell"), rows, {"units": "m s-1"})},
        {"time": ("time", step * np.arange(len(rows)), {"units": "s"})},
    )


# The ways.


def by_pod(**options: object) -> Way:
    def run(rows: np.ndarray) -> Values:
        return Pod(PodOptions(rank=RANK, **options)).fit(labelled(rows))["singular_value"].values

    return run


def by_pod_of_centred(rows: np.ndarray) -> Values:
    return by_pod(mean="none")(rows)


def by_dmd(rows: np.ndarray) -> Values:
    Dmd(DmdOptions(rank=RANK, mean="time")).fit(labelled(rows))
    return None


def by_numpy(rows: np.ndarray) -> Values:
    return np.linalg.svd(rows - rows.mean(0), full_matrices=False)[1][:RANK]


def by_scipy(rows: np.ndarray) -> Values:
    return scipy.linalg.svd(
        (rows - rows.mean(0)).T, full_matrices=False, overwrite_a=True, check_finite=False
    )[1][:RANK]


def by_xeofs(rows: np.ndarray) -> Values:
    model = import_module("xeofs").single.EOF(n_modes=RANK)
    model.fit(labelled(rows)["velocity"], dim="time")
    return model.singular_values().values


def by_pydmd(rows: np.ndarray) -> Values:
    import_module("pydmd").DMD(svd_rank=RANK).fit(rows.T)
    return None


def by_modred(rows: np.ndarray) -> Values:
    return by_modred_of_centred(rows - rows.mean(0))


def by_modred_of_centred(rows: np.ndarray) -> Values:
    found = import_module("modred").compute_POD_arrays_snaps_method(rows.T, list(range(RANK)))
    return np.sqrt(found.eigvals[:RANK])


def ways() -> dict[str, tuple[Way, str | None, int]]:
    """Each way, the package it needs, and the share of the turns it gets (0: one turn)."""
    return {
        OURS: (by_pod(), None, 1),
        OUR_CENTRED: (by_pod_of_centred, None, 1),
        "sciml POD, QR": (by_pod(method="qr"), None, 1),
        "sciml POD, torch": (by_pod(device="cpu"), "torch", 1),
        OUR_DMD: (by_dmd, None, 1),
        "modred": (by_modred, "modred", 1),
        CENTRED: (by_modred_of_centred, "modred", 1),
        "scipy SVD": (by_scipy, None, 0),
        "xeofs": (by_xeofs, "xeofs", 0),
        "numpy SVD": (by_numpy, None, 0),
        "PyDMD, DMD": (by_pydmd, "pydmd", 0),
    }


def installed(package: str | None) -> bool:
    if package is None:
        return True
    try:
        import_module(package)
    except ModuleNotFoundError:
        return False
    return True


# How they are measured.


def alone(way: Way, rows: np.ndarray) -> tuple[float, float, float, Values]:
    """CPU and wall seconds, memory over the data's, and what came out, in a forked process."""
    if way in (by_modred_of_centred, by_pod_of_centred):
        rows = rows - rows.mean(0)
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_measured, args=(way, rows, theirs))
    process.start()
    theirs.close()
    try:
        found = ours.recv()
    except EOFError:
        process.join()
        raise RuntimeError(f"the process ended with {process.exitcode}") from None
    process.join()
    return found


def _measured(way: Way, rows: np.ndarray, pipe: object) -> None:
    warnings.simplefilter("ignore")
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    way(np.ascontiguousarray(rows[:, :: rows.shape[1] // 1000]))  # imports and first calls
    Path("/proc/self/clear_refs").write_text("5")
    before = _peak()
    start, cpu = time.perf_counter(), time.process_time()
    values = way(rows)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - start
    pipe.send((cpu, wall, (_peak() - before) / rows.nbytes, values))  # type: ignore[attr-defined]


def _peak() -> int:
    """The most memory so far, bytes."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def decompositions(size: str, repeats: int) -> Iterator[Row]:
    points, count = map(int, size.split("x"))
    rows = snapshots(points, count)
    exact = in_double(rows)
    chosen = {name: way for name, way in ways().items() if installed(way[1])}
    runs = {name: [alone(chosen[name][0], rows)] for name in chosen}
    for _ in range(repeats - 1):
        for name, (way, _, often) in chosen.items():
            if often:
                runs[name].append(alone(way, rows))
    ours = {name: min(run[0] for run in runs[name]) for name in (OURS, OUR_CENTRED)}
    for name, found in runs.items():
        values = found[0][3]
        cpu = min(run[0] for run in found)
        yield Row(
            size=size,
            way=name,
            cpu=cpu,
            wall=min(run[1] for run in found),
            ratio=cpu / ours[OUR_CENTRED if name in (CENTRED, OUR_CENTRED) else OURS],
            memory=max(run[2] for run in found),
            error=None if values is None else float(np.abs(values / exact - 1).max()),
        )


def in_double(rows: np.ndarray) -> np.ndarray:
    """Leading singular values by LAPACK's QR and SVD in float64."""
    centred = rows.astype(np.float64)
    centred -= centred.mean(0)
    (R,) = scipy.linalg.qr(
        centred.T, mode="r", overwrite_a=True, check_finite=False, lwork=64 * len(rows)
    )
    return np.linalg.svd(R[: len(rows)], compute_uv=False)[:RANK]


def missed(rows: list[Row]) -> list[str]:
    """What falls short of the bounds, in words."""
    found = []
    for row in rows:
        bound = BOUNDS.get(row.way)
        if bound is not None and row.ratio < bound:
            found.append(f"{row.size}: {row.ratio:.2f} times as fast as {row.way}, not {bound}")
        if row.way == OURS and not (row.error is not None and row.error <= ERROR):
            found.append(f"{row.size}: an error of {row.error:.1e}, not {ERROR:.0e}")
        if row.way == OURS and row.memory > MEMORY:
            found.append(f"{row.size}: {row.memory:.2f} of the data in memory, not {MEMORY}")
    return found


# How small a mode is resolved.


def precision() -> dict[str, int]:
    """Of 40 singular values from 1 to 1e-8, how many are right within 10 %."""
    rng = np.random.default_rng(71)
    left = np.linalg.qr(rng.normal(size=(40, 40)))[0]
    right = np.linalg.qr(rng.normal(size=(20_000, 40)))[0]
    wanted = np.geomspace(1, 1e-8, 40)
    rows = (left * wanted) @ right.T
    single = rows.astype(np.float32)

    def pod(method: str) -> Way:
        def run(x: np.ndarray) -> Values:
            options = PodOptions(rank=40, mean="none", method=method)  # type: ignore[arg-type]
            return Pod(options).fit(labelled(x))["singular_value"].values

        return run

    def summed_in_single(x: np.ndarray) -> np.ndarray:
        return np.sqrt(np.maximum(np.linalg.eigvalsh((x @ x.T).astype(float))[::-1], 0))

    told = {
        "Gram, float32": (summed_in_single, single),
        "sciml POD, Gram, float32 data": (pod("gram"), single),
        "sciml POD, QR, float32 data": (pod("qr"), single),
        "sciml POD, Gram, float64 data": (pod("gram"), rows),
        "sciml POD, QR, float64 data": (pod("qr"), rows),
        "numpy SVD, float32": (lambda x: np.linalg.svd(x, compute_uv=False), single),
        "numpy SVD, float64": (lambda x: np.linalg.svd(x, compute_uv=False), rows),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = {name: np.asarray(way(data)) for name, (way, data) in told.items()}
    return {name: int((np.abs(v / wanted - 1) < 0.1).sum()) for name, v in found.items()}


# PyDMD on POD amplitudes.


@dataclass(frozen=True, kw_only=True)
class Variant:
    """Seconds of the CPU directly and on POD amplitudes; the largest difference of eigenvalues."""

    kind: str
    direct: float
    reduced: float
    ratio: float
    difference: float


def variants(points: int, count: int) -> Iterator[Variant]:
    rows = oscillations(points, count)
    ds = labelled(rows, step=1.0)
    kinds: dict[str, tuple[Callable[[], np.ndarray], object]] = {
        "exact": (directly("DMD", rows, exact=True), Dmd(DmdOptions(rank=6))),
        "optimised": (
            directly(
                "BOPDMD",
                rows,
                np.arange(float(count)),
                num_trials=0,
                eig_sort="imag",
                varpro_opts_dict={"tol": 1e-12, "maxiter": 100},
            ),
            DmdVariant(DmdVariantOptions(kind="optimised", rank=6)),
        ),
        "higher order": (
            directly("HODMD", rows, d=10, svd_rank_extra=-1),
            DmdVariant(DmdVariantOptions(kind="higher order", rank=6, delays=10)),
        ),
    }
    for kind, (direct, ours) in kinds.items():
        start = time.process_time()
        theirs = direct()
        between = time.process_time()
        found = ours.fit(ds)["eigenvalues"].values  # type: ignore[attr-defined]
        end = time.process_time()
        distance = np.abs(found[:, None] - theirs).min(1).max()
        yield Variant(
            kind=kind,
            direct=between - start,
            reduced=end - between,
            ratio=(between - start) / (end - between),
            difference=float(distance),
        )


def oscillations(points: int, count: int) -> np.ndarray:
    """Three travelling waves that grow or decay slowly, and a little noise."""
    rng = np.random.default_rng(72)
    x, t = np.linspace(0, 1, points), np.arange(count)[:, None]
    rows = 1e-4 * rng.standard_normal((count, points))
    for k, (frequency, rate) in enumerate([(0.031, 0.0), (0.062, -0.002), (0.12, 0.001)]):
        phase = 2 * np.pi * ((k + 1) * x - frequency * t)
        rows += 0.5**k * np.exp(rate * t) * np.cos(phase)
    return rows


def directly(name: str, rows: np.ndarray, *more: object, **options: object) -> Callable[[], object]:
    """The eigenvalues of one step, by PyDMD on the snapshots themselves."""

    def run() -> np.ndarray:
        engine = getattr(import_module("pydmd"), name)(svd_rank=6, **options)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            engine.fit(rows.T, *more)
        values = np.asarray(engine.eigs)
        return np.exp(values) if name == "BOPDMD" else values

    return run


# A file larger than the memory.


LIMITED = """
import sys, time, os, resource
limit, path = int(sys.argv[1]), sys.argv[2]
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
import numpy as np, xarray as xr
from sciml.modes.columns import Columns
from sciml.modes.layout import Layout
from sciml.modes.pod import Pod, PodOptions, decomposed

def forget():
    handle = os.open(path, os.O_RDONLY)
    os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(handle)

def nothing(values, kept):
    return values[0, 0]

options = PodOptions(rank=5, memory=limit // 16)
Pod(PodOptions(rank=1)).fit(xr.Dataset({"u": (("time", "cell"), np.eye(3))}))
with xr.open_dataset(path, engine="h5netcdf") as ds:
    for task in sys.argv[3].split(","):
        forget()
        start, cpu = time.perf_counter(), time.process_time()
        if task == "read":
            for _ in Columns(ds, Layout.of(ds), memory=options.memory).each(nothing):
                pass
        if task == "values":
            decomposed(Columns(ds, Layout.of(ds), memory=options.memory), options)
        if task == "modes":
            Pod(options).fit(ds)
        print(task, time.perf_counter() - start, time.process_time() - cpu, flush=True)
"""


def file(limit: int, count: int, folder: Path) -> dict[str, float]:
    """Seconds (wall) to read a file, for its singular values and amplitudes, and for modes too."""
    path = folder / "flow.nc"
    points = 4 * limit // (4 * count)
    write(path, points, count)
    tasks = ["read", "values", "modes"]
    found: dict[str, list[float]] = {task: [] for task in tasks}
    for _ in range(3):
        for task in tasks:
            done = subprocess.run(
                [sys.executable, "-c", LIMITED, str(limit), str(path), task],
                check=True,
                stdout=subprocess.PIPE,
                text=True,
            )
            wall, cpu = map(float, done.stdout.split()[1:])
            found[task].append(wall)
            found.setdefault(f"{task}, CPU", []).append(cpu)
    best = {task: min(seconds) for task, seconds in found.items()}
    return {
        "limit": limit,
        "file": path.stat().st_size,
        **best,
        "values / read": best["values"] / best["read"],
        "modes / read": best["modes"] / best["read"],
    }


def write(path: Path, points: int, count: int) -> None:
    """A NetCDF file, snapshot by snapshot."""
    import h5netcdf

    rng, x = np.random.default_rng(73), np.linspace(0, 1, points, dtype=np.float32)
    with h5netcdf.File(path, "w") as file:
        file.dimensions = {"time": count, "cell": points}
        variable = file.create_variable("velocity", ("time", "cell"), np.float32)
        for n in range(count):
            waves = [0.5**k * np.cos(6.28 * (k + 1) * (x - n / 37)) for k in range(5)]
            variable[n] = sum(waves) + 1e-3 * rng.standard_normal(points, dtype=np.float32)
    with open(path, "rb") as handle:
        os.fsync(handle.fileno())


# Two processes.


def workers(points: int, count: int, folder: Path) -> dict[str, float]:
    """Seconds (wall) on a file with one process of dask and with two, which have started before."""
    import dask

    path = save(labelled(snapshots(points, count)), folder / "dask.nc")
    found: dict[str, float] = {}
    for turn in range(3):
        for number in (1, 2):
            context = multiprocessing.get_context("spawn")
            with (
                xr.open_dataset(path, engine="h5netcdf", chunks={"cell": points // 16}) as ds,
                ProcessPoolExecutor(number, mp_context=context) as pool,
                dask.config.set(scheduler="processes", pool=pool),
            ):
                Pod(PodOptions(rank=1)).fit(ds.isel(cell=slice(points // 2)))
                start = time.perf_counter()
                Pod(PodOptions(rank=RANK)).fit(ds)
                seconds = time.perf_counter() - start
            name = f"{number} processes"
            found[name] = min(seconds, found.get(name, seconds)) if turn else seconds
    found["ratio"] = found["1 processes"] / found["2 processes"]
    return found


# All together.


def versions() -> dict[str, str]:
    found = {}
    for name in ("numpy", "scipy", "xarray", "xeofs", "pydmd", "modred", "torch", "dask"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    tasks = ("decompositions", "precision", "variants", "file", "workers")
    parser.add_argument("--sizes", nargs="+", default=["200000x200", "1000000x150"])
    parser.add_argument("--only", nargs="+", choices=tasks, default=tasks)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--limit", type=int, default=2**29, help="bytes that `file` may take")
    parser.add_argument("--out", type=Path, help="where the figures go as JSON")
    options = parser.parse_args()
    told: dict[str, object] = {"packages": versions(), "load": os.getloadavg()[0]}
    print(platform.machine(), ", ".join(f"{k} {v}" for k, v in versions().items()))
    with threadpool_limits(1), tempfile.TemporaryDirectory() as folder:
        os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
        try:
            short = told["short"] = report(options, told, Path(folder))
        finally:
            if options.out:
                options.out.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    for line in short:
        print(f"short: {line}")
    return int(bool(short))


def report(options: argparse.Namespace, told: dict[str, object], folder: Path) -> list[str]:
    """Do what is asked for, print it, note it in `told`, and say what falls short."""
    short: list[str] = []
    if "decompositions" in options.only:
        if installed("torch"):
            import_module("torch").set_num_threads(1)
        rows = [row for size in options.sizes for row in decompositions(size, options.repeats)]
        told["decompositions"] = [asdict(row) for row in rows]
        short += missed(rows)
        print("| size | way | CPU, s | wall, s | it / ours | memory | error |")
        print("|---|---|---|---|---|---|---|")
        for row in rows:
            error = "" if row.error is None else f"{row.error:.1e}"
            print(
                f"| {row.size} | {row.way} | {row.cpu:.3f} | {row.wall:.3f} | {row.ratio:.2f} | "
                f"{row.memory:.2f} | {error} |"
            )
    if "precision" in options.only:
        told["precision"] = precision()
        print(told["precision"])
    if "variants" in options.only:
        found = list(variants(50_000, 200))
        told["variants"] = [asdict(variant) for variant in found]
        for one in found:
            print(one)
            if one.ratio < VARIANT or one.difference > EIGENVALUE:
                short.append(f"{one.kind}: {one.ratio:.1f} times, {one.difference:.1e} apart")
    if "file" in options.only:
        seconds = told["file"] = file(options.limit, 200, folder)
        print(seconds)
        short += [
            f"{name}: {seconds[name]:.2f}, not {PASS}"
            for name in ("values / read", "modes / read")
            if seconds[name] > PASS
        ]
    if "workers" in options.only:
        seconds = told["workers"] = workers(1_000_000, 150, folder)
        print(seconds)
        if seconds["ratio"] < WORKERS:
            short.append(f"two workers {seconds['ratio']:.2f} times one, not {WORKERS}")
    return short


if __name__ == "__main__":
    raise SystemExit(main())
