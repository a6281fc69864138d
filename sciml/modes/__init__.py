"""POD, DMD and autoencoders on the same flow, compared by measurement.

Importing this package loads nothing but xarray; each name is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sciml.modes.aligned import AlignedPod, AlignedPodOptions
    from sciml.modes.autoencoder import Autoencoder, AutoencoderOptions
    from sciml.modes.compare import CompareOptions, Comparison
    from sciml.modes.dmd import Dmd, DmdOptions
    from sciml.modes.latent import LatentForecast, LatentForecastOptions
    from sciml.modes.layout import Layout
    from sciml.modes.method import Forecasting, Method
    from sciml.modes.pod import Pod, PodOptions, PrecisionWarning
    from sciml.modes.readers import ReadOptions, read_snapshots
    from sciml.modes.spectral import SpectralPod, SpectralPodOptions, spectral_pod
    from sciml.modes.spurious import check_modes
    from sciml.modes.variants import DmdVariant, DmdVariantOptions
    from sciml.modes.wake import record_wake

_MODULES = {
    "aligned": ("AlignedPod", "AlignedPodOptions"),
    "autoencoder": ("Autoencoder", "AutoencoderOptions"),
    "compare": ("CompareOptions", "Comparison"),
    "dmd": ("Dmd", "DmdOptions"),
    "latent": ("LatentForecast", "LatentForecastOptions"),
    "layout": ("Layout",),
    "method": ("Forecasting", "Method"),
    "pod": ("Pod", "PodOptions", "PrecisionWarning"),
    "readers": ("ReadOptions", "read_snapshots"),
    "spectral": ("SpectralPod", "SpectralPodOptions", "spectral_pod"),
    "spurious": ("check_modes",),
    "variants": ("DmdVariant", "DmdVariantOptions"),
    "wake": ("record_wake",),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "AlignedPod",
    "AlignedPodOptions",
    "Autoencoder",
    "AutoencoderOptions",
    "CompareOptions",
    "Comparison",
    "Dmd",
    "DmdOptions",
    "DmdVariant",
    "DmdVariantOptions",
    "Forecasting",
    "LatentForecast",
    "LatentForecastOptions",
    "Layout",
    "Method",
    "Pod",
    "PodOptions",
    "PrecisionWarning",
    "ReadOptions",
    "SpectralPod",
    "SpectralPodOptions",
    "check_modes",
    "read_snapshots",
    "record_wake",
    "spectral_pod",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
