"""Pictures of flows: one flow, a prediction beside the solver's flow, and errors over a set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from jaxtyping import Float

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["comparison", "error_histogram", "flow_picture"]

WIDTH = 7.2
"""Width of a figure in inches: the text width of a page."""

DISTANCE_MAP, SPEED_MAP, PRESSURE_MAP, ERROR_MAP = "PuOr_r", "viridis", "RdBu_r", "magma_r"
SOLID = "0.82"
REACH = 0.5
"""Signed distance [m] at which its colours end."""


def flow_picture(ds: xr.Dataset, sample: int = 0) -> Figure:
    """Signed distance, speed with streamlines, and pressure of one sample."""
    from matplotlib.figure import Figure

    one = ds.isel(sample=sample)
    figure = Figure(figsize=(WIDTH, 1.5), layout="constrained")
    left, middle, right = figure.subplots(1, 3, sharey=True)
    _distance(left, one)
    _label(left, "signed distance [m]")
    _speed(middle, one, one["velocity"], limit=None)
    _label(middle, "speed [m s$^{-1}$]")
    pressure = _fluid(one, one["pressure"].values)
    limit = float(np.nanmax(np.abs(pressure)))
    _image(right, one, pressure, cmap=PRESSURE_MAP, vmin=-limit, vmax=limit)
    _label(right, "pressure [Pa]")
    left.set_ylabel("y [m]")
    for axes in (left, middle, right):
        axes.set_xlabel("x [m]")
    reynolds = float(one["reynolds_number"]) if "reynolds_number" in one else np.nan
    figure.set_label(f"Steady flow past the body at Re = {reynolds:.3g}")
    return figure


def comparison(
    truth: xr.Dataset, prediction: xr.Dataset, rows: Mapping[str, int], *, caption: str
) -> Figure:
    """Signed distance, the solver's speed, the predicted one on the same scale, and their error.

    Args:
        truth: samples with signed distance, Reynolds number and the solver's velocity.
        prediction: velocity of the same samples.
        rows: the sample that each row shows, by the words written beside it.
        caption: of the figure.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, 0.45 + 0.88 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), 4, sharex=True, sharey=True, squeeze=False)
    for axes, (words, sample) in zip(grid, rows.items(), strict=True):
        _compare(axes, truth.isel(sample=sample), prediction.isel(sample=sample), words)
    heads = ("signed distance [m]", "solver [m s$^{-1}$]", "prediction [m s$^{-1}$]")
    for axes, head in zip(grid[0], (*heads, "|error| [m s$^{-1}$]"), strict=True):
        axes.set_title(head)
    for axes in grid[-1]:
        axes.set_xlabel("x [m]")
    figure.set_label(caption)
    return figure


def error_histogram(errors: Mapping[str, Float[np.ndarray, " sample"]], *, caption: str) -> Figure:
    """How the relative error of velocity is spread over the samples of each test set."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, 2.4), layout="constrained")
    axes = figure.subplots()
    largest = max(float(np.nanmax(values)) for values in errors.values())
    bins = np.linspace(0, 100 * largest, 25)
    for name, values in errors.items():
        label = f"{name} ({values.size}), mean {100 * values.mean():.1f} %"
        weights = np.full(values.size, 100 / values.size)
        axes.hist(
            100 * values,
            bins=list(bins),
            weights=weights,
            histtype="step",
            linewidth=1.4,
            label=label,
        )
    axes.set(xlabel="relative error of velocity over the fluid [%]", ylabel="share of samples [%]")
    axes.legend(frameon=False)
    figure.set_label(caption)
    return figure


def _compare(axes: Sequence[Axes], truth: xr.Dataset, got: xr.Dataset, words: str) -> None:
    solver, predicted = (_fluid(truth, _magnitude(ds["velocity"])) for ds in (truth, got))
    error = _fluid(truth, _magnitude(got["velocity"] - truth["velocity"]))
    limit = float(max(np.nanmax(solver), np.nanmax(predicted)))
    _distance(axes[0], truth)
    _speed(axes[1], truth, truth["velocity"], limit, bar=False)
    _speed(axes[2], truth, got["velocity"], limit)
    _image(axes[3], truth, error, cmap=ERROR_MAP, vmin=0.0)
    axes[0].set_ylabel(f"{words}\ny [m]")


def _distance(axes: Axes, one: xr.Dataset) -> None:
    distance = one["signed_distance"].values
    _image(axes, one, distance, cmap=DISTANCE_MAP, vmin=-REACH, vmax=REACH)
    axes.contour(one["x"], one["y"], distance, levels=[0.0], colors="black", linewidths=0.7)


def _speed(
    axes: Axes, one: xr.Dataset, velocity: xr.DataArray, limit: float | None, *, bar: bool = True
) -> None:
    speed = _fluid(one, _magnitude(velocity))
    _image(axes, one, speed, cmap=SPEED_MAP, vmin=0.0, vmax=limit, bar=bar)
    along = velocity.transpose("component", "y", "x").values.astype(float)
    u, v = (_fluid(one, part) for part in along)
    axes.streamplot(
        one["x"].values,
        one["y"].values,
        u,
        v,
        color=(1, 1, 1, 0.65),
        linewidth=0.4,
        arrowsize=0.35,
        density=(1.1, 0.7),
    )


def _image(
    axes: Axes, one: xr.Dataset, values: np.ndarray, *, bar: bool = True, **scale: Any
) -> None:
    x, y = one["x"].values, one["y"].values
    half = (x[1] - x[0]) / 2
    extent = (x[0] - half, x[-1] + half, y[0] - half, y[-1] + half)
    image = axes.imshow(values, origin="lower", extent=extent, interpolation="nearest", **scale)
    axes.set_facecolor(SOLID)
    axes.set(xlim=extent[:2], ylim=extent[2:], xticks=[0, 1, 2], yticks=[0, 0.5, 1])
    if bar:
        ticks = axes.figure.colorbar(image, ax=axes, fraction=0.024, pad=0.02)
        ticks.outline.set_linewidth(0.4)
        ticks.ax.tick_params(labelsize=6, length=2)


def _label(axes: Axes, text: str) -> None:
    axes.set_title(text)


def _fluid(one: xr.Dataset, values: np.ndarray) -> np.ndarray:
    """Values in the fluid, NaN in the solid."""
    return np.where(one["signed_distance"].values > 0, values, np.nan)


def _magnitude(velocity: xr.DataArray) -> np.ndarray:
    return np.linalg.norm(velocity.transpose("component", "y", "x").values, axis=0)
