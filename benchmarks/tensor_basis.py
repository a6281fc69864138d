"""How long do Pope's tensors take on one CPU core, beside matrices and torch.compile?

    python benchmarks/tensor_basis.py [--cells 100000] [--repeats 15] [--out FILE.json]

CPU time of one thread for a batch of random cells in float32, in one run and in turn, the median of
the turns; compilation is not counted. "Matrices" multiplies 3 x 3 matrices in torch, "components"
is the form that the kernel compiles from, run by torch and by torch.compile. Gradients are by the
coefficients and all fields, the way forward included; the matrices' closure has the same network.
"Error" is the largest of any cell against float64, relative to the largest entry of each tensor (or
of b or of each gradient); "in its cell" is relative to the largest entry of the tensor in the same
cell, which 99.9 % of the cells stay below: where a tensor cancels, no form in float32 is exact.

The exit status is 1 where the tensors by the CPU kernel are less than 5 times as fast as matrices
or less than 2 times as fast as torch.compile, or their error is above 1e-6.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sciml.kernels.tensor_basis import (
    CoefficientNetwork,
    anisotropy,
    closure_step,
    components,
    reference,
    tensor_basis,
)

LIMIT = 1.0
MATRICES, COMPILED, OURS = "matrices, torch", "components, torch.compile", "sciml, cpu"
FASTER = {MATRICES: 5.0, COMPILED: 2.0}
ERROR = 1e-6

Way = Callable[..., tuple[Tensor, ...]]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One way: nanoseconds a cell, that time over ours, and errors against float64."""

    task: str
    way: str
    nanoseconds: float
    ratio: float
    error: float
    error_in_cell: float | None


def fields(cells: int) -> tuple[Tensor, ...]:
    """Velocity gradient, k and ε, and coefficients."""
    rng = np.random.default_rng(60)
    G = rng.normal(size=(cells, 3, 3))
    G -= np.trace(G, axis1=1, axis2=2)[:, None, None] * np.eye(3) / 3
    k, epsilon = rng.uniform(0.5, 2.0, (2, cells))
    g = rng.normal(size=(10, cells))
    return tuple(torch.from_numpy(x).float() for x in (G, k, epsilon, g))


def network() -> CoefficientNetwork:
    rng = np.random.default_rng(61)
    widths = (5, 64, 64, 64, 10)
    pairs = list(zip(widths[1:], widths[:-1], strict=True))
    return CoefficientNetwork(
        weights=tuple(torch.from_numpy(rng.normal(size=p) / p[1] ** 0.5).float() for p in pairs),
        biases=tuple(torch.zeros(after) for after, _ in pairs),
    )


def contracted(G: Tensor, k: Tensor, epsilon: Tensor, g: Tensor) -> tuple[Tensor, ...]:
    """b by components."""
    gradient = G.flatten(1).unbind(1)
    ratio = k / epsilon
    factor = torch.sqrt(1 + ratio * ratio * components.size(gradient) / LIMIT**2)
    s, w = components.parts(gradient, ratio / factor, 0.5)
    return (torch.stack(components.contraction(g.unbind(0), s, w, 1 / 3, 0.5)),)


def with_gradients(way: Way) -> Way:
    """The derivatives of the sum of b² / 2."""

    def run(*given: Tensor) -> tuple[Tensor, ...]:
        live = [x.detach().requires_grad_() for x in given]
        (b,) = way(*live)
        return torch.autograd.grad(b, live, b.detach())

    return run


