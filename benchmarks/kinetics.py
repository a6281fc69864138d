"""How long do net rates of production take on one CPU core, beside Cantera?

    python benchmarks/kinetics.py [--cells 10000] [--repeats 7] [--out FILE.json]

CPU time of one thread for each state of a batch of random ones (600-3000 K, 0.1-100 bar), in one
run and in turn, the median of the turns. Cantera is given one state after another, its density and
mass fractions set at once, which is the fastest way there is from Python; its time has the setting
of the state in it, as ours has the heat release. Tangents and adjoints are products with the
Jacobian and its transpose. "Error" is the largest difference from Cantera over what is made and
used up of a species.

The exit status is 1 where the CPU kernel is less than 3 times as fast as Cantera.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import cantera
import numpy as np
import torch
from torch.func import jvp, vjp

from sciml.chemistry import load_mechanism
from sciml.kernels.kinetics import Mechanism, production_rates

MECHANISMS = ("h2o2.yaml", "gri30.yaml")
BOUND = 3.0


@dataclass(frozen=True, kw_only=True)
class Row:
    """One way: microseconds a state, those of Cantera over them, and the largest error."""

    mechanism: str
    way: str
    microseconds: float
    ratio: float
    error: float | None


def states(mechanism: Mechanism, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(40)
    T, p = rng.uniform(600, 3000, count), 10 ** rng.uniform(4, 7, count)
    X = rng.dirichlet(np.full(len(mechanism.species), 0.3), count)
    c = X * (p / (cantera.gas_constant * T))[:, None]
    return torch.from_numpy(T), torch.from_numpy(c)


def by_cantera(source: str, T: torch.Tensor, c: torch.Tensor) -> Callable[[], np.ndarray]:
    gas = cantera.Solution(source, transport_model=None)
    masses = c.numpy() * gas.molecular_weights
    density = masses.sum(1, keepdims=True)
    rows = np.concatenate([T.numpy()[:, None], density, masses / density], axis=1)
    found = np.empty_like(masses)

    def run() -> np.ndarray:
        for row, rates in zip(rows, found, strict=True):
            gas.state = row
            rates[:] = gas.net_production_rates
        return found

    return run


def gross(source: str, T: torch.Tensor, c: torch.Tensor) -> np.ndarray:
    """What is made and used up."""
    gas = cantera.Solution(source, transport_model=None)
    solved = cantera.SolutionArray(gas, len(T))
    solved.TDX = T.numpy(), c.numpy() @ gas.molecular_weights, c.numpy()
    return solved.creation_rates + solved.destruction_rates


def measure(source: str, cells: int, repeats: int) -> list[Row]:
    mechanism = load_mechanism(source)
    T, c = states(mechanism, cells)

    def rates(backend: str) -> Callable[..., tuple[torch.Tensor, torch.Tensor]]:
        return lambda T, c: production_rates(mechanism, T, c, backend=backend)

    (found, heat), transposed = vjp(rates("cpu"), T, c)
    ways: dict[str, Callable[[], object]] = {
        "Cantera, state by state": by_cantera(source, T, c),
        "sciml, cpu": lambda: rates("cpu")(T, c),
        "sciml, cpu, with a tangent": lambda: jvp(rates("cpu"), (T, c), (T, c)),
        "sciml, cpu, adjoint": lambda: transposed((found, heat)),
        "sciml, reference": lambda: rates("reference")(T, c),
    }
    exact = ways["Cantera, state by state"]().copy()
    scale = np.maximum(gross(source, T, c), 1e-300)
    runs = [{name: timed(way) for name, way in ways.items()} for _ in range(repeats + 1)]
    seconds = {name: statistics.median(run[name] for run in runs[1:]) for name in ways}
    plain = {f"sciml, {backend}": rates(backend)(T, c)[0] for backend in ("cpu", "reference")}
    errors = {
        name: float((np.abs(one.numpy() - exact) / scale).max()) for name, one in plain.items()
    }
    return [
        Row(
            mechanism=source,
            way=name,
            microseconds=1e6 * seconds[name] / cells,
            ratio=seconds["Cantera, state by state"] / seconds[name],
            error=errors.get(name),
        )
        for name in ways
    ]


def timed(way: Callable[[], object]) -> float:
    start = time.process_time()
    way()
    return time.process_time() - start


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--out", type=Path, help="where the figures go as JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [row for source in MECHANISMS for row in measure(source, options.cells, options.repeats)]
    packages = {name: version(name) for name in ("cantera", "numba", "numpy", "torch")}
    print(f"{platform.machine()}, {', '.join(f'{k} {v}' for k, v in packages.items())}")
    print("| mechanism | way | µs a state | Cantera / it | error |\n|---|---|---|---|---|")
    for row in rows:
        error = "" if row.error is None else f"{row.error:.0e}"
        print(
            f"| {row.mechanism} | {row.way} | {row.microseconds:.2f} | {row.ratio:.2f} | {error} |"
        )
    slow = [row for row in rows if row.way == "sciml, cpu" and row.ratio < BOUND]
    for row in slow:
        print(f"short: {row.mechanism}: {row.ratio:.2f} times as fast as Cantera, not {BOUND}")
    if options.out:
        told = {"packages": packages, "rows": [asdict(row) for row in rows]}
        options.out.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    return int(bool(slow))


if __name__ == "__main__":
    raise SystemExit(main())
