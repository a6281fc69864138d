"""Bare arrays to labelled snapshots: which dimension is time, which are the mesh."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from sciml.modes.layout import MASK, TIME, VOLUME
from sciml.modes.readers.options import ReadOptions

__all__ = ["TIMES", "VOLUMES", "labelled"]

TIMES = ("time", "t", "times", "tspan", "timestep", "timesteps", "snapshot", "step")
"""Names of time, in small letters."""

VOLUMES = (VOLUME, "cell_volumes", "cell_area", "volume", "volumes", "mass", "weights")
"""Names of the weight of each point of a mesh."""

AXES = ("z", "y", "x")


def labelled(arrays: Mapping[str, np.ndarray], options: ReadOptions) -> xr.Dataset:
    """Label arrays that bear a name but no dimensions.

    A vector called `t` or `time` gives the times, `x`, `y` and `z` the coordinates, `mask` and
    `mass` or `cell_volume` what they say. What has at least two dimensions is a field; its time
    dimension is the one with as many places as there are times, or the one that is asked for.
    An axis of two or three components becomes `i`.

    Args:
        arrays: name to array.
        options: what is read, and what the arrays do not tell.

    Raises:
        ValueError: there is no such field, or nothing tells which of its dimensions is time.
    """
    known = _Known.of(arrays)
    names = _fields(arrays, options)
    found: dict[str, Any] = {}
    times = None
    for name in names:
        axis = known.time_axis(name, arrays[name], options)
        field = np.moveaxis(np.asarray(arrays[name]), axis, 0)
        if known.times is not None and len(field) == len(known.times):
            times = known.times
        elif known.times is not None and options.time_step is None:
            continue
        found[name] = _on_mesh(field, known, options)
    if not found:
        raise ValueError("no array has as many places along its time as there are times")
    count = len(next(iter(found.values()))[1])
    coordinate = options.times(times, count)
    kept = options.kept(coordinate, sum(v[0].nbytes for _, v, *_ in found.values()))
    return _dataset(found, coordinate, kept, known)


def _fields(arrays: Mapping[str, np.ndarray], options: ReadOptions) -> list[str]:
    fields = [
        name
        for name, array in arrays.items()
        if np.squeeze(array).ndim >= 2 and name.lower() not in (*VOLUMES, MASK, *AXES)
    ]
    missing = [name for name in options.variables or () if name not in fields]
    if missing or not fields:
        held = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise ValueError(
            f"there is no field {', '.join(missing) or 'of two dimensions'} over time; "
            f"the file holds {held or 'no arrays'}"
        )
    return list(options.variables or fields)


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What the vectors among the arrays tell."""

    times: np.ndarray | None
    axes: Mapping[str, np.ndarray]
    mask: np.ndarray | None
    volume: np.ndarray | None

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> _Known:
        small = {name.lower(): np.squeeze(array) for name, array in arrays.items()}
        vectors = {name: array for name, array in small.items() if array.ndim == 1}
        volume = next((small[name] for name in VOLUMES if name in small), None)
        return cls(
            times=next((vectors[name] for name in TIMES if name in vectors), None),
            axes={name: vectors[name] for name in AXES if name in vectors},
            mask=small.get(MASK),
            volume=volume,
        )

    def time_axis(self, name: str, field: np.ndarray, options: ReadOptions) -> int:
        """Where time stands among the dimensions of a field."""
        asked = options.time_dimension
        if isinstance(asked, str) and asked.lstrip("-").isdigit():
            asked = int(asked)
        if isinstance(asked, int):
            if not -field.ndim <= asked < field.ndim:
                raise ValueError(f"{name} is {field.shape} and has no dimension {asked}")
            return asked
        count = -1 if self.times is None else len(self.times)
        places = [axis for axis, size in enumerate(field.shape) if size == count]
        if len(places) != 1:
            raise ValueError(
                f"{name} is {field.shape}, and nothing tells which of its dimensions is time; "
                "give the place of time as time_dimension (--time-dimension), 0 for the first, "
                "-1 for the last"
            )
        return places[0]


def _on_mesh(
    field: np.ndarray, known: _Known, options: ReadOptions
) -> tuple[tuple[str, ...], np.ndarray]:
    """Dimensions of a field whose first one is time, and its values."""
    sizes = field.shape[1:]
    if options.shape is not None:
        if len(sizes) != 1 or np.prod(options.shape) != sizes[0]:
            raise ValueError(f"a mesh of {sizes} points is not of the shape {options.shape}")
        field, sizes = field.reshape(len(field), *options.shape), options.shape
    return (TIME, *_names(sizes, known)), field


def _names(sizes: Sequence[int], known: _Known) -> list[str]:
    """Names of the dimensions of a mesh: by their coordinates' lengths, else by custom."""
    named: list[str | None] = [None] * len(sizes)
    for axis, coordinate in known.axes.items():
        fitting = [k for k, size in enumerate(sizes) if size == len(coordinate) and not named[k]]
        if len(fitting) == 1:
            named[fitting[0]] = axis
    small = [k for k, size in enumerate(sizes) if size in (2, 3) and not named[k]]
    if len(sizes) > 1 and len(small) == 1:
        named[small[0]] = "i"
    free = [k for k, name in enumerate(named) if name is None]
    left = [axis for axis in AXES if axis not in named]
    custom = left[max(0, len(left) - len(free)) :]
    if len(sizes) - ("i" in named) == 1:
        custom = ["cell"] * len(free)
    elif len(custom) < len(free):
        custom = [f"axis_{k}" for k in free]
    for k, name in zip(free, custom, strict=True):
        named[k] = name
    return [str(name) for name in named]


def _dataset(
    found: Mapping[str, tuple[tuple[str, ...], np.ndarray]],
    times: np.ndarray,
    kept: np.ndarray,
    known: _Known,
) -> xr.Dataset:
    whole = len(kept) == len(times)
    fields = {
        name: (dims, values if whole else values[kept], {"units": "1"})
        for name, (dims, values) in found.items()
    }
    ds = xr.Dataset(fields, coords={TIME: (TIME, times[kept], {"units": "1"})})
    for axis, coordinate in known.axes.items():
        if ds.sizes.get(axis) == len(coordinate):
            ds = ds.assign_coords({axis: (axis, coordinate, {"units": "1"})})
        elif ds.sizes.get("cell") == len(coordinate):
            ds = ds.assign_coords({axis: ("cell", coordinate, {"units": "1"})})
    for name, values in ((MASK, known.mask), (VOLUME, known.volume)):
        dims = _fitting(values, ds)
        if dims is not None:
            ds[name] = (dims, values, {"units": "1"})
    if MASK in ds:
        ds[MASK] = ds[MASK].astype(bool)
    return ds


def _fitting(values: np.ndarray | None, ds: xr.Dataset) -> tuple[str, ...] | None:
    """The dimensions of the mesh that values of every point lie over."""
    if values is None:
        return None
    for field in ds.data_vars.values():
        mesh = tuple(str(d) for d in field.dims if d not in (TIME, "i"))
        if values.shape == tuple(ds.sizes[d] for d in mesh):
            return mesh
    return None
