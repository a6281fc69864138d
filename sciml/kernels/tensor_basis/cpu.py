"""Invariants, tensors, their contraction and all adjoints for one CPU core, compiled by numba.

Cells are taken in blocks that stay in the cache: the numbers of a block become rows of one array,
loops over its cells are vectorised, and whole rows are written out. The rows lie a constant apart,
so that the compiler knows that they do not overlap. Sixty numbers for each cell take longer to
write than to compute; where they are more than the cache holds, they are written past it.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import numba
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sciml.kernels.tensor_basis.compiled import compiled_by
from sciml.kernels.tensor_basis.stream import LINE, stream_line

__all__ = [
    "contraction",
    "contraction_back",
    "invariants",
    "invariants_back",
    "tensor_basis",
    "tensors_back",
]

BLOCK = 128
"""Cells of a block: its rows fill the first cache, or a part of the second."""

PITCH = BLOCK + 16
"""How far apart rows are: room for a part of a cache line, and an odd number of lines."""

STREAMED = 2**22
"""Bytes of tensors from which on they are written past the cache."""

_K, _EPSILON, _S, _W = 9, 10, 11, 17
"""Rows of what each block begins with; the gradient's are the first nine."""

_IN = 20
"""Where the rows of coefficients or derivatives begin."""

Cells = Float[Tensor, " cell"]
Matrices = Float[Tensor, "cell 3 3"]
State = Sequence[Tensor]
"""Velocity gradient, turbulent kinetic energy and dissipation rate."""

Three = tuple[Tensor, Tensor, Tensor]


def tensor_basis(state: State, inverse_square: float) -> tuple[Tensor, Tensor]:
    """Invariants and tensors."""
    found, basis = _rows(state, 5), _rows(state, 60)
    _tensor_basis(
        *_numbers(state, inverse_square), found.numpy(), basis.numpy(),
        basis.data_ptr() // basis.itemsize, basis.nbytes >= STREAMED,
    )  # fmt: skip
    return found.view(5, -1), basis.view(10, 6, -1)


def invariants(state: State, inverse_square: float) -> Float[Tensor, "5 cell"]:
    """The five invariants."""
    found = _rows(state, 5)
    _invariants(*_numbers(state, inverse_square), found.numpy())
    return found.view(5, -1)


def contraction(
    state: State, coefficients: Float[Tensor, "10 cell"], inverse_square: float
) -> Float[Tensor, "6 cell"]:
    """Σ g_n T_n."""
    found = _rows(state, 6)
    _contraction(*_numbers(state, inverse_square), _flat(coefficients), found.numpy())
    return found.view(6, -1)


def tensors_back(bar: Float[Tensor, "10 6 cell"], state: State, inverse_square: float) -> Three:
    """The derivatives by the state from those by the tensors."""
    found = _like(state)
    _tensors_back(*_numbers(state, inverse_square), _flat(bar), *map(_flat, found))
    return found


def invariants_back(bar: Float[Tensor, "5 cell"], state: State, inverse_square: float) -> Three:
    """The derivatives by the state from those by the invariants."""
    found = _like(state)
    _invariants_back(*_numbers(state, inverse_square), _flat(bar), *map(_flat, found))
    return found


