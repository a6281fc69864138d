"""Pictures of a wake: vorticity, forces, the way to the limit cycle, modes and forecasts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from jaxtyping import Complex128, Float

from sciml.modes.layout import TIME, Layout
from sciml.modes.pod import Pod

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "eigenvalue_figure",
    "field_figure",
    "force_figure",
    "forecast_figure",
    "manifold_figure",
    "vorticity",
]

WIDTH = 7.2
"""Width of a figure in inches: the text width of a page."""


def vorticity(velocity: xr.DataArray) -> xr.DataArray:
    """∂v/∂x − ∂u/∂y by central differences; NaN beside the solid, where velocity is NaN."""
    along, across = velocity.isel(i=0, drop=True), velocity.isel(i=1, drop=True)
    return across.differentiate("x") - along.differentiate("y")


def field_figure(
    rows: Mapping[str, Sequence[xr.DataArray]],
    heads: Sequence[str] = (),
    *,
    limit: float | None = None,
    caption: str,
) -> Figure:
    """Fields over x and y, one row of pictures for each name.

    Args:
        rows: by the words written beside them; all have equally many.
        heads: words above the columns.
        limit: where the colours end on both sides of zero; by default each picture has its own.
        caption: of the figure.
    """
    from matplotlib.figure import Figure

    columns = len(next(iter(rows.values())))
    first = next(iter(rows.values()))[0]
    tall = float(np.ptp(first["y"].values) / np.ptp(first["x"].values))
    height = 0.45 + len(rows) * (tall * (WIDTH - 0.6) / columns + 0.12)
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots(len(rows), columns, squeeze=False, sharex=True, sharey=True)
    for line, (name, fields) in zip(axes, rows.items(), strict=True):
        for ax, field in zip(line, fields, strict=True):
            _picture(ax, field, limit)
        line[0].set_ylabel(f"{name}\n$y/D$".strip(), fontsize="small")
    for ax, head in zip(axes[0], heads, strict=False):
        ax.set_title(head, fontsize="small")
    for ax in axes[-1]:
        ax.set_xlabel("$x/D$", fontsize="small")
    figure.set_label(caption)
    return figure


def force_figure(force: xr.DataArray, saturated_from: float, reached: float) -> Figure:
    """Drag and lift over time, and the size of the lift on a logarithmic scale.

    Args:
        force: coefficients (force_time, i).
        saturated_from: when the record is taken for periodic.
        reached: Strouhal number of what follows.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, 2.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    time, values = force["force_time"].values, force.transpose("force_time", "i").values
    for i, word in enumerate(("drag", "lift")):
        left.plot(time, values[:, i], lw=0.8, label=word)
    left.set(xlabel="$tU/D$", ylabel="coefficient")
    left.legend(loc="center left")
    right.semilogy(time, np.abs(values[:, 1]).clip(1e-5), lw=0.8, color="C1")
    right.set(xlabel="$tU/D$", ylabel="size of the lift coefficient")
    for ax in (left, right):
        ax.axvline(saturated_from, color="0.5", ls="--", lw=0.9)
        ax.margins(x=0)
    figure.set_label(
        "Drag and lift from the disturbed steady flow to the limit cycle, whose Strouhal number is "
        f"{reached:.4f}; what follows the dashed line is taken for periodic"
    )
    return figure


