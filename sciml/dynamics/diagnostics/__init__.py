"""What a learned system must get right: exponents, forecasts, attractor and coefficients.

Names are imported where they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sciml.dynamics.diagnostics.attractor import (
        maxima,
        return_map,
        spectrum_distance,
        state_space_divergence,
    )
    from sciml.dynamics.diagnostics.coefficients import (
        CoefficientRecovery,
        recover_coefficients,
    )
    from sciml.dynamics.diagnostics.forecast import (
        ValidTimeSummary,
        error_growth,
        lead_error,
        normalized_error,
        summarize_valid_times,
        valid_prediction_time,
    )
    from sciml.dynamics.diagnostics.lyapunov import (
        LyapunovSpectrum,
        kaplan_yorke_dimension,
        lyapunov_spectrum,
        map_spectrum,
    )

_MODULES = {
    "attractor": (
        "maxima",
        "return_map",
        "spectrum_distance",
        "state_space_divergence",
    ),
    "coefficients": (
        "CoefficientRecovery",
        "recover_coefficients",
    ),
    "forecast": (
        "ValidTimeSummary",
        "error_growth",
        "lead_error",
        "normalized_error",
        "summarize_valid_times",
        "valid_prediction_time",
    ),
    "lyapunov": (
        "LyapunovSpectrum",
        "kaplan_yorke_dimension",
        "lyapunov_spectrum",
        "map_spectrum",
    ),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "CoefficientRecovery",
    "LyapunovSpectrum",
    "ValidTimeSummary",
    "error_growth",
    "kaplan_yorke_dimension",
    "lead_error",
    "lyapunov_spectrum",
    "map_spectrum",
    "maxima",
    "normalized_error",
    "recover_coefficients",
    "return_map",
    "spectrum_distance",
    "state_space_divergence",
    "summarize_valid_times",
    "valid_prediction_time",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
