"""RANS closures: the Reynolds stress anisotropy as a function of the mean flow."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sciml.rans.closures import (
        C_MU,
        gatski_speziale,
        linear_eddy_viscosity,
        quadratic_eddy_viscosity,
        wallin_johansson,
        wallin_johansson_coefficients,
    )
    from sciml.rans.features import turbulence_time
    from sciml.rans.flows import (
        CHALLENGE_TEST,
        CHALLENGE_TRAIN,
        CHALLENGE_VALID,
        FLOWS,
        anisotropy_of,
        joined,
        load_flow,
    )
    from sciml.rans.frames import random_rotation, turned
    from sciml.rans.labels import LabelReport, clean
    from sciml.rans.manufactured import KINDS, manufactured_flow
    from sciml.rans.rank import spanning_tensors
    from sciml.rans.realizability import (
        barycentric_position,
        barycentric_weights,
        eigenvalues,
        project,
        realizability_penalty,
        realizable,
    )
    from sciml.rans.states import check_states
    from sciml.rans.surrogate import Closed, TensorBasisClosure, TensorBasisOptions

_MODULES = {
    "frames": (
        "random_rotation",
        "turned",
    ),
    "surrogate": (
        "Closed",
        "TensorBasisClosure",
        "TensorBasisOptions",
    ),
    "closures": (
        "C_MU",
        "gatski_speziale",
        "linear_eddy_viscosity",
        "quadratic_eddy_viscosity",
        "wallin_johansson",
        "wallin_johansson_coefficients",
    ),
    "features": ("turbulence_time",),
    "flows": (
        "CHALLENGE_TEST",
        "CHALLENGE_TRAIN",
        "CHALLENGE_VALID",
        "FLOWS",
        "anisotropy_of",
        "joined",
        "load_flow",
    ),
    "labels": ("LabelReport", "clean"),
    "manufactured": ("KINDS", "manufactured_flow"),
    "rank": ("spanning_tensors",),
    "realizability": (
        "barycentric_position",
        "barycentric_weights",
        "eigenvalues",
        "project",
        "realizability_penalty",
        "realizable",
    ),
    "states": ("check_states",),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "CHALLENGE_TEST",
    "CHALLENGE_TRAIN",
    "CHALLENGE_VALID",
    "C_MU",
    "FLOWS",
    "KINDS",
    "Closed",
    "LabelReport",
    "TensorBasisClosure",
    "TensorBasisOptions",
    "anisotropy_of",
    "barycentric_position",
    "barycentric_weights",
    "check_states",
    "clean",
    "eigenvalues",
    "gatski_speziale",
    "joined",
    "linear_eddy_viscosity",
    "load_flow",
    "manufactured_flow",
    "project",
    "quadratic_eddy_viscosity",
    "random_rotation",
    "realizability_penalty",
    "realizable",
    "spanning_tensors",
    "turbulence_time",
    "turned",
    "wallin_johansson",
    "wallin_johansson_coefficients",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
