"""What every decomposition can be asked, and how those without a network are kept in a folder."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import xarray as xr

from sciml.data import load, read_json, save, write_json

__all__ = ["Forecasting", "Method", "bring", "keep"]

JSON = "method.json"
REAL, IMAGINARY = "_real", "_imaginary"

Options = TypeVar("Options")


@runtime_checkable
class Method(Protocol):
    """A decomposition of snapshots into few numbers each, linear or a network.

    Snapshots are variables over `time` and the mesh, see :class:`sciml.modes.Layout`.
    """

    @property
    def rank(self) -> int:
        """Numbers that a snapshot becomes: modes or latents."""

    def fit(
        self,
        train: xr.Dataset,
        valid: xr.Dataset | None = None,
        *,
        folder: Path | None = None,
        resume: bool = False,
    ) -> Any:
        """Learn from the training snapshots; checkpoints go to `folder`."""

    def encode(self, ds: xr.Dataset) -> xr.DataArray:
        """Coefficients or latents (time, mode) of snapshots."""

    def decode(self, coefficients: xr.DataArray) -> xr.Dataset:
        """The fields of the training's variables that coefficients (time, mode) stand for."""

    def reconstruct(self, ds: xr.Dataset) -> xr.Dataset:
        """What is left of snapshots after `encode` and `decode`."""

    def predict(self, ds: xr.Dataset) -> xr.Dataset:
        """The same as `reconstruct`: what a case asks of a model."""

    def save(self, folder: Path) -> Path:
        """Keep what was learned in a folder, from which the class method `load` brings it back."""


@runtime_checkable
class Forecasting(Protocol):
    """A method that knows how its coefficients go on in time."""

    def forecast(self, ds: xr.Dataset, steps: int) -> xr.Dataset:
        """The `steps` snapshots after the last of `ds`, with their times."""


def keep(
    folder: str | os.PathLike[str],
    method: object,
    options: Any,
    **parts: xr.Dataset,
) -> Path:
    """Write a fitted method as `method.json` and a NetCDF file for each part; return the folder.

    Complex variables are written as two, with `_real` and `_imaginary` after their name; numbers
    without `units` are written as dimensionless.

    Args:
        folder: made if it is missing.
        method: its class is recorded.
        options: a dataclass that JSON can hold.
        parts: what else was learned, by name.

    >>> from tempfile import mkdtemp
    >>> from dataclasses import dataclass
    >>> @dataclass
    ... class Options:
    ...     rank: int = 2
    >>> ds = xr.Dataset({"eigenvalues": ("mode", [1j, -1j])})
    >>> folder = keep(Path(mkdtemp()), object(), Options(rank=3), result=ds)
    >>> options, parts = bring(folder, object, Options)
    >>> options.rank, parts["result"].eigenvalues.values
    (3, array([ 0.+1.j, -0.-1.j]))
    """
    folder = Path(folder)
    for name, ds in parts.items():
        save(_with_units(_split(ds)), folder / f"{name}.nc")
    record = {
        "class": type(method).__qualname__,
        "options": json.loads(json.dumps(asdict(options))),
        "parts": sorted(parts),
    }
    write_json(folder / JSON, record)
    return folder


def bring(
    folder: str | os.PathLike[str], cls: type, options: type[Options]
) -> tuple[Options, Mapping[str, xr.Dataset]]:
    """What `keep` wrote: the options and the parts, read into memory.

    Raises:
        FileNotFoundError: no method was kept in the folder.
        ValueError: it is another method.
    """
    folder = Path(folder)
    if not (folder / JSON).is_file():
        raise FileNotFoundError(f"no method was saved in {folder}: there is no {JSON}")
    record = read_json(folder / JSON)
    if record["class"] != cls.__qualname__:
        raise ValueError(
            f"{folder} holds a {record['class']}, not a {cls.__qualname__}: load it as that"
        )
    given = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in record["options"].items()
    }
    parts = {}
    for name in record["parts"]:
        with load(folder / f"{name}.nc") as ds:
            parts[name] = _join(xr.decode_cf(ds.load(), decode_timedelta=False))
    return options(**given), parts


def _split(ds: xr.Dataset) -> xr.Dataset:
    """Real and imaginary parts as variables of their own."""
    for name, variable in ds.variables.items():
        if variable.dtype.kind == "c":
            real, imaginary = (
                variable.copy(data=variable.values.real),
                variable.copy(data=variable.values.imag),
            )
            ds = ds.drop_vars([name]).assign(
                {f"{name}{REAL}": real, f"{name}{IMAGINARY}": imaginary}
            )
    return ds


def _join(ds: xr.Dataset) -> xr.Dataset:
    for name in list(ds.variables):
        if str(name).endswith(IMAGINARY):
            stem = str(name).removesuffix(IMAGINARY)
            real, imaginary = ds[f"{stem}{REAL}"], ds[name]
            joined = real.copy(data=np.asarray(real.values + 1j * imaginary.values))
            ds = ds.drop_vars([f"{stem}{REAL}", name]).assign({stem: joined.variable})
    return ds


def _with_units(ds: xr.Dataset) -> xr.Dataset:
    ds = ds.copy()
    for variable in ds.variables.values():
        if variable.dtype.kind in "biufc":
            variable.attrs = {"units": "1", **variable.attrs}
    return ds
