"""The mean flow of an OpenFOAM case as a labelled data set."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float64

from sciml.coupling.openfoam.distance import wall_distance
from sciml.coupling.openfoam.files import (
    Field,
    load_foamlib,
    present,
    read_dictionary,
    read_field,
    time_folder,
)
from sciml.coupling.openfoam.gradients import gauss_gradient
from sciml.coupling.openfoam.mesh import Mesh, read_mesh
from sciml.rans import C_MU
from sciml.rans.states import divergence

__all__ = ["Case", "open_case", "read_case"]

_SCALAR, _VECTOR, _TENSOR = "volScalarField", "volVectorField", "volTensorField"

_FIELDS = {
    "U": (_VECTOR, (0, 1, -1)),
    "k": (_SCALAR, (0, 2, -2)),
    "omega": (_SCALAR, (0, 0, -1)),
    "epsilon": (_SCALAR, (0, 2, -3)),
    "nut": (_SCALAR, (0, 2, -1)),
    "p": (_SCALAR, (0, 2, -2)),
    "grad(U)": (_TENSOR, (0, 0, -1)),
    "grad(k)": (_VECTOR, (0, 1, -2)),
    "grad(p)": (_VECTOR, (0, 1, -2)),
    "wallDist": (_SCALAR, (0, 1, 0)),
    "wallDistance": (_SCALAR, (0, 1, 0)),
}
"""File: its class, and its powers of mass, length and time."""

_VARIABLES = {
    "position": (("cell", "i"), "m"),
    "cell_volume": (("cell",), "m3"),
    "velocity": (("cell", "i"), "m s-1"),
    "velocity_gradient": (("cell", "i", "j"), "s-1"),
    "turbulent_kinetic_energy": (("cell",), "m2 s-2"),
    "turbulent_kinetic_energy_gradient": (("cell", "i"), "m s-2"),
    "specific_dissipation_rate": (("cell",), "s-1"),
    "dissipation_rate": (("cell",), "m2 s-3"),
    "eddy_viscosity": (("cell",), "m2 s-1"),
    "kinematic_viscosity": (("cell",), "m2 s-1"),
    "pressure": (("cell",), "m2 s-2"),
    "pressure_gradient": (("cell", "i"), "m s-2"),
    "wall_distance": (("cell",), "m"),
}
"""The names, dimensions and units of `sciml.rans.load_flow`."""

Arrays = dict[str, Float64[np.ndarray, "cell ..."]]


class Case:
    """A case at one time: its mesh, and its fields as they are asked for.

    Args:
        folder: that of the case.
        time: that of the fields, the latest if None.
    """

    def __init__(self, folder: Path, time: float | None) -> None:
        load_foamlib()
        self.folder, self.time = folder, time_folder(folder, time)
        self._check_one_phase()
        self.velocity_file = self._path("U")
        self.mesh: Mesh = read_mesh(folder)

    def _check_one_phase(self) -> None:
        phases = sorted(path.name for path in self.time.glob("alpha.*"))
        if phases:
            raise ValueError(
                f"{self.time} has the phase fraction {phases[0]}: only flow of one phase is read; "
                "give an incompressible single-phase case"
            )

    def _path(self, name: str) -> Path:
        path = present(self.time, name)
        if path is None:
            others = ", ".join(sorted(p.name for p in self.time.iterdir() if p.is_file()))
            raise FileNotFoundError(
                f"{self.time / name} is not there, only {others or 'nothing'}; it is needed: let "
                "the solver write it, or give another time"
            )
        return path

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return present(self.time, name) is not None

    def field(self, name: str) -> Field:
        """A field of the files that are known here, checked against the mesh."""
        return read_field(self._path(name), *_FIELDS[name], self.mesh.cells)

    def gradient(self, field: Field) -> Float64[np.ndarray, "cell ..."]:
        """∂uᵢ/∂xⱼ: from OpenFOAM's file where there is one, otherwise of Gauss' theorem."""
        name = f"grad({field.path.name.removesuffix('.gz')})"
        if not self.has(name):
            return gauss_gradient(self.mesh, field)
        found = self.field(name).values
        if found.shape[1] == 3:
            return found
        return found.reshape(-1, 3, 3).transpose(0, 2, 1)  # the file has ∂Uⱼ/∂xᵢ


def open_case(folder: str | os.PathLike[str], time: float | None = None) -> Case:
    """A case at one time; for refusals see :func:`read_case`."""
    return Case(Path(folder), time)


def read_case(
    folder: str | os.PathLike[str],
    *,
    time: float | None = None,
    kinematic_viscosity: float | None = None,
) -> xr.Dataset:
    r"""The mean flow that an incompressible RANS solver of OpenFOAM has written.

    ASCII and binary files, compressed or not, of `U`, `k`, `omega` or `epsilon`, and where they
    are there `p` and `nut`. Gradients come from the files `grad(U)`, `grad(k)`, `grad(p)` if the
    case has them, otherwise they are formed as OpenFOAM's `Gauss linear` forms them, and so does
    the distance to walls (`wallDistance`, `wallDist`, or that of the mesh). Names, units
    and conventions are those of :func:`sciml.rans.load_flow`: `velocity_gradient[cell, i, j]` is
    ∂Uᵢ/∂xⱼ, the transpose of OpenFOAM's, its trace of discretisation removed and the largest one
    told in the attribute `largest_divergence`; `dissipation_rate` is ε = 0.09 k ω where the case
    has ω.

    Args:
        folder: that of the case, with `constant/polyMesh` and time folders.
        time: which time, the latest if None.
        kinematic_viscosity: ν, m²/s; if None, that of `constant/transportProperties`, without
            which the variable is left out.

    Returns:
        Variables over `cell`, in OpenFOAM's order, in float64; the attributes `case` and `time`
        tell where they come from.

    Raises:
        FileNotFoundError: no such case, no time folder, or a field or a file of the mesh is not
            there.
        ValueError: a file that cannot be read, dimensions of compressible flow, several phases, a
            field that does not fit the mesh, or a patch on which a value cannot be told.
        ModuleNotFoundError: foamlib is not installed.
    """
    return flow_of(open_case(folder, time), kinematic_viscosity)


def flow_of(case: Case, kinematic_viscosity: float | None) -> xr.Dataset:
    """The data set of an open case."""
    arrays = _arrays(case)
    nu = _viscosity(case.folder) if kinematic_viscosity is None else kinematic_viscosity
    if nu is not None:
        arrays["kinematic_viscosity"] = np.full(case.mesh.cells, nu)
    excess = _remove_trace(arrays)
    variables = {
        name: (dims, arrays[name], {"units": unit})
        for name, (dims, unit) in _VARIABLES.items()
        if name in arrays
    }
    attributes = {
        "flow": case.folder.resolve().name,
        "turbulence_model": _model(case.folder),
        "scales": "in the units of the OpenFOAM case",
        "source": f"OpenFOAM case {case.folder.resolve().name}, time {case.time.name}",
        "case": str(case.folder.resolve()),
        "time": float(case.time.name),
        "largest_divergence": excess,
    }
    return xr.Dataset(variables, attrs=attributes)


def _arrays(case: Case) -> Arrays:
    velocity, energy = case.field("U"), case.field("k")
    arrays: Arrays = {
        "position": case.mesh.cell_centres,
        "cell_volume": case.mesh.cell_volumes,
        "velocity": velocity.values,
        "velocity_gradient": case.gradient(velocity),
        "turbulent_kinetic_energy": energy.values,
        "turbulent_kinetic_energy_gradient": case.gradient(energy),
        **_dissipation(case, energy.values),
    }
    if case.has("p"):
        pressure = case.field("p")
        arrays["pressure"] = pressure.values
        arrays["pressure_gradient"] = case.gradient(pressure)
    if case.has("nut"):
        arrays["eddy_viscosity"] = case.field("nut").values
    distance = _wall_distance(case)
    if distance is not None:
        arrays["wall_distance"] = distance
    return arrays


def _wall_distance(case: Case) -> Float64[np.ndarray, " cell"] | None:
    """Of OpenFOAM's file where there is one, otherwise of the mesh."""
    name = next((name for name in ("wallDistance", "wallDist") if case.has(name)), None)
    return case.field(name).values if name else wall_distance(case.mesh)


