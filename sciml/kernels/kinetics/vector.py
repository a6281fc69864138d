"""An exponential and a logarithm that compiled loops over arrays turn into vector instructions."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any, Literal

import numba
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

__all__ = ["compiled", "exp", "log"]

_LOG2E = 1 / math.log(2.0)
_LN2_HIGH = 0.693147180369123816490
_LN2_LOW = 1.90821492927058770002e-10
_SHIFT = 6755399441055744.0  # 3 · 2⁵¹: a sum with it has an integer in its last bits
_SHIFT_BITS = 0x4338000000000000
_ONE_BITS = 0x3FF0000000000000
_SQRT_HALF_BITS = 0x3FE6A09E667F3BCD
_MANTISSA = 0x000FFFFFFFFFFFFF

_EXP = tuple(1 / math.factorial(n) for n in range(13))
_LOG = tuple(2 / (2 * n + 1) for n in range(11))


def compiled(function: Callable[..., Any], *, inline: Literal["never", "always"] = "never") -> Any:
    """Compile the plain function, below whatever checks of types an import hook laid over it."""
    options = {"contract", "nsz"}
    return numba.njit(inline=inline, nogil=True, cache=True, error_model="numpy", fastmath=options)(
        inspect.unwrap(function)
    )


def _inlined(function: Callable[..., Any]) -> Any:
    return compiled(function, inline="always")


def _intrinsic(function: Callable[..., Any]) -> Any:
    return intrinsic(inspect.unwrap(function))


@_intrinsic
def _bits(typing, x):  # type: ignore[no-untyped-def]
    def build(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.bitcast(arguments[0], ir.IntType(64))

    return types.int64(types.float64), build


@_intrinsic
def _float(typing, x):  # type: ignore[no-untyped-def]
    def build(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.bitcast(arguments[0], ir.DoubleType())

    return types.float64(types.int64), build


@_intrinsic
def _high_bits(typing, x):  # type: ignore[no-untyped-def]
    def build(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.lshr(arguments[0], ir.Constant(ir.IntType(64), 52))

    return types.int64(types.int64), build


@_inlined
def exp(x):  # type: ignore[no-untyped-def]
    """eˣ to a unit in the last place, from -708 to 708 and constant beyond.

    x = n ln 2 + r with |r| <= ln 2 / 2, and Taylor's polynomial of degree 12 in r.
    """
    x = min(max(x, -708.0), 708.0)
    shifted = x * _LOG2E + _SHIFT
    n = shifted - _SHIFT
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    p = _EXP[12]
    p = p * r + _EXP[11]
    p = p * r + _EXP[10]
    p = p * r + _EXP[9]
    p = p * r + _EXP[8]
    p = p * r + _EXP[7]
    p = p * r + _EXP[6]
    p = p * r + _EXP[5]
    p = p * r + _EXP[4]
    p = p * r + _EXP[3]
    p = p * r + _EXP[2]
    p = p * r + _EXP[1]
    p = p * r + _EXP[0]
    return p * _float((_bits(shifted) << 52) + _ONE_BITS)


@_inlined
def log(x):  # type: ignore[no-untyped-def]
    """ln x to a few units in the last place, for x from the least normal number on.

    x = 2ᵉ m with m in [0.7, 1.5], and ln m = 2 artanh((m - 1) / (m + 1)).
    """
    bits = _bits(x) + (_ONE_BITS - _SQRT_HALF_BITS)  # so that m lies about one
    e = _float(_high_bits(bits) - 1023 + _SHIFT_BITS) - _SHIFT
    m = _float((bits & _MANTISSA) + _SQRT_HALF_BITS)
    s = (m - 1.0) / (m + 1.0)
    z = s * s
    p = _LOG[10]
    p = p * z + _LOG[9]
    p = p * z + _LOG[8]
    p = p * z + _LOG[7]
    p = p * z + _LOG[6]
    p = p * z + _LOG[5]
    p = p * z + _LOG[4]
    p = p * z + _LOG[3]
    p = p * z + _LOG[2]
    p = p * z + _LOG[1]
    p = p * z + _LOG[0]
    return s * p + (e * _LN2_LOW + e * _LN2_HIGH)
