"""How fast the lattice Boltzmann kernel is on one CPU core, beside its peers in the same run.

    python benchmarks/lattice_boltzmann.py [--repeats 7] [--seconds 0.5] [--out FILE.json]

Rates are million lattice updates per second (MLUPS) of D2Q9 in float32. Ours and lbmpy's solve the
same lid-driven cavity with its walls, lbmpy by its own scenario. Shown beside it, without a bound:
lbmpy's bare kernels, which leave the walls out, for each of its streaming patterns, and XLB's BGK
step without walls, with JAX and with Warp. Every contestant is one process with one thread; they
take turns, and the median of the turns counts. Peers come with the extra [bench]; lbmpy also needs
a C++ compiler; one that is absent is reported by name.

The exit status is 1 if a bound fails.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

SIZES = ((256, 128), (1024, 512))
BYTES_PER_UPDATE = 2 * 9 * 4
BOUNDS = {"lbmpy": 0.8, "reference": 10.0, "two processes": 1.8}
EVEN, ODD = 1.6, 1.2

Advance = Callable[[int], None]


# The contestants: each yields (variant, function that advances by a number of steps).


def ours(nx: int, ny: int) -> Iterator[tuple[str, Advance]]:
    yield "cpu", _cavity(nx, ny, "cpu")


def reference(nx: int, ny: int) -> Iterator[tuple[str, Advance]]:
    yield "torch", _cavity(nx, ny, "reference")


def _cavity(nx: int, ny: int, backend: str) -> Advance:
    import numpy as np
    import torch

    from sciml.kernels.lattice_boltzmann import (
        Sides,
        Velocity,
        advance,
        at_equilibrium,
        boundary_of,
    )

    torch.set_num_threads(1)
    boundary = boundary_of(np.full((1, ny, nx), 9.0), Sides(top=Velocity(x=0.05)))
    state = at_equilibrium(torch.zeros(1, ny, nx), torch.zeros(1, 2, ny, nx), boundary)
    rates = torch.tensor([[EVEN, ODD]])

    def run(steps: int) -> None:
        nonlocal state
        state = advance(state, boundary, rates, steps=steps, backend=backend)

    return run


def lbmpy(nx: int, ny: int) -> Iterator[tuple[str, Advance]]:
    yield "cavity", _lbmpy_cavity(nx, ny, False)
    yield "cavity, non-temporal stores", _lbmpy_cavity(nx, ny, True)


def _lbmpy_cavity(nx: int, ny: int, nontemporal: bool) -> Advance:
    import pystencils
    from lbmpy import Method
    from lbmpy.scenarios import create_lid_driven_cavity

    grid = pystencils.create_data_handling((nx, ny), default_layout="fzyx", default_ghost_layers=1)
    cavity = create_lid_driven_cavity(
        data_handling=grid,
        lid_velocity=0.05,
        method=Method.TRT,
        relaxation_rates=[EVEN, ODD],
        compressible=False,
        config=_lbmpy_config(nontemporal),
    )
    return cavity.run


def lbmpy_bare(nx: int, ny: int) -> Iterator[tuple[str, Advance]]:
    for pattern in ("pull", "aa", "esotwist"):
        for nontemporal in (False, True) if pattern == "pull" else (False,):
            name = f"{pattern}{', non-temporal stores' if nontemporal else ''}"
            yield name, _lbmpy_kernel(nx, ny, pattern, nontemporal)


def _lbmpy_config(nontemporal: bool):
    import pystencils

    config = pystencils.CreateKernelConfig(
        target=pystencils.Target.available_vector_cpu_targets()[-1], default_dtype="float32"
    )
    config.cpu.vectorize.enable = True
    config.cpu.vectorize.assume_inner_stride_one = True
    config.cpu.vectorize.use_nontemporal_stores = nontemporal
    return config


def _lbmpy_kernel(nx: int, ny: int, pattern: str, nontemporal: bool) -> Advance:
    import numpy as np

    kernels = _lbmpy_compiled(pattern, nontemporal)
    noise = np.random.default_rng(0).normal(scale=1e-3, size=(9, ny + 2, nx + 2))
    a = noise.astype(np.float32).transpose(2, 1, 0)
    b = noise.astype(np.float32).transpose(2, 1, 0)

    def run(steps: int) -> None:
        for _ in range(steps // 2):
            if len(kernels) == 1:
                kernels[0](source=a, target=b)
                kernels[0](source=b, target=a)
            else:
                kernels[0](source=a)
                kernels[1](source=a)

    return run


@cache
def _lbmpy_compiled(pattern: str, nontemporal: bool) -> list[Callable[..., None]]:
    """One kernel that goes from array to array, or two that take turns in one."""
    import pystencils
    from lbmpy import (
        LBMConfig,
        LBMOptimisation,
        LBStencil,
        Method,
        Stencil,
        create_lb_update_rule,
    )
    from lbmpy.advanced_streaming import Timestep

    source = pystencils.fields("source(9): float32[2D]", layout="fzyx")
    target = pystencils.fields("target(9): float32[2D]", layout="fzyx")
    two_arrays = pattern == "pull"
    optimisation = LBMOptimisation(
        symbolic_field=source, symbolic_temporary_field=target if two_arrays else source
    )
    config = _lbmpy_config(nontemporal)
    kernels = []
    for parity in (Timestep.BOTH,) if two_arrays else (Timestep.EVEN, Timestep.ODD):
        method = LBMConfig(
            stencil=LBStencil(Stencil.D2Q9),
            method=Method.TRT,
            relaxation_rates=[EVEN, ODD],
            compressible=False,
            streaming_pattern=pattern,
            timestep=parity,
        )
        rule = create_lb_update_rule(lbm_config=method, lbm_optimisation=optimisation)
        kernels.append(pystencils.create_kernel(rule, config).compile())
    return kernels


def xlb(nx: int, ny: int) -> Iterator[tuple[str, Advance]]:
    yield "JAX", _xlb_step(nx, ny, "JAX")
    yield "Warp", _xlb_step(nx, ny, "WARP")


def _xlb_step(nx: int, ny: int, backend_name: str) -> Advance:
    import warp
    import xlb.velocity_set
    from xlb.compute_backend import ComputeBackend
    from xlb.grid import grid_factory
    from xlb.operator.stepper import IncompressibleNavierStokesStepper
    from xlb.precision_policy import PrecisionPolicy

    warp.config.quiet = True
    backend, precision = ComputeBackend[backend_name], PrecisionPolicy.FP32FP32
    lattice = xlb.velocity_set.D2Q9(precision_policy=precision, compute_backend=backend)
    xlb.init(velocity_set=lattice, default_backend=backend, default_precision_policy=precision)
    grid = grid_factory((nx, ny), compute_backend=backend)
    step = IncompressibleNavierStokesStepper(grid, boundary_conditions=[], collision_type="BGK")
    now, then, kind, missing = step.prepare_fields()

    def run(steps: int) -> None:
        nonlocal now, then
        for i in range(steps):
            now, then = step(now, then, kind, missing, EVEN, i)
            now, then = then, now
        warp.synchronize() if backend_name == "WARP" else now.block_until_ready()

    return run


def bandwidth(nx: int, ny: int) -> Iterator[tuple[str, Advance]]:
    """Not a peer: a copy of 64 MiB, "updates" of nine floats read and written each."""
    import numpy as np

    source = np.ones(2**24, np.float32)
    target = np.empty_like(source)
    copies_per_step = nx * ny * 9 / source.size
    owed = 0.0

    def run(steps: int) -> None:
        nonlocal owed
        owed += steps * copies_per_step
        whole = int(owed)
        owed -= whole
        for _ in range(whole):
            np.copyto(target, source)
        part = int(owed * source.size)
        np.copyto(target[:part], source[:part])
        owed = 0.0

    yield "copy", run


CONTESTANTS = {
    "ours": (ours, ("numba", "numpy")),
    "reference": (reference, ("torch",)),
    "lbmpy": (lbmpy, ("lbmpy", "pystencils")),
    "lbmpy without walls": (lbmpy_bare, ("lbmpy", "pystencils")),
    "XLB": (xlb, ("xlb", "jax", "warp-lang")),
    "bandwidth": (bandwidth, ("numpy",)),
}


# A worker holds one contestant and answers one request a line with one line of JSON.


def work(name: str) -> None:
    reply = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a peer prints is not an answer
    if name == "XLB":  # the one that starts threads whatever it is told
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    runs: dict[str, Advance] = {}
    for line in sys.stdin:
        request = json.loads(line)
        if "size" in request:
            runs = dict(CONTESTANTS[name][0](*request["size"]))
            answer: object = {variant: _steps(run, request) for variant, run in runs.items()}
        else:
            clock = time.process_time if request["clock"] == "cpu" else time.perf_counter
            start = clock()
            runs[request["variant"]](request["steps"])
            answer = clock() - start
        print(json.dumps(answer), file=reply, flush=True)


def _steps(run: Advance, request: dict) -> int:
    """An even number of steps that takes about the seconds asked for, after warming up."""
    run(2)
    steps, elapsed = 1, 0.0
    while elapsed < request["seconds"] / 4 and steps < 2**20:
        steps *= 2
        start = time.process_time()
        run(steps)
        elapsed = time.process_time() - start
    return max(2, 2 * round(steps * request["seconds"] / max(elapsed, 1e-9) / 2))


class Worker:
    """A contestant in a process of its own, with one thread."""

    def __init__(self, name: str) -> None:
        threads = dict.fromkeys(
            ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"
        )
        flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--worker", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **threads, "XLA_FLAGS": flags},
        )

    def ask(self, **request: object):
        assert self.process.stdin and self.process.stdout
        print(json.dumps(request), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"a worker ended with status {self.process.wait()}")
        return json.loads(answer)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()


def versions() -> dict[str, dict[str, str] | None]:
    """The versions of each contestant's packages, or None if one is absent."""
    found: dict[str, dict[str, str] | None] = {}
    for name, (_, packages) in CONTESTANTS.items():
        try:
            found[name] = {package: version(package) for package in packages}
        except PackageNotFoundError:
            found[name] = None
    return found