def contraction_back(
    bar: Float[Tensor, "6 cell"],
    state: State,
    coefficients: Float[Tensor, "10 cell"],
    inverse_square: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The derivatives by the state and the coefficients from those by the contraction."""
    found, by_coefficients = _like(state), _rows(state, 10)
    _contraction_back(
        *_numbers(state, inverse_square), _flat(coefficients), _flat(bar),
        by_coefficients.numpy(), *map(_flat, found),
    )  # fmt: skip
    return *found, by_coefficients.view(10, -1)


def _rows(state: State, count: int) -> Tensor:
    return torch.empty(count * len(state[1]), dtype=state[1].dtype)


def _like(state: State) -> Three:
    gradient, energy, dissipation = (torch.empty(x.shape, dtype=x.dtype) for x in state)
    return gradient, energy, dissipation


def _flat(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().view(-1).numpy()


def _numbers(state: State, inverse_square: float) -> Sequence[Any]:
    """The state as flat arrays, and the numbers of the formulae in its precision."""
    arrays = tuple(map(_flat, state))
    kind = arrays[0].dtype.type
    return *arrays, (kind(inverse_square), kind(1), kind(0.5), kind(1 / 3))


def _compiler(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Below whatever checks of types an import hook laid over a function.

    Sums keep their order, so that what cancels does so as it is written.
    """
    compile = numba.njit(nogil=True, error_model="numpy", fastmath={"contract", "nsz"}, **options)
    return lambda function: compile(inspect.unwrap(function))


_kernel = _compiler(cache=True)
_inner_function = _compiler(no_cpython_wrapper=True, no_cfunc_wrapper=True)
_inlined = _compiler(forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)
_formulae = compiled_by(_inlined)
_invariants_of, _by_invariants = _formulae.invariants, _formulae.invariants_back
_tensors_of, _by_tensors = _formulae.tensors, _formulae.tensors_back
_contracted, _by_contraction = _formulae.contraction, _formulae.contraction_back
_size, _parts, _parts_back = _formulae.size, _formulae.parts, _formulae.parts_back
_inner, _dot = _formulae.inner, _formulae.dot

# Below, `work` is the flat array of a block; row n begins at n * PITCH.


@_inlined
def _three(work, row, i):
    return work[row * PITCH + i], work[(row + 1) * PITCH + i], work[(row + 2) * PITCH + i]


@_inlined
def _six(work, row, i):
    return _three(work, row, i) + _three(work, row + 3, i)


@_inlined
def _ten(work, row, i):
    return _six(work, row, i) + _three(work, row + 6, i) + (work[(row + 9) * PITCH + i],)


@_inlined
def _put_three(work, row, i, a, b, c):
    work[row * PITCH + i] = a
    work[(row + 1) * PITCH + i] = b
    work[(row + 2) * PITCH + i] = c


@_inlined
def _put_six(work, row, i, values):
    a, b, c, d, e, f = values
    _put_three(work, row, i, a, b, c)
    _put_three(work, row + 3, i, d, e, f)


@_inner_function
def _read(rows, first, count, work, begin, number):
    cells = len(rows) // number
    for row in range(number):
        for i in range(count):
            work[(begin + row) * PITCH + i] = rows[row * cells + first + i]


@_inner_function
def _write(work, begin, number, rows, first, count):
    cells = len(rows) // number
    for row in range(number):
        for i in range(count):
            rows[row * cells + first + i] = work[(begin + row) * PITCH + i]


@_inner_function
def _write_past(work, begin, number, rows, first, count, address):
    """The same, past the cache; `address` is that of the rows, counted in numbers.

    Only whole lines go past the cache. What a block leaves of a line waits before the row until the
    next block brings the rest.
    """
    cells, lanes = len(rows) // number, LINE // rows.itemsize
    for row in range(number):
        place, given = row * cells + first, (begin + row) * PITCH
        early = (address + row * cells) & (lanes - 1)
        i = -early
        if first == 0:
            i = min(count, -early & (lanes - 1))
            for j in range(i):
                rows[place + j] = work[given + j]
        while i + lanes <= count:
            stream_line(rows, place + i, work, given + i)
            i += lanes
        if first + count == cells:
            for j in range(i, count):
                rows[place + j] = work[given + j]
        else:
            for j in range(i, count):
                work[given + j - count] = work[given + j]


@_inlined
def _time(work, i, numbers):
    """k / ε, and what the limit makes of it, over it."""
    inverse_square, one, _, _ = numbers
    ratio = work[_K * PITCH + i] / work[_EPSILON * PITCH + i]
    g = _six(work, 0, i) + _three(work, 6, i)
    return ratio, one / math.sqrt(one + ratio * ratio * _size(g) * inverse_square)


@_inner_function
def _begin(gradient, energy, dissipation, numbers, first, count, work):
    """Fill the rows that each block begins with."""
    for i in range(count):
        for j in range(9):
            work[j * PITCH + i] = gradient[9 * (first + i) + j]
    for i in range(count):
        work[_K * PITCH + i] = energy[first + i]
        work[_EPSILON * PITCH + i] = dissipation[first + i]
    for i in range(BLOCK):
        ratio, factor = _time(work, i, numbers)
        g = _six(work, 0, i) + _three(work, 6, i)
        s, (x, y, z) = _parts(g, ratio * factor, numbers[2])
        _put_six(work, _S, i, s)
        _put_three(work, _W, i, x, y, z)


@_inner_function
def _end(work, numbers, first, count, gradient, energy, dissipation):
    """From the derivatives by s and w, in their rows, to those by the state."""
    inverse_square, one, half, _ = numbers
    for i in range(BLOCK):
        ratio, factor = _time(work, i, numbers)
        g = _six(work, 0, i) + _three(work, 6, i)
        by_s, by_w = _six(work, _S, i), _three(work, _W, i)
        s, w = _parts(g, one, half)
        time = ratio * factor
        by_time = _inner(by_s, s) + _dot(by_w, w)
        a, b, c, d, e, f, p, q, r = _parts_back(by_s, by_w, time, half)
        n = by_time * time * time * time * inverse_square
        _put_three(work, 0, i, a - n * g[0], b - n * g[1], c - n * g[2])
        _put_three(work, 3, i, d - n * g[3], e - n * g[4], f - n * g[5])
        _put_three(work, 6, i, p - n * g[6], q - n * g[7], r - n * g[8])
        by_energy = by_time * factor * factor * factor / work[_EPSILON * PITCH + i]
        work[_K * PITCH + i] = by_energy
        work[_EPSILON * PITCH + i] = -ratio * by_energy
    for i in range(count):
        for j in range(9):
            gradient[9 * (first + i) + j] = work[j * PITCH + i]
    for i in range(count):
        energy[first + i] = work[_K * PITCH + i]
        dissipation[first + i] = work[_EPSILON * PITCH + i]


@_inlined
def _put_invariants(work, begin, i):
    a, b, c, d, e = _invariants_of(_six(work, _S, i), _three(work, _W, i))
    _put_three(work, begin, i, a, b, c)
    work[(begin + 3) * PITCH + i] = d
    work[(begin + 4) * PITCH + i] = e


@_kernel
def _invariants(gradient, energy, dissipation, numbers, found):
    work = np.ones((_IN + 5) * PITCH, gradient.dtype)
    for first in range(0, len(energy), BLOCK):
        count = min(BLOCK, len(energy) - first)
        _begin(gradient, energy, dissipation, numbers, first, count, work)
        for i in range(BLOCK):
            _put_invariants(work, _IN, i)
        _write(work, _IN, 5, found, first, count)


@_kernel
def _tensor_basis(gradient, energy, dissipation, numbers, found, basis, address, past):
    work = np.ones((_IN + 65) * PITCH, gradient.dtype)
    for first in range(0, len(energy), BLOCK):
        count = min(BLOCK, len(energy) - first)
        _begin(gradient, energy, dissipation, numbers, first, count, work)
        for i in range(BLOCK):
            _put_invariants(work, _IN, i)
            s, w = _six(work, _S, i), _three(work, _W, i)
            t1, t2, t3, t4, t5, t6, t7, t8, t9, t10 = _tensors_of(s, w, numbers[3])
            _put_six(work, _IN + 5, i, t1)
            _put_six(work, _IN + 11, i, t2)
            _put_six(work, _IN + 17, i, t3)
            _put_six(work, _IN + 23, i, t4)
            _put_six(work, _IN + 29, i, t5)
            _put_six(work, _IN + 35, i, t6)
            _put_six(work, _IN + 41, i, t7)
            _put_six(work, _IN + 47, i, t8)
            _put_six(work, _IN + 53, i, t9)
            _put_six(work, _IN + 59, i, t10)
        _write(work, _IN, 5, found, first, count)
        if past:
            _write_past(work, _IN + 5, 60, basis, first, count, address)
        else:
            _write(work, _IN + 5, 60, basis, first, count)


@_kernel
def _contraction(gradient, energy, dissipation, numbers, coefficients, found):
    work = np.ones((_IN + 16) * PITCH, gradient.dtype)
    for first in range(0, len(energy), BLOCK):
        count = min(BLOCK, len(energy) - first)
        _begin(gradient, energy, dissipation, numbers, first, count, work)
        _read(coefficients, first, count, work, _IN, 10)
        for i in range(BLOCK):
            g, s, w = _ten(work, _IN, i), _six(work, _S, i), _three(work, _W, i)
            _put_six(work, _IN + 10, i, _contracted(g, s, w, numbers[3], numbers[2]))
        _write(work, _IN + 10, 6, found, first, count)


@_kernel
def _invariants_back(
    gradient, energy, dissipation, numbers, bar, by_gradient, by_energy, by_dissipation
):
    work = np.ones((_IN + 5) * PITCH, gradient.dtype)
    for first in range(0, len(energy), BLOCK):
        count = min(BLOCK, len(energy) - first)
        _begin(gradient, energy, dissipation, numbers, first, count, work)
        _read(bar, first, count, work, _IN, 5)
        for i in range(BLOCK):
            s, w = _six(work, _S, i), _three(work, _W, i)
            a, b, c = _three(work, _IN, i)
            bars = a, b, c, work[(_IN + 3) * PITCH + i], work[(_IN + 4) * PITCH + i]
            by_s, (x, y, z) = _by_invariants(bars, s, w)
            _put_six(work, _S, i, by_s)
            _put_three(work, _W, i, x, y, z)
        _end(work, numbers, first, count, by_gradient, by_energy, by_dissipation)


@_kernel
def _tensors_back(
    gradient, energy, dissipation, numbers, bar, by_gradient, by_energy, by_dissipation
):
    work = np.ones((_IN + 60) * PITCH, gradient.dtype)
    for first in range(0, len(energy), BLOCK):
        count = min(BLOCK, len(energy) - first)
        _begin(gradient, energy, dissipation, numbers, first, count, work)
        _read(bar, first, count, work, _IN, 60)
        for i in range(BLOCK):
            bars = (
                _six(work, _IN, i), _six(work, _IN + 6, i), _six(work, _IN + 12, i),
                _six(work, _IN + 18, i), _six(work, _IN + 24, i), _six(work, _IN + 30, i),
                _six(work, _IN + 36, i), _six(work, _IN + 42, i), _six(work, _IN + 48, i),
                _six(work, _IN + 54, i),
            )  # fmt: skip
            s, w = _six(work, _S, i), _three(work, _W, i)
            by_s, (x, y, z) = _by_tensors(bars, s, w, numbers[3])
            _put_six(work, _S, i, by_s)
            _put_three(work, _W, i, x, y, z)
        _end(work, numbers, first, count, by_gradient, by_energy, by_dissipation)


@_kernel
def _contraction_back(
    gradient, energy, dissipation, numbers, coefficients, bar,
    by_coefficients, by_gradient, by_energy, by_dissipation,
):  # fmt: skip
    work = np.ones((_IN + 26) * PITCH, gradient.dtype)
    for first in range(0, len(energy), BLOCK):
        count = min(BLOCK, len(energy) - first)
        _begin(gradient, energy, dissipation, numbers, first, count, work)
        _read(coefficients, first, count, work, _IN, 10)
        _read(bar, first, count, work, _IN + 10, 6)
        for i in range(BLOCK):
            g, bars = _ten(work, _IN, i), _six(work, _IN + 10, i)
            s, w = _six(work, _S, i), _three(work, _W, i)
            by_g, by_s, (x, y, z) = _by_contraction(bars, g, s, w, numbers[3], numbers[2])
            _put_six(work, _S, i, by_s)
            _put_three(work, _W, i, x, y, z)
            _put_six(work, _IN + 16, i, by_g[:6])
            _put_three(work, _IN + 22, i, by_g[6], by_g[7], by_g[8])
            work[(_IN + 25) * PITCH + i] = by_g[9]
        _write(work, _IN + 16, 10, by_coefficients, first, count)
        _end(work, numbers, first, count, by_gradient, by_energy, by_dissipation)
