"""Data: files, labelled data sets, generation, splits and the catalogue of references.

The data set is a plain `xarray.Dataset` with a `units` attribute on every number.
Names are imported where they are first used, so that `import sciml.data` is light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sciml.data.catalogue import Entry, Unavailable, entry, fetch, names
    from sciml.data.files import atomic, read_json, sha256, write_json
    from sciml.data.generation import SampleFailure, SampleTask, generate
    from sciml.data.netcdf import load, save
    from sciml.data.samples import Samples
    from sciml.data.splits import Splits, split_by_group
    from sciml.data.threads import limited_threads

__all__ = [
    "Entry",
    "SampleFailure",
    "SampleTask",
    "Samples",
    "Splits",
    "Unavailable",
    "atomic",
    "entry",
    "fetch",
    "generate",
    "limited_threads",
    "load",
    "names",
    "read_json",
    "save",
    "sha256",
    "split_by_group",
    "write_json",
]

_MODULES = {
    "catalogue": ("Entry", "Unavailable", "entry", "fetch", "names"),
    "files": ("atomic", "read_json", "sha256", "write_json"),
    "generation": ("SampleFailure", "SampleTask", "generate"),
    "netcdf": ("load", "save"),
    "samples": ("Samples",),
    "splits": ("Splits", "split_by_group"),
    "threads": ("limited_threads",),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
