"""A window of Runge-Kutta steps and its adjoint for CUDA, in Triton and float32.

One launch marches all steps: a program holds some samples in its registers from the first step to
the last. On the way back it computes the stages of a step anew from the state that the step began
with, and adds the gradients of the field's tensors to an array of its own, which are summed at the
end in a fixed order.

Widths are padded with zeros to powers of two. The narrow sides of a field (its components, or the
products of a bilinear one) are sums of products; only the square layers of a perceptron are
matrix products (`tl.dot`) in tf32x3, three products of tf32 parts, nearly as exact as float32.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from sciml.kernels.rk_window.fields import BilinearField, Field

__all__ = ["SAMPLES", "WARPS", "WIDEST", "Problem", "unfit"]

SAMPLES = 16
"""Samples of one program, the least that a matrix product takes."""

WARPS = 8
"""Of a program: with four, the way back spills registers at a width of 64."""

WIDEST = {"components": 8, "hidden": 128, "products": 16, "stages": 8}
"""The largest padded widths that the kernels are meant for."""


def unfit(field: Field, stages: int) -> str | None:
    """Why the kernels cannot take a field and a tableau of so many stages, or None."""
    widths = {"components": field.components, "stages": stages}
    if isinstance(field, BilinearField):
        widths["products"] = len(field.left)
    elif len(field.weights) < 2:
        return "the perceptron has no hidden layer; give it as a BilinearField"
    else:
        widths["hidden"] = max(len(bias) for bias in field.biases[:-1])
    for name, width in widths.items():
        if width > WIDEST[name]:
            return f"there are {width} {name}; it takes {WIDEST[name]} at most"
    return None


class Problem:
    """A field, a tableau and a step as the packed arrays of the kernels."""

    def __init__(self, field: Field, a: Tensor, b: Tensor, step: float) -> None:
        self.field, self.step = field, step
        self.components, self.width = _power(field.components, 2), _width(field)
        self.theta = torch.cat([_padded(p, s).flatten() for p, s in self._places(field.parameters)])
        self.stages = _power(len(b), 2)
        self.a = _padded(step * a.detach(), (self.stages, self.stages))
        self.b = _padded(step * b.detach(), (self.stages,))
        self.true_stages = len(b)

    def march(self, state: Tensor, steps: int) -> Tensor:
        """The state and all that follow it, [batch, time, component]."""
        states = state.new_empty(state.shape[0], steps + 1, state.shape[1])
        states[:, 0] = state.detach()
        _march[self._grid(states)](
            states, self.theta, self.a, self.b, len(states), steps, **self._constants
        )
        return states

    def adjoint(
        self, states: Tensor, bar: Tensor, every: int, weights: bool
    ) -> tuple[Tensor | None, ...]:
        """The derivatives by the first state, a, b and the field's tensors."""
        batch, times, components = states.shape
        programs = self._grid(states)[0]
        begin = states.new_empty(batch, components)
        gradient = states.new_zeros(programs, self.theta.numel())
        a_bar, b_bar = (states.new_zeros(programs, *x.shape) for x in (self.a, self.b))
        _march_back[(programs,)](
            states, bar.contiguous(), begin, gradient, a_bar, b_bar, self.theta, self.a, self.b,
            batch, times - 1, every, self.theta.numel(), **self._constants,
        )  # fmt: skip
        s = self.true_stages
        tableau = (self.step * a_bar.sum(0)[:s, :s], self.step * b_bar.sum(0)[:s])
        return begin, *tableau, *self._parameters(gradient.sum(0))

    def _grid(self, states: Tensor) -> tuple[int]:
        return (triton.cdiv(len(states), SAMPLES),)

    @property
    def _constants(self) -> dict[str, Any]:
        bilinear = isinstance(self.field, BilinearField)
        return {
            "BILINEAR": bilinear,
            "LAYERS": 0 if bilinear else len(self.field.parameters) // 2 - 2,
            "COMPONENTS": self.field.components,
            "C": self.components,
            "W": self.width,
            "S": self.stages,
            "STAGES": self.true_stages,
            "SAMPLES": SAMPLES,
            "num_warps": WARPS,
        }

    def _places(self, tensors: Sequence[Tensor]) -> Iterator[tuple[Tensor, tuple[int, ...]]]:
        """The tensors as they stand in `theta`, transposed where that is so, and padded shapes."""
        c, w = self.components, self.width
        if isinstance(self.field, BilinearField):
            linear, constant, mixing, left, right = tensors
            yield from ((linear, (c, c)), (constant, (c,)), (mixing, (c, w)))
            yield from ((left, (w, c)), (right, (w, c)))
            return
        layers = len(tensors) // 2
        for n, (weight, bias) in enumerate(zip(tensors[:layers], tensors[layers:], strict=True)):
            last = n == layers - 1
            yield (weight if last else weight.T), (c if n == 0 or last else w, w)
            yield bias, (c if last else w,)

    def _parameters(self, flat: Tensor) -> list[Tensor]:
        """A flat array like `theta` as tensors like the field's."""
        sizes = [(given.shape, shape) for given, shape in self._places(self.field.parameters)]
        ends = torch.tensor([0, *(torch.Size(s).numel() for _, s in sizes)]).cumsum(0).tolist()
        found = []
        for (begin, end), (given, shape) in zip(pairwise(ends), sizes, strict=True):
            found.append(flat[begin:end].view(shape)[tuple(slice(n) for n in given)])
        if isinstance(self.field, BilinearField):
            return found
        weights, biases = found[::2], found[1::2]
        return [*(w.T for w in weights[:-1]), weights[-1], *biases]


