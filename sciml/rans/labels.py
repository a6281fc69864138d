"""Labels that no turbulence can have, found, counted and left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from jaxtyping import Bool

from sciml.rans.realizability import realizable

__all__ = ["LabelReport", "clean"]

_FINITE = (
    "velocity_gradient",
    "strain_rate",
    "rotation_rate",
    "turbulent_kinetic_energy",
    "dissipation_rate",
    "reynolds_stress",
)
_TRACE = 1e-6
"""Largest trace of an anisotropy: above rounding in float32, below any fault."""


@dataclass(frozen=True, kw_only=True)
class LabelReport:
    """What was left out of a flow, and why.

    Attributes:
        flow: its name.
        cells: how many it had.
        kept: how many are left.
        faults: cells by reason; one cell may have several.

    >>> print(LabelReport(flow="hill", cells=9, kept=7, faults={"small k": 2, "not finite": 0}))
    hill: 7 of 9 cells kept; small k 2
    """

    flow: str
    cells: int
    kept: int
    faults: Mapping[str, int]

    def __str__(self) -> str:
        found = ", ".join(f"{reason} {count}" for reason, count in self.faults.items() if count)
        return f"{self.flow}: {self.kept} of {self.cells} cells kept; {found or 'no faults'}"


def clean(
    flow: xr.Dataset, *, smallest_energy: float = 1e-3, tolerance: float = 1e-6
) -> tuple[xr.Dataset, LabelReport]:
    """The cells of a flow whose labels can be learned from.

    Left out are cells with NaN or infinity; with a kinetic energy below `smallest_energy` of the
    largest of the flow, where b is a quotient of two small numbers; with a negative normal stress;
    with an anisotropy that has a trace; and with one outside the realizability triangle.

    Args:
        flow: over `cell`, with `reynolds_stress` and `anisotropy`.
        smallest_energy: over the largest ⟨uᵢuᵢ⟩/2 of the flow.
        tolerance: by which an eigenvalue of b may lie below -1/3. Reynolds stresses that were
            interpolated to a mesh fail by more than rounding, mostly next to walls.

    Returns:
        the cells kept, and the report.

    Raises:
        ValueError: there are no labels, or no cell is left.
    """
    for name in ("reynolds_stress", "anisotropy"):
        if name not in flow:
            raise ValueError(f"{name} is missing; labels are read from it")
    faults = _faults(flow, smallest_energy, tolerance)
    kept = ~np.any(list(faults.values()), axis=0)
    report = LabelReport(
        flow=str(flow.attrs.get("flow", "flow")),
        cells=len(kept),
        kept=int(kept.sum()),
        faults={reason: int(bad.sum()) for reason, bad in faults.items()},
    )
    if not kept.any():
        raise ValueError(f"no label can be used: {report}")
    return flow.isel(cell=kept), report


def _faults(
    flow: xr.Dataset, smallest_energy: float, tolerance: float
) -> dict[str, Bool[np.ndarray, " cell"]]:
    stress, b = (
        flow[name].transpose("cell", "i", "j").values for name in ("reynolds_stress", "anisotropy")
    )
    energy = np.trace(stress, axis1=1, axis2=2) / 2
    defined = np.isfinite(b).all((1, 2))
    inside = realizable(torch.from_numpy(np.ascontiguousarray(b)), tolerance=tolerance).numpy()
    return {
        "not finite": ~_finite(flow) | (~defined & (energy > 0)),
        "small k": energy < smallest_energy * np.nanmax(energy, initial=0.0),
        "negative normal stress": (np.diagonal(stress, axis1=1, axis2=2) < 0).any(1),
        "b with a trace": defined & (np.abs(np.trace(b, axis1=1, axis2=2)) > _TRACE),
        "b not realizable": defined & ~inside,
    }


def _finite(flow: xr.Dataset) -> Bool[np.ndarray, " cell"]:
    checks = [
        np.isfinite(flow[name].transpose("cell", ...).values).reshape(flow.sizes["cell"], -1).all(1)
        for name in _FINITE
        if name in flow
    ]
    return np.all(checks, axis=0)