def compare(
    size: tuple[int, int], workers: dict[str, Worker], options: argparse.Namespace
) -> dict[str, dict[str, float]]:
    """Median MLUPS of every variant of every contestant at one size, in turns."""
    cells = size[0] * size[1]
    plan = {name: w.ask(size=size, seconds=options.seconds) for name, w in workers.items()}
    turns = [(n, v, s) for n, variants in plan.items() for v, s in variants.items()]
    rates: dict[tuple[str, str], list[float]] = {(n, v): [] for n, v, _ in turns}
    for _ in range(options.repeats):
        for name, variant, steps in turns:
            seconds = workers[name].ask(variant=variant, steps=steps, clock=options.clock)
            rates[name, variant].append(cells * steps / seconds / 1e6)
    return {
        f"{name} ({variant})": {"median": statistics.median(r), "least": min(r), "most": max(r)}
        for (name, variant), r in rates.items()
    }


def two_processes(
    size: tuple[int, int], one: Worker, two: Worker, options: argparse.Namespace
) -> float:
    """The wall-clock rate of two processes, a sample each, over that of one."""
    steps = one.ask(size=size, seconds=options.seconds)["cpu"]
    two.ask(size=size, seconds=options.seconds)
    go = {"variant": "cpu", "steps": steps, "clock": "wall"}
    found = []
    with ThreadPoolExecutor(2) as pool:
        for _ in range(options.repeats):
            alone = one.ask(**go)
            start = time.perf_counter()
            list(pool.map(lambda worker: worker.ask(**go), (one, two)))
            found.append(2 * alone / (time.perf_counter() - start))
    return statistics.median(found)


