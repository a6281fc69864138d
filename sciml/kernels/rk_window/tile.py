"""Small matrix products for numba: a tile of the result stays in vector registers.

numba's own loops keep their sums in memory. Here the code of one tile, `start + A B` for a few
rows and one or two vectors of columns, is written as LLVM vectors, which run at nearly the peak of
a core where `numpy.dot` of the same small matrices spends most of its time in the call.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["LANES", "NARROW_ROWS", "WIDE", "WIDE_ROWS", "tile"]

LANES = 8
"""Columns come in multiples of this."""

WIDE = 16
"""Columns of a wide tile."""

WIDE_ROWS, NARROW_ROWS = 4, 8
"""Rows of a tile of 16 columns and of one of 8: enough sums to hide the latency of one."""

_VECTOR_BYTES = 32
_SUMS = 8  # vectors of sums at a time, of sixteen registers


def tile(rows: int, columns: int, *, transposed: bool) -> Any:
    """A function for numba: `out[m, n] = start[m, n] + Σ_k a[m, k] b[k, n]` for one tile.

    Args of the function: `out, place, pitch` (a flat array, where the tile begins and how far
    apart its rows are), then the same for a, b and start, and last the number of terms. With
    `transposed` a is stored as a[k, m]. Pitch 0 of start gives all rows the same one.
    """
    counts = (types.intp,) * 2

    def declare(
        context: Any, out: Any, o: Any, op: Any, a: Any, i: Any, ip: Any,
        b: Any, j: Any, jp: Any, start: Any, s: Any, sp: Any, terms: Any,
    ) -> Any:  # fmt: skip
        given = (out, *counts, a, *counts, b, *counts, start, *counts, types.intp)
        return types.void(*given), write

    def write(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        _write(context, builder, signature, args, rows, columns, transposed)
        return context.get_dummy_value()

    return intrinsic(inspect.unwrap(declare))


def _write(
    context: Any,
    builder: Any,
    signature: Any,
    args: Sequence[Any],
    rows: int,
    columns: int,
    transposed: bool,
) -> None:
    """The columns in as many passes as the registers ask for."""
    size = signature.args[0].dtype.bitwidth // 8
    lanes = _VECTOR_BYTES // size
    vector = ir.VectorType(context.get_value_type(signature.args[0].dtype), lanes)
    out, a, b, start = (
        builder.gep(
            context.make_array(signature.args[n])(context, builder, args[n]).data, [args[n + 1]]
        )
        for n in (0, 3, 6, 9)
    )
    a_step, b_step, terms = args[5], args[8], args[12]
    name = f"llvm.fmuladd.v{lanes}f{8 * size}"
    fma = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(vector, [vector] * 3), name
    )

    def at(pointer: Any, m: int, pitch: Any, n: int = 0) -> Any:
        return builder.gep(pointer, [builder.add(builder.mul(pitch, pitch.type(m)), pitch.type(n))])

    def load(pointer: Any) -> Any:
        return builder.load(builder.bitcast(pointer, vector.as_pointer()), align=size)

    def spread(pointer: Any) -> Any:
        undefined, index = ir.Constant(vector, ir.Undefined), ir.IntType(32)
        one = builder.insert_element(undefined, builder.load(pointer), index(0))
        return builder.shuffle_vector(
            one, undefined, ir.Constant(ir.VectorType(index, lanes), [0] * lanes)
        )

    at_once = lanes * max(1, _SUMS // rows)
    for begin in range(0, columns, at_once):
        places = [
            (m, n) for m in range(rows) for n in range(begin, min(begin + at_once, columns), lanes)
        ]
        sums = {place: cgutils.alloca_once(builder, vector) for place in places}
        for m, n in places:
            builder.store(load(at(start, m, args[11], n)), sums[m, n])
        a_rows = [at(a, m, a_step) for m in range(rows)]
        with cgutils.for_range(builder, terms) as loop:
            k = loop.index
            b_row, a_column = (
                builder.gep(p, [builder.mul(k, step)]) for p, step in ((b, b_step), (a, a_step))
            )
            columns_of_b = {n: load(builder.gep(b_row, [k.type(n)])) for _, n in places}
            for m in range(rows):
                factor = spread(
                    builder.gep(a_column, [k.type(m)])
                    if transposed
                    else builder.gep(a_rows[m], [k])
                )
                for n in columns_of_b:
                    total = builder.load(sums[m, n])
                    builder.store(builder.call(fma, [factor, columns_of_b[n], total]), sums[m, n])
        for m, n in places:
            target = builder.bitcast(at(out, m, args[2], n), vector.as_pointer())
            builder.store(builder.load(sums[m, n]), target, align=size)
