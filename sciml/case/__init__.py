"""A case: a problem with its data, its reference, its models and the bounds it must meet.

A case stands in `cases/<name>/case.py` as a variable `case`. `run` loads its data, fits its
models side by side, judges them on every test set and writes what it found. Listing the cases
needs no xarray, so every name is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sciml.case.definition import Case, Diagnostic, Job, Metric, Model, Outcome, Table
    from sciml.case.discovery import cases, find_case, summary_of
    from sciml.case.result import (
        Bound,
        ModelResult,
        Result,
        Score,
        Tier,
        at_least,
        at_most,
        record,
    )
    from sciml.case.running import run

__all__ = [
    "Bound",
    "Case",
    "Diagnostic",
    "Job",
    "Metric",
    "Model",
    "ModelResult",
    "Outcome",
    "Result",
    "Score",
    "Table",
    "Tier",
    "at_least",
    "at_most",
    "cases",
    "find_case",
    "record",
    "run",
    "summary_of",
]

_HOMES = {
    "sciml.case.definition": ("Case", "Diagnostic", "Job", "Metric", "Model", "Outcome", "Table"),
    "sciml.case.discovery": ("cases", "find_case", "summary_of"),
    "sciml.case.result": (
        "Bound",
        "ModelResult",
        "Result",
        "Score",
        "Tier",
        "at_least",
        "at_most",
        "record",
    ),
    "sciml.case.running": ("run",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import the module that holds a name, the first time the name is used."""
    if name not in _HOME_OF:
        raise AttributeError(f"module 'sciml.case' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value
