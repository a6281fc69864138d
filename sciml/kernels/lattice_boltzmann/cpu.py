"""The lattice Boltzmann step for one CPU core, compiled by numba.

Three things make it fast, and none changes the result:

- a row is one loop over x without a branch, which the compiler vectorises; walls and sides are a
  list of links, filled for a row just before that row reads them;
- several steps sweep over the grid together, each one row behind the one before it, so that a row
  is still in the cache when the next step reads it;
- inside, the nine populations of a row lie next to each other, [y, 9, x], in rows padded to whole
  cache lines, an odd number of them, so that the eighteen streams do not meet in one cache set.

Two arrays are used in turn. A batch is advanced grid by grid.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numba
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sciml.kernels.lattice_boltzmann.boundary import Boundary
from sciml.kernels.lattice_boltzmann.lattice import VELOCITIES

DEPTH = 12
"""Steps that sweep together: 28 rows of nine populations are in use at a time."""

_LINE = 64  # bytes
_OUTLET_CODES = {"none": 0, "pressure": 1, "convective": 2}


def _jit(*, fastmath: bool = False) -> Callable[[Callable[..., Any]], Any]:
    """Compile the plain function, below whatever checks of types an import hook laid over it."""
    compiled = numba.njit(cache=True, nogil=True, fastmath=fastmath)
    return lambda function: compiled(inspect.unwrap(function))


def advance(
    populations: Float[Tensor, "batch 9 height width"],
    boundary: Boundary,
    relaxation: Float[Tensor, "batch 2"],
    steps: int,
) -> Float[Tensor, "batch 9 height width"]:
    """`steps` times: stream, collide, fill the incoming slots for the next step."""
    state = populations.detach().numpy()
    if steps == 0:
        return torch.from_numpy(state.copy())
    advanced = np.empty_like(state, order="C")
    layout, links = _prepare(boundary, state.dtype)
    outlet = (_OUTLET_CODES[boundary.outlet], state.dtype.type(boundary.outlet_value))
    for b in range(state.shape[0]):
        now, then = layout.rows(state[b]), layout.rows(state[b])
        rates = relaxation[b].detach().numpy().astype(state.dtype)
        depth = DEPTH if links.local else 1
        _advance(now, then, layout.width, *links.of(b), *outlet, *rates, steps, depth)
        advanced[b] = layout.populations(then if steps % 2 else now)
    return torch.from_numpy(advanced)


@lru_cache(maxsize=4)
def _prepare(boundary: Boundary, dtype: np.dtype) -> tuple[_Layout, _Links]:
    """Rows and links, kept since a march asks for the same ones again and again."""
    layout = _Layout(*boundary.populations_shape[2:], dtype)
    return layout, _Links(boundary, layout)


class _Layout:
    """One grid as rows [height, 9, pitch]: x = 1, the first cell inside, starts a cache line."""

    def __init__(self, height: int, width: int, dtype: np.dtype) -> None:
        a_line = _LINE // dtype.itemsize
        self.height, self.width, self.dtype = height, width, dtype
        self.shift = a_line - 1
        lines = -(-(self.shift + width) // a_line)
        self.pitch = (lines + 1 - lines % 2) * a_line

    def rows(self, state: Float[np.ndarray, "9 height width"]) -> np.ndarray:
        size = self.height * 9 * self.pitch
        raw = np.zeros(size + _LINE, self.dtype)
        start = (-raw.ctypes.data % _LINE) // self.dtype.itemsize
        rows = raw[start : start + size].reshape(self.height, 9, self.pitch)
        self.populations(rows)[...] = state
        return rows

    def populations(self, rows: np.ndarray) -> np.ndarray:
        """The view of rows as [9, height, width]."""
        return rows[:, :, self.shift : self.shift + self.width].transpose(1, 0, 2)

    def address(self, q: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        kind = np.int32 if self.height * 9 * self.pitch < 2**31 else np.int64
        return ((y * 9 + q) * self.pitch + x + self.shift).astype(kind)


class _Links:
    """The links sorted by grid and by the row that reads them, with addresses in its rows."""

    def __init__(self, boundary: Boundary, layout: _Layout) -> None:
        extents = boundary.populations_shape
        places = [
            np.unravel_index(a.numpy(), extents)
            for a in (boundary.target, boundary.near, boundary.far)
        ]
        grid, q, y, _ = places[0]
        reader = y + np.array([cy for _, cy in VELOCITIES])[q]
        self.local = all((abs(row - reader) <= 1).all() for _, _, row, _ in places)
        """Whether a row's links come from it and its two neighbours, as all but periodic ones."""
        order = np.lexsort((reader, grid))
        weights = (boundary.near_weight, boundary.far_weight, boundary.source)
        self.arrays = (
            *(layout.address(q, y, x)[order] for _, q, y, x in places),
            *(w.numpy()[order].astype(layout.dtype) for w in weights),
        )
        rows = grid * layout.height + reader
        self.first = np.searchsorted(rows[order], np.arange(extents[0] * layout.height + 1))
        self.height = layout.height

    def of(self, b: int) -> tuple[np.ndarray, ...]:
        """Where the links of each row begin, and all links."""
        return (self.first[b * self.height : (b + 1) * self.height + 1], *self.arrays)


