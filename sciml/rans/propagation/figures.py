"""Pictures of ducts: their secondary flow beside that of the simulation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from sciml.rans.propagation.duct import duct_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["secondary_flow"]

WIDTH = 7.2
"""Width of a figure in inches: the text width of a page."""

LINES = (0.25, 0.5, 0.75)
"""Where profiles are drawn: one is at the side wall, zero a half height from it."""

ARROWS = 18

Velocity = Float[np.ndarray, "cell 3"]


def secondary_flow(
    flow: xr.Dataset, reference: Velocity, predictions: Mapping[str, Velocity]
) -> Figure:
    """Vectors of the secondary flow next to the corner, and profiles of it.

    Args:
        flow: a quarter duct over `cell`, as :func:`sciml.rans.load_flow` reads it.
        reference: mean velocity of the simulation, m/s.
        predictions: name to mean velocity, m/s.
    """
    from matplotlib.figure import Figure

    duct = duct_of(flow)
    own = {
        name: velocity / duct.bulk_velocity
        for name, velocity in {"simulation": reference, **predictions}.items()
    }
    figure = Figure(figsize=(WIDTH, 0.6 + WIDTH / (len(own) + 1)), layout="constrained")
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=[len(own), 1.1])[0]
    top = max(np.hypot(*velocity[:, 1:].T).max() for velocity in own.values())
    levels = np.linspace(0, 100 * float(top), 12)
    height = float(duct.section.y_widths.sum())
    maps = left.subplots(1, len(own), squeeze=False)[0]
    for panel, (name, velocity) in zip(maps, own.items(), strict=True):
        shown = _vectors(panel, flow, velocity, height, levels)
        panel.set_title(name, fontsize="medium")
    speed = "secondary speed over the bulk velocity [%]"
    left.colorbar(shown, ax=list(maps), location="bottom", shrink=0.6, label=speed, format="%.1f")
    _profiles(right, flow, own)
    title = flow.attrs.get("flow", "a duct")
    figure.set_label(
        f"Secondary flow in a quarter of {title}, which no model was trained on: velocity in the "
        "section next to the corner, and profiles of V from the middle (y = 0) to the wall"
    )
    return figure


def _profiles(figure: Any, flow: xr.Dataset, velocities: Mapping[str, Velocity]) -> None:
    """V over y on some lines: a colour for each velocity, a style for each line."""
    from matplotlib.lines import Line2D

    panel = figure.subplots()
    colors = dict(zip(velocities, ("black", "C0", "C1", "C2", "C3", "C4"), strict=False))
    styles = dict(zip(LINES, ("-", "--", ":"), strict=True))
    for name, velocity in velocities.items():
        for place, style in styles.items():
            y, v = _profile(flow, velocity[:, 1], place)
            panel.plot(100 * v, y, style, color=colors[name], lw=1.1)
    panel.set_xlabel("V over the bulk velocity [%]")
    panel.set_ylabel("y / h")
    told = [Line2D([], [], color=color, label=name) for name, color in colors.items()]
    told += [
        Line2D([], [], color="gray", ls=style, label=f"z = {place:g} h")
        for place, style in styles.items()
    ]
    figure.legend(handles=told, fontsize="x-small", loc="outside lower center", ncols=2)


def _vectors(
    panel: Any,
    flow: xr.Dataset,
    velocity: Velocity,
    height: float,
    levels: Float[np.ndarray, " level"],
) -> Any:
    """Speed in the section as colour, with arrows on an even grid, over one half height."""
    position = flow["position"].values[:, 1:] / height
    far = position[:, 1].max()
    near = position[:, 1] > far - 1
    y, z = position[near, 0], position[near, 1] - (far - position[near, 1].max())
    speed = np.hypot(velocity[near, 1], velocity[near, 2])
    shown = panel.tricontourf(z, y, 100 * speed, levels=levels, cmap="viridis")
    low = z.min()
    grid = np.linspace(0.04, 0.98, ARROWS)
    chosen = [
        int(np.argmin((y - a) ** 2 + (z - low - b * (z.max() - low)) ** 2))
        for a in grid
        for b in grid
    ]
    panel.quiver(
        z[chosen],
        y[chosen],
        velocity[near, 2][chosen],
        velocity[near, 1][chosen],
        color="white",
        scale=0.35,
        width=0.004,
    )
    panel.set_aspect("equal")
    panel.set_xlabel("z / h")
    panel.set_xticks([])
    return shown


def _profile(
    flow: xr.Dataset, values: Float[np.ndarray, " cell"], place: float
) -> tuple[Float[np.ndarray, " row"], Float[np.ndarray, " row"]]:
    """Values over y in the column of cells nearest to a place, see `LINES`."""
    position = flow["position"].values[:, 1:]
    height = position[:, 0].max()
    wanted = position[:, 1].max() - (1 - place) * height
    column = position[np.argmin(abs(position[:, 1] - wanted)), 1]
    own = np.flatnonzero(np.isclose(position[:, 1], column, rtol=1e-6))
    own = own[np.argsort(position[own, 0])]
    return position[own, 0] / height, values[own]
