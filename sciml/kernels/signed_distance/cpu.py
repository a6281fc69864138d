"""The signed distance on one CPU core: tiles of points, and for each only the edges that count.

Distance is Lipschitz with constant one. If a tile lies within r of its centre c, an edge whose
distance from c exceeds the smallest such distance by more than 2r is nearest to no point of the
tile; and if the smallest exceeds r, no edge passes through and the tile has one sign. Both tests
are exact, so the result is that of every point against every edge.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from jaxtyping import Float64, Int64

__all__ = ["signed_distance"]

TILE = 64  # points, 8 x 8 on a grid
SLACK = 1.0 + 1e-9  # keeps rounding on the safe side of both tests

_options = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})


def _jit(function: Callable[..., Any]) -> Any:
    """Compile the plain function, below whatever checks of types an import hook laid over it."""
    return _options(inspect.unwrap(function))


def signed_distance(
    edges: Float64[np.ndarray, "edges 4"],
    starts: Int64[np.ndarray, " starts"],
    points: Float64[np.ndarray, "rows columns 2"],
) -> Float64[np.ndarray, "shapes rows columns"]:
    """Distances from the points to each shape, whose edges are ``edges[starts[i]:starts[i + 1]]``.

    Neighbours in memory should be neighbours in space, as on a grid; otherwise the result is the
    same and only slower.

    Example:
        >>> edges = np.array([[0.0, 0, 4, 0], [4.0, 0, 0, 3], [0.0, 3, 0, 0]])
        >>> signed_distance(edges, np.array([0, 3]), np.array([[[2.0, -1.0], [1.0, 1.0]]]))
        array([[[ 1., -1.]]])
    """
    result = np.full((len(starts) - 1, *points.shape[:2]), np.nan)
    x0, y0, x1, y1 = np.ascontiguousarray(edges.T)
    ex, ey = x1 - x0, y1 - y0
    inverse = 1.0 / np.maximum(ex * ex + ey * ey, np.finfo(np.float64).tiny)
    x, y = points[..., 0].copy(), points[..., 1].copy()
    for begin, end, out in zip(starts, starts[1:], result, strict=False):
        _fill(*(c[begin:end] for c in (x0, y0, y1, ex, ey, inverse)), x, y, out)
    return result


@_jit
def _fill(x0, y0, y1, ex, ey, inverse, x, y, out):  # type: ignore[no-untyped-def]
    squared = np.empty(x0.size)
    chosen = np.empty(x0.size, np.int64)
    px, py, best = np.empty(TILE), np.empty(TILE), np.empty(TILE)
    height = 8 if x.shape[0] >= 8 else 1
    width = TILE // height
    for row in range(0, x.shape[0], height):
        for column in range(0, x.shape[1], width):
            _load(x, row, column, height, width, px)
            _load(y, row, column, height, width, py)
            cx, cy, radius = _bound(px, py)
            nearest = math.sqrt(_squared_distances(x0, y0, ex, ey, inverse, cx, cy, squared))
            count = _select(squared, ((nearest + 2.0 * radius) * SLACK) ** 2, chosen)
            _nearest(x0, y0, ex, ey, inverse, chosen, count, px, py, best)
            if nearest > radius * SLACK:
                sign = _sign(x0, y0, y1, ex, ey, cx, cy)
                for j in range(TILE):
                    best[j] = math.sqrt(best[j]) * sign
            else:
                for j in range(TILE):
                    best[j] = math.sqrt(best[j]) * _sign(x0, y0, y1, ex, ey, px[j], py[j])
            _store(best, row, column, height, width, out)


@_jit
def _load(field, row, column, height, width, tile):  # type: ignore[no-untyped-def]
    """Copy a tile, padded with its last row and column."""
    for j in range(height):
        for i in range(width):
            r = min(row + j, field.shape[0] - 1)
            c = min(column + i, field.shape[1] - 1)
            tile[j * width + i] = field[r, c]


@_jit
def _store(tile, row, column, height, width, field):  # type: ignore[no-untyped-def]
    for j in range(min(height, field.shape[0] - row)):
        for i in range(min(width, field.shape[1] - column)):
            field[row + j, column + i] = tile[j * width + i]


@_jit
def _bound(px, py):  # type: ignore[no-untyped-def]
    """Centre and radius of a disc that holds the tile."""
    left, right, bottom, top = px[0], px[0], py[0], py[0]
    for j in range(TILE):
        left, right = min(left, px[j]), max(right, px[j])
        bottom, top = min(bottom, py[j]), max(top, py[j])
    return 0.5 * (left + right), 0.5 * (bottom + top), 0.5 * math.hypot(right - left, top - bottom)


@_jit
def _squared_distances(x0, y0, ex, ey, inverse, px, py, squared):  # type: ignore[no-untyped-def]
    """Squared distance of one point to every edge, and the smallest."""
    smallest = np.inf
    for i in range(x0.size):
        dx, dy = px - x0[i], py - y0[i]
        t = min(max((dx * ex[i] + dy * ey[i]) * inverse[i], 0.0), 1.0)
        dx, dy = dx - t * ex[i], dy - t * ey[i]
        squared[i] = dx * dx + dy * dy
        smallest = min(smallest, squared[i])
    return smallest


@_jit
def _select(squared, limit, chosen):  # type: ignore[no-untyped-def]
    """Without a branch: write every index, advance past those that count."""
    count = 0
    for i in range(squared.size):
        chosen[count] = i
        count += squared[i] <= limit
    return count


@_jit
def _nearest(x0, y0, ex, ey, inverse, chosen, count, px, py, best):  # type: ignore[no-untyped-def]
    """Smallest squared distance of every point of a tile to the chosen edges."""
    for j in range(TILE):
        best[j] = np.inf
    for k in range(count):
        i = chosen[k]
        ax, ay, bx, by, scale = x0[i], y0[i], ex[i], ey[i], inverse[i]
        for j in range(TILE):
            dx, dy = px[j] - ax, py[j] - ay
            t = min(max((dx * bx + dy * by) * scale, 0.0), 1.0)
            dx, dy = dx - t * bx, dy - t * by
            # Adding zero keeps the store unconditional; LLVM's masked store is twice as slow.
            best[j] = min(best[j], dx * dx + dy * dy) + 0.0


@_jit
def _sign(x0, y0, y1, ex, ey, px, py):  # type: ignore[no-untyped-def]
    """-1 where the winding number about a point is not zero, else 1."""
    winding = 0
    for i in range(x0.size):
        left = ex[i] * (py - y0[i]) - ey[i] * (px - x0[i])
        winding += (y0[i] <= py) & (y1[i] > py) & (left > 0.0)
        winding -= (y0[i] > py) & (y1[i] <= py) & (left < 0.0)
    return 1.0 if winding == 0 else -1.0
