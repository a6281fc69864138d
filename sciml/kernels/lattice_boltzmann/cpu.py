"""The lattice Boltzmann step for one CPU core, compiled by numba.

Stream and collide are one pass that reads nine shifted rows and writes nine rows, with no branch
in the loop over x, so that the compiler vectorises it; walls and sides are a separate pass over
their links. Two arrays are used in turn. A batch is advanced grid by grid, which keeps a grid of
common size in the cache for all its steps.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Float
from numba import njit
from torch import Tensor

from sciml.kernels.lattice_boltzmann.boundary import Boundary

_OUTLET_CODES = {"none": 0, "pressure": 1, "convective": 2}


def advance(
    populations: Float[Tensor, "batch 9 height width"],
    boundary: Boundary,
    relaxation: Float[Tensor, "batch 2"],
    steps: int,
) -> Float[Tensor, "batch 9 height width"]:
    """`steps` times: stream, collide, fill the incoming slots for the next step."""
    state = np.ascontiguousarray(populations.detach().numpy()).copy()
    links = _Links(boundary, state.dtype)
    for b in range(state.shape[0]):
        rates = relaxation[b].detach().numpy().astype(state.dtype)
        outlet = (_OUTLET_CODES[boundary.outlet], state.dtype.type(boundary.outlet_value))
        _advance(state[b], *links.of(b), *outlet, rates[0], rates[1], steps)
    return torch.from_numpy(state)


class _Links:
    """The links sorted by grid, with addresses that count from the grid's own first population."""

    def __init__(self, boundary: Boundary, dtype: np.dtype) -> None:
        batch = boundary.shape[0]
        extent = int(np.prod(boundary.populations_shape[1:]))
        grid, target = np.divmod(boundary.target.numpy(), extent)
        order = np.argsort(grid, kind="stable")
        self.ends = np.searchsorted(grid[order], np.arange(batch + 1))
        addresses = (target, boundary.near.numpy() % extent, boundary.far.numpy() % extent)
        weights = (boundary.near_weight, boundary.far_weight, boundary.source)
        self.arrays = (
            *(a[order] for a in addresses),
            *(w.numpy()[order].astype(dtype) for w in weights),
        )

    def of(self, b: int) -> tuple[np.ndarray, ...]:
        return tuple(a[self.ends[b] : self.ends[b + 1]] for a in self.arrays)


@njit(cache=True, nogil=True)
@no_type_check
def _advance(
    state, target, near, far, near_weight, far_weight, source, outlet, value, even, odd, steps
):
    now, then = state, state.copy()
    for _ in range(steps):
        _stream_and_collide(now, then, even, odd)
        _fill_outlet(now, then, outlet, value)
        _fill_links(then.reshape(-1), target, near, far, near_weight, far_weight, source)
        now, then = then, now
    if steps % 2:
        state[...] = now