@_jit()
def _advance(
    now, then, width, first, target, near, far, near_weight, far_weight, source, outlet, value,
    even, odd, steps, depth,
):  # fmt: skip
    """`steps` steps in sweeps of `depth`; in a sweep each step is one row behind the last."""
    last = now.shape[0] - 2
    start = _LINE // now.itemsize
    flats = now.reshape(-1), then.reshape(-1)
    done = 0
    while done < steps:
        together = min(depth, steps - done)
        for front in range(1, last + together):
            for behind in range(max(0, front - last), min(together, front)):
                step, y = done + behind, front - behind
                turn = step % 2
                a, b = (then, now) if turn else (now, then)
                if step:  # the given populations come filled
                    _fill_outlet(a, b, y, start, width, outlet, value)
                    _fill_links(
                        flats[turn], first[y], first[y + 1], target, near, far, near_weight,
                        far_weight, source,
                    )  # fmt: skip
                _stream_and_collide(a, b, y, start, width - 2, even, odd)
        done += together
    turn = steps % 2
    a, b = (then, now) if turn else (now, then)
    for y in range(1, last + 1):
        _fill_outlet(a, b, y, start, width, outlet, value)
    _fill_links(
        flats[turn], first[0], first[-1], target, near, far, near_weight, far_weight, source
    )


