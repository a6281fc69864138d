"""Steady flow past bodies: from a shape to its signed distance, its flow, and a surrogate of it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sciml.flow.baselines import CoarseSolver, FreeStream, NearestShape
    from sciml.flow.fields import divergence, drag_and_lift, label_fields
    from sciml.flow.figures import comparison, error_histogram, flow_picture
    from sciml.flow.forces import force_on_body
    from sciml.flow.generation import GivenShapes, Ranges, ShapeSamples
    from sciml.flow.grid import Grid, check_body
    from sciml.flow.network import FlowNetwork, curl, mirror
    from sciml.flow.readers import read_shape
    from sciml.flow.shapes import FAMILIES, Shape, random_shape
    from sciml.flow.solver import (
        LatticeProblem,
        SolverOptions,
        SteadyState,
        Unsteady,
        solve_steady,
    )
    from sciml.flow.surrogate import (
        EncoderDecoderOptions,
        SteadyFlow,
        SteadyFlowOptions,
        UNetOptions,
    )
    from sciml.flow.tunnel import Tunnel, flow_inputs, solve_distance, solve_flow

_MODULES = {
    "baselines": ("CoarseSolver", "FreeStream", "NearestShape"),
    "fields": ("divergence", "drag_and_lift", "label_fields"),
    "figures": ("comparison", "error_histogram", "flow_picture"),
    "forces": ("force_on_body",),
    "generation": ("GivenShapes", "Ranges", "ShapeSamples"),
    "grid": ("Grid", "check_body"),
    "network": ("FlowNetwork", "curl", "mirror"),
    "readers": ("read_shape",),
    "shapes": ("FAMILIES", "Shape", "random_shape"),
    "solver": ("LatticeProblem", "SolverOptions", "SteadyState", "Unsteady", "solve_steady"),
    "surrogate": ("EncoderDecoderOptions", "SteadyFlow", "SteadyFlowOptions", "UNetOptions"),
    "tunnel": ("Tunnel", "flow_inputs", "solve_distance", "solve_flow"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "FAMILIES",
    "CoarseSolver",
    "EncoderDecoderOptions",
    "FlowNetwork",
    "FreeStream",
    "GivenShapes",
    "Grid",
    "LatticeProblem",
    "NearestShape",
    "Ranges",
    "Shape",
    "ShapeSamples",
    "SolverOptions",
    "SteadyFlow",
    "SteadyFlowOptions",
    "SteadyState",
    "Tunnel",
    "UNetOptions",
    "Unsteady",
    "check_body",
    "comparison",
    "curl",
    "divergence",
    "drag_and_lift",
    "error_histogram",
    "flow_inputs",
    "flow_picture",
    "force_on_body",
    "label_fields",
    "mirror",
    "random_shape",
    "read_shape",
    "solve_distance",
    "solve_flow",
    "solve_steady",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
