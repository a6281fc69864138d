"""What is measured of a method: cost, meaning, scales and invariance."""

from __future__ import annotations

from sciml.modes.measures.cost import Cost, exponent, measured
from sciml.modes.measures.meaning import (
    correlation_determinant,
    gram_determinant,
    ordering,
    power_spectra,
    principal_angles,
    spectral_purity,
)
from sciml.modes.measures.scales import (
    Octaves,
    forecast_error,
    frequency_octaves,
    wavenumber_octaves,
)
from sciml.modes.measures.yardstick import Yardstick, directions

__all__ = [
    "Cost",
    "Octaves",
    "Yardstick",
    "correlation_determinant",
    "directions",
    "exponent",
    "forecast_error",
    "frequency_octaves",
    "gram_determinant",
    "measured",
    "ordering",
    "power_spectra",
    "principal_angles",
    "spectral_purity",
    "wavenumber_octaves",
]
