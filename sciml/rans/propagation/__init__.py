"""Mean flow through ducts and plane channels with a given Reynolds stress."""

from __future__ import annotations

from sciml.rans.propagation.duct import Duct, duct_of
from sciml.rans.propagation.grid import CrossSection, Walls, channel, rectangle, section_of
from sciml.rans.propagation.march import Diverged, SolverOptions
from sciml.rans.propagation.solve import (
    Closure,
    PropagationOptions,
    propagate,
    solve_laminar,
    solve_sst,
)
from sciml.rans.propagation.stress import beyond_linear

__all__ = [
    "Closure",
    "CrossSection",
    "Diverged",
    "Duct",
    "PropagationOptions",
    "SolverOptions",
    "Walls",
    "beyond_linear",
    "channel",
    "duct_of",
    "propagate",
    "rectangle",
    "section_of",
    "solve_laminar",
    "solve_sst",
]
