"""How long does the exact signed distance to a polygon take, beside the ways there are?

    python benchmarks/signed_distance.py --json signed_distance.json

CPU time on one thread, the median of several runs in turn, for a body of 200 edges; every way gives
the distance at the centre of every cell with its sign. The last, a distance transform of the
pixels, is not exact and stands there for its error, in cells.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numba
import numpy as np
import scipy
import shapely
import torch

from sciml.flow.grid import Grid
from sciml.flow.masks import signed_distance_of_mask
from sciml.flow.shapes import Shape, polygon

SIZES = ((128, 256), (256, 256))
Field = np.ndarray


def body(edges: int, grid: Grid) -> Shape:
    """A lobed outline a third as high as the domain."""
    left, right, bottom, top = grid.extent
    angle = 2 * np.pi * np.arange(edges) / edges
    radius = (top - bottom) / 6 * (1 + 0.25 * np.cos(3 * angle) + 0.1 * np.sin(7 * angle))
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return polygon(points).translate(0.65 * left + 0.35 * right, 0.5 * (bottom + top))


def by_shapely(shape: Shape, grid: Grid) -> Field:
    region, (x, y) = shape.region, np.moveaxis(grid.points, -1, 0)
    shapely.prepare(region)
    boundary = region.boundary
    shapely.prepare(boundary)
    distance = shapely.distance(boundary, shapely.points(x, y))
    return np.where(shapely.contains_xy(region, x, y), -distance, distance)


def by_numpy(shape: Shape, grid: Grid) -> Field:
    """Every edge in turn against all the cells at once."""
    (ring,) = shape.rings
    x, y = np.moveaxis(grid.points, -1, 0)
    squared, inside = np.full(x.shape, np.inf), np.zeros(x.shape, dtype=bool)
    for (ax, ay), (bx, by) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        ex, ey, dx, dy = bx - ax, by - ay, x - ax, y - ay
        t = np.clip((dx * ex + dy * ey) / (ex * ex + ey * ey), 0.0, 1.0)
        np.minimum(squared, (dx - t * ex) ** 2 + (dy - t * ey) ** 2, out=squared)
        inside ^= ((ay <= y) != (by <= y)) & ((ex * dy - ey * dx > 0) == (by > ay))
    return np.where(inside, -np.sqrt(squared), np.sqrt(squared))


def by_pixels(shape: Shape, grid: Grid) -> Field:
    region, (x, y) = shape.region, np.moveaxis(grid.points, -1, 0)
    shapely.prepare(region)
    return signed_distance_of_mask(shapely.contains_xy(region, x, y), spacing=grid.spacing)


WAYS: dict[str, Callable[[Shape, Grid], Field]] = {
    "sciml, cpu": lambda shape, grid: grid.signed_distance(shape, backend="cpu"),
    "sciml, reference": lambda shape, grid: grid.signed_distance(shape, backend="reference"),
    "numpy, edge by edge": by_numpy,
    "shapely": by_shapely,
    "pixels (scipy)": by_pixels,
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One way on one grid: CPU time, that time over ours, and the largest difference in cells."""

    cells: tuple[int, int]
    way: str
    seconds: float
    ratio: float
    error: float


def measure(edges: int, size: tuple[int, int], repeats: int) -> list[Row]:
    grid = Grid(shape=size)
    shape = body(edges, grid)
    fields = {name: way(shape, grid) for name, way in WAYS.items()}  # compiles, fills the caches
    truth = fields["sciml, reference"]
    runs = [{name: timed(way, shape, grid) for name, way in WAYS.items()} for _ in range(repeats)]
    seconds = {name: statistics.median(run[name] for run in runs) for name in WAYS}
    return [
        Row(
            cells=size,
            way=name,
            seconds=seconds[name],
            ratio=seconds[name] / seconds["sciml, cpu"],
            error=float(np.abs(fields[name] - truth).max()),
        )
        for name in WAYS
    ]


def timed(way: Callable[[Shape, Grid], Field], shape: Shape, grid: Grid) -> float:
    start = time.process_time()
    way(shape, grid)
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--edges", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args()
    torch.set_num_threads(1)
    versions = {m.__name__: m.__version__ for m in (numba, np, scipy, shapely, torch)}
    print(
        f"{options.edges} edges, CPU time on one thread, median of {options.repeats};",
        versions,
        "\n",
    )
    print("| cells | way | ms | times ours | largest error, cells |\n|---|---|---|---|---|")
    rows: list[Row] = []
    for size in SIZES:
        for row in measure(options.edges, size, options.repeats):
            rows.append(row)
            print(
                f"| {size[1]} x {size[0]} | {row.way} | {1e3 * row.seconds:.2f} "
                f"| {row.ratio:.1f} | {row.error:.1e} |"
            )
    if options.json:
        record = {
            "machine": platform.processor() or platform.machine(),
            "edges": options.edges,
            "repeats": options.repeats,
            "versions": versions,
            "rows": [asdict(row) for row in rows],
        }
        options.json.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
