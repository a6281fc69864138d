"""Invariants, tensors, their contraction, all adjoints and a whole closure for CUDA, in Triton.

A thread takes a cell and holds what belongs to it in registers. The formulae are those of the other
backends, compiled from the same text. Divisions and roots are rounded correctly: the tensors go
with the fifth power of the time scale.

The network of a closure runs between the invariants and the contraction in the same kernel. Its
widths are padded with zeros to a power of two; hidden layers are matrix products (`tl.dot`) in
tf32x3, three products of tf32 parts, nearly as exact as float32.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.library import triton_op, wrap_triton

from sciml.kernels.tensor_basis.compiled import compiled_by
from sciml.kernels.tensor_basis.network import ACTIVATIONS, CoefficientNetwork

__all__ = [
    "BLOCK",
    "OPTIONS",
    "SAMPLES",
    "WIDE",
    "WIDEST",
    "closure_step",
    "contraction",
    "invariants",
    "tensor_basis",
    "unfit",
]

BLOCK = 128
"""Cells of a program, one a thread."""

OPTIONS = {"num_warps": 4, "enable_fp_fusion": True}
"""How the kernels are compiled."""

WIDE = {"num_warps": 8}
"""The same for a network wider than 64, which spills registers otherwise."""

SAMPLES = 64
"""Cells of a program of a whole closure."""

WIDEST = 128
"""The widest hidden layer that the kernel of a whole closure is meant for."""

State = tuple[Tensor, Tensor, Tensor]
"""Velocity gradient, turbulent kinetic energy and dissipation rate."""


def tensor_basis(state: State, inverse_square: float) -> tuple[Tensor, Tensor]:
    """Invariants and tensors."""
    return basis_op(*_contiguous(state), inverse_square)


def invariants(state: State, inverse_square: float) -> Tensor:
    """The five invariants."""
    return invariants_op(*_contiguous(state), inverse_square)


def contraction(state: State, coefficients: Tensor, inverse_square: float) -> Tensor:
    """Σ g_n T_n."""
    return contraction_op(*_contiguous((*state, coefficients)), inverse_square)


def closure_step(state: State, network: CoefficientNetwork, inverse_square: float) -> Tensor:
    """Σ g_n(λ) T_n with the coefficients of a network."""
    parameters, activation = list(network.parameters), list(ACTIVATIONS).index(network.activation)
    return closure_op(*_contiguous(state), parameters, activation, inverse_square)


def unfit(network: CoefficientNetwork) -> str | None:
    """Why the kernel of a whole closure cannot take a network, or None."""
    if network.weights[0].dtype != torch.float32:
        return f"the network is {network.weights[0].dtype}; a whole closure takes float32"
    if len(network.weights) < 2:
        return "the network has no hidden layer; use invariants and anisotropy"
    widest = max(len(bias) for bias in network.biases[:-1])
    if widest > WIDEST:
        return f"a hidden layer is {widest} wide; it takes {WIDEST} at most"
    return None


def _contiguous(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
    return [x.contiguous() for x in tensors]


def _launch(kernel: Any, *arguments: Any, cells: int, block: int = BLOCK, **constants: Any) -> None:
    """Triton's interpreter is no kernel to be traced."""
    if cells == 0:
        return
    known = kernel if not isinstance(kernel, triton.JITFunction) else wrap_triton(kernel)
    known[(triton.cdiv(cells, block),)](*arguments, cells, BLOCK=block, **{**OPTIONS, **constants})


def _one(like: Tensor, number: float) -> Tensor:
    """A number in the precision of the fields; Triton would take a plain one in float32."""
    return like.new_full((1,), number)


def _basis(
    gradient: Tensor, energy: Tensor, dissipation: Tensor, inverse_square: float
) -> tuple[Tensor, Tensor]:
    cells = energy.numel()
    found, tensors = energy.new_empty(5, cells), energy.new_empty(10, 6, cells)
    given = (gradient, energy, dissipation, _one(energy, inverse_square))
    _launch(_basis_kernel, *given, found, tensors, cells=cells)
    return found, tensors


