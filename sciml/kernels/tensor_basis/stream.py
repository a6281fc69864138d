"""Stores that go past the caches, for numba.

What is written once and is larger than the caches is otherwise read from memory first, a line at a
time, only to be overwritten: half of the traffic for nothing.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

__all__ = ["LINE", "stream_line"]

LINE = 64
"""Bytes of a cache line."""

_VECTOR = 32
"""Bytes that one instruction stores."""


def _declare(context: Any, out: Any, place: Any, given: Any, begin: Any) -> Any:
    return types.void(out, types.intp, given, types.intp), _write


def _write(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
    element = signature.args[0].dtype
    size = element.bitwidth // 8
    vector = ir.VectorType(context.get_value_type(element), _VECTOR // size)
    index, past_the_caches = args[1].type, builder.module.add_metadata([ir.IntType(32)(1)])
    out, given = (
        builder.gep(
            context.make_array(signature.args[n])(context, builder, args[n]).data, [args[n + 1]]
        )
        for n in (0, 2)
    )
    for n in range(0, LINE // size, _VECTOR // size):
        source, target = (
            builder.bitcast(builder.gep(p, [index(n)]), vector.as_pointer()) for p in (given, out)
        )
        store = builder.store(builder.load(source, align=size), target, align=_VECTOR)
        store.set_metadata("nontemporal", past_the_caches)
    return context.get_dummy_value()


stream_line = intrinsic(inspect.unwrap(_declare))
"""`stream_line(out, place, given, begin)`: a line of a flat array to where one of `out` begins."""
