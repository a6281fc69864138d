"""Does the lattice Boltzmann solver give the flows that are known?

    python benchmarks/verification.py --out verification.json

Four flows, each against its exact solution or a published number, with the bound that it is held
to: the decay of Taylor and Green's vortex, Poiseuille's flow between walls that stand anywhere
between the cell centres, the cavity of Ghia, Ghia and Shin (1982, doi:10.1016/0021-9991(82)90058-4)
and the cylinder in a channel, 2D-1, of Schäfer and Turek (1996,
doi:10.1007/978-3-322-89849-4_39). One thread; the times are CPU times, compilation included. Leaves
with status 1 when a bound falls short.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numba
import numpy as np
import torch
from scipy.interpolate import CubicSpline

from sciml.data import fetch
from sciml.flow import LatticeProblem, SolverOptions, SteadyState, solve_steady
from sciml.kernels.lattice_boltzmann import (
    Periodic,
    PressureOutlet,
    Sides,
    Velocity,
    advance,
    at_equilibrium,
    boundary_of,
    moments,
    relaxation_rates,
)

Collision = Literal["trt", "bgk"]
COLLISIONS: tuple[Collision, ...] = ("trt", "bgk")
OFFSETS = (0.3, 0.55, 0.9)
"""Where the lower wall of Poiseuille's channel stands between two cell faces."""


def taylor_green(cells: int, collision: Collision) -> float:
    """Relative error of velocity when the vortex has half its speed left.

    u = U e^(−2νk²t) (−cos kx sin ky, sin kx cos ky) and p = −U²/4 (cos 2kx + cos 2ky) e^(−4νk²t)
    in a periodic box of one wavelength 2π/k. Viscosity per step stays and U falls with the
    spacing, so that Re is the same on every grid and compressibility dwindles with the rest.
    """
    viscosity, speed, k = 0.05, 0.8 / cells, 2 * math.pi / cells
    steps = round(math.log(2) / (2 * viscosity * k**2))
    place = k * (torch.arange(cells, dtype=torch.float64) + 0.5)
    x, y = place[None, :], place[:, None]
    velocity = speed * torch.stack([-torch.cos(x) * torch.sin(y), torch.sin(x) * torch.cos(y)])
    density = -0.75 * speed**2 * (torch.cos(2 * x) + torch.cos(2 * y))
    periodic = Sides(left=Periodic(), right=Periodic(), bottom=Periodic(), top=Periodic())
    boundary = boundary_of(np.full((1, cells, cells), 9.0), periodic, dtype=torch.float64)
    start = at_equilibrium(density[None], velocity[None], boundary)
    end = advance(start, boundary, rates(viscosity, collision), steps=steps)
    exact = velocity * math.exp(-2 * viscosity * k**2 * steps)
    return float((moments(end)[1][0] - exact).norm() / exact.norm())