def _basis_back(
    by_found: Tensor,
    by_tensors: Tensor,
    gradient: Tensor,
    energy: Tensor,
    dissipation: Tensor,
    inverse_square: float,
) -> tuple[Tensor, Tensor, Tensor]:
    state = (gradient, energy, dissipation)
    a, b, c = (torch.empty_like(x) for x in state)
    given = (*state, _one(energy, inverse_square), by_found, by_tensors, a, b, c)
    _launch(_basis_back_kernel, *given, cells=energy.numel())
    return a, b, c


def _invariants(
    gradient: Tensor, energy: Tensor, dissipation: Tensor, inverse_square: float
) -> Tensor:
    found = energy.new_empty(5, energy.numel())
    given = (gradient, energy, dissipation, _one(energy, inverse_square))
    _launch(_invariants_kernel, *given, found, cells=energy.numel())
    return found


def _invariants_back(
    bar: Tensor, gradient: Tensor, energy: Tensor, dissipation: Tensor, inverse_square: float
) -> tuple[Tensor, Tensor, Tensor]:
    state = (gradient, energy, dissipation)
    a, b, c = (torch.empty_like(x) for x in state)
    given = (*state, _one(energy, inverse_square), bar, a, b, c)
    _launch(_invariants_back_kernel, *given, cells=energy.numel())
    return a, b, c


def _contraction(
    gradient: Tensor,
    energy: Tensor,
    dissipation: Tensor,
    coefficients: Tensor,
    inverse_square: float,
) -> Tensor:
    found = energy.new_empty(6, energy.numel())
    given = (gradient, energy, dissipation, _one(energy, inverse_square), coefficients)
    _launch(_contraction_kernel, *given, found, cells=energy.numel())
    return found


