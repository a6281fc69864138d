"""Assimilation: 4D-Var and ensemble Kalman filters with any vector field as the model."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sciml.dynamics.assimilation.ensemble import EnsembleKalman
    from sciml.dynamics.assimilation.figures import twin_figure
    from sciml.dynamics.assimilation.gaussian import Background
    from sciml.dynamics.assimilation.minimisation import (
        LBFGS,
        GaussNewton,
        Minimiser,
        QuasiStatic,
    )
    from sciml.dynamics.assimilation.model import ForecastModel, Propagator, resolvents
    from sciml.dynamics.assimilation.observation import Observations, observations_of
    from sciml.dynamics.assimilation.twin import Assimilation, climatology, twin_experiment
    from sciml.dynamics.assimilation.variational import FourDVar
    from sciml.dynamics.assimilation.window import ModelError, Window

_MODULES = {
    "ensemble": ("EnsembleKalman",),
    "figures": ("twin_figure",),
    "gaussian": ("Background",),
    "minimisation": ("LBFGS", "GaussNewton", "Minimiser", "QuasiStatic"),
    "model": ("ForecastModel", "Propagator", "resolvents"),
    "observation": ("Observations", "observations_of"),
    "twin": ("Assimilation", "climatology", "twin_experiment"),
    "variational": ("FourDVar",),
    "window": ("ModelError", "Window"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "LBFGS",
    "Assimilation",
    "Background",
    "EnsembleKalman",
    "ForecastModel",
    "FourDVar",
    "GaussNewton",
    "Minimiser",
    "ModelError",
    "Observations",
    "Propagator",
    "QuasiStatic",
    "Window",
    "climatology",
    "observations_of",
    "resolvents",
    "twin_experiment",
    "twin_figure",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
