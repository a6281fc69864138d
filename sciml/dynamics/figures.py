"""Pictures of forecasts, of the attractor, and of integration schemes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from jaxtyping import Float

from sciml.dynamics.diagnostics import normalized_error, return_map
from sciml.dynamics.systems import LYAPUNOV_TIME, history_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "attractors",
    "error_growth",
    "forecast_figure",
    "recovery_figure",
    "return_maps",
    "scheme_errors",
]

WIDTH = 7.2
"""Width of a figure in inches: the text width of a page."""

TRUTH = "black"
VALID = 0.4
"""Normalised error up to which a forecast counts as valid."""


def attractors(truth: xr.Dataset, predictions: Mapping[str, xr.Dataset]) -> Figure:
    """The long run of the truth and of each model, x against z."""
    runs = {"truth": truth, **predictions}
    figure, panels = _panels(list(runs), xlabel="x", ylabel="z")
    for axes, (name, ds) in zip(panels, runs.items(), strict=True):
        run = ds["state"].isel(sample=0)
        colour = TRUTH if name == "truth" else "C0"
        axes.plot(run.sel(component="x"), run.sel(component="z"), color=colour, lw=0.25)
    figure.set_label(
        "Long runs from the same initial state: the attractor of the truth, and those of the models"
    )
    return figure


def forecast_figure(
    truth: xr.Dataset, predictions: Mapping[str, xr.Dataset], *, sample: int = 0
) -> Figure:
    """x of one forecast of each model beside the truth, the end of its validity marked."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, 0.5 + 0.95 * len(predictions)), layout="constrained")
    rows = figure.subplots(len(predictions), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    time = _leads(truth)
    ahead = slice(history_of(truth) - 1, None)
    actual = truth["state"].isel(sample=sample, time=ahead).sel(component="x")
    for axes, (name, prediction) in zip(rows, predictions.items(), strict=True):
        forecast = prediction["state"].isel(sample=sample, time=ahead).sel(component="x")
        axes.plot(time, actual, color=TRUTH, lw=0.9, label="truth")
        axes.plot(time, forecast, color="C1", lw=0.9, ls="--", label="forecast")
        error = _error(truth, prediction)[sample]
        beyond = np.flatnonzero(~(error <= VALID))
        if beyond.size:
            axes.axvline(time[beyond[0]], color="C3", lw=1.0)
        axes.set_title(name, loc="left", fontsize=8, pad=2)
        axes.set_ylabel("x")
    rows[0].legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, fontsize=7, borderpad=0)
    rows[-1].set_xlabel("time ahead [Lyapunov times]")
    figure.set_label(
        f"One forecast by each model; the line marks where its normalised error passes {VALID:g}"
    )
    return figure


