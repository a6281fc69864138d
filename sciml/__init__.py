"""Surrogates for fluid mechanics: fitted on data, judged on a case, called from a solver.

`import sciml` is light: a public name brings its module, and with it torch or xarray, only
when it is first used.

>>> import sciml
>>> sciml.Bound(value=0.04, direction="at most").holds(0.03)
True
"""

from __future__ import annotations

from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sciml.case import (
        Bound,
        Case,
        Diagnostic,
        Job,
        Metric,
        Model,
        Outcome,
        Result,
        Table,
        Tier,
        cases,
        find_case,
        run,
    )
    from sciml.data.catalogue import fetch
    from sciml.data.generation import generate
    from sciml.data.netcdf import load, save
    from sciml.data.splits import Splits
    from sciml.report import write_report
    from sciml.surrogate import Surrogate
    from sciml.train import History, TrainOptions

    __version__: str

__all__ = [
    "Bound",
    "Case",
    "Diagnostic",
    "History",
    "Job",
    "Metric",
    "Model",
    "Outcome",
    "Result",
    "Splits",
    "Surrogate",
    "Table",
    "Tier",
    "TrainOptions",
    "__version__",
    "cases",
    "fetch",
    "find_case",
    "generate",
    "load",
    "run",
    "save",
    "write_report",
]

_HOMES = {
    "sciml.case": (
        "Bound",
        "Case",
        "Diagnostic",
        "Job",
        "Metric",
        "Model",
        "Outcome",
        "Result",
        "Table",
        "Tier",
        "cases",
        "find_case",
        "run",
    ),
    "sciml.data.catalogue": ("fetch",),
    "sciml.data.generation": ("generate",),
    "sciml.data.netcdf": ("load", "save"),
    "sciml.data.splits": ("Splits",),
    "sciml.report": ("write_report",),
    "sciml.surrogate": ("Surrogate",),
    "sciml.train": ("History", "TrainOptions"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import the module that holds a public name, the first time the name is used."""
    if name == "__version__":
        return metadata.version("sciml-cfd")
    if name not in _HOME_OF:
        raise AttributeError(f"module 'sciml' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