def _contraction_back(
    bar: Tensor,
    gradient: Tensor,
    energy: Tensor,
    dissipation: Tensor,
    coefficients: Tensor,
    inverse_square: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    state = (gradient, energy, dissipation)
    a, b, c, d = (torch.empty_like(x) for x in (*state, coefficients))
    given = (*state, _one(energy, inverse_square), coefficients, bar, a, b, c, d)
    _launch(_contraction_back_kernel, *given, cells=energy.numel())
    return a, b, c, d


def _closure(
    gradient: Tensor,
    energy: Tensor,
    dissipation: Tensor,
    parameters: Sequence[Tensor],
    activation: int,
    inverse_square: float,
) -> Tensor:
    cells, layers = energy.numel(), len(parameters) // 2
    width = _width(parameters)
    found = energy.new_empty(6, cells)
    given = (gradient, energy, dissipation, _one(energy, inverse_square))
    _launch(
        _closure_kernel, *given, _packed(parameters, width), found, cells=cells, block=SAMPLES,
        LAYERS=layers - 2, W=width, ACTIVATION=activation, **(WIDE if width > 64 else {}),
    )  # fmt: skip
    return found


def _width(parameters: Sequence[Tensor]) -> int:
    widest = max(bias.shape[0] for bias in parameters[len(parameters) // 2 : -1])
    return max(16, 1 << (widest - 1).bit_length())


def _packed(parameters: Sequence[Tensor], width: int) -> Tensor:
    """All layers in one flat array, padded: [before, after] and the last [after, before]."""
    layers, rows = len(parameters) // 2, []
    for n in range(layers):
        weight, bias = parameters[n].detach(), parameters[layers + n].detach()
        last = n == layers - 1
        before = 5 if n == 0 else width
        after = 10 if last else width
        matrix = weight.new_zeros(after, before)
        matrix[: weight.shape[0], : weight.shape[1]] = weight
        rows += [(matrix if last else matrix.T).flatten(), bias.new_zeros(after)]
        rows[-1][: bias.shape[0]] = bias
    return torch.cat(rows)


def _op(name: str, function: Callable[..., Any]) -> Any:
    """Known to torch, below whatever checks of types an import hook laid over the function."""
    return triton_op(f"sciml::{name}", inspect.unwrap(function), mutates_args=())


basis_op = _op("tensor_basis", _basis)
basis_back_op = _op("tensor_basis_back", _basis_back)
invariants_op = _op("tensor_basis_invariants", _invariants)
invariants_back_op = _op("tensor_basis_invariants_back", _invariants_back)
contraction_op = _op("tensor_basis_contraction", _contraction)
contraction_back_op = _op("tensor_basis_contraction_back", _contraction_back)
closure_op = _op("tensor_basis_closure", _closure)


def _keep(ctx: Any, inputs: tuple, output: Any) -> None:
    *tensors, ctx.inverse_square = inputs
    ctx.save_for_backward(*tensors)


def _from_basis(ctx: Any, by_found: Tensor, by_tensors: Tensor) -> tuple:
    bars = by_found.contiguous(), by_tensors.contiguous()
    return *basis_back_op(*bars, *ctx.saved_tensors, ctx.inverse_square), None


def _from_invariants(ctx: Any, bar: Tensor) -> tuple:
    return *invariants_back_op(bar.contiguous(), *ctx.saved_tensors, ctx.inverse_square), None


def _from_contraction(ctx: Any, bar: Tensor) -> tuple:
    return *contraction_back_op(bar.contiguous(), *ctx.saved_tensors, ctx.inverse_square), None


def _keep_closure(ctx: Any, inputs: tuple, output: Any) -> None:
    *state, parameters, ctx.activation, ctx.inverse_square = inputs
    ctx.save_for_backward(*state, *parameters)


def _from_closure(ctx: Any, bar: Tensor) -> tuple:
    """Through the parts of a closure, computed anew."""
    given = [x.detach().requires_grad_() for x in ctx.saved_tensors]
    state, parameters = given[:3], tuple(given[3:])
    layers = len(parameters) // 2
    network = CoefficientNetwork(
        weights=parameters[:layers],
        biases=parameters[layers:],
        activation=list(ACTIVATIONS)[ctx.activation],
    )
    with torch.enable_grad():
        coefficients = network(invariants_op(*state, ctx.inverse_square))
        found = contraction_op(*state, coefficients, ctx.inverse_square)
    a, b, c, *rest = torch.autograd.grad(found, given, bar)
    return a, b, c, rest, None, None


basis_op.register_autograd(_from_basis, setup_context=_keep)
invariants_op.register_autograd(_from_invariants, setup_context=_keep)
contraction_op.register_autograd(_from_contraction, setup_context=_keep)
closure_op.register_autograd(_from_closure, setup_context=_keep_closure)


def _jit(function: Callable[..., Any]) -> Any:
    """The Triton function of the plain one, below the checks of types an import hook laid over."""
    return triton.jit(inspect.unwrap(function))


_formulae = compiled_by(_jit, tl=tl)  # the interpreter looks for it
_invariants_of, _by_invariants = _formulae.invariants, _formulae.invariants_back
_tensors_of, _by_tensors = _formulae.tensors, _formulae.tensors_back
_contracted, _by_contraction = _formulae.contraction, _formulae.contraction_back
_size, _parts, _parts_back = _formulae.size, _formulae.parts, _formulae.parts_back
_inner, _dot, _plus, _sum_of = (
    _formulae.inner, _formulae.dot, _formulae.plus, _formulae.sum_of
)  # fmt: skip

# Below, `here` says which cells of a program there are, and `pitch` how far apart rows are.


@_jit
def _over(a, b):
    """a / b to the last bit; Triton's own division of float32 is not."""
    if a.dtype == tl.float32:
        return tl.div_rn(a, b)
    else:
        return a / b


@_jit
def _inverse_root(a):
    if a.dtype == tl.float32:
        return tl.div_rn(1.0, tl.sqrt_rn(a))
    else:
        return 1 / tl.sqrt(a)


@_jit
def _places(cells, BLOCK: tl.constexpr):
    cell = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    return cell, cell < cells, tl.cast(cells, tl.int64)


@_jit
def _three(rows, pitch, here):
    return (
        tl.load(rows, here, 0.0),
        tl.load(rows + pitch, here, 0.0),
        tl.load(rows + 2 * pitch, here, 0.0),
    )


@_jit
def _six(rows, pitch, here):
    a, b, c = _three(rows, pitch, here)
    d, e, f = _three(rows + 3 * pitch, pitch, here)
    return a, b, c, d, e, f


@_jit
def _ten(rows, pitch, here):
    a, b, c, d, e, f = _six(rows, pitch, here)
    g, h, i = _three(rows + 6 * pitch, pitch, here)
    return a, b, c, d, e, f, g, h, i, tl.load(rows + 9 * pitch, here, 0.0)


@_jit
def _put_three(rows, pitch, here, a, b, c):
    tl.store(rows, a, here)
    tl.store(rows + pitch, b, here)
    tl.store(rows + 2 * pitch, c, here)


@_jit
def _put_six(rows, pitch, here, values):
    a, b, c, d, e, f = values
    _put_three(rows, pitch, here, a, b, c)
    _put_three(rows + 3 * pitch, pitch, here, d, e, f)


@_jit
def _state(gradient, energy, dissipation, inverse_square, cell, here):
    """The gradient, k / ε, what the limit makes of it, over it, and ε."""
    a, b, c, d, e, f = _six(gradient + 9 * cell, 1, here)
    x, y, z = _three(gradient + 9 * cell + 6, 1, here)
    g = (a, b, c, d, e, f, x, y, z)
    epsilon = tl.load(dissipation + cell, here, 1.0)
    ratio = _over(tl.load(energy + cell, here, 0.0), epsilon)
    bounded = 1 + ratio * ratio * _size(g) * tl.load(inverse_square)
    return g, ratio, _inverse_root(bounded), epsilon


@_jit
def _strains(gradient, energy, dissipation, inverse_square, cell, here):
    g, ratio, factor, _ = _state(gradient, energy, dissipation, inverse_square, cell, here)
    return _parts(g, ratio * factor, 0.5)


@_jit
def _put_state(
    by_s, by_w, gradient, energy, dissipation, inverse_square, by_gradient, by_energy,
    by_dissipation, cell, here,
):  # fmt: skip
    """From the derivatives by s and w to those by the state."""
    g, ratio, factor, epsilon = _state(gradient, energy, dissipation, inverse_square, cell, here)
    s, w = _parts(g, 1.0, 0.5)
    time = ratio * factor
    by_time = _inner(by_s, s) + _dot(by_w, w)
    a, b, c, d, e, f, x, y, z = _parts_back(by_s, by_w, time, 0.5)
    n = by_time * time * time * time * tl.load(inverse_square)
    place = by_gradient + 9 * cell
    _put_three(place, 1, here, a - n * g[0], b - n * g[1], c - n * g[2])
    _put_three(place + 3, 1, here, d - n * g[3], e - n * g[4], f - n * g[5])
    _put_three(place + 6, 1, here, x - n * g[6], y - n * g[7], z - n * g[8])
    by_k = _over(by_time * factor * factor * factor, epsilon)
    tl.store(by_energy + cell, by_k, here)
    tl.store(by_dissipation + cell, -ratio * by_k, here)


@_jit
def _put_invariants(s, w, rows, pitch, here):
    a, b, c, d, e = _invariants_of(s, w)
    _put_three(rows, pitch, here, a, b, c)
    tl.store(rows + 3 * pitch, d, here)
    tl.store(rows + 4 * pitch, e, here)


@_jit
def _five(rows, pitch, here):
    a, b, c = _three(rows, pitch, here)
    return a, b, c, tl.load(rows + 3 * pitch, here, 0.0), tl.load(rows + 4 * pitch, here, 0.0)


@_jit
def _invariants_kernel(
    gradient, energy, dissipation, inverse_square, found, cells, BLOCK: tl.constexpr
):
    cell, here, pitch = _places(cells, BLOCK)
    s, w = _strains(gradient, energy, dissipation, inverse_square, cell, here)
    _put_invariants(s, w, found + cell, pitch, here)


@_jit
def _basis_kernel(
    gradient, energy, dissipation, inverse_square, found, tensors, cells, BLOCK: tl.constexpr
):
    cell, here, pitch = _places(cells, BLOCK)
    s, w = _strains(gradient, energy, dissipation, inverse_square, cell, here)
    _put_invariants(s, w, found + cell, pitch, here)
    rows = tensors + cell
    t1, t2, t3, t4, t5, t6, t7, t8, t9, t10 = _tensors_of(s, w, 1 / 3)
    _put_six(rows, pitch, here, t1)
    _put_six(rows + 6 * pitch, pitch, here, t2)
    _put_six(rows + 12 * pitch, pitch, here, t3)
    _put_six(rows + 18 * pitch, pitch, here, t4)
    _put_six(rows + 24 * pitch, pitch, here, t5)
    _put_six(rows + 30 * pitch, pitch, here, t6)
    _put_six(rows + 36 * pitch, pitch, here, t7)
    _put_six(rows + 42 * pitch, pitch, here, t8)
    _put_six(rows + 48 * pitch, pitch, here, t9)
    _put_six(rows + 54 * pitch, pitch, here, t10)


@_jit
def _contraction_kernel(
    gradient, energy, dissipation, inverse_square, coefficients, found, cells, BLOCK: tl.constexpr
):
    cell, here, pitch = _places(cells, BLOCK)
    s, w = _strains(gradient, energy, dissipation, inverse_square, cell, here)
    g = _ten(coefficients + cell, pitch, here)
    _put_six(found + cell, pitch, here, _contracted(g, s, w, 1 / 3, 0.5))


@_jit
def _invariants_back_kernel(
    gradient, energy, dissipation, inverse_square, bar, by_gradient, by_energy, by_dissipation,
    cells, BLOCK: tl.constexpr,
):  # fmt: skip
    cell, here, pitch = _places(cells, BLOCK)
    s, w = _strains(gradient, energy, dissipation, inverse_square, cell, here)
    by_s, by_w = _by_invariants(_five(bar + cell, pitch, here), s, w)
    _put_state(
        by_s, by_w, gradient, energy, dissipation, inverse_square, by_gradient, by_energy,
        by_dissipation, cell, here,
    )  # fmt: skip


@_jit
def _basis_back_kernel(
    gradient, energy, dissipation, inverse_square, by_found, by_tensors,
    by_gradient, by_energy, by_dissipation, cells, BLOCK: tl.constexpr,
):  # fmt: skip
    cell, here, pitch = _places(cells, BLOCK)
    s, w = _strains(gradient, energy, dissipation, inverse_square, cell, here)
    rows = by_tensors + cell
    bars = (
        _six(rows, pitch, here), _six(rows + 6 * pitch, pitch, here),
        _six(rows + 12 * pitch, pitch, here), _six(rows + 18 * pitch, pitch, here),
        _six(rows + 24 * pitch, pitch, here), _six(rows + 30 * pitch, pitch, here),
        _six(rows + 36 * pitch, pitch, here), _six(rows + 42 * pitch, pitch, here),
        _six(rows + 48 * pitch, pitch, here), _six(rows + 54 * pitch, pitch, here),
    )  # fmt: skip
    by_s, by_w = _by_tensors(bars, s, w, 1 / 3)
    more_s, more_w = _by_invariants(_five(by_found + cell, pitch, here), s, w)
    _put_state(
        _plus(by_s, more_s), _sum_of(by_w, more_w), gradient, energy, dissipation, inverse_square,
        by_gradient, by_energy, by_dissipation, cell, here,
    )  # fmt: skip


@_jit
def _contraction_back_kernel(
    gradient, energy, dissipation, inverse_square, coefficients, bar,
    by_gradient, by_energy, by_dissipation, by_coefficients, cells, BLOCK: tl.constexpr,
):  # fmt: skip
    cell, here, pitch = _places(cells, BLOCK)
    s, w = _strains(gradient, energy, dissipation, inverse_square, cell, here)
    g = _ten(coefficients + cell, pitch, here)
    by_g, by_s, by_w = _by_contraction(_six(bar + cell, pitch, here), g, s, w, 1 / 3, 0.5)
    a, b, c, d, e, f, x, y, z, last = by_g
    rows = by_coefficients + cell
    _put_six(rows, pitch, here, (a, b, c, d, e, f))
    _put_three(rows + 6 * pitch, pitch, here, x, y, z)
    tl.store(rows + 9 * pitch, last, here)
    _put_state(
        by_s, by_w, gradient, energy, dissipation, inverse_square, by_gradient, by_energy,
        by_dissipation, cell, here,
    )  # fmt: skip


@_jit
def _activated(x, ACTIVATION: tl.constexpr):
    """In the order of the network's names."""
    if ACTIVATION == 0:
        return 0.5 * x * (1 + tl.erf(0.7071067811865476 * x))
    elif ACTIVATION == 1:
        return x * tl.sigmoid(x)
    elif ACTIVATION == 2:
        return tl.maximum(x, 0.0)
    else:
        return 2 * tl.sigmoid(2 * x) - 1


@_jit
def _coefficient(x, last, N: tl.constexpr, W: tl.constexpr):
    """What the last layer gives as number N."""
    weight = tl.load(last + N * W + tl.arange(0, W))
    return tl.sum(x * weight[None, :], 1) + tl.load(last + 10 * W + N)


@_jit
def _coefficients(values, theta, LAYERS: tl.constexpr, W: tl.constexpr, ACTIVATION: tl.constexpr):
    """The ten outputs of the network, each [cells]."""
    a, b, c, d, e = values
    w = tl.arange(0, W)
    x = tl.load(theta + 5 * W + w)[None, :] + a[:, None] * tl.load(theta + w)[None, :]
    x += (
        b[:, None] * tl.load(theta + W + w)[None, :]
        + c[:, None] * tl.load(theta + 2 * W + w)[None, :]
    )
    x += (
        d[:, None] * tl.load(theta + 3 * W + w)[None, :]
        + e[:, None] * tl.load(theta + 4 * W + w)[None, :]
    )
    x = _activated(x, ACTIVATION)
    layer = theta + 6 * W
    for _ in range(LAYERS):
        matrix = tl.load(layer + w[:, None] * W + w[None, :])
        x = tl.dot(x, matrix, input_precision="tf32x3") + tl.load(layer + W * W + w)[None, :]
        x = _activated(x, ACTIVATION)
        layer += W * W + W
    return (
        _coefficient(x, layer, 0, W), _coefficient(x, layer, 1, W), _coefficient(x, layer, 2, W),
        _coefficient(x, layer, 3, W), _coefficient(x, layer, 4, W), _coefficient(x, layer, 5, W),
        _coefficient(x, layer, 6, W), _coefficient(x, layer, 7, W), _coefficient(x, layer, 8, W),
        _coefficient(x, layer, 9, W),
    )  # fmt: skip


@_jit
def _closure_kernel(
    gradient, energy, dissipation, inverse_square, theta, found, cells, BLOCK: tl.constexpr,
    LAYERS: tl.constexpr, W: tl.constexpr, ACTIVATION: tl.constexpr,
):  # fmt: skip
    cell, here, pitch = _places(cells, BLOCK)
    s, w = _strains(gradient, energy, dissipation, inverse_square, cell, here)
    g = _coefficients(_invariants_of(s, w), theta, LAYERS, W, ACTIVATION)
    _put_six(found + cell, pitch, here, _contracted(g, s, w, 1 / 3, 0.5))
