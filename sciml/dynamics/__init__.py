"""Dynamical systems: learned vector fields, integrators and their adjoints, judged on Lorenz-63.

Fields, integrators, adjoints, diagnostics and assimilation are packages of their own.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sciml.dynamics.baselines import Analog, NextGenerationReservoir, SINDy, TrueField
    from sciml.dynamics.latent import LatentDynamics, LatentOptions
    from sciml.dynamics.observations import (
        add_noise,
        hide,
        irregular_times,
        observe_components,
        show,
    )
    from sciml.dynamics.recovery import RecoveryOptions, recover, recovered
    from sciml.dynamics.shooting import Observations, Shooting, ShootingOptions, shoot
    from sciml.dynamics.smoothing import smooth, smoothed
    from sciml.dynamics.surrogate import (
        BilinearOptions,
        MLPOptions,
        NeuralODE,
        NeuralODEOptions,
        PolynomialOptions,
    )
    from sciml.dynamics.systems import Lorenz63, trajectories

_MODULES = {
    "baselines": ("Analog", "NextGenerationReservoir", "SINDy", "TrueField"),
    "latent": ("LatentDynamics", "LatentOptions"),
    "observations": ("add_noise", "hide", "irregular_times", "observe_components", "show"),
    "recovery": ("RecoveryOptions", "recover", "recovered"),
    "shooting": ("Observations", "Shooting", "ShootingOptions", "shoot"),
    "smoothing": ("smooth", "smoothed"),
    "surrogate": (
        "BilinearOptions",
        "MLPOptions",
        "NeuralODE",
        "NeuralODEOptions",
        "PolynomialOptions",
    ),
    "systems": ("Lorenz63", "trajectories"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "Analog",
    "BilinearOptions",
    "LatentDynamics",
    "LatentOptions",
    "Lorenz63",
    "MLPOptions",
    "NeuralODE",
    "NeuralODEOptions",
    "NextGenerationReservoir",
    "Observations",
    "PolynomialOptions",
    "RecoveryOptions",
    "SINDy",
    "Shooting",
    "ShootingOptions",
    "TrueField",
    "add_noise",
    "hide",
    "irregular_times",
    "observe_components",
    "recover",
    "recovered",
    "shoot",
    "show",
    "smooth",
    "smoothed",
    "trajectories",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