def tasks() -> dict[str, dict[str, Way]]:
    """The ways of each task, all of (G, k, ε, coefficients)."""
    net = network()

    def by_matrices(G: Tensor, k: Tensor, epsilon: Tensor, g: Tensor) -> tuple[Tensor, ...]:
        return (reference.anisotropy(G, k, epsilon, g, LIMIT),)

    def ours(G: Tensor, k: Tensor, epsilon: Tensor, g: Tensor) -> tuple[Tensor, ...]:
        return (anisotropy(G, k, epsilon, g, limit=LIMIT, backend="cpu"),)

    def closed(backend: str) -> Way:
        def run(G: Tensor, k: Tensor, epsilon: Tensor, g: Tensor) -> tuple[Tensor, ...]:
            own = net.like(tuple(p.to(G) for p in net.parameters))
            return (closure_step(G, k, epsilon, own, limit=LIMIT, backend=backend),)

        return run

    by_components = torch.compile(reference.tensor_basis_by_components, dynamic=False)
    contraction = torch.compile(contracted, dynamic=False)
    return {
        "ten tensors": {
            MATRICES: lambda G, k, e, g: reference.tensor_basis(G, k, e, LIMIT)[1].unbind(0),
            "components, torch": lambda G, k, e, g: reference.tensor_basis_by_components(
                G, k, e, LIMIT
            )[1].unbind(0),
            COMPILED: lambda G, k, e, g: by_components(G, k, e, LIMIT)[1].unbind(0),
            OURS: lambda G, k, e, g: tensor_basis(G, k, e, limit=LIMIT, backend="cpu")[1].unbind(0),
        },
        "anisotropy": {MATRICES: by_matrices, COMPILED: contraction, OURS: ours},
        "anisotropy, gradients": {
            MATRICES: with_gradients(by_matrices),
            COMPILED: with_gradients(contraction),
            OURS: with_gradients(ours),
        },
        "closure, 5-64-64-64-10": {MATRICES: closed("reference"), OURS: closed("cpu")},
    }


def measure(
    task: str, ways: Mapping[str, Way], given: tuple[Tensor, ...], repeats: int
) -> list[Row]:
    exact = ways[MATRICES](*(x.double() for x in given))
    errors = {name: error(way(*given), exact) for name, way in ways.items()}
    runs = [{name: timed(way, given) for name, way in ways.items()} for _ in range(repeats + 1)]
    seconds = {name: statistics.median(run[name] for run in runs[1:]) for name in ways}
    cells = len(given[1])
    return [
        Row(
            task=task,
            way=name,
            nanoseconds=1e9 * seconds[name] / cells,
            ratio=seconds[name] / seconds[OURS],
            error=errors[name],
            error_in_cell=in_its_cell(ways[name](*given), exact) if len(exact) == 10 else None,
        )
        for name in ways
    ]


def error(found: tuple[Tensor, ...], exact: tuple[Tensor, ...]) -> float:
    return max(
        float((f - e).abs().max() / e.abs().max()) for f, e in zip(found, exact, strict=True)
    )


def in_its_cell(found: tuple[Tensor, ...], exact: tuple[Tensor, ...]) -> float:
    """What 99.9 % of the cells stay below, for the worst of the tensors [6, cell]."""
    return max(
        float(((f - e).abs().amax(0) / e.abs().amax(0)).quantile(0.999))
        for f, e in zip(found, exact, strict=True)
    )


def timed(way: Way, given: tuple[Tensor, ...]) -> float:
    start = time.process_time()
    way(*given)
    return time.process_time() - start


def missed(rows: list[Row]) -> list[str]:
    """What falls short of the bounds, in words."""
    tensors = {row.way: row for row in rows if row.task == "ten tensors"}
    found = [
        f"{tensors[way].ratio:.2f} times as fast as {way}, not {bound}"
        for way, bound in FASTER.items()
        if tensors[way].ratio < bound
    ]
    if not tensors[OURS].error <= ERROR:
        found.append(f"an error of {tensors[OURS].error:.1e}, not {ERROR:.0e}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--out", type=Path, help="where the figures go as JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    given = fields(options.cells)
    rows = [
        row for task, ways in tasks().items() for row in measure(task, ways, given, options.repeats)
    ]
    packages = {name: version(name) for name in ("numba", "numpy", "torch")}
    print(f"{platform.machine()}, {', '.join(f'{k} {v}' for k, v in packages.items())}")
    print("| task | way | ns a cell | it / ours | error | in its cell |\n|---|---|---|---|---|---|")
    for row in rows:
        inside = "" if row.error_in_cell is None else f"{row.error_in_cell:.1e}"
        print(
            f"| {row.task} | {row.way} | {row.nanoseconds:.1f} | {row.ratio:.2f} | {row.error:.1e} "
            f"| {inside} |"
        )
    short = missed(rows)
    for line in short:
        print(f"short: {line}")
    if options.out:
        told = {"packages": packages, "rows": [asdict(row) for row in rows], "short": short}
        options.out.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    return int(bool(short))


if __name__ == "__main__":
    raise SystemExit(main())
