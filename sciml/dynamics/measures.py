"""What cases of chaotic systems are judged by: forecasts, attractors and fields.

The metrics compare a truth with a prediction; both hold `state` [sample, time, component], and a
prediction may lack components. The diagnostics look at the field of a fitted model: its `rate`,
`field` or `system`, whichever it has.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from sciml.case import Diagnostic, Metric
from sciml.data import Splits
from sciml.dynamics.diagnostics import (
    LyapunovSpectrum,
    kaplan_yorke_dimension,
    lead_error,
    lyapunov_spectrum,
    recover_coefficients,
    spectrum_distance,
    state_space_divergence,
    valid_prediction_time,
)
from sciml.dynamics.systems import LYAPUNOV_EXPONENTS, history_of, trajectories

__all__ = ["attractor_metrics", "field_diagnostics", "field_of", "forecast_metrics"]

LOST = 1e3
"""What a state that is not finite counts as, far from every attractor."""

Field = Callable[[Tensor], Tensor]
Starts = Callable[[int], Tensor]
"""A number to as many states on the attractor of a model."""


def forecast_metrics(*leads: int) -> dict[str, Metric]:
    """Errors so many steps ahead, and the valid prediction time.

    >>> list(forecast_metrics(1, 4))
    ['error_1', 'error_4', 'valid_time', 'valid_time_low']
    """
    told = "Lyapunov times until the error, in standard deviations, passes 0.4"
    low: Literal["10th percentile"] = "10th percentile"
    return {
        **{f"error_{lead}": _error_at(lead) for lead in leads},
        "valid_time": Metric(
            function=_valid_time, unit="1", description=f"{told}: median", reduce="median"
        ),
        "valid_time_low": Metric(
            function=_valid_time, unit="1", description=f"the same: {low}", reduce=low
        ),
    }


def attractor_metrics() -> dict[str, Metric]:
    """How far the states visited and the power spectra are from the true ones.

    >>> list(attractor_metrics())
    ['attractor_divergence', 'spectral_distance']
    """
    return {
        "attractor_divergence": Metric(
            function=_attractor_divergence,
            unit="1",
            description="Kullback-Leibler divergence of the states visited, in 30 bins a component",
        ),
        "spectral_distance": Metric(
            function=_spectral_distance,
            unit="1",
            description="Hellinger distance of the power spectra, mean over components",
        ),
    }


def field_diagnostics(
    *, step: float, extent: Callable[[Splits], tuple[int, float]]
) -> dict[str, Diagnostic]:
    """Lyapunov exponents, Kaplan-Yorke dimension and coefficients of a learned Lorenz-63 field.

    Args:
        step: of RK4 and of the QR decompositions.
        extent: number of states that the exponents are taken from, and time over which, for the
            splits of a tier. The time before, in which tangents align, is as long, but 5 at most.
            A model with `starts` says where the states lie, others begin on the true attractor.

    >>> list(field_diagnostics(step=0.01, extent=lambda splits: (100, 10.0)))[:2]
    ['lyapunov_1', 'lyapunov_1_error']
    """
    one, _, three = LYAPUNOV_EXPONENTS

    def of_spectrum(read: Callable[[LyapunovSpectrum], float], description: str) -> Diagnostic:
        def diagnose(model: Any, splits: Splits) -> float | None:
            field = field_of(model)
            if field is None:
                return None
            return float(read(_spectrum(field, _starts_of(model), step, *extent(splits))))

        return Diagnostic(function=diagnose, unit="1", description=description)

    return {
        "lyapunov_1": of_spectrum(
            lambda s: s.exponents[0], f"largest Lyapunov exponent, by QR; {one:.3f} in truth"
        ),
        "lyapunov_1_error": of_spectrum(
            lambda s: abs(s.exponents[0] - one), f"distance of the largest exponent from {one:.3f}"
        ),
        "lyapunov_3_error": of_spectrum(
            lambda s: abs(s.exponents[2] / three - 1),
            f"relative error of the third exponent, −{-three:.3f} in truth",
        ),
        "kaplan_yorke": of_spectrum(
            lambda s: kaplan_yorke_dimension(s.exponents),
            "Kaplan-Yorke dimension; 2.062 in truth",
        ),
        "coefficient_error": Diagnostic(
            function=_coefficient_error,
            unit="1",
            description="largest error of the coefficients, where the field is quadratic",
        ),
    }


def field_of(model: Any) -> Field | None:
    """The vector field that a model has, if it has one."""
    for name in ("rate", "field", "system"):
        if hasattr(model, name):
            return getattr(model, name)
    return None


def _starts_of(model: Any) -> Starts:
    return getattr(model, "starts", _on_attractor)


@lru_cache(maxsize=4)
def _on_attractor(count: int) -> Tensor:
    """States on the attractor of the truth."""
    states = trajectories(np.array([0.0, 0.01]), samples=count, seed=77)["state"].values[:, 0]
    return torch.from_numpy(states)


@lru_cache(maxsize=32)
def _spectrum(
    field: Field, starts: Starts, step: float, count: int, duration: float
) -> LyapunovSpectrum:
    begin, spin_up = starts(count), min(duration, 10.0)
    with torch.no_grad():
        return lyapunov_spectrum(field, begin, step=step, duration=duration, spin_up=spin_up)


def _coefficient_error(model: Any, splits: Splits) -> float | None:
    rate = field_of(model)
    if rate is None or _starts_of(model) is not _on_attractor:
        return None
    found = recover_coefficients(rate)
    return found.error if found.residual < 1e-6 else None


def _error_at(lead: int) -> Metric:
    return Metric(
        function=lambda truth, prediction: lead_error(
            _same(truth, prediction), prediction, lead=lead
        ),
        unit="1",
        description=f"root mean square error {lead} step{'s' * (lead > 1)} ahead, in raw units",
    )


def _valid_time(truth: xr.Dataset, prediction: xr.Dataset) -> xr.DataArray:
    return valid_prediction_time(_same(truth, prediction), prediction)["valid_time"]


def _attractor_divergence(truth: xr.Dataset, prediction: xr.Dataset) -> float:
    true, found = _arrays(truth, prediction)
    width = true.shape[-1]
    return state_space_divergence(true.reshape(-1, width), found.reshape(-1, width))


def _spectral_distance(truth: xr.Dataset, prediction: xr.Dataset) -> float:
    return spectrum_distance(*_arrays(truth, prediction))


def _same(truth: xr.Dataset, prediction: xr.Dataset) -> xr.Dataset:
    return truth.sel(component=prediction["component"].values)


def _arrays(truth: xr.Dataset, prediction: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Forecast states of both, [sample, time, component]."""
    order, after = ("sample", "time", "component"), slice(history_of(truth), None)
    parts = (_same(truth, prediction), prediction)
    true, found = (p["state"].transpose(*order).values[:, after] for p in parts)
    return true, np.nan_to_num(found, nan=LOST, posinf=LOST, neginf=-LOST)
