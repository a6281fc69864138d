"""The wake of a cylinder, from the unstable steady flow through its transient to the limit cycle.

The two-dimensional flow past a circular cylinder at a Reynolds number near 100 has a steady state
that is symmetric and unstable. A small disturbance of it grows at the rate of one linear mode,
changes the mean flow as it does so, and ends in a periodic vortex street of another frequency
(Noack et al. 2003, doi:10.1017/S0022112003006694). All three are recorded here, so that methods
that treat periodic data alike can differ.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from sciml.data.files import atomic, read_json, write_json
from sciml.data.netcdf import load, save
from sciml.modes.cylinder import CylinderFlow, WakeOptions

__all__ = ["record_wake"]

CHUNK = 40
"""Snapshots between two writes to the disk: what an interrupted run loses at most."""


def record_wake(
    options: WakeOptions, path: str | os.PathLike[str], *, resume: bool = False
) -> Path:
    """March from the steady flow to the limit cycle and store what is seen in a window.

    The symmetric flow is found first, on coarse grids and then on the last, by keeping it
    symmetric. A weak antisymmetric puff is then added, and the flow is left to itself. What is
    done is kept in `<path>.parts`, so that a run that was cut off goes on under `resume` and gives
    the same numbers, bit for bit, as one that was not.

    Args:
        options: of the flow and the record.
        path: the NetCDF4 file to write. It holds `velocity` (time, i, y, x) over U and `pressure`
            (time, y, x) over ρU², zero in the solid; `steady_velocity` and `steady_pressure`, the
            unstable steady flow; `mask` (true where a cell holds fluid) and `cell_volume`, the
            fluid's area in D²; `force_coefficient` (force_time, i), 2F/(ρU²D): drag and lift.
        resume: go on with what an interrupted run left; a finished file is kept.

    Raises:
        FileExistsError: the file or parts of it are there and `resume` is false.
        ValueError: what is there was made with other options.
        ArithmeticError: the march diverged.
    """
    path = Path(path)
    parts = path.with_name(path.name + ".parts")
    if _finished(path, options, resume=resume):
        return path
    _open(parts, options, resume=resume)
    march = CylinderFlow(options)
    steady = _begin(march, parts)
    while march.done < options.snapshots:
        _keep(parts, march, march.record(CHUNK))
    chunks = [_read(parts / f"{k:04d}.npz") for k in range(-(-options.snapshots // CHUNK))]
    series = {name: np.concatenate([c[name] for c in chunks]) for name in chunks[0]}
    save(_labelled(march, series, steady), path)
    shutil.rmtree(parts)
    return path


# What is on the disk.


def _finished(path: Path, options: WakeOptions, *, resume: bool) -> bool:
    if not path.exists():
        return False
    if not resume:
        raise FileExistsError(f"{path} exists; resume to keep it, or remove it")
    with load(path) as found:
        _require_same(path, json.loads(found.attrs.get("options", "{}")), options)
    return True


def _open(parts: Path, options: WakeOptions, *, resume: bool) -> None:
    record = parts / "options.json"
    if not record.exists():
        parts.mkdir(parents=True, exist_ok=True)
        write_json(record, asdict(options))
        return
    if not resume:
        raise FileExistsError(f"{parts} holds an interrupted run; resume it, or remove that folder")
    _require_same(parts, read_json(record), options)


def _require_same(place: Path, found: dict[str, object], options: WakeOptions) -> None:
    wanted = json.loads(json.dumps(asdict(options)))
    for name in wanted:
        if found.get(name) != wanted[name]:
            raise ValueError(
                f"{place} was made with {name} = {found.get(name)}, and now {wanted[name]} is "
                "asked for; ask for the same, or remove it"
            )


def _begin(march: CylinderFlow, parts: Path) -> dict[str, np.ndarray]:
    """The steady flow in the window; the march stands where it was cut off, or at the start."""
    start, state = parts / "steady.npz", parts / "state.npz"
    if not state.exists():
        residual = march.settle()
        _write(start, **march.seen(), residual=np.array(residual))
        march.disturb()
        _write_state(state, march)
    kept = _read(state)
    march.populations, march.done = torch.from_numpy(kept["populations"]), int(kept["done"])
    return _read(start)


def _keep(parts: Path, march: CylinderFlow, chunk: dict[str, np.ndarray]) -> None:
    """The chunk first: the state is what says that it is there."""
    _write(parts / f"{(march.done - 1) // CHUNK:04d}.npz", **chunk)
    _write_state(parts / "state.npz", march)


def _write_state(path: Path, march: CylinderFlow) -> None:
    _write(path, populations=march.populations.numpy(), done=np.array(march.done))


def _write(path: Path, **arrays: np.ndarray) -> None:
    with atomic(path) as part:
        np.savez(part, **arrays)  # type: ignore[arg-type]


def _read(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as stored:
        return dict(stored)


def _labelled(
    march: CylinderFlow, series: dict[str, np.ndarray], steady: dict[str, np.ndarray]
) -> xr.Dataset:
    options, window = march.options, march.window
    step = options.steps / options.unit
    image = ("y", "x")
    return xr.Dataset(
        {
            "velocity": _variable(("time", "i", *image), series["velocity"], "velocity over U"),
            "pressure": _variable(("time", *image), series["pressure"], "pressure over rho U^2"),
            "steady_velocity": _variable(
                ("i", *image), steady["velocity"], "velocity of the unstable steady flow over U"
            ),
            "steady_pressure": _variable(
                image, steady["pressure"], "pressure of the unstable steady flow over rho U^2"
            ),
            "mask": _variable(image, window.share > 0, "true where the cell holds fluid"),
            "cell_volume": _variable(image, window.volume, "area of fluid over D^2"),
            "force_coefficient": _variable(
                ("force_time", "i"), series["force"], "drag and lift, 2 F / (rho U^2 D)"
            ),
        },
        coords={
            "time": _variable(("time",), step * np.arange(options.snapshots), "time over D/U"),
            "force_time": _variable(
                ("force_time",),
                step / options.forces * np.arange(1, len(series["force"]) + 1),
                "time over D/U",
            ),
            "x": _variable(("x",), window.x, "distance behind the cylinder's centre over D"),
            "y": _variable(("y",), window.y, "distance above the cylinder's centre over D"),
            "i": _variable(("i",), np.array([0, 1]), "0 along x, 1 along y"),
        },
        attrs={
            "title": f"Wake of a cylinder at a Reynolds number of {options.reynolds_number:g}",
            "source": "sciml.modes.wake: two-relaxation-time lattice Boltzmann, D2Q9; "
            f"sciml-cfd {metadata.version('sciml-cfd')}",
            "references": "doi:10.1017/S0022112003006694",
            "Conventions": "CF-1.11",
            "options": json.dumps(asdict(options)),
            "reynolds_number": options.reynolds_number,
            "steady_residual": float(steady["residual"]),
        },
    )


def _variable(dims: tuple[str, ...], values: np.ndarray, text: str) -> xr.Variable:
    return xr.Variable(dims, values, {"units": "1", "long_name": text})
