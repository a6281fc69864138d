"""A closure's result as fields of an OpenFOAM case."""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float64

from sciml.coupling.openfoam.boundary import MADE_OF_CELLS, face_values
from sciml.coupling.openfoam.case import Case, flow_of, open_case
from sciml.coupling.openfoam.closure import Closure, check_anisotropy, implicit_eddy_viscosity
from sciml.coupling.openfoam.files import load_foamlib
from sciml.data.files import atomic

__all__ = ["apply_closure", "write_anisotropy"]

_COMPONENTS = ([0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2])
"""Rows and columns of xx, xy, xz, yy, yz, zz."""

Values = Float64[np.ndarray, "_ ..."]


@dataclass(frozen=True, kw_only=True)
class _Output:
    """A field to be written: class, powers of mass, length and time, cells, boundary."""

    kind: str
    dimensions: tuple[int, int, int]
    values: Values
    boundary: Mapping[str, Mapping[str, Any]]


def apply_closure(
    folder: str | os.PathLike[str],
    closure: Closure,
    *,
    time: float | None = None,
    kinematic_viscosity: float | None = None,
) -> xr.Dataset:
    r"""Evaluate a closure on a case and write its result beside the fields it came from.

    Into the time folder go

    - `b`, volSymmTensorField: the anisotropy;
    - `tauML`, volSymmTensorField, m²/s²: the Reynolds stress ⟨uᵢuⱼ⟩ = 2 k (b + I/3);
    - `nutML`, volScalarField, m²/s: the part of it that acts as a viscosity, see
      :func:`implicit_eddy_viscosity`.

    They are ASCII, with all digits, or binary, and compressed or not, as `U` is. Either all three
    are written or none. Patches that are cyclic, empty, a symmetry or a wedge keep their kind. On
    others b is that of the cell, tauML is made with it and the k of the boundary, hence zero on a
    wall where k is, and nutML is that of the cell, on walls that of `nut`, or zero without one.

    Args:
        folder, time, kinematic_viscosity: as in :func:`read_case`.
        closure: gives b, (cell, 3, 3), of the data set of the case. One of `sciml.rans` is
            `lambda ds: wallin_johansson(ds.velocity_gradient.values,
            ds.turbulent_kinetic_energy.values, ds.dissipation_rate.values)`.

    Returns:
        The data set of the case with `anisotropy`, `reynolds_stress` and
        `implicit_eddy_viscosity`.

    Raises:
        FileNotFoundError, ValueError, ModuleNotFoundError: as :func:`read_case`; and a closure
            whose result is no anisotropy. Nothing is written then.
    """
    case = open_case(folder, time)
    flow = flow_of(case, kinematic_viscosity)
    return _write(case, flow, closure(flow))


def write_anisotropy(flow: xr.Dataset, anisotropy: np.ndarray) -> xr.Dataset:
    """Write an anisotropy into the case that a flow was read from.

    Args:
        flow: of :func:`read_case`, all its cells.
        anisotropy: b, (cell, 3, 3).

    Returns:
        As :func:`apply_closure`, which tells what is written too.

    Raises:
        FileNotFoundError, ValueError: as there; or `flow` is not of a case.
    """
    if "case" not in flow.attrs or "time" not in flow.attrs:
        raise ValueError(
            "the flow has no attributes case and time, which tell where to write; give one of "
            "read_case"
        )
    case = open_case(flow.attrs["case"], flow.attrs["time"])
    if flow.sizes["cell"] != case.mesh.cells:
        raise ValueError(
            f"the flow has {flow.sizes['cell']} cells and its case {case.mesh.cells}; give all "
            "cells, in the order of read_case"
        )
    return _write(case, flow, anisotropy)


def _write(case: Case, flow: xr.Dataset, anisotropy: np.ndarray) -> xr.Dataset:
    k = flow["turbulent_kinetic_energy"].values
    b = check_anisotropy(anisotropy, case.mesh.cells)
    stress = 2 * k[:, None, None] * (b + np.eye(3) / 3)
    nut = implicit_eddy_viscosity(flow["velocity_gradient"].values, k, b)
    _write_fields(case, _outputs(case, b, stress, nut))
    matrix = ("cell", "i", "j")
    return flow.assign(
        anisotropy=(matrix, b, {"units": "1"}),
        reynolds_stress=(matrix, stress, {"units": "m2 s-2"}),
        implicit_eddy_viscosity=("cell", nut, {"units": "m2 s-1"}),
    )


def _outputs(case: Case, b: Values, stress: Values, nut: Values) -> dict[str, _Output]:
    rows, columns = _COMPONENTS
    b, stress = b[:, rows, columns], stress[:, rows, columns]
    tensor = "volSymmTensorField"
    return {
        "b": _Output(
            kind=tensor,
            dimensions=(0, 0, 0),
            values=b,
            boundary=_conditions(case, _as_in_the_cell(case)),
        ),
        "tauML": _Output(
            kind=tensor,
            dimensions=(0, 2, -2),
            values=stress,
            boundary=_conditions(case, _stress_on_patches(case, b)),
        ),
        "nutML": _Output(
            kind="volScalarField",
            dimensions=(0, 2, -1),
            values=nut,
            boundary=_conditions(case, _viscosity_on_patches(case)),
        ),
    }


