"""A window of Runge-Kutta steps and its adjoint for one CPU core, compiled by numba.

Samples go through the window in blocks, so that all of a block stays in the cache. Both fields are
made of small matrix products over rows of numbers (a sample of a stage each) that are padded to
whole vectors; see :mod:`sciml.kernels.rk_window.tile`. The adjoint is that of the scheme itself:
only the states of the steps are kept, the stages of a step are computed anew, and the gradients of
the matrices are summed over all stages of a block at once.

What the compiled functions are given, besides the flat array `work` of a block:

- `table`: a row for each matrix, see :class:`_Matrix`;
- `values`: where in `work` the inputs and outputs of the matrices begin, and `pads`, the width of
  their rows; the first are the stages, the last the rates;
- `bars`: where the derivatives of the loss by `values` begin, before the tanh if there is one.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from functools import lru_cache
from typing import Any

import numba
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sciml.kernels.rk_window.fields import BilinearField, Field
from sciml.kernels.rk_window.tile import LANES, NARROW_ROWS, WIDE, WIDE_ROWS, tile

__all__ = ["BLOCK", "Problem", "tanh"]

BLOCK = 16
"""Samples that go through the window together."""

_LINE = 64  # bytes

_wide = tile(WIDE_ROWS, WIDE, transposed=False)
_narrow = tile(NARROW_ROWS, LANES, transposed=False)
_wide_transposed = tile(WIDE_ROWS, WIDE, transposed=True)
_narrow_transposed = tile(NARROW_ROWS, LANES, transposed=True)


def tanh(x: Float[np.ndarray, " number"]) -> Float[np.ndarray, " number"]:
    """The hyperbolic tangent of the kernel, exact to a few units in the last place.

    In float32 x P(x²) / Q(x²), fitted for the least largest relative error up to 8.6; in float64
    twelve terms of Lambert's continued fraction for x / 8, and tanh 2y = 2 tanh y / (1 + tanh² y)
    three times. The relative error is below 4e-7 in float32 and 2e-15 in float64.
    """
    found = np.array(x)
    _tanh(found, 0, found.size)
    return found


@dataclass(frozen=True, kw_only=True)
class _Matrix:
    """A matrix of a field, its widths, and where it stands in the flat arrays.

    Attributes:
        source: which of `values` it is applied to.
        before: numbers that it takes; `pad_before` with those that fill up the last vector.
        target: which of `values` it gives, or adds to.
        after: numbers that it gives; `pad_after` likewise.
        forward: where it begins in `weights`, as [pad_before, pad_after].
        bias: where its bias does, or 0, where as many zeros stand.
        backward: where it begins in `transposed`, as [pad_after, pad_before].
    """

    source: int
    before: int
    pad_before: int
    target: int
    after: int
    pad_after: int
    forward: int
    bias: int
    backward: int


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """How the matrices and the values of a field lie in flat arrays."""

    matrices: tuple[_Matrix, ...]
    weights: int
    transposed: int
    pads: tuple[int, ...]


@lru_cache(maxsize=32)
def _layout(
    shapes: tuple[tuple[int, int, int, int, bool], ...], widths: tuple[int, ...]
) -> _Layout:
    """From (source, before, target, after, whether there is a bias) of each matrix."""
    forward = backward = max(map(_padded, widths))  # zeros come first
    matrices = []
    for source, before, target, after, biased in shapes:
        pad_before, pad_after = _padded(before), _padded(after)
        bias = forward + pad_before * pad_after
        matrices.append(
            _Matrix(
                source=source, before=before, pad_before=pad_before,
                target=target, after=after, pad_after=pad_after,
                forward=forward, bias=bias if biased else 0, backward=backward,
            )
        )  # fmt: skip
        forward = bias + biased * pad_after
        backward += pad_before * pad_after
    return _Layout(
        matrices=tuple(matrices),
        weights=forward,
        transposed=backward,
        pads=tuple(map(_padded, widths)),
    )


def _matrices(field: Field) -> tuple[_Layout, list[tuple[np.ndarray, np.ndarray | None]]]:
    """The matrices and biases of a field in the order of its layout."""
    if isinstance(field, BilinearField):
        linear, constant, mixing, left, right = (p.detach().numpy() for p in field.parameters)
        components, products = mixing.shape
        pad = _padded(products)
        both = np.zeros((2 * pad, components), linear.dtype)
        both[:products], both[pad : pad + products] = left, right
        shapes = (
            (0, components, 1, 2 * pad, False),
            (2, products, 3, components, True),
            (0, components, 3, components, False),
        )
        widths = (components, 2 * pad, products, components)
        return _layout(shapes, widths), [(both, None), (mixing, constant), (linear, None)]
    weights = [w.detach().numpy() for w in field.weights]
    widths_of_layers = (field.components, *(len(w) for w in weights))
    layers = tuple((n, w.shape[1], n + 1, w.shape[0], True) for n, w in enumerate(weights))
    biases = [b.detach().numpy() for b in field.biases]
    return _layout(layers, widths_of_layers), list(zip(weights, biases, strict=True))


class Problem:
    """A field, a tableau and a step as the flat arrays of the compiled functions."""

    def __init__(self, field: Field, a: Tensor, b: Tensor, step: float) -> None:
        self.field, self.step = field, step
        self.layout, pairs = _matrices(field)
        kind = pairs[0][0].dtype
        self.weights = _aligned(self.layout.weights, kind)
        self.transposed = _aligned(self.layout.transposed, kind)
        for place, (matrix, bias) in zip(self.layout.matrices, pairs, strict=True):
            self._matrix(self.weights, place)[: place.before, : place.after] = matrix.T
            size = place.pad_before * place.pad_after
            flat = self.transposed[place.backward : place.backward + size]
            flat.reshape(place.pad_after, -1)[: place.after, : place.before] = matrix
            if bias is not None:
                self.weights[place.bias : place.bias + place.after] = bias
        self.a = (step * a.detach().double().numpy()).astype(kind)
        self.b = (step * b.detach().double().numpy()).astype(kind)
        self._divide_work(kind)

    def march(self, state: Tensor, steps: int) -> Tensor:
        """The state and all that follow it, [batch, time, component]."""
        begin = state.detach().numpy()
        states = np.empty((len(begin), steps + 1, begin.shape[1]), begin.dtype)
        states[:, 0] = begin
        _march(states, *self._arguments)
        return torch.from_numpy(states)

    def _divide_work(self, kind: np.dtype) -> None:
        """Room for values and bars of all stages of a block, and for three states."""
        pads = np.array(self.layout.pads, np.int64)
        sizes = np.concatenate([pads, pads, pads[:1], pads[:1]]) * BLOCK
        sizes[: 2 * len(pads)] *= len(self.b)
        places = np.concatenate([[0], np.cumsum(sizes)])
        self.values, self.bars = places[: len(pads)], places[len(pads) : 2 * len(pads)]
        self.pads, self.states = pads, places[-3:-1]
        self.work = _aligned(int(places[-1]), kind)

    @property
    def _arguments(self) -> tuple[Any, ...]:
        table = np.array([astuple(m) for m in self.layout.matrices], np.int64)
        bilinear = isinstance(self.field, BilinearField)
        given = (self.a, self.b, bilinear, self.weights, table)
        return *given, self.work, self.values, self.pads, self.states

    def adjoint(
        self, states: Tensor, bar: Tensor, every: int, weights: bool
    ) -> tuple[Tensor | None, ...]:
        """The derivatives by the first state, a, b and, if asked for, the field's tensors."""
        a_bar, b_bar = np.zeros(self.a.shape), np.zeros(self.b.shape)
        begin = np.zeros((states.shape[0], states.shape[2]), self.weights.dtype)
        gradient = np.zeros_like(self.weights)
        _march_back(
            states.numpy(), np.ascontiguousarray(bar.detach().numpy()), every, begin, a_bar, b_bar,
            gradient, weights, self.transposed, self.bars, *self._arguments,
        )  # fmt: skip
        kind = states.dtype
        tableau = (torch.from_numpy(self.step * x).to(kind) for x in (a_bar, b_bar))
        found = self._parameters(gradient) if weights else [None] * len(self.field.parameters)
        return torch.from_numpy(begin), *tableau, *found

    def _parameters(self, flat: np.ndarray) -> Sequence[Tensor]:
        """The gradient as tensors like the field's."""
        places = self.layout.matrices
        matrices = [
            torch.from_numpy(self._matrix(flat, p)[: p.before, : p.after].T.copy()) for p in places
        ]
        biases = [
            torch.from_numpy(flat[p.bias : p.bias + p.after].copy()) for p in places if p.bias
        ]
        if not isinstance(self.field, BilinearField):
            return [*matrices, *biases]
        both, mixing, linear = matrices
        products = mixing.shape[1]
        pad = _padded(products)
        return [linear, *biases, mixing, both[:products], both[pad : pad + products]]

    @staticmethod
    def _matrix(flat: np.ndarray, place: _Matrix) -> np.ndarray:
        size = place.pad_before * place.pad_after
        return flat[place.forward : place.forward + size].reshape(place.pad_before, -1)