@njit(cache=True, nogil=True, fastmath=True)
@no_type_check
def _stream_and_collide(a, b, even, odd):
    """Pull the populations of `a` along their velocities, relax them, and write them to `b`."""
    real = a.dtype.type
    half_even, half_odd = real(0.5) * even, real(0.5) * odd
    straight, diagonal, rest = real(1 / 9), real(1 / 36), real(4 / 9)
    odd_straight, odd_diagonal = real(2 / 3), real(1 / 6)
    quadratic, speed = real(4.5), real(1.5)
    nx = a.shape[2] - 2
    for y in range(1, a.shape[1] - 1):
        a0, a1, a3 = a[0, y, 1 : nx + 1], a[1, y, 0:nx], a[3, y, 2 : nx + 2]
        a2, a5, a6 = a[2, y - 1, 1 : nx + 1], a[5, y - 1, 0:nx], a[6, y - 1, 2 : nx + 2]
        a4, a8, a7 = a[4, y + 1, 1 : nx + 1], a[8, y + 1, 0:nx], a[7, y + 1, 2 : nx + 2]
        b0, b1, b2 = b[0, y, 1 : nx + 1], b[1, y, 1 : nx + 1], b[2, y, 1 : nx + 1]
        b3, b4, b5 = b[3, y, 1 : nx + 1], b[4, y, 1 : nx + 1], b[5, y, 1 : nx + 1]
        b6, b7, b8 = b[6, y, 1 : nx + 1], b[7, y, 1 : nx + 1], b[8, y, 1 : nx + 1]
        for x in range(nx):
            f0, f1, f2, f3, f4 = a0[x], a1[x], a2[x], a3[x], a4[x]
            f5, f6, f7, f8 = a5[x], a6[x], a7[x], a8[x]
            sum_x, difference_x = f1 + f3, f1 - f3
            sum_y, difference_y = f2 + f4, f2 - f4
            sum_p, difference_p = f5 + f7, f5 - f7
            sum_m, difference_m = f6 + f8, f6 - f8
            density = f0 + sum_x + sum_y + sum_p + sum_m
            ux = difference_x + difference_p - difference_m
            uy = difference_y + difference_p + difference_m
            up, um = ux + uy, uy - ux
            base = density - speed * (ux * ux + uy * uy)

            b0[x] = f0 - even * (f0 - rest * base)

            e = straight * (base + quadratic * ux * ux)
            to_even, to_odd = (
                half_even * (sum_x - e - e),
                half_odd * (difference_x - odd_straight * ux),
            )
            b1[x] = f1 - to_even - to_odd
            b3[x] = f3 - to_even + to_odd

            e = straight * (base + quadratic * uy * uy)
            to_even, to_odd = (
                half_even * (sum_y - e - e),
                half_odd * (difference_y - odd_straight * uy),
            )
            b2[x] = f2 - to_even - to_odd
            b4[x] = f4 - to_even + to_odd

            e = diagonal * (base + quadratic * up * up)
            to_even, to_odd = (
                half_even * (sum_p - e - e),
                half_odd * (difference_p - odd_diagonal * up),
            )
            b5[x] = f5 - to_even - to_odd
            b7[x] = f7 - to_even + to_odd

            e = diagonal * (base + quadratic * um * um)
            to_even, to_odd = (
                half_even * (sum_m - e - e),
                half_odd * (difference_m - odd_diagonal * um),
            )
            b6[x] = f6 - to_even - to_odd
            b8[x] = f8 - to_even + to_odd


@njit(cache=True, nogil=True)
@no_type_check
def _fill_links(flat, target, near, far, near_weight, far_weight, source):
    for i in range(target.size):
        flat[target[i]] = near_weight[i] * flat[near[i]] + far_weight[i] * flat[far[i]] + source[i]


@njit(cache=True, nogil=True)
@no_type_check
def _fill_outlet(before, f, outlet, value):
    """The right halo of `f`; a convective outlet continues from the halo of `before`."""
    real = f.dtype.type
    _, height, width = f.shape
    last, halo = width - 2, width - 1
    if outlet == 1:
        two, quadratic, speed = real(2), real(4.5), real(1.5)
        for y in range(1, height - 1):
            p = f[:, y, last]
            ux = p[1] - p[3] + p[5] - p[7] + p[8] - p[6]
            uy = p[2] - p[4] + p[5] - p[7] + p[6] - p[8]
            base = value - speed * (ux * ux + uy * uy)
            up, down = ux + uy, ux - uy
            f[3, y, halo] = two * real(1 / 9) * (base + quadratic * ux * ux) - p[1]
            f[7, y + 1, halo] = two * real(1 / 36) * (base + quadratic * up * up) - p[5]
            f[6, y - 1, halo] = two * real(1 / 36) * (base + quadratic * down * down) - p[8]
    elif outlet == 2:
        for q in (3, 6, 7):
            for y in range(height):
                inside = f[q, min(max(y, 1), height - 2), last]
                f[q, y, halo] = (before[q, y, halo] + value * inside) / (real(1) + value)
