"""A steady, fully developed flow through a duct, as it is posed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from sciml.rans.propagation.grid import CrossSection, section_of

__all__ = ["Duct", "duct_of"]


@dataclass(frozen=True, kw_only=True)
class Duct:
    """What drives the flow, and how thick the fluid is.

    Attributes:
        section: grid of the cross-section.
        viscosity: ν, m² s⁻¹.
        bulk_velocity: U_b, mean velocity over the section, m s⁻¹. The pressure gradient follows.
    """

    section: CrossSection
    viscosity: float
    bulk_velocity: float

    def __post_init__(self) -> None:
        for name in ("viscosity", "bulk_velocity"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"a {name} of {value} was given; it must be positive")


def duct_of(flow: xr.Dataset) -> Duct:
    """The duct of a reference flow: its own cells, viscosity and bulk velocity.

    Args:
        flow: a quarter duct as from :func:`sciml.rans.load_flow`, with `position`, `cell_volume`,
            `velocity` and `kinematic_viscosity`.

    Raises:
        ValueError: a variable is missing, or the cells make no rectangle.
    """
    needed = ("position", "cell_volume", "velocity", "kinematic_viscosity")
    missing = [name for name in needed if name not in flow]
    if missing:
        raise ValueError(f"a flow without {', '.join(missing)} was given; load one of a duct")
    section = section_of(flow)
    speed = section.mean(flow["velocity"].values[:, 0].astype(np.float64))
    viscosity = float(flow["kinematic_viscosity"].values.ravel()[0])
    return Duct(section=section, viscosity=viscosity, bulk_velocity=speed)
