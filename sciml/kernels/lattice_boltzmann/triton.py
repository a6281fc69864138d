"""The lattice Boltzmann step for CUDA, in Triton.

A step is two launches over the whole batch: stream, collide and outlet in one pass over the cells
(:func:`_stream_and_collide`), then the links (:func:`_fill_links`), which may take over a corner
of the outlet. Populations are stored in float32 or float16; all arithmetic is in float32. Two
arrays are used in turn. On a GPU many steps are captured once in a CUDA graph and replayed.

No gradient is offered: the step is registered without a backward, and
:func:`sciml.kernels.backend.choose` refuses an input that requires one.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor
from torch.library import triton_op, wrap_triton

from sciml.kernels.lattice_boltzmann.boundary import Boundary

__all__ = ["GRAPH_STEPS", "advance", "step"]

GRAPH_STEPS = 16
"""Steps in one CUDA graph: an even number, so that a replay ends where it began."""

_BLOCK = 256
_OUTLET_CODES = {"none": 0, "pressure": 1, "convective": 2}


def advance(
    populations: Float[Tensor, "batch 9 height width"],
    boundary: Boundary,
    relaxation: Float[Tensor, "batch 2"],
    steps: int,
) -> Float[Tensor, "batch 9 height width"]:
    """`steps` times: stream, collide, fill the incoming slots for the next step.

    Raises:
        ValueError: a grid of 2³¹ populations or more.
    """
    _check_extent(populations)
    now = populations.detach().clone(memory_format=torch.contiguous_format)
    then = now.clone()
    device = populations.device
    links = _links_on(boundary.to(device, torch.float32), _index_type(populations))
    outlet = (_OUTLET_CODES[boundary.outlet], float(boundary.outlet_value))
    rates = relaxation.to(device, torch.float32).contiguous()
    replays = steps // GRAPH_STEPS if device.type == "cuda" else 0
    if replays > 1:
        _replay(replays, now, then, rates, links, outlet)
        steps -= replays * GRAPH_STEPS
    for _ in range(steps):
        step(now, then, rates, *links, *outlet)
        now, then = then, now
    return now


def _step(
    now: Tensor,
    then: Tensor,
    relaxation: Tensor,
    target: Tensor,
    near: Tensor,
    far: Tensor,
    near_weight: Tensor,
    far_weight: Tensor,
    source: Tensor,
    outlet: int,
    outlet_value: float,
) -> None:
    """One step from `now` to `then`; what no cell reads of the halo of `then` stays."""
    batch, _, height, width = now.shape
    blocks = triton.cdiv((height - 2) * (width - 2), _BLOCK)
    _kernel(_stream_and_collide)[(batch * blocks,)](
        now, then, relaxation, height, width, outlet_value, OUTLET=outlet, BLOCK=_BLOCK
    )
    links = target.numel()
    if links:
        _kernel(_fill_links)[(triton.cdiv(links, _BLOCK),)](
            then, target, near, far, near_weight, far_weight, source, links, BLOCK=_BLOCK
        )


step = triton_op("sciml::lattice_boltzmann_step", inspect.unwrap(_step), mutates_args={"then"})


def _interpreted() -> bool:
    """Whether Triton is told to interpret kernels on the CPU, asked at every call."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def _replay(
    times: int,
    now: Tensor,
    then: Tensor,
    rates: Tensor,
    links: tuple[Tensor, ...],
    outlet: tuple[int, float],
) -> None:
    """Capture GRAPH_STEPS steps from `now` back to `now`, and run them `times` times."""
    step(now, torch.empty_like(now), rates, *links, *outlet)  # compiles before the capture
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.device(now.device), torch.cuda.graph(graph):
        for _ in range(GRAPH_STEPS // 2):
            step(now, then, rates, *links, *outlet)
            step(then, now, rates, *links, *outlet)
    for _ in range(times):
        graph.replay()


def _check_extent(populations: Tensor) -> None:
    extent = populations[0].numel()
    if extent >= 2**31:
        raise ValueError(
            f"a grid of {extent} populations was given; the triton backend counts them in 32 bits, "
            "so one grid may hold fewer than 2147483648: split it or use the reference"
        )


def _index_type(populations: Tensor) -> torch.dtype:
    return torch.int32 if populations.numel() < 2**31 else torch.int64


def _links_on(boundary: Boundary, index: torch.dtype) -> tuple[Tensor, ...]:
    places = (boundary.target, boundary.near, boundary.far)
    weights = (boundary.near_weight, boundary.far_weight, boundary.source)
    return (*(p.to(index).contiguous() for p in places), *(w.contiguous() for w in weights))


def _kernel(function: Callable[..., None]) -> Any:
    if _interpreted():
        return _compiled(function, True)
    return wrap_triton(_compiled(function, False))


@cache
def _compiled(function: Callable[..., None], interpret: bool) -> Any:
    """The Triton function of a plain one; which kind, Triton decides by its environment."""
    return triton.jit(inspect.unwrap(function))


def _stream_and_collide(
    now, then, rates, height, width, outlet_value, OUTLET: tl.constexpr, BLOCK: tl.constexpr
):  # type: ignore[no-untyped-def]
    """Pull, relax and write a block of cells of a grid; the last of a row writes the outlet.

    The names and formulae are those of the CPU kernel.
    """
    nx, ny, plane = width - 2, height - 2, height * width
    blocks = (nx * ny + BLOCK - 1) // BLOCK
    cell = (tl.program_id(0) % blocks) * BLOCK + tl.arange(0, BLOCK)
    inside = cell < nx * ny
    x, y = cell % nx + 1, cell // nx + 1
    here = y * width + x
    grid = (tl.program_id(0) // blocks).to(tl.int64)
    now += grid * 9 * plane
    then += grid * 9 * plane
    even, odd = tl.load(rates + 2 * grid), tl.load(rates + 2 * grid + 1)

    f0 = tl.load(now + here, inside, 0.0).to(tl.float32)
    f1 = tl.load(now + plane + here - 1, inside, 0.0).to(tl.float32)
    f2 = tl.load(now + 2 * plane + here - width, inside, 0.0).to(tl.float32)
    f3 = tl.load(now + 3 * plane + here + 1, inside, 0.0).to(tl.float32)
    f4 = tl.load(now + 4 * plane + here + width, inside, 0.0).to(tl.float32)
    f5 = tl.load(now + 5 * plane + here - width - 1, inside, 0.0).to(tl.float32)
    f6 = tl.load(now + 6 * plane + here - width + 1, inside, 0.0).to(tl.float32)
    f7 = tl.load(now + 7 * plane + here + width + 1, inside, 0.0).to(tl.float32)
    f8 = tl.load(now + 8 * plane + here + width - 1, inside, 0.0).to(tl.float32)

    sum_x, difference_x = f1 + f3, f1 - f3
    sum_y, difference_y = f2 + f4, f2 - f4
    sum_p, difference_p = f5 + f7, f5 - f7
    sum_m, difference_m = f6 + f8, f6 - f8
    density = f0 + sum_x + sum_y + sum_p + sum_m
    ux = difference_x + difference_p - difference_m
    uy = difference_y + difference_p + difference_m
    up, um = ux + uy, uy - ux
    base = density - 1.5 * (ux * ux + uy * uy)
    keep_sum, keep_difference = 0.5 - 0.5 * even, 0.5 - 0.5 * odd
    straight, diagonal = even * (1 / 9) * base, even * (1 / 36) * base

    f0 = (1 - even) * f0 + 4 * straight
    p = keep_sum * sum_x + (0.5 * even * ux * ux + straight)
    m = keep_difference * difference_x + odd * (1 / 3) * ux
    f1, f3 = p + m, p - m
    p = keep_sum * sum_y + (0.5 * even * uy * uy + straight)
    m = keep_difference * difference_y + odd * (1 / 3) * uy
    f2, f4 = p + m, p - m
    p = keep_sum * sum_p + (0.125 * even * up * up + diagonal)
    m = keep_difference * difference_p + odd * (1 / 12) * up
    f5, f7 = p + m, p - m
    p = keep_sum * sum_m + (0.125 * even * um * um + diagonal)
    m = keep_difference * difference_m + odd * (1 / 12) * um
    f6, f8 = p + m, p - m

    kind = then.dtype.element_ty
    tl.store(then + here, f0.to(kind), inside)
    tl.store(then + plane + here, f1.to(kind), inside)
    tl.store(then + 2 * plane + here, f2.to(kind), inside)
    tl.store(then + 3 * plane + here, f3.to(kind), inside)
    tl.store(then + 4 * plane + here, f4.to(kind), inside)
    tl.store(then + 5 * plane + here, f5.to(kind), inside)
    tl.store(then + 6 * plane + here, f6.to(kind), inside)
    tl.store(then + 7 * plane + here, f7.to(kind), inside)
    tl.store(then + 8 * plane + here, f8.to(kind), inside)

    halo, last = here + 1, inside & (x == nx)
    if OUTLET == 1:  # collision keeps the velocity, so it is still that of the last cell
        even_part = outlet_value - 1.5 * (ux * ux + uy * uy)
        out3 = (2 / 9) * (even_part + 4.5 * ux * ux) - f1
        out7 = (2 / 36) * (even_part + 4.5 * up * up) - f5
        out6 = (2 / 36) * (even_part + 4.5 * um * um) - f8
        tl.store(then + 3 * plane + halo, out3.to(kind), last)
        tl.store(then + 7 * plane + halo + width, out7.to(kind), last)
        tl.store(then + 6 * plane + halo - width, out6.to(kind), last)
    if OUTLET == 2:
        share, gain = 1 / (1 + outlet_value), outlet_value / (1 + outlet_value)
        for step_y in tl.static_range(-1, 2):  # the corners belong to the first and last row
            writes = last & ((step_y == 0) | (y + step_y == 0) | (y + step_y == height - 1))
            slot = halo + step_y * width
            kept3 = tl.load(now + 3 * plane + slot, writes, 0.0).to(tl.float32)
            kept6 = tl.load(now + 6 * plane + slot, writes, 0.0).to(tl.float32)
            kept7 = tl.load(now + 7 * plane + slot, writes, 0.0).to(tl.float32)
            tl.store(then + 3 * plane + slot, (share * kept3 + gain * f3).to(kind), writes)
            tl.store(then + 6 * plane + slot, (share * kept6 + gain * f6).to(kind), writes)
            tl.store(then + 7 * plane + slot, (share * kept7 + gain * f7).to(kind), writes)


def _fill_links(
    populations, target, near, far, near_weight, far_weight, source, links, BLOCK: tl.constexpr
):  # type: ignore[no-untyped-def]
    """F[target] = near_weight · F[near] + far_weight · F[far] + source, a block of links."""
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    real = i < links
    one = tl.load(populations + tl.load(near + i, real, 0), real, 0.0).to(tl.float32)
    other = tl.load(populations + tl.load(far + i, real, 0), real, 0.0).to(tl.float32)
    incoming = tl.load(near_weight + i, real, 0.0) * one
    incoming += tl.load(far_weight + i, real, 0.0) * other + tl.load(source + i, real, 0.0)
    slot = populations + tl.load(target + i, real, 0)
    tl.store(slot, incoming.to(populations.dtype.element_ty), real)