def best(rates: dict[str, dict], name: str) -> float | None:
    return max((r["median"] for k, r in rates.items() if k.startswith(f"{name} (")), default=None)


def ratios(rates: dict[str, dict], pair: float) -> dict[str, float]:
    mine = best(rates, "ours")
    assert mine is not None
    found = {"two processes": pair}
    for name in ("lbmpy", "reference", "lbmpy without walls", "XLB", "bandwidth"):
        theirs = best(rates, name)
        if theirs is not None:
            found[name] = mine / theirs
    return found


def report(result: dict) -> None:
    print(f"D2Q9, float32, one thread, {result['clock']} clock, {result['machine']}")
    for name, packages in result["versions"].items():
        listed = ", ".join(f"{k} {v}" for k, v in packages.items()) if packages else "absent"
        print(f"  {name}: {listed}")
    for size, entry in result["sizes"].items():
        print(f"\n{size:<46}{'MLUPS':>8}{'ours / it':>11}{'bound':>8}")
        mine = best(entry["rates"], "ours")
        for name, rate in sorted(entry["rates"].items(), key=lambda kv: -kv[1]["median"]):
            if not name.startswith("bandwidth"):
                print(f"  {name:<44}{rate['median']:8.1f}{mine / rate['median']:11.2f}")
        for name, ratio in entry["ratios"].items():
            label = {
                "bandwidth": f"fraction of bandwidth ({entry['copy_gigabytes']:.1f} GB/s)",
                "two processes": "two processes / one",
            }.get(name, f"ours / best {name}")
            bound = f"{BOUNDS[name]:8.1f}" if name in BOUNDS else ""
            short = "  short" if name in BOUNDS and ratio < BOUNDS[name] else ""
            print(f"  {label:<52}{ratio:11.2f}{bound}{short}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7, help="turns of each contestant")
    parser.add_argument("--seconds", type=float, default=0.5, help="of one turn, about")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall",
                        help="cpu leaves out the time that other programs take")  # fmt: skip
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    parser.add_argument("--worker", choices=CONTESTANTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker)
        return 0
    found = versions()
    names = [name for name, packages in found.items() if packages]
    result: dict = {
        "machine": f"{platform.machine()} with {os.cpu_count()} cores",
        "python": platform.python_version(),
        "clock": options.clock,
        "versions": found,
        "sizes": {},
    }
    with ExitStack() as stack:
        workers = {name: stack.enter_context(Worker(name)) for name in names}
        second = stack.enter_context(Worker("ours"))
        for size in SIZES:
            rates = compare(size, workers, options)
            pair = two_processes(size, workers["ours"], second, options)
            copied = best(rates, "bandwidth") or float("nan")
            result["sizes"][f"{size[0]} x {size[1]}"] = {
                "rates": rates,
                "ratios": ratios(rates, pair),
                "copy_gigabytes": copied * BYTES_PER_UPDATE / 1e3,
            }
    report(result)
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n")
    held = [
        entry["ratios"][name] >= bound
        for entry in result["sizes"].values()
        for name, bound in BOUNDS.items()
        if name in entry["ratios"]
    ]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
