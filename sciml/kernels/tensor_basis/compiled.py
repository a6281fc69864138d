"""The formulae of this folder, compiled: one text for torch, numba and Triton."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import FunctionType, SimpleNamespace
from typing import Any

from sciml.kernels.tensor_basis import components, matrices

__all__ = ["compiled_by"]


def compiled_by(compiler: Callable[[FunctionType], Any], **names: Any) -> SimpleNamespace:
    """Every function of the formulae as a compiler makes it, so that they call each other's form.

    A compiler looks up what a function calls among the globals of that function; here these hold
    the compiled forms, and what an import hook laid over the plain ones is left out.

    Args:
        compiler: makes the compiled form of a plain function.
        names: what else it wants to find among the globals.
    """
    scope = dict(names)
    for module in (matrices, components):
        for name, function in inspect.getmembers(module, inspect.isfunction):
            plain = inspect.unwrap(function)
            if plain.__module__ == module.__name__:
                bound = FunctionType(plain.__code__, scope, name)
                bound.__module__ = plain.__module__
                scope[name] = compiler(bound)
    return SimpleNamespace(**scope)