@_jit(fastmath=True)
def _stream_and_collide(a, b, y, start, nx, even, odd):
    """Pull the populations of a row along their velocities, relax them, and write them to `b`.

    A pair f_q, f_q̄ with sum s and difference d becomes p ± m, where
    p = (1 − ω⁺) s/2 + ω⁺ w (ρ + 9/2 (c·u)² − 3/2 u²) and m = (1 − ω⁻) d/2 + 3 ω⁻ w (c·u).
    """
    real = b.dtype.type
    below, here, above, out = a[y - 1], a[y], a[y + 1], b[y]
    keep_sum, keep_difference = (real(1) - even) / real(2), (real(1) - odd) / real(2)
    rest, straight, diagonal = even * real(4 / 9), even * real(1 / 9), even * real(1 / 36)
    square, square_diagonal = even * real(1 / 2), even * real(1 / 8)
    linear, linear_diagonal = odd * real(1 / 3), odd * real(1 / 12)
    end, west, east = start + nx, start - 1, start + 1
    a0, a1, a3 = here[0, start:end], here[1, west : west + nx], here[3, east : east + nx]
    a2, a5, a6 = below[2, start:end], below[5, west : west + nx], below[6, east : east + nx]
    a4, a8, a7 = above[4, start:end], above[8, west : west + nx], above[7, east : east + nx]
    b0, b1, b2 = out[0, start:end], out[1, start:end], out[2, start:end]
    b3, b4, b5 = out[3, start:end], out[4, start:end], out[5, start:end]
    b6, b7, b8 = out[6, start:end], out[7, start:end], out[8, start:end]
    for x in range(nx):
        sum_x, difference_x = a1[x] + a3[x], a1[x] - a3[x]
        sum_y, difference_y = a2[x] + a4[x], a2[x] - a4[x]
        sum_p, difference_p = a5[x] + a7[x], a5[x] - a7[x]
        sum_m, difference_m = a6[x] + a8[x], a6[x] - a8[x]
        density = a0[x] + sum_x + sum_y + sum_p + sum_m
        ux = difference_x + difference_p - difference_m
        uy = difference_y + difference_p + difference_m
        up, um = ux + uy, uy - ux
        base = density - real(1.5) * (ux * ux + uy * uy)

        b0[x] = (real(1) - even) * a0[x] + rest * base

        p = keep_sum * sum_x + (square * (ux * ux) + straight * base)
        m = keep_difference * difference_x + linear * ux
        b1[x], b3[x] = p + m, p - m

        p = keep_sum * sum_y + (square * (uy * uy) + straight * base)
        m = keep_difference * difference_y + linear * uy
        b2[x], b4[x] = p + m, p - m

        p = keep_sum * sum_p + (square_diagonal * (up * up) + diagonal * base)
        m = keep_difference * difference_p + linear_diagonal * up
        b5[x], b7[x] = p + m, p - m

        p = keep_sum * sum_m + (square_diagonal * (um * um) + diagonal * base)
        m = keep_difference * difference_m + linear_diagonal * um
        b6[x], b8[x] = p + m, p - m


@_jit()
def _fill_links(flat, begin, end, target, near, far, near_weight, far_weight, source):
    for i in range(begin, end):
        flat[target[i]] = near_weight[i] * flat[near[i]] + far_weight[i] * flat[far[i]] + source[i]


@_jit()
def _fill_outlet(f, before, y, start, width, outlet, value):
    """The right halo that row y of `f` reads; a convective outlet continues from `before`."""
    if outlet == 1:
        _fill_pressure_outlet(f, y, start + width - 3, value)
    elif outlet == 2:
        _fill_convective_outlet(f, before, y, start + width - 3, value)


@_jit()
def _fill_pressure_outlet(f, y, last, value):
    real = f.dtype.type
    two, quadratic, speed = real(2), real(4.5), real(1.5)
    p, halo = f[y, :, last], last + 1
    ux = p[1] - p[3] + p[5] - p[7] + p[8] - p[6]
    uy = p[2] - p[4] + p[5] - p[7] + p[6] - p[8]
    base = value - speed * (ux * ux + uy * uy)
    up, down = ux + uy, ux - uy
    f[y, 3, halo] = two * real(1 / 9) * (base + quadratic * ux * ux) - p[1]
    f[y + 1, 7, halo] = two * real(1 / 36) * (base + quadratic * up * up) - p[5]
    f[y - 1, 6, halo] = two * real(1 / 36) * (base + quadratic * down * down) - p[8]


@_jit()
def _fill_convective_outlet(f, before, y, last, value):
    top, halo = f.shape[0] - 2, last + 1
    begin, end = -1 if y == 1 else y, top + 3 if y == top else y + 1
    for reader in range(begin, end):  # the corners too, which no cell reads
        for q, step in ((3, 0), (7, 1), (6, -1)):
            row = reader + step
            if 0 <= row <= top + 1:
                inside = f[min(max(row, 1), top), q, last]
                kept = before[row, q, halo]
                f[row, q, halo] = (kept + value * inside) / (f.dtype.type(1) + value)
