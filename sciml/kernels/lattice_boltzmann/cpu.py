"""The lattice Boltzmann step for one CPU core, compiled by numba.

Four things make it fast, and none changes the result:

- several rows are one loop without a branch, which the compiler vectorises: it runs across the
  halo between them, whose slots are set anew before anything reads them;
- walls and sides are a list of links, filled for some rows just before these are read;
- where the cache does not hold the grid, several steps sweep over it together, each some rows
  behind the one before it, so that rows are still in the cache when the next step reads them;
- rows are padded to an odd number of cache lines, and planes begin some lines apart, so that the
  eighteen streams do not meet in one cache set.

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

from sciml.kernels.lattice_boltzmann import reference
from sciml.kernels.lattice_boltzmann.boundary import Boundary
from sciml.kernels.lattice_boltzmann.lattice import VELOCITIES

CACHE = 16 * 2**20
"""Bytes of two arrays up to which a grid is small: one loop, then, runs over all of its rows."""

BLOCK = 4096
"""Cells that one loop runs over in a large grid, as whole rows."""

DEPTH = 12
"""Steps that sweep together over a large grid."""

_LINE = 64  # bytes
_SPREAD = 7, 64
"""Planes begin 7 cache lines apart, counted modulo the 64 that one way of the first cache holds."""

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
    if steps == 0:
        return populations.detach().clone()
    given = populations.detach().numpy()
    advanced = np.array(given, order="C")
    kind = given.dtype
    planes, links = _prepare(boundary, kind)
    outlet = (_OUTLET_CODES[boundary.outlet], kind.type(boundary.outlet_value))
    rates = relaxation.detach().numpy().astype(kind)
    for b, state in enumerate(advanced):
        now, then = planes.filled(state), planes.filled(state)
        outgoing = state[:, :, -1].copy()
        depth = planes.depth if links.local else 1
        _advance(
            now, then, planes.size, planes.height, planes.width, planes.pitch, planes.rows,
            *links.of(b), outgoing, *outlet, *rates[b], steps, depth,
        )  # fmt: skip
        state[:, 1:-1, 1:-1] = planes.view(then if steps % 2 else now)[:, 1:-1, 1:-1]
        state[:, :, -1] = outgoing  # an outlet goes on from what it held a step ago
    return reference.fill(torch.from_numpy(advanced), boundary.to("cpu", populations.dtype))


@lru_cache(maxsize=4)
def _prepare(boundary: Boundary, kind: np.dtype) -> tuple[_Planes, _Links]:
    """Planes and links, kept since a march asks for the same ones again and again."""
    planes = _Planes(*boundary.populations_shape[2:], kind)
    return planes, _Links(boundary, planes)


class _Planes:
    """A padded plane [height, pitch] for each population, one after the other in a flat array."""

    def __init__(self, height: int, width: int, kind: np.dtype) -> None:
        self.height, self.width, self.kind = height, width, kind
        a_line = _LINE // kind.itemsize
        lines = -(-width // a_line)
        lines += 1 - lines % 2
        self.pitch = lines * a_line
        apart, period = _SPREAD
        self.size = (height * lines + (apart - height * lines) % period) * a_line
        small = 18 * self.size * kind.itemsize <= CACHE
        self.rows, self.depth = (height, 1) if small else (-(-BLOCK // self.pitch), DEPTH)

    def filled(self, state: Float[np.ndarray, "9 height width"]) -> Float[np.ndarray, " places"]:
        """A flat array that begins a cache line and holds `state`."""
        a_line = _LINE // self.kind.itemsize
        raw = np.zeros(9 * self.size + 2 * a_line, self.kind)
        begin = -raw.ctypes.data % _LINE // self.kind.itemsize
        flat = raw[begin : begin + 9 * self.size + a_line]
        self.view(flat)[...] = state
        return flat

    def view(self, flat: Float[np.ndarray, " places"]) -> Float[np.ndarray, "9 height width"]:
        planes = flat[: 9 * self.size].reshape(9, self.size)[:, : self.height * self.pitch]
        return planes.reshape(9, self.height, self.pitch)[:, :, : self.width]

    def address(self, q: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        return (q * self.size + y * self.pitch + x).astype(np.uint64)


class _Links:
    """The links sorted by grid and by the row that reads them, with addresses in its planes."""

    def __init__(self, boundary: Boundary, planes: _Planes) -> None:
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
            *(planes.address(q, y, x)[order] for _, q, y, x in places),
            *(w.numpy()[order].astype(planes.kind) for w in weights),
        )
        rows = grid * planes.height + reader
        self.first = np.searchsorted(rows[order], np.arange(extents[0] * planes.height + 1))
        self.height = planes.height

    def of(self, b: int) -> tuple[np.ndarray, ...]:
        """Where the links of each row begin, and all links."""
        return (self.first[b * self.height : (b + 1) * self.height + 1], *self.arrays)


@_jit()
def _advance(
    now, then, size, height, width, pitch, rows, first, target, near, far, near_weight, far_weight,
    source, outgoing, outlet, value, even, odd, steps, depth,
):  # fmt: skip
    """`steps` steps in sweeps of `depth`; in a sweep each step is a block behind the last."""
    top = height - 1
    blocks = (top - 2 + rows) // rows
    for done in range(0, steps, depth):
        together = min(depth, steps - done)
        for front in range(blocks + together - 1):
            for behind in range(max(0, front + 1 - blocks), min(together, front + 1)):
                step, begin = done + behind, 1 + (front - behind) * rows
                end = min(begin + rows, top)
                a, b = (then, now) if step % 2 else (now, then)
                if step:  # the given populations come filled
                    _fill_outlet(a, size, begin, end, top, width, pitch, outgoing, outlet, value)
                    _fill_links(
                        a, first[begin], first[end], target, near, far, near_weight, far_weight,
                        source,
                    )  # fmt: skip
                _stream_and_collide(a, b, size, begin * pitch, end * pitch, pitch, even, odd)
                _clear_halo(b, size, begin, end, width, pitch)


@_jit(fastmath=True)
def _stream_and_collide(a, b, size, begin, end, pitch, even, odd):
    """Pull the populations of whole rows along their velocities, relax them, write them to `b`.

    A pair f_q, f_q̄ with sum s and difference d becomes p ± m, where
    p = (1 − ω⁺) s/2 + ω⁺ w (ρ + 9/2 (c·u)² − 3/2 u²) and m = (1 − ω⁻) d/2 + 3 ω⁻ w (c·u).
    """
    real = b.dtype.type
    keep_sum, keep_difference = (real(1) - even) / real(2), (real(1) - odd) / real(2)
    rest, straight, diagonal = even * real(4 / 9), even * real(1 / 9), even * real(1 / 36)
    square, square_diagonal = even * real(1 / 2), even * real(1 / 8)
    linear, linear_diagonal = odd * real(1 / 3), odd * real(1 / 12)
    a0, a1, a2 = a[begin:end], a[size + begin - 1 :], a[2 * size + begin - pitch :]
    a3, a4, a5 = (
        a[3 * size + begin + 1 :],
        a[4 * size + begin + pitch :],
        a[5 * size + begin - pitch - 1 :],
    )
    a6, a7, a8 = (
        a[6 * size + begin - pitch + 1 :],
        a[7 * size + begin + pitch + 1 :],
        a[8 * size + begin + pitch - 1 :],
    )
    b0, b1, b2 = b[begin:end], b[size + begin :], b[2 * size + begin :]
    b3, b4, b5 = b[3 * size + begin :], b[4 * size + begin :], b[5 * size + begin :]
    b6, b7, b8 = b[6 * size + begin :], b[7 * size + begin :], b[8 * size + begin :]
    for x in range(end - begin):
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
def _clear_halo(flat, size, begin, end, width, pitch):
    """Zero the columns of the halo, since only a part of their slots is filled."""
    for q in range(9):
        for y in range(begin, end):
            flat[q * size + y * pitch] = 0
            flat[q * size + y * pitch + width - 1] = 0


@_jit()
def _fill_outlet(flat, size, begin, end, top, width, pitch, outgoing, outlet, value):
    """The right halo that rows from `begin` to before `end` read."""
    if outlet == 1:
        for y in range(begin, end):
            _fill_pressure_outlet(flat, size, y * pitch + width - 2, pitch, value)
    elif outlet == 2:
        for y in range(begin if begin > 1 else -1, end if end < top else end + 2):
            _fill_convective_outlet(flat, size, y, top, width - 2, pitch, outgoing, value)


@_jit()
def _fill_pressure_outlet(flat, size, last, pitch, value):
    real = flat.dtype.type
    two, quadratic, speed = real(2), real(4.5), real(1.5)
    p = flat[last::size]
    ux = p[1] - p[3] + p[5] - p[7] + p[8] - p[6]
    uy = p[2] - p[4] + p[5] - p[7] + p[6] - p[8]
    base = value - speed * (ux * ux + uy * uy)
    up, down = ux + uy, ux - uy
    halo = last + 1
    flat[3 * size + halo] = two * real(1 / 9) * (base + quadratic * ux * ux) - p[1]
    flat[7 * size + halo + pitch] = two * real(1 / 36) * (base + quadratic * up * up) - p[5]
    flat[6 * size + halo - pitch] = two * real(1 / 36) * (base + quadratic * down * down) - p[8]


@_jit()
def _fill_convective_outlet(flat, size, reader, top, last, pitch, outgoing, value):
    """The three slots that a row reads; rows outside the grid read those of the corners."""
    for q, step in ((3, 0), (7, 1), (6, -1)):
        row = reader + step
        if 0 <= row <= top:
            inside = flat[q * size + min(max(row, 1), top - 1) * pitch + last]
            outgoing[q, row] = (outgoing[q, row] + value * inside) / (flat.dtype.type(1) + value)
            flat[q * size + row * pitch + last + 1] = outgoing[q, row]