def error_growth(
    truth: xr.Dataset, predictions: Mapping[str, xr.Dataset], *, exponent: float
) -> Figure:
    """Median over forecasts of the normalised error against time, beside the Lyapunov slope."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
    axes = figure.subplots()
    time, least = _leads(truth), VALID
    for place, (name, prediction) in enumerate(predictions.items()):
        error = np.median(_error(truth, prediction), axis=0)
        shown = (time > 0) & (error > 0) & np.isfinite(error)
        dashes = ("-", "--")[place % 2]
        axes.semilogy(time[shown], error[shown], label=name, lw=1.1, ls=dashes)
        least = min(least, error[shown].min(initial=VALID))
    axes.axhline(VALID, color="C3", lw=0.8, ls=":")
    early = np.array([0.0, 0.45 * time[-1]])
    slope = 0.1 * least * np.exp(exponent * LYAPUNOV_TIME * early)
    axes.semilogy(early, slope, color=TRUTH, lw=0.9, ls="-.", label="Lyapunov slope")
    axes.set(xlabel="time ahead [Lyapunov times]", ylabel="normalised error")
    axes.set_ylim(0.03 * least, 5)
    axes.legend(fontsize=7, ncols=2, loc="lower right")
    figure.set_label(
        "Growth of the median error of forecasts; dash-dotted, the slope of the largest "
        f"Lyapunov exponent; dotted, the limit {VALID:g} of a valid forecast"
    )
    return figure


def recovery_figure(observed: xr.Dataset, recovered: xr.Dataset, *, sample: int = 0) -> Figure:
    """Observations of one sequence, the truth behind them and what was recovered.

    Args:
        observed: `state`, NaN where nothing was seen, and `truth`.
        recovered: `state` at all times.
        sample: which sequence.
    """
    from matplotlib.figure import Figure

    seen, found = observed.isel(sample=sample), recovered.isel(sample=sample)
    names, time = observed["component"].values.tolist(), observed["time"].values
    figure = Figure(figsize=(WIDTH, 0.5 + 1.2 * len(names)), layout="constrained")
    rows = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
    for axes, name in zip(rows, names, strict=True):
        axes.plot(time, seen["truth"].sel(component=name), color=TRUTH, lw=1.0, label="truth")
        axes.plot(time, found["state"].sel(component=name), "C0--", lw=1.2, label="recovered")
        axes.plot(time, seen["state"].sel(component=name), "C3.", markersize=4, label="observed")
        axes.set_ylabel(name)
    figure.legend(*rows[0].get_legend_handles_labels(), loc="outside upper right", ncols=3)
    rows[-1].set_xlabel("time")
    figure.set_label(
        "One training sequence: the observations, the trajectory of the learned field that fits "
        "them best, and the truth, which no model sees"
    )
    return figure


def return_maps(truth: xr.Dataset, predictions: Mapping[str, xr.Dataset]) -> Figure:
    """Each maximum of z against the one before it, of the truth and of each model."""
    runs = {name: ds for name, ds in predictions.items() if "z" in ds["component"].values}
    figure, panels = _panels(list(runs), xlabel="maximum of z", ylabel="next maximum of z")
    before, after = _pairs(truth)
    margin = 0.25 * np.ptp(after)
    panels[0].set(
        xlim=(before.min() - margin, before.max() + margin),
        ylim=(after.min() - margin, after.max() + margin),
    )
    for axes, ds in zip(panels, runs.values(), strict=True):
        axes.plot(before, after, ".", color="0.7", markersize=1.5)
        axes.plot(*_pairs(ds), ".", color="C0", markersize=1.5)
    figure.set_label(
        "Lorenz's return map of the maxima of z: grey the truth, blue the models, cut off where "
        "they leave its neighbourhood"
    )
    return figure


def scheme_errors(
    steps: Sequence[float],
    errors: Mapping[str, Float[np.ndarray, " step"]],
    *,
    learned_at: float,
) -> Figure:
    """One-step error of integration schemes against the step, logarithmic on both axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6, 3.0), layout="constrained")
    axes = figure.subplots()
    for name, values in errors.items():
        axes.loglog(steps, values, "o-", markersize=3, label=name)
    axes.axvline(learned_at, color="0.6", lw=0.8, ls=":")
    axes.set(xlabel="step", ylabel="error of one step (root mean square)")
    axes.legend(fontsize=8)
    figure.set_label(
        "Error of one step of Lorenz-63 on unseen states; the dotted line marks the "
        "step that the learned tableau was fitted at"
    )
    return figure


def _panels(names: Sequence[str], *, xlabel: str, ylabel: str) -> tuple[Figure, list[Axes]]:
    """A figure with a titled panel for each name, four a row, all on the same axes."""
    from matplotlib.figure import Figure

    rows = -(-len(names) // 4)
    figure = Figure(figsize=(WIDTH, 0.6 + 1.7 * rows), layout="constrained")
    grid = figure.subplots(rows, 4, sharex=True, sharey=True, squeeze=False)
    panels = list(grid.flat)
    for axes, name in zip(panels, names, strict=False):
        axes.set_title(name)
    for axes in panels[len(names) :]:
        axes.set_axis_off()
    for axes in grid[:, 0]:
        axes.set_ylabel(ylabel)
    for axes in panels[max(len(names) - 4, 0) : len(names)]:
        axes.set_xlabel(xlabel)
        axes.tick_params(labelbottom=True)
    return figure, panels[: len(names)]


def _leads(truth: xr.Dataset) -> Float[np.ndarray, " lead"]:
    """Times from the last known state on, in Lyapunov times."""
    time = truth["time"].values[history_of(truth) - 1 :]
    return (time - time[0]) / LYAPUNOV_TIME


def _error(truth: xr.Dataset, prediction: xr.Dataset) -> Float[np.ndarray, "sample lead"]:
    names = prediction["component"].values.tolist()
    return normalized_error(truth.sel(component=names), prediction).values


def _pairs(ds: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    return return_map(ds["state"].sel(component="z").transpose("sample", "time").values)
