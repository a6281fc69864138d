"""Integration schemes, given and learned, behind one function."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sciml.dynamics.integrators.dormand_prince import DormandPrince, Solution
    from sciml.dynamics.integrators.failure import (
        IntegrationFailure,
        NonFiniteState,
        StepTooSmall,
    )
    from sciml.dynamics.integrators.increment import Increment
    from sciml.dynamics.integrators.integration import Gradient, integrate
    from sciml.dynamics.integrators.learned import LearnedRungeKutta
    from sciml.dynamics.integrators.runge_kutta import ExplicitScheme, RungeKutta
    from sciml.dynamics.integrators.scheme import (
        Field,
        FixedStep,
        Passes,
        Plan,
        Scheme,
        Step,
        march,
    )
    from sciml.dynamics.integrators.tableau import (
        EULER,
        HEUN,
        MIDPOINT,
        RK4,
        THREE_EIGHTHS,
        Tableau,
        order_conditions,
    )
    from sciml.dynamics.integrators.torchdiffeq import Torchdiffeq
    from sciml.dynamics.integrators.training import fit_scheme, step_error

_MODULES = {
    "dormand_prince": ("DormandPrince", "Solution"),
    "failure": ("IntegrationFailure", "NonFiniteState", "StepTooSmall"),
    "increment": ("Increment",),
    "integration": ("Gradient", "integrate"),
    "learned": ("LearnedRungeKutta",),
    "runge_kutta": ("ExplicitScheme", "RungeKutta"),
    "scheme": ("Field", "FixedStep", "Passes", "Plan", "Scheme", "Step", "march"),
    "tableau": (
        "EULER",
        "HEUN",
        "MIDPOINT",
        "RK4",
        "THREE_EIGHTHS",
        "Tableau",
        "order_conditions",
    ),
    "torchdiffeq": ("Torchdiffeq",),
    "training": ("fit_scheme", "step_error"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "EULER",
    "HEUN",
    "MIDPOINT",
    "RK4",
    "THREE_EIGHTHS",
    "DormandPrince",
    "ExplicitScheme",
    "Field",
    "FixedStep",
    "Gradient",
    "Increment",
    "IntegrationFailure",
    "LearnedRungeKutta",
    "NonFiniteState",
    "Passes",
    "Plan",
    "RungeKutta",
    "Scheme",
    "Solution",
    "Step",
    "StepTooSmall",
    "Tableau",
    "Torchdiffeq",
    "fit_scheme",
    "integrate",
    "march",
    "order_conditions",
    "step_error",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