def _padded(width: int) -> int:
    return -(-width // LANES) * LANES


def _aligned(size: int, kind: np.dtype) -> np.ndarray:
    """Zeros that begin a cache line."""
    raw = np.zeros(size + _LINE // kind.itemsize, kind)
    begin = -raw.ctypes.data % _LINE // kind.itemsize
    return raw[begin : begin + size]


def _jit(function: Callable[..., Any]) -> Any:
    """Compile the plain function, below whatever checks of types an import hook laid over it.

    Sums may change their order; infinities and NaN keep their meaning, since a state may blow up.
    Python's check for a division by zero would keep a loop from being vectorised.
    """
    loose = {"contract", "reassoc", "nsz", "arcp"}
    compiled = numba.njit(cache=True, nogil=True, fastmath=loose, error_model="numpy")
    return compiled(inspect.unwrap(function))


# Below, arrays are flat, and `x, i, pitch` is an array, where a matrix begins in it, and how far
# apart its rows are.


@_jit
def _tanh(x, begin, end):
    if x.itemsize == 4:
        _tanh_single(x, begin, end)
    else:
        _tanh_double(x, begin, end)


@_jit
def _tanh_single(x, begin, end):
    real = x.dtype.type
    p0, p1, p2 = real(0.999999962), real(0.12943917), real(0.00294739888)
    p3, p4, p5 = real(9.51304604e-06), real(-1.35288641e-08), real(2.02093532e-11)
    q0, q1, q2, q3 = real(1), real(0.462772171), real(0.0238719397), real(0.00023179805)
    largest = real(8.6)
    part = x[begin:end]
    for i in range(end - begin):
        y = part[i]
        y = largest if y > largest else y  # so that a NaN stays one
        y = -largest if y < -largest else y
        u = y * y
        over = p0 + u * (p1 + u * (p2 + u * (p3 + u * (p4 + u * p5))))
        part[i] = y * over / (q0 + u * (q1 + u * (q2 + u * q3)))


@_jit
def _tanh_double(x, begin, end):
    real = x.dtype.type
    p0, p1, p2 = real(316234143225), real(45831035250), real(1571349780)
    p3, p4, p5 = real(18378360), real(75075), real(78)
    q0, q1, q2 = real(316234143225), real(151242416325), real(9820936125)
    q3, q4, q5 = real(192972780), real(1351350), real(3003)
    largest, eighth, one = real(20), real(0.125), real(1)
    part = x[begin:end]
    for i in range(end - begin):
        y = part[i]
        y = largest if y > largest else y
        y = eighth * (-largest if y < -largest else y)
        u = y * y
        over = p0 + u * (p1 + u * (p2 + u * (p3 + u * (p4 + u * p5))))
        t = y * over / (q0 + u * (q1 + u * (q2 + u * (q3 + u * (q4 + u * (q5 + u))))))
        t = (t + t) / (one + t * t)
        t = (t + t) / (one + t * t)
        part[i] = (t + t) / (one + t * t)


@_jit
def _product(out, o, op, a, i, ap, b, j, bp, start, s, sp, rows, columns, terms):
    """out[m, n] = start[m, n] + Σ_k a[m, k] b[k, n], some rows more than asked for."""
    for n in range(0, columns - WIDE + 1, WIDE):
        for m in range(0, rows, WIDE_ROWS):
            _wide(out, o + m * op + n, op, a, i + m * ap, ap, b, j + n, bp,
                  start, s + m * sp + n, sp, terms)  # fmt: skip
    if columns % WIDE:
        n = columns - LANES
        for m in range(0, rows, NARROW_ROWS):
            _narrow(out, o + m * op + n, op, a, i + m * ap, ap, b, j + n, bp,
                    start, s + m * sp + n, sp, terms)  # fmt: skip


@_jit
def _add_product_of_transposed(out, o, op, a, i, ap, b, j, bp, rows, columns, terms):
    """out[m, n] += Σ_k a[k, m] b[k, n], some rows more than asked for."""
    for n in range(0, columns - WIDE + 1, WIDE):
        for m in range(0, rows, WIDE_ROWS):
            _wide_transposed(out, o + m * op + n, op, a, i + m, ap, b, j + n, bp,
                             out, o + m * op + n, op, terms)  # fmt: skip
    if columns % WIDE:
        n = columns - LANES
        for m in range(0, rows, NARROW_ROWS):
            _narrow_transposed(out, o + m * op + n, op, a, i + m, ap, b, j + n, bp,
                               out, o + m * op + n, op, terms)  # fmt: skip


@_jit
def _apply(work, i, o, add, weights, matrix, rows):
    """A matrix and its bias on rows at i, given or added to those at o."""
    _, before, pad_before, _, _, pad_after, forward, bias, _ = matrix
    if add:
        _product(work, o, pad_after, work, i, pad_before, weights, forward, pad_after,
                 work, o, pad_after, rows, pad_after, before)  # fmt: skip
    else:
        _product(work, o, pad_after, work, i, pad_before, weights, forward, pad_after,
                 weights, bias, 0, rows, pad_after, before)  # fmt: skip


@_jit
def _apply_transposed(work, i, o, add, transposed, matrix, rows):
    _, _, pad_before, _, after, pad_after, _, _, backward = matrix
    if add:
        _product(work, o, pad_before, work, i, pad_after, transposed, backward, pad_before,
                 work, o, pad_before, rows, pad_before, after)  # fmt: skip
    else:
        _product(work, o, pad_before, work, i, pad_after, transposed, backward, pad_before,
                 transposed, 0, 0, rows, pad_before, after)  # fmt: skip


@_jit
def _rate(bilinear, weights, table, work, values, pads, rows, row, rate_row):
    """The field at the stages from `row` on; the rates are put where `rate_row` begins."""
    last = len(values) - 1
    rate = values[last] + rate_row * pads[last]
    if bilinear:
        stage, both = values[0] + row * pads[0], values[1] + row * pads[1]
        products = values[2] + row * pads[2]
        _apply(work, stage, both, False, weights, _row(table, 0), rows)
        _multiply_halves(work, both, products, pads[2], rows)
        _apply(work, products, rate, False, weights, _row(table, 1), rows)
        _apply(work, stage, rate, True, weights, _row(table, 2), rows)
    else:
        for n in range(last):
            i = values[n] + row * pads[n]
            o = rate if n == last - 1 else values[n + 1] + row * pads[n + 1]
            _apply(work, i, o, False, weights, _row(table, n), rows)
            if n < last - 1:
                _tanh(work, o, o + rows * pads[n + 1])


@_jit
def _pull_back(bilinear, transposed, table, work, values, bars, pads, rows, row):
    """From the bars of rates to those of stages, all from `row` on."""
    last = len(values) - 1
    rate = bars[last] + row * pads[last]
    if bilinear:
        stage, both = bars[0] + row * pads[0], bars[1] + row * pads[1]
        products = bars[2] + row * pads[2]
        _apply_transposed(work, rate, products, False, transposed, _row(table, 1), rows)
        factors = values[1] + row * pads[1]
        _multiply_halves_back(work, factors, products, both, pads[2], rows)
        _apply_transposed(work, rate, stage, False, transposed, _row(table, 2), rows)
        _apply_transposed(work, both, stage, True, transposed, _row(table, 0), rows)
    else:
        for n in range(last - 1, -1, -1):
            i, o = bars[n + 1] + row * pads[n + 1], bars[n] + row * pads[n]
            _apply_transposed(work, i, o, False, transposed, _row(table, n), rows)
            if n > 0:
                size = rows * pads[n]
                begin = values[n] + row * pads[n]
                _tanh_back(work[begin : begin + size], work[o : o + size])


@_jit
def _row(table, n):
    return (
        table[n, 0], table[n, 1], table[n, 2], table[n, 3], table[n, 4], table[n, 5],
        table[n, 6], table[n, 7], table[n, 8],
    )  # fmt: skip


@_jit
def _tanh_back(value, bar):
    one = value.dtype.type(1)
    for i in range(len(value)):
        bar[i] *= one - value[i] * value[i]


@_jit
def _multiply_halves(work, both, products, width, rows):
    for r in range(rows):
        for i in range(width):
            left, right = both + 2 * r * width + i, both + (2 * r + 1) * width + i
            work[products + r * width + i] = work[left] * work[right]


@_jit
def _multiply_halves_back(work, factors, bar, both, width, rows):
    for r in range(rows):
        for i in range(width):
            left, right = 2 * r * width + i, (2 * r + 1) * width + i
            here = work[bar + r * width + i]
            work[both + left] = here * work[factors + right]
            work[both + right] = here * work[factors + left]


@_jit
def _add_gradients(gradient, table, work, values, bars, rows):
    """The derivatives by all matrices and biases from as many rows of values and bars."""
    for n in range(len(table)):
        source, before, pad_before, target, _, pad_after, forward, bias, _ = _row(table, n)
        _add_product_of_transposed(
            gradient, forward, pad_after, work, values[source], pad_before,
            work, bars[target], pad_after, before, pad_after, rows,
        )  # fmt: skip
        if bias:
            total = gradient[bias : bias + pad_after]
            for r in range(rows):
                begin = bars[target] + r * pad_after
                bar = work[begin : begin + pad_after]
                for i in range(pad_after):
                    total[i] += bar[i]


@_jit
def _add_scaled(work, o, factor, i, size):
    target, source = work[o : o + size], work[i : i + size]
    for k in range(size):
        target[k] += factor * source[k]


@_jit
def _set_scaled(work, o, factor, i, size):
    target, source = work[o : o + size], work[i : i + size]
    for k in range(size):
        target[k] = factor * source[k]


@_jit
def _dot(work, i, j, size):
    one, other = work[i : i + size], work[j : j + size]
    total = one.dtype.type(0)
    for k in range(size):
        total += one[k] * other[k]
    return total


@_jit
def _load(work, i, pad, rows, states):
    """Some states as padded rows, and zeros below them."""
    work[i : i + rows * pad] = 0
    for r in range(len(states)):
        for c in range(states.shape[1]):
            work[i + r * pad + c] = states[r, c]


@_jit
def _add_to(work, i, pad, states):
    for r in range(len(states)):
        for c in range(states.shape[1]):
            states[r, c] += work[i + r * pad + c]


@_jit
def _stages(a, bilinear, weights, table, work, values, pads, state, rows, keep):
    """The rates of all stages of a step; with `keep` what led to them is kept as well."""
    size = rows * pads[0]
    last = len(values) - 1
    for i in range(len(a)):
        row = i * rows if keep else 0
        stage = values[0] + row * pads[0]
        _set_scaled(work, stage, work.dtype.type(1), state, size)
        for j in range(i):
            if a[i, j] != 0:
                _add_scaled(work, stage, a[i, j], values[last] + j * size, size)
        _rate(bilinear, weights, table, work, values, pads, rows, row, i * rows)


@_jit
def _march(states, a, b, bilinear, weights, table, work, values, pads, places):
    """Fill in the states [batch, time, component] after the first."""
    batch, times, _ = states.shape
    state, last = places[0], len(values) - 1
    for begin in range(0, batch, BLOCK):
        end = min(begin + BLOCK, batch)
        rows = (end - begin + LANES - 1) // LANES * LANES
        size = rows * pads[0]
        _load(work, state, pads[0], rows, states[begin:end, 0])
        for n in range(1, times):
            _stages(a, bilinear, weights, table, work, values, pads, state, rows, False)
            for i in range(len(b)):
                _add_scaled(work, state, b[i], values[last] + i * size, size)
            for r in range(end - begin):
                for c in range(states.shape[2]):
                    states[begin + r, n, c] = work[state + r * pads[0] + c]


@_jit
def _march_back(
    states, bar, every, begin_bar, a_bar, b_bar, gradient, with_weights, transposed, bars,
    a, b, bilinear, weights, table, work, values, pads, places,
):  # fmt: skip
    """Add the derivatives by the first states, the tableau (times the step) and the weights."""
    batch, times, _ = states.shape
    state, after = places
    last, stages = len(values) - 1, len(b)
    for begin in range(0, batch, BLOCK):
        end = min(begin + BLOCK, batch)
        rows = (end - begin + LANES - 1) // LANES * LANES
        size = rows * pads[0]
        work[after : after + size] = 0
        for n in range(times - 1, 0, -1):
            if n % every == 0:
                _load(work, state, pads[0], rows, bar[begin:end, n // every])
                _add_scaled(work, after, work.dtype.type(1), state, size)
            _load(work, state, pads[0], rows, states[begin:end, n - 1])
            _stages(a, bilinear, weights, table, work, values, pads, state, rows, True)
            for i in range(stages - 1, -1, -1):
                rate = bars[last] + i * size
                _set_scaled(work, rate, b[i], after, size)
                for j in range(i + 1, stages):
                    if a[j, i] != 0:
                        _add_scaled(work, rate, a[j, i], bars[0] + j * size, size)
                _pull_back(bilinear, transposed, table, work, values, bars, pads, rows, i * rows)
            for i in range(stages):
                b_bar[i] += _dot(work, after, values[last] + i * size, size)
                for j in range(i):
                    a_bar[i, j] += _dot(work, bars[0] + i * size, values[last] + j * size, size)
            for i in range(stages):
                _add_scaled(work, after, work.dtype.type(1), bars[0] + i * size, size)
            if with_weights:
                _add_gradients(gradient, table, work, values, bars, stages * rows)
        begin_bar[begin:end] = bar[begin:end, 0]
        _add_to(work, after, pads[0], begin_bar[begin:end])