def _ordinary(case: Case) -> list[str]:
    """Patches that need a condition of their own."""
    return [patch.name for patch in case.mesh.patches if patch.kind not in MADE_OF_CELLS]


def _as_in_the_cell(case: Case) -> dict[str, Mapping[str, Any]]:
    return {name: {"type": "zeroGradient"} for name in _ordinary(case)}


def _conditions(
    case: Case, ordinary: Mapping[str, Mapping[str, Any]]
) -> dict[str, Mapping[str, Any]]:
    return {
        patch.name: ordinary.get(patch.name, {"type": patch.kind}) for patch in case.mesh.patches
    }


def _stress_on_patches(case: Case, b: Values) -> dict[str, Mapping[str, Any]]:
    """2 k (b + I/3) with the k of the boundary and the b of the cell."""
    k = face_values(case.mesh, case.field("k"))
    found: dict[str, Mapping[str, Any]] = {}
    for name in _ordinary(case):
        faces = case.mesh.patch(name).faces
        cell = b[case.mesh.owner[faces]] + np.eye(3)[_COMPONENTS] / 3
        found[name] = {"type": "calculated", "value": 2 * k[faces, None] * cell}
    return found


def _viscosity_on_patches(case: Case) -> dict[str, Mapping[str, Any]]:
    """That of the cell, on walls that of the wall treatment."""
    walls = [p for p in case.mesh.patches if p.kind == "wall"]
    nut = face_values(case.mesh, case.field("nut")) if walls and case.has("nut") else None
    found = _as_in_the_cell(case)
    for wall in walls:
        value = np.zeros(wall.size) if nut is None else nut[wall.faces]
        found[wall.name] = {"type": "calculated", "value": value}
    return found


def _write_fields(case: Case, outputs: Mapping[str, _Output]) -> None:
    """All of them, or none."""
    header = case.field("U").header
    suffix = ".gz" if case.velocity_file.suffix == ".gz" else ""
    with ExitStack() as together:
        for name, output in outputs.items():
            part = together.enter_context(atomic(case.time / f"{name}{suffix}"))
            content = _encoded(name, output, header, case.time.name)
            part.write_bytes(gzip.compress(content) if suffix else content)
    for name in outputs:
        (case.time / f"{name}{'' if suffix else '.gz'}").unlink(missing_ok=True)


def _encoded(name: str, output: _Output, like: Mapping[str, Any], time: str) -> bytes:
    """The content of a field's file, in the format of another one's header.

    foamlib writes the dictionaries, with words in the place of lists: on lists it takes 40 μs for
    each number in ASCII, and three, six or nine scalars become one vector or tensor with it.
    """
    header = {"version": 2.0, "format": like.get("format", "ascii"), "class": output.kind}
    if "arch" in like:
        header["arch"] = like["arch"]
    lists = _Lists(binary=header["format"] == "binary", single="scalar=32" in str(like.get("arch")))
    entries = {
        "FoamFile": {**header, "location": f'"{time}"', "object": name},
        "dimensions": [*output.dimensions, 0, 0, 0, 0],
        "internalField": lists.word(output.values),
        "boundaryField": {
            patch: {key: lists.word(value) for key, value in condition.items()}
            for patch, condition in output.boundary.items()
        },
    }
    with TemporaryDirectory() as folder:
        path = Path(folder, name)
        with load_foamlib().FoamFile(path) as file:
            for key, value in entries.items():
                file[key] = value
        return lists.inserted(path.read_bytes())


class _Lists:
    """Lists of numbers, for which words stand while a file is put together."""

    def __init__(self, *, binary: bool, single: bool) -> None:
        self.binary = binary
        self.dtype = np.float32 if single else np.float64
        self.encoded: list[bytes] = []

    def word(self, value: Any) -> Any:
        """What stands for a list; other values, and what is the same in all rows, as they are."""
        if not isinstance(value, np.ndarray):
            return value
        if len(value) and (value == value[:1]).all():
            return value[0] if value.ndim > 1 else float(value[0])
        self.encoded.append(self._encode(value))
        return f"list_{len(self.encoded) - 1}_of_numbers"

    def _encode(self, values: Values) -> bytes:
        kind = {1: "scalar", 2: "symmTensor"}[values.ndim]
        start = f"nonuniform List<{kind}>\n{len(values)}\n(".encode()
        if self.binary:
            return start + np.ascontiguousarray(values, self.dtype).tobytes() + b")"
        rows = values.tolist()
        lines = (
            map(repr, rows)
            if values.ndim == 1
            else (f"({' '.join(map(repr, row))})" for row in rows)
        )
        return start + "\n".join(["", *lines, ")"]).encode()

    def inserted(self, content: bytes) -> bytes:
        """A file with the lists where the words were, and without foamlib's blank lines."""
        pieces = re.split(rb"list_(\d+)_of_numbers", re.sub(rb"\n[ ]+(?=\n)", b"", content))
        return b"".join(
            self.encoded[int(piece)] if place % 2 else piece for place, piece in enumerate(pieces)
        )
