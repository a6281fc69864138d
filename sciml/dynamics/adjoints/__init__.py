"""Gradients of integrations: discrete and exact, or by a backward equation."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sciml.dynamics.adjoints.distance import GradientDistance, gradient_distance
    from sciml.dynamics.adjoints.operators import adjoint, tangent
    from sciml.dynamics.adjoints.revolve import Revolve, recomputations

_MODULES = {
    "distance": ("GradientDistance", "gradient_distance"),
    "operators": ("adjoint", "tangent"),
    "revolve": ("Revolve", "recomputations"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "GradientDistance",
    "Revolve",
    "adjoint",
    "gradient_distance",
    "recomputations",
    "tangent",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