def _dissipation(case: Case, k: Float64[np.ndarray, " cell"]) -> Arrays:
    if case.has("omega"):
        omega = case.field("omega").values
        return {"specific_dissipation_rate": omega, "dissipation_rate": C_MU * k * omega}
    if case.has("epsilon"):
        return {"dissipation_rate": case.field("epsilon").values}
    raise FileNotFoundError(
        f"{case.time} has neither omega nor epsilon, one of which is needed; give a case of a "
        "k-omega or k-epsilon model"
    )


def _remove_trace(arrays: Arrays) -> float:
    """Take the trace of discretisation off the gradient; return how large it was at most."""
    G, k, epsilon = (
        arrays[name]
        for name in ("velocity_gradient", "turbulent_kinetic_energy", "dissipation_rate")
    )
    present = (k > 0) & (epsilon > 0)
    excess = divergence(G[present], k[present], epsilon[present]).max(initial=0.0)
    trace = np.trace(G, axis1=1, axis2=2)
    arrays["velocity_gradient"] = G - trace[:, None, None] * np.eye(3) / 3
    return float(excess)


def _viscosity(folder: Path) -> float | None:
    """ν of a Newtonian fluid, if it is one number."""
    for name in ("transportProperties", "physicalProperties"):
        path = present(folder / "constant", name)
        if path is not None:
            entries = read_dictionary(path)
            model = entries.get("transportModel", entries.get("viscosityModel", "Newtonian"))
            nu: Any = entries.get("nu")
            nu = getattr(nu, "value", nu)
            if str(model) in ("Newtonian", "constant") and isinstance(nu, int | float):
                return float(nu)
    return None


def _model(folder: Path) -> str:
    for name in ("turbulenceProperties", "momentumTransport"):
        path = present(folder / "constant", name)
        if path is not None:
            averaged = read_dictionary(path).get("RAS", {})
            return str(averaged.get("RASModel", averaged.get("model", "unknown")))
    return "unknown"
