"""Checks of labelled data: variables, units and the range a surrogate was trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

CHUNK = 64


class OutsideRangeWarning(UserWarning):
    """A prediction was asked for beyond the range of the training data."""


@dataclass(frozen=True, kw_only=True)
class Range:
    """Smallest and largest value of a number that sums up a training sample.

    Example:
        >>> Range(low=1.0, high=30.0, units="1").holds(np.array([30.0, 31.0]))
        array([ True, False])
    """

    low: float
    high: float
    units: str

    def holds(self, values: np.ndarray) -> np.ndarray:
        """Whether values lie inside, to float32 rounding; NaN never does."""
        slack = 1e-6 * max(abs(self.low), abs(self.high))
        return (values >= self.low - slack) & (values <= self.high + slack)


def require_variables(ds: xr.Dataset, wanted: Mapping[str, str]) -> None:
    """Refuse a data set without the variables `wanted` (name to units), or in other units.

    Raises:
        ValueError: a variable or its units are missing, or the units differ.
    """
    for name, units in wanted.items():
        if name not in ds:
            raise ValueError(
                f"the data set has no variable {name!r} (it has {_list(ds.variables)}): "
                f"add it in units of {units!r}"
            )
        given = ds[name].attrs.get("units")
        if given is None:
            raise ValueError(
                f"{name!r} has no units, expected {units!r}: set ds[{name!r}].attrs['units']"
            )
        if given != units:
            raise ValueError(f"{name!r} is given in {given!r}, expected {units!r}: convert it")


def extremes(ds: xr.Dataset, names: Iterable[str], *, sample: str = "sample") -> xr.Dataset:
    """Numbers that sum up each sample: a scalar as it is, of a field its smallest and largest.

    Args:
        ds: labelled data.
        names: the variables wanted.
        sample: the dimension that counts the samples.

    Returns:
        Variables over `sample`: `name`, or `name_smallest` and `name_largest`.

    Example:
        >>> field = (("sample", "x"), [[1.0, 3.0], [2.0, 5.0]], {"units": "m"})
        >>> summary = extremes(xr.Dataset({"depth": field}), ["depth"])
        >>> summary["depth_largest"].values
        array([3., 5.])
    """
    found: dict[str, xr.DataArray] = {}
    for name in names:
        variable = ds[name]
        if sample not in variable.dims:
            raise ValueError(
                f"{name!r} has dimensions {variable.dims}, expected {sample!r} among them: "
                f"give a single sample with ds.expand_dims({sample!r})"
            )
        others = [dim for dim in variable.dims if dim != sample]
        if others:
            found[f"{name}_smallest"] = _by_chunk(variable, sample, others, np.min)
            found[f"{name}_largest"] = _by_chunk(variable, sample, others, np.max)
        else:
            found[name] = variable.reset_coords(drop=True)
    return xr.Dataset(found).drop_vars(sample, errors="ignore")


def training_ranges(summaries: xr.Dataset) -> dict[str, Range]:
    """The range of every summary over the training samples."""
    return {
        str(name): Range(
            low=float(variable.min()), high=float(variable.max()), units=variable.attrs["units"]
        )
        for name, variable in summaries.data_vars.items()
    }


def outside(summaries: xr.Dataset, ranges: Mapping[str, Range]) -> tuple[xr.DataArray, str]:
    """Which samples lie outside the ranges, and a sentence that says of what; "" for none."""
    (dim,) = summaries.dims
    beyond = np.zeros(summaries.sizes[dim], dtype=bool)
    parts = []
    for name, limits in ranges.items():
        values = np.asarray(summaries[name].values)
        bad = ~limits.holds(values)
        if bad.any():
            unit = "" if limits.units == "1" else f" {limits.units}"
            parts.append(
                f"{name} is {values[bad].min():.4g} to {values[bad].max():.4g}{unit} in "
                f"{bad.sum()} of {bad.size} samples, trained from {limits.low:.4g} to "
                f"{limits.high:.4g}{unit}"
            )
        beyond |= bad
    return xr.DataArray(beyond, dims=[dim]), "; ".join(parts)


def checksum(ds: xr.Dataset, names: Iterable[str]) -> str:
    """SHA-256 over names, shapes, types and values of variables, in the order given.

    Example:
        >>> checksum(xr.Dataset({"a": ("x", np.arange(3))}), ["a"])[:8]
        'e395e801'
    """
    digest = hashlib.sha256()
    for name in names:
        variable = ds[name]
        digest.update(f"{name} {variable.dims} {variable.shape} {variable.dtype.str}".encode())
        for part in _chunks(variable):
            digest.update(np.ascontiguousarray(part.values).tobytes())
    return digest.hexdigest()


def _by_chunk(
    variable: xr.DataArray, sample: str, others: list[Hashable], reduce: np.ufunc | object
) -> xr.DataArray:
    axes = tuple(variable.get_axis_num(dim) for dim in others)
    size = variable.sizes[sample]
    values = [
        reduce(variable.isel({sample: slice(start, start + CHUNK)}).values, axis=axes)  # type: ignore[operator]
        for start in range(0, size, CHUNK)
    ]
    joined = np.concatenate(values) if values else np.zeros(0)
    return xr.DataArray(joined, dims=sample, attrs={"units": variable.attrs["units"]})


def _chunks(variable: xr.DataArray) -> Iterable[xr.DataArray]:
    if not variable.dims:
        return [variable]
    dim = variable.dims[0]
    starts = range(0, variable.sizes[dim], CHUNK)
    return (variable.isel({dim: slice(start, start + CHUNK)}) for start in starts)


def _list(names: Iterable[object]) -> str:
    return ", ".join(sorted(map(str, names))) or "none"