def _width(field: Field) -> int:
    if isinstance(field, BilinearField):
        return _power(len(field.left), 2)
    return _power(max(len(bias) for bias in field.biases[:-1]), 16)


def _power(number: int, least: int) -> int:
    return max(least, 1 << (number - 1).bit_length())


def _padded(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    padded = tensor.new_zeros(shape, requires_grad=False)
    padded[tuple(slice(n) for n in tensor.shape)] = tensor.detach()
    return padded


def _jit(function: Callable[..., Any]) -> Any:
    """The Triton function of the plain one, below the checks of types an import hook laid over."""
    return triton.jit(inspect.unwrap(function))


@_jit
def _tanh(x):
    return 2 * tl.sigmoid(2 * x) - 1


@_jit
def _times(x, matrix):
    """x Mᵀ for x [samples, n] and M [m, n], as sums of products."""
    return tl.sum(x[:, None, :] * matrix[None, :, :], 2)


@_jit
def _outer(x, y):
    """Σ over the samples of x yᵀ, [n of x, n of y], as sums of products."""
    return tl.sum(x[:, :, None] * y[:, None, :], 0)


@_jit
def _add(target, value):
    tl.store(target, tl.load(target) + value)


@_jit
def _hidden(x, theta, layers, C: tl.constexpr, W: tl.constexpr):
    """What the first layer and `layers` square ones after it give."""
    c, w = tl.arange(0, C), tl.arange(0, W)
    first = tl.load(theta + c[:, None] * W + w[None, :])
    value = tl.sum(x[:, :, None] * first[None, :, :], 1) + tl.load(theta + C * W + w)[None, :]
    value = _tanh(value)
    square = theta + C * W + W
    for _ in range(layers):
        matrix = tl.load(square + w[:, None] * W + w[None, :])
        bias = tl.load(square + W * W + w)
        value = _tanh(tl.dot(value, matrix, input_precision="tf32x3") + bias[None, :])
        square += W * W + W
    return value


@_jit
def _rate(x, theta, BILINEAR: tl.constexpr, LAYERS: tl.constexpr, C: tl.constexpr, W: tl.constexpr):
    """The field at x [samples, C]."""
    c, w = tl.arange(0, C), tl.arange(0, W)
    if BILINEAR:
        mixing = theta + C * C + C
        left, right = mixing + C * W, mixing + 2 * C * W
        to_products = w[:, None] * C + c[None, :]
        product = _times(x, tl.load(left + to_products)) * _times(x, tl.load(right + to_products))
        value = _times(x, tl.load(theta + c[:, None] * C + c[None, :]))
        value += _times(product, tl.load(mixing + c[:, None] * W + w[None, :]))
        return value + tl.load(theta + C * C + c)[None, :]
    else:
        value = _hidden(x, theta, LAYERS, C, W)
        last = theta + C * W + W + LAYERS * (W * W + W)
        value = _times(value, tl.load(last + c[:, None] * W + w[None, :]))
        return value + tl.load(last + C * W + c)[None, :]


@_jit
def _pull_back(
    x, bar, theta, gradient,
    BILINEAR: tl.constexpr, LAYERS: tl.constexpr, C: tl.constexpr, W: tl.constexpr,
):  # fmt: skip
    """The bar of x from that of the field at x; adds to the gradient of theta."""
    c, w = tl.arange(0, C), tl.arange(0, W)
    wide = c[:, None] * W + w[None, :]
    if BILINEAR:
        square, tall = c[:, None] * C + c[None, :], w[:, None] * C + c[None, :]
        linear, mixing = tl.load(theta + square), tl.load(theta + C * C + C + wide)
        left = tl.load(theta + C * C + C + C * W + tall)
        right = tl.load(theta + C * C + C + 2 * C * W + tall)
        one, other = _times(x, left), _times(x, right)
        products = tl.sum(bar[:, :, None] * mixing[None, :, :], 1)
        one_bar, other_bar = products * other, products * one
        _add(gradient + square, _outer(bar, x))
        _add(gradient + C * C + c, tl.sum(bar, 0))
        _add(gradient + C * C + C + wide, _outer(bar, one * other))
        _add(gradient + C * C + C + C * W + tall, _outer(one_bar, x))
        _add(gradient + C * C + C + 2 * C * W + tall, _outer(other_bar, x))
        found = tl.sum(bar[:, :, None] * linear[None, :, :], 1)
        found += tl.sum(one_bar[:, :, None] * left[None, :, :], 1)
        return found + tl.sum(other_bar[:, :, None] * right[None, :, :], 1)
    else:
        begin = C * W + W
        last = begin + LAYERS * (W * W + W)
        value = _hidden(x, theta, LAYERS, C, W)
        _add(gradient + last + wide, _outer(bar, value))
        _add(gradient + last + C * W + c, tl.sum(bar, 0))
        back = tl.sum(bar[:, :, None] * tl.load(theta + last + wide)[None, :, :], 1)
        back *= 1 - value * value
        for n in range(LAYERS):
            layer = LAYERS - 1 - n
            place = begin + layer * (W * W + W)
            square = w[:, None] * W + w[None, :]
            before = _hidden(x, theta, layer, C, W)
            product = tl.dot(tl.trans(before), back, input_precision="tf32x3")
            _add(gradient + place + square, product)
            _add(gradient + place + W * W + w, tl.sum(back, 0))
            transposed = tl.load(theta + place + w[:, None] + w[None, :] * W)
            back = tl.dot(back, transposed, input_precision="tf32x3") * (1 - before * before)
        _add(gradient + wide, _outer(x, back))
        _add(gradient + C * W + w, tl.sum(back, 0))
        return _times(back, tl.load(theta + wide))


@_jit
def _march(
    states, theta, a, b, batch, steps,
    BILINEAR: tl.constexpr, LAYERS: tl.constexpr, COMPONENTS: tl.constexpr, C: tl.constexpr,
    W: tl.constexpr, S: tl.constexpr, STAGES: tl.constexpr, SAMPLES: tl.constexpr,
):  # fmt: skip
    """Fill in the states [batch, time, component] after the first."""
    sample = tl.program_id(0) * SAMPLES + tl.arange(0, SAMPLES)
    c, s = tl.arange(0, C), tl.arange(0, S)
    here = (sample[:, None] < batch) & (c[None, :] < COMPONENTS)
    place = states + sample[:, None].to(tl.int64) * (steps + 1) * COMPONENTS + c[None, :]
    state = tl.load(place, here, 0.0)
    weights = tl.load(b + s)
    for n in range(1, steps + 1):
        rates = tl.zeros((SAMPLES, C, S), tl.float32)
        for i in range(STAGES):
            stage = state + tl.sum(rates * tl.load(a + i * S + s)[None, None, :], 2)
            rate = _rate(stage, theta, BILINEAR, LAYERS, C, W)
            rates = tl.where(s[None, None, :] == i, rate[:, :, None], rates)
        state += tl.sum(rates * weights[None, None, :], 2)
        tl.store(place + n * COMPONENTS, state, here)


@_jit
def _march_back(
    states, bar, begin_bar, gradient, a_bar, b_bar, theta, a, b, batch, steps, every, size,
    BILINEAR: tl.constexpr, LAYERS: tl.constexpr, COMPONENTS: tl.constexpr, C: tl.constexpr,
    W: tl.constexpr, S: tl.constexpr, STAGES: tl.constexpr, SAMPLES: tl.constexpr,
):  # fmt: skip
    """The derivatives by the first states, the tableau (times the step) and theta."""
    program = tl.program_id(0)
    sample = program * SAMPLES + tl.arange(0, SAMPLES)
    c, s = tl.arange(0, C), tl.arange(0, S)
    here = (sample[:, None] < batch) & (c[None, :] < COMPONENTS)
    row = sample[:, None].to(tl.int64) * COMPONENTS
    given = states + row * (steps + 1) + c[None, :]
    kept = bar + row * (steps // every + 1) + c[None, :]
    gradient += program.to(tl.int64) * size
    after = tl.zeros((SAMPLES, C), tl.float32)
    a_sum, b_sum = tl.zeros((S, S), tl.float32), tl.zeros((S,), tl.float32)
    for m in range(steps):
        n = steps - m
        seen = tl.load(kept + n // every * COMPONENTS, here, 0.0)
        after += tl.where(n % every == 0, seen, 0.0)
        state = tl.load(given + (n - 1) * COMPONENTS, here, 0.0)
        rates = tl.zeros((SAMPLES, C, S), tl.float32)
        for i in range(STAGES):
            stage = state + tl.sum(rates * tl.load(a + i * S + s)[None, None, :], 2)
            rate = _rate(stage, theta, BILINEAR, LAYERS, C, W)
            rates = tl.where(s[None, None, :] == i, rate[:, :, None], rates)
        bars = tl.zeros((SAMPLES, C, S), tl.float32)
        for q in range(STAGES):
            i = STAGES - 1 - q
            stage = state + tl.sum(rates * tl.load(a + i * S + s)[None, None, :], 2)
            rate_bar = after * tl.load(b + i)
            rate_bar += tl.sum(bars * tl.load(a + s * S + i)[None, None, :], 2)
            stage_bar = _pull_back(stage, rate_bar, theta, gradient, BILINEAR, LAYERS, C, W)
            bars = tl.where(s[None, None, :] == i, stage_bar[:, :, None], bars)
        flat_rates = tl.reshape(rates, (SAMPLES * C, S))
        a_sum += _outer(tl.reshape(bars, (SAMPLES * C, S)), flat_rates)
        b_sum += tl.sum(tl.reshape(after[:, :, None] * rates, (SAMPLES * C, S)), 0)
        after += tl.sum(bars, 2)
    after += tl.load(kept, here, 0.0)
    tl.store(begin_bar + row + c[None, :], after, here)
    tl.store(b_bar + program * S + s, b_sum)
    lower = s[:, None] > s[None, :]
    tl.store(a_bar + program * S * S + s[:, None] * S + s[None, :], tl.where(lower, a_sum, 0.0))
