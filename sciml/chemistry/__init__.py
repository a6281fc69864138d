"""Chemistry: mechanisms, states to learn from, and networks for what a stiff solver does."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sciml.chemistry.flames import FreeFlame, free_flame
    from sciml.chemistry.generation import IgnitionStates, label, provenance, states_of
    from sciml.chemistry.hybrid import HybridIntegrator
    from sciml.chemistry.integration import DirectIntegration
    from sciml.chemistry.loading import load_mechanism, mechanism_of
    from sciml.chemistry.sampling import States, along, mix, perturb
    from sciml.chemistry.surrogate import ReactionStep, ReactionStepOptions

_MODULES = {
    "flames": ("FreeFlame", "free_flame"),
    "generation": ("IgnitionStates", "label", "provenance", "states_of"),
    "hybrid": ("HybridIntegrator",),
    "integration": ("DirectIntegration",),
    "loading": ("load_mechanism", "mechanism_of"),
    "sampling": ("States", "along", "mix", "perturb"),
    "surrogate": ("ReactionStep", "ReactionStepOptions"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "DirectIntegration",
    "FreeFlame",
    "HybridIntegrator",
    "IgnitionStates",
    "ReactionStep",
    "ReactionStepOptions",
    "States",
    "along",
    "free_flame",
    "label",
    "load_mechanism",
    "mechanism_of",
    "mix",
    "perturb",
    "provenance",
    "states_of",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