def manifold_figure(ds: xr.Dataset, pod: Pod) -> Figure:
    """The way from the steady flow to the limit cycle: oscillation against shift of the mean.

    Args:
        ds: the whole record, with `steady_velocity`.
        pod: of the limit cycle's velocity, with two modes or more.
    """
    from matplotlib.figure import Figure

    turning, shift = shift_amplitudes(ds, pod)
    figure = Figure(figsize=(WIDTH, 2.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(turning[:, 0], shift, lw=0.7)
    left.set(xlabel="amplitude of the first mode", ylabel="amplitude of the shift mode")
    size = np.hypot(*turning[:, :2].T)
    right.plot(size**2, shift, lw=0.9, label="record")
    slope = float(shift @ size**2 / (size**2 @ size**2))
    right.plot(size**2, slope * size**2, color="0.5", ls="--", lw=0.9, label="proportional")
    right.set(xlabel="square of the oscillation", ylabel="amplitude of the shift mode")
    right.legend()
    figure.set_label(
        "The way from the unstable steady flow (zero) to the limit cycle: amplitude of the shift "
        "mode, which leads from the steady flow to the mean of the limit cycle, against that of "
        "the first two POD modes of the limit cycle. In mean-field theory the shift follows the "
        "square of the oscillation"
    )
    return figure


def shift_amplitudes(
    ds: xr.Dataset, pod: Pod
) -> tuple[Float[np.ndarray, "time mode"], Float[np.ndarray, " time"]]:
    """Amplitudes of POD modes and of the shift mode, both zero in the steady flow."""
    layout = pod.layout
    steady = ds[["steady_velocity"]].rename(steady_velocity="velocity").expand_dims(TIME)
    shift = _rows(layout, pod.result[["mean"]].rename(mean="velocity").expand_dims(TIME))[0]
    start = _rows(layout, steady)[0]
    shift = shift - start
    turning = pod.encode(ds).values - pod.encode(steady.assign_coords({TIME: [0.0]})).values
    modes = _rows(layout, pod.result[["modes"]].rename(modes="velocity"), "mode")
    shift = shift - modes.T @ (modes @ (layout.weights * shift))
    shift = shift / np.sqrt(layout.weights @ shift**2)
    return turning, (_rows(layout, ds) - start) @ (layout.weights * shift)


def _rows(layout: Layout, ds: xr.Dataset, dim: str = TIME) -> Float[np.ndarray, "row point"]:
    return np.asarray(layout.rows(ds, dim), dtype=np.float64)


def eigenvalue_figure(found: Mapping[str, Complex128[np.ndarray, " mode"]]) -> Figure:
    """Eigenvalues of one step beside the unit circle, and how far they are from it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, 3.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    turn = np.linspace(0, 2 * np.pi, 200)
    left.plot(np.cos(turn), np.sin(turn), color="0.6", lw=0.9)
    for marker, (name, values) in zip("o+xsD", found.items(), strict=False):
        left.plot(values.real, values.imag, marker, ms=5, mfc="none", label=name)
        upper = values[values.imag >= 0]
        distance = np.abs(np.abs(upper) - 1).clip(1e-9)
        right.semilogy(np.angle(upper) / (2 * np.pi), distance, marker, ms=5, mfc="none")
    left.set(xlabel="real part", ylabel="imaginary part", aspect="equal")
    left.legend(loc="center", fontsize="small")
    right.set(xlabel="periods in one step", ylabel="distance from the unit circle")
    right.grid(which="major")
    figure.set_label("Eigenvalues of one step of the saturated wake, and the unit circle")
    return figure


def forecast_figure(
    errors: Mapping[str, Float[np.ndarray, " time"]], step: float, period: float
) -> Figure:
    """Relative error of forecasts over time."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, 3.0), layout="constrained")
    ax: Any = figure.subplots()
    for name, error in errors.items():
        time = step * np.arange(1, len(error) + 1) / period
        ax.semilogy(time, np.clip(error, 1e-6, 10), lw=0.9, label=name)
    ax.axhline(1.0, color="0.5", ls="--", lw=0.9)
    ax.set(xlabel="periods after the last known snapshot", ylabel="relative error")
    ax.margins(x=0)
    ax.grid(which="major")
    ax.legend(fontsize="small", ncols=2)
    figure.set_label(
        "Relative error of velocity forecast from the end of the training snapshots of the limit "
        "cycle; 1 (dashed) is that of their mean"
    )
    return figure


def _picture(ax: Axes, field: xr.DataArray, limit: float | None) -> None:
    values = field.transpose("y", "x").values
    finite = np.abs(values[np.isfinite(values)])
    top = limit or (float(np.quantile(finite, 0.995)) if finite.size else 1.0) or 1.0
    ax.set_facecolor("0.82")
    ax.pcolormesh(
        field["x"].values,
        field["y"].values,
        values,
        cmap="RdBu_r",
        vmin=-top,
        vmax=top,
        shading="nearest",
        rasterized=True,
    )
    ax.set_aspect("equal")
