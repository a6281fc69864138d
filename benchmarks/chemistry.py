"""How many cells does a learned step of chemistry advance in a second, beside Cantera?

    python benchmarks/chemistry.py SURROGATE [SURROGATE ...] [--out FILE.json] [--figure FILE.png]

SURROGATE is the folder of a fitted `ReactionStep`, such as `results/ch4-ignition-full/surrogate`.
States along ignitions that it was not trained on are advanced by 1e-6 s in batches of 1, 10, 100,
10,000 and 1,000,000 cells: elements, temperature, checks of the input and the trust mask included.
CPU time of one thread for each state, in one run and in turn, the median of the turns. Cantera
advances 500 of the same states with a reactor that is reused, in three settings at 1e-6 and 1e-10;
the quickest one counts. "With fallback" is the hybrid of both, at the share of untrusted states and
of checks that it had. The exit status is 1 where the surrogate is less than 25 (h2o2) or 35 (gri30)
times as fast as Cantera at 10,000 cells.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from sciml.chemistry import DirectIntegration, States, along
from sciml.chemistry.hybrid import HybridIntegrator
from sciml.chemistry.sampling import join
from sciml.chemistry.surrogate import ReactionStep

BATCHES = (1, 10, 100, 10_000, 1_000_000)
JUDGED = 10_000
TIME_STEP = 1e-6
BOUNDS = {"h2o2.yaml": 25.0, "gri30.yaml": 35.0}
FUELS = {"h2o2.yaml": ("H2", (1050.0, 1500.0)), "gri30.yaml": ("CH4", (1300.0, 1900.0))}
DIRECT_CELLS = 500


@dataclass(frozen=True, kw_only=True)
class Row:
    """One way with one batch: microseconds a state, and those of Cantera over them."""

    mechanism: str
    way: str
    batch: int
    microseconds: float
    ratio: float


def states(mechanism: str, count: int) -> States:
    """States along twenty ignitions of random conditions."""
    fuel, temperatures = FUELS[mechanism]
    solver, rng = DirectIntegration(mechanism=mechanism), np.random.default_rng(41)
    parts = []
    for _ in range(20):
        Y = solver.mixture(
            fuel=fuel, oxidizer="O2:1, N2:3.76", equivalence_ratio=rng.uniform(0.6, 1.4)
        )
        T, p = rng.uniform(*temperatures), 101325.0 * rng.uniform(1.05, 2.95)
        parts.append(along(States(*solver.trajectory(T, p, Y, duration=0.05)[1:]), 500))
    every = join(*parts)
    chosen = rng.integers(len(every.temperature), size=count)
    return States(*(np.ascontiguousarray(array[chosen]) for array in every))


def settings(mechanism: str) -> dict[str, DirectIntegration]:
    loose = DirectIntegration(mechanism=mechanism, relative=1e-6, absolute=1e-10)
    moles = replace(loose, unknowns="moles")
    return {
        "Cantera, mass fractions": loose,
        "Cantera, moles": moles,
        "Cantera, moles, preconditioned": replace(moles, preconditioned=True),
    }


def first(cells: States, count: int) -> States:
    return States(*(array[:count] for array in cells))


def timed(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def measure(folder: Path, repeats: int, batches: tuple[int, ...]) -> list[Row]:
    surrogate = ReactionStep.load(folder)
    mechanism = surrogate.options.mechanism.name
    cells = states(mechanism, max(batches))
    solvers, few = settings(mechanism), first(cells, DIRECT_CELLS)
    steps = np.full(DIRECT_CELLS, TIME_STEP)
    direct = {
        name: statistics.median(
            timed(lambda: solver.advance(*few, steps)) / DIRECT_CELLS  # noqa: B023
            for _ in range(3)
        )
        for name, solver in solvers.items()
    }
    best = min(direct, key=direct.__getitem__)
    rows = [row(mechanism, name, 1, seconds, direct[best]) for name, seconds in direct.items()]
    hybrid = HybridIntegrator(surrogate, solvers[best])
    for batch in batches:
        some = first(cells, batch)
        turns = max(1, min(repeats, 3_000_000 // batch))
        calls = max(1, 200 // batch)
        for way in ("eager", "compiled", "exported"):
            if way == "exported" and batch == 1:
                continue
            surrogate.accelerate(way)
            seconds = median(lambda: surrogate.advance(*some, TIME_STEP), turns, calls)  # noqa: B023
            rows.append(row(mechanism, f"network, {way}", batch, seconds / batch, direct[best]))
        surrogate.accelerate("eager")
        if batch <= JUDGED:
            hybrid.calls = hybrid.fallbacks = 0
            seconds = median(lambda: hybrid.advance(*some, TIME_STEP), turns, calls)  # noqa: B023
            name = f"with fallback ({hybrid.share:.1%} of the cells, 0.1% checked)"
            rows.append(row(mechanism, name, batch, seconds / batch, direct[best]))
    return rows


def median(run: Callable[[], object], turns: int, calls: int) -> float:
    """Seconds a call; the first turn compiles and is left out."""
    run()
    times = [timed(lambda: [run() for _ in range(calls)]) / calls for _ in range(turns)]
    return statistics.median(times)


def row(mechanism: str, way: str, batch: int, seconds: float, direct: float) -> Row:
    ratio = direct / seconds
    return Row(mechanism=mechanism, way=way, batch=batch, microseconds=1e6 * seconds, ratio=ratio)


def break_even(rows: list[Row]) -> str:
    """The smallest batch at which the eager network is quicker than Cantera."""
    quick = [row.batch for row in rows if row.way == "network, eager" and row.ratio > 1]
    return f"{rows[0].mechanism}: quicker than Cantera from a batch of {min(quick, default=0)} on"


def draw(rows: list[Row], path: Path) -> None:
    """Speed over Cantera's against the batch, a panel for each mechanism."""
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(row.mechanism for row in rows))
    figure = Figure(figsize=(3.6 * len(names), 3.2), layout="constrained")
    panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    for panel, name in zip(panels, names, strict=True):
        for way in ("network, eager", "network, compiled", "network, exported", "with fallback"):
            own = [row for row in rows if row.mechanism == name and row.way.startswith(way)]
            panel.loglog([r.batch for r in own], [r.ratio for r in own], "o-", ms=4, label=way)
        panel.axhline(1.0, color="black", lw=0.9)
        panel.axhline(BOUNDS[name], color="0.5", lw=0.9, ls="--")
        panel.set_title(name, fontsize="medium")
        panel.set_xlabel("cells in a call")
    panels[0].set_ylabel("times as fast as Cantera")
    panels[0].legend(fontsize="small")
    figure.savefig(path, dpi=150)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("surrogates", type=Path, nargs="+", metavar="SURROGATE")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES)
    parser.add_argument("--out", type=Path, help="where the figures go as JSON")
    parser.add_argument("--figure", type=Path, help="where speed against batch is drawn")
    options = parser.parse_args()
    torch.set_num_threads(1)
    packages = {name: version(name) for name in ("cantera", "numba", "numpy", "torch")}
    print(f"{platform.machine()}, {', '.join(f'{k} {v}' for k, v in packages.items())}")
    print("| mechanism | way | batch | µs a state | Cantera / it |\n|---|---|---|---|---|")
    every, short, notes = [], [], []
    for folder in options.surrogates:
        rows = measure(folder, options.repeats, tuple(options.batches))
        for r in rows:
            head = f"| {r.mechanism} | {r.way} | {r.batch:,} |"
            print(f"{head} {r.microseconds:.2f} | {r.ratio:.1f} |")
        best = max((r.ratio for r in rows if r.batch == JUDGED), default=0.0)
        bound = BOUNDS[rows[0].mechanism]
        if best < bound:
            short.append(f"short: {rows[0].mechanism}: {best:.1f} times, not {bound:g}")
        every += rows
        notes.append(break_even(rows))
    print("\n".join([*notes, *short]))
    if options.out:
        told = {"packages": packages, "rows": [asdict(row) for row in every]}
        options.out.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    if options.figure:
        draw(every, options.figure)
    return int(bool(short))


if __name__ == "__main__":
    raise SystemExit(main())
