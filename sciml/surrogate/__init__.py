"""Surrogates: fitted on labelled data, judged on a case, called from a solver."""

from __future__ import annotations

from sciml.surrogate.base import Surrogate
from sciml.surrogate.ensemble import Ensemble
from sciml.surrogate.labels import OutsideRangeWarning, Range, extremes

__all__ = ["Ensemble", "OutsideRangeWarning", "Range", "Surrogate", "extremes"]
