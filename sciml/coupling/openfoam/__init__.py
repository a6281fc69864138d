"""OpenFOAM: mean flows out of a case, and what a closure makes of them back into it.

    flow = read_case("hill")                      # labelled, as `sciml.rans.load_flow` has it
    flow = apply_closure("hill", model)           # writes b, tauML and nutML into the time folder
    b = closure(grad_u, k, eps, model=...)        # arrays in, arrays out, for use within a solver

Neither OpenFOAM nor a compiler is needed, only foamlib (`pip install 'sciml-cfd[openfoam]'`).
"""

from __future__ import annotations

from sciml.coupling.openfoam.case import read_case
from sciml.coupling.openfoam.closure import (
    CellClosure,
    Closure,
    closure,
    implicit_eddy_viscosity,
)
from sciml.coupling.openfoam.writing import apply_closure, write_anisotropy

__all__ = [
    "CellClosure",
    "Closure",
    "apply_closure",
    "closure",
    "implicit_eddy_viscosity",
    "read_case",
    "write_anisotropy",
]