def poiseuille(cells: int, collision: Collision, offset: float) -> float:
    """Relative error of velocity in the middle of a channel that is `cells` wide.

    The walls are given by the signed distance, the lower one `offset` of a cell above a cell face,
    as on every grid; the inlet by the parabola, and the outlet by its pressure. Viscosity per step
    stays and U falls with the spacing.
    """
    low = 2 + offset
    speed = 0.4 / cells
    y = np.arange(cells + 5) + 0.5
    parabola = 4 * speed * (y - low) * (low + cells - y) / cells**2
    distance = np.minimum(y - low, low + cells - y)

    def channel(factor: int) -> LatticeProblem:
        return LatticeProblem(
            signed_distance=np.repeat(distance[:, None], 3 * cells, axis=1),
            sides=Sides(left=Velocity(x=parabola), right=PressureOutlet()),
            viscosity=0.1,
            length=float(cells),
            speed=speed,
        )

    options = SolverOptions(levels=1, tolerance=1e-6, collision=collision, precision="float64")
    middle = solve_steady(channel, options).velocity[:, :, 3 * cells // 2]
    exact = np.stack([np.where(distance > 0, parabola, 0), np.zeros_like(parabola)])
    return float(np.linalg.norm(middle - exact) / np.linalg.norm(exact))


def orders(errors: Sequence[float]) -> list[float]:
    """The order of convergence between each grid and the next, twice as fine."""
    return [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]


def rates(viscosity: float, collision: Collision) -> torch.Tensor:
    """Relaxation rates of one grid."""
    return relaxation_rates([viscosity], magic=3 / 16 if collision == "trt" else None)


def cavity(cells: int, reynolds: int, *, levels: int = 3) -> SteadyState:
    """A square cavity whose lid moves to the right with 0.1 cells per step."""

    def square(factor: int) -> LatticeProblem:
        n = cells // factor
        return LatticeProblem(
            signed_distance=np.full((n, n), float(n)),
            sides=Sides(top=Velocity(x=0.1)),
            viscosity=0.1 * n / reynolds,
            length=float(n),
            speed=0.1,
        )

    return solve_steady(square, SolverOptions(levels=levels, tolerance=1e-5, patience=1000.0))


def ghia_deviation(state: SteadyState, reynolds: int) -> float:
    """Largest deviation from the table, in lid speeds, over both centre lines.

    A value that the table flags as a misprint is left out. Between cell centres, and to the walls,
    the flow is interpolated by a cubic spline.
    """
    ux, uy = state.velocity / 0.1
    half = ux.shape[0] // 2
    lines = {
        "u": (ux[:, half - 1 : half + 1].mean(1), 1.0),
        "v": (uy[half - 1 : half + 1].mean(0), 0.0),
    }
    deviations = []
    for name, (line, end) in lines.items():
        places = (np.arange(line.size) + 0.5) / line.size
        spline = CubicSpline([0, *places, 1], [0, *line, end])
        deviations += [abs(spline(at) - value) for at, value in _ghia(name, reynolds)]
    return float(max(deviations))


def _ghia(name: str, reynolds: int) -> Iterator[tuple[float, float]]:
    """Place and value, without misprints."""
    for row in table(f"flow/ghia1982_{name}"):
        if not (row.get("flag") or "").startswith(f"Re{reynolds}_"):
            yield float(row["y" if name == "u" else "x"]), float(row[f"{name}_Re{reynolds}"])


def table(name: str) -> list[dict[str, str]]:
    """The rows of a catalogued table."""
    with fetch(name).open(encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


@dataclass(frozen=True, kw_only=True)
class Coefficients:
    """Drag and lift coefficients, and the pressure difference [Pa] between front and back."""

    cd: float
    cl: float
    dp: float


def cylinder(cells: int, *, precision: Literal["float32", "float64"] = "float32") -> Coefficients:
    """The cylinder of 0.1 m in a channel of 2.2 m x 0.41 m at Re = 20, its axis 0.2 m from the
    inlet and the lower wall, with `cells`, a multiple of ten, over its diameter."""
    levels = 1 + round(math.log2(cells / 10))
    options = SolverOptions(levels=levels, tolerance=1e-5, patience=1000.0, precision=precision)
    mean = 2 / 3 * 0.1
    state = solve_steady(lambda factor: _channel(cells // factor, mean), options)
    drag, lift = state.force / (0.5 * mean**2 * cells)
    row = state.pressure[2 * cells - 1 : 2 * cells + 1].mean(0) * (0.2 / mean) ** 2
    dp = _beside(row, 1.5 * cells, -1) - _beside(row, 2.5 * cells, 1)
    return Coefficients(cd=float(drag), cl=float(lift), dp=dp)


def _channel(cells: int, mean: float) -> LatticeProblem:
    ny, nx = 41 * cells // 10, 22 * cells
    y, x = (np.arange(n) + 0.5 for n in (ny, nx))
    return LatticeProblem(
        signed_distance=np.hypot(x[None] - 2 * cells, y[:, None] - 2 * cells) - cells / 2,
        sides=Sides(left=Velocity(x=6 * mean * y * (ny - y) / ny**2), right=PressureOutlet()),
        viscosity=mean * cells / 20,
        length=float(cells),
        speed=mean,
    )


def _beside(row: np.ndarray, wall: float, side: Literal[-1, 1]) -> float:
    """Pressure on the wall by the parabola through the three cells of fluid before or after it.

    The nearest centre is a quarter of a cell or more away.
    """
    place = np.arange(row.size) + 0.5
    fluid = np.flatnonzero((place - wall) * side > 0.25)
    three = fluid[:3] if side > 0 else fluid[-3:]
    return float(np.polyval(np.polyfit(place[three], row[three], 2), wall))


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure; `bound` limits its deviation, or for an order its smallest value."""

    flow: str
    cells: str
    quantity: str
    value: float
    reference: float | None = None
    deviation: float | None = None
    bound: float | None = None
    holds: bool | None = None
    seconds: float

    def line(self) -> str:
        """The row as Markdown."""
        reference = "" if self.reference is None else f"{self.reference:.6g}"
        deviation = "" if self.deviation is None else f"{100 * self.deviation:+.2f} %"
        sign = "≥ " if "order" in self.quantity else "≤ "
        percent = self.deviation is not None and self.bound is not None
        number = "" if self.bound is None else f"{100 * self.bound:g} %" if percent else self.bound
        bound = f"{sign}{number}" if self.bound is not None else ""
        held = {None: "", True: "holds", False: "falls short"}[self.holds]
        return (
            f"| {self.flow} | {self.cells} | {self.quantity} | {self.value:.5g} | {reference} "
            f"| {deviation} | {bound} | {held} | {self.seconds:.1f} |"
        )


HEAD = (
    "| flow | cells | quantity | value | reference | deviation | bound | | CPU seconds |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def order_row(
    flow: str, grids: Sequence[int], solve: Callable[[int], float], bound: float = 1.9
) -> Row:
    """The smallest order of convergence of the velocity's error over the grids."""
    start = time.process_time()
    least = min(orders([solve(cells) for cells in grids]))
    return Row(
        flow=flow,
        cells=", ".join(map(str, grids)),
        quantity="order of convergence of u",
        value=least,
        bound=bound,
        holds=least >= bound,
        seconds=time.process_time() - start,
    )


def cavity_row(cells: int, reynolds: int, bound: float = 0.015) -> Row:
    """The largest deviation from Ghia's tables."""
    start = time.process_time()
    deviation = ghia_deviation(cavity(cells, reynolds), reynolds)
    return Row(
        flow=f"cavity, Re {reynolds}",
        cells=str(cells),
        quantity="largest deviation from Ghia / U",
        value=deviation,
        bound=bound,
        holds=deviation <= bound,
        seconds=time.process_time() - start,
    )


def cylinder_rows(cells: int, *, held: bool) -> Iterator[Row]:
    """Coefficients beside the reference, held to their bounds or only shown."""
    start = time.process_time()
    got = asdict(cylinder(cells))
    seconds = time.process_time() - start
    reference = {row["quantity"]: row["reference"] for row in table("flow/schaefer_turek_2d1")}
    for name, bound in (("cd", 0.005), ("dp", 0.01), ("cl", 0.05)):
        truth = float(reference[name])
        deviation = got[name] / truth - 1
        yield Row(
            flow="Schäfer-Turek 2D-1",
            cells=f"{cells} per diameter",
            quantity=name,
            value=got[name],
            reference=truth,
            deviation=deviation,
            bound=bound if held else None,
            holds=abs(deviation) <= bound if held else None,
            seconds=seconds,
        )


def rows() -> Iterator[Row]:
    """All figures, one after the other."""
    for collision in COLLISIONS:
        yield order_row(
            f"Taylor-Green, {collision}",
            (32, 64, 128),
            lambda cells, c=collision: taylor_green(cells, c),  # type: ignore[misc]
        )
    for collision in COLLISIONS:
        for offset in OFFSETS:
            yield order_row(
                f"Poiseuille, {collision}, wall at {offset:g} of a cell",
                (16, 32, 64),
                lambda cells, c=collision, o=offset: poiseuille(cells, c, o),  # type: ignore[misc]
            )
    for reynolds, cells in ((100, 128), (400, 192), (1000, 256)):
        yield cavity_row(cells, reynolds)
    for cells in (10, 20, 40):
        yield from cylinder_rows(cells, held=cells == 40)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, help="where to write the figures as JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(HEAD, flush=True)
    figures = []
    for row in rows():
        figures.append(row)
        print(row.line(), flush=True)
    short = [row for row in figures if row.holds is False]
    held = sum(row.holds is not None for row in figures)
    print(f"\n{held - len(short)} of {held} bounds hold")
    if options.out:
        record = {
            "machine": platform.processor() or platform.machine(),
            "versions": {m.__name__: m.__version__ for m in (numba, np, torch)},
            "rows": [asdict(row) for row in figures],
        }
        options.out.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
