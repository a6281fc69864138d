"""Pictures of ignitions: traces, errors, and where a surrogate is to be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from jaxtyping import Float

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "delay_errors",
    "error_by_distance",
    "ignition_traces",
    "measurement_figure",
    "trust_map",
]

WIDTH = 7.2
"""Width of a figure in inches: the text width of a page."""

TRUTH = "black"
ATMOSPHERE = 101325.0


def ignition_traces(
    tests: xr.Dataset, predictions: Mapping[str, xr.Dataset], *, count: int = 6
) -> Figure:
    """Temperature of some unseen ignitions in time, from the quickest to the slowest."""
    from matplotlib.figure import Figure

    order = np.argsort(tests["ignition_delay"].values)
    count = min(count, len(order))
    chosen = order[np.linspace(0, len(order) - 1, count).round().astype(int)]
    rows = 1 if count <= 3 else 2
    figure = Figure(figsize=(WIDTH, 0.6 + 1.9 * rows), layout="constrained")
    panels = figure.subplots(rows, -(-count // rows), sharey=True, squeeze=False)
    for axes in panels.flat[count:]:
        axes.set_axis_off()
    for axes, sample in zip(panels.flat, chosen, strict=False):
        one = tests.isel(sample=int(sample))
        duration = float(one["time_step"] * one["steps"])
        time = 1e6 * np.linspace(0, duration, one.sizes["point"])
        axes.plot(time, one["trace"], color=TRUTH, lw=2.2, label="direct integration")
        for name, ds in predictions.items():
            axes.plot(time, ds["trace"].isel(sample=int(sample)), lw=1.0, label=name)
        delay = 1e6 * float(one["ignition_delay"])
        axes.set_xlim(0, min(3 * delay, time[-1]))
        axes.set_title(
            f"{float(one['temperature']):.0f} K, {float(one['pressure']) / ATMOSPHERE:.2f} atm",
            fontsize="medium",
        )
    for axes in panels[-1]:
        axes.set_xlabel("time [µs]")
    for axes in panels[:, 0]:
        axes.set_ylabel("temperature [K]")
    lines, names = panels[0, 0].get_legend_handles_labels()
    figure.legend(lines, names, fontsize="small", loc="outside upper center", ncols=len(names))
    figure.set_label(
        "Ignitions that no model was trained on, each step from the result of the last; from the "
        "quickest to the slowest"
    )
    return figure


def delay_errors(tests: xr.Dataset, predictions: Mapping[str, xr.Dataset]) -> Figure:
    """Relative error of the ignition delay against the delay, of each model."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    delay = tests["ignition_delay"].values
    for name, ds in predictions.items():
        error = abs(ds["ignition_delay"].values / delay - 1)
        left.loglog(1e6 * delay, error.clip(1e-6), "o", ms=3, label=name)
        final = abs(ds["temperature_final"].values - tests["temperature_final"].values)
        right.semilogy(tests["temperature"], final.clip(1e-4), "o", ms=3)
    left.axhline(0.01, color="0.5", lw=0.8, ls="--")
    right.axhline(5.0, color="0.5", lw=0.8, ls="--")
    left.set_xlabel("ignition delay [µs]")
    left.set_ylabel("relative error of the delay")
    right.set_xlabel("initial temperature [K]")
    right.set_ylabel("error of the final temperature [K]")
    figure.legend(fontsize="small", loc="outside upper center", ncols=len(predictions))
    figure.set_label(
        "Errors of unseen ignitions. Dashed: what is asked of the mean, one per cent and 5 K"
    )
    return figure


def error_by_distance(
    distance: Float[np.ndarray, " state"],
    error: Float[np.ndarray, " state"],
) -> Figure:
    """Error of one step against the distance of the state from those of the training."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(0.6 * WIDTH, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.axvline(1.0, color="0.3", lw=0.9, ls="--", label="end of the trusted states")
    distance = distance.clip(1e-2)
    axes.loglog(distance, error.clip(1e-8), ".", ms=2, alpha=0.4, rasterized=True)
    edges = np.geomspace(distance.min(), distance.max() * 1.0001, 13)
    place = np.digitize(distance, edges)
    filled = [k for k in range(1, len(edges)) if (place == k).sum() >= 5]
    middle = [np.sqrt(edges[k - 1] * edges[k]) for k in filled]
    axes.loglog(middle, [np.median(error[place == k]) for k in filled], "k-", label="median")
    axes.set_xlabel("distance from the training states")
    axes.set_ylabel("error of one step")
    axes.legend(fontsize="small")
    figure.set_label(
        "Error of one step, the mean over the species of that of the transformed mass fractions, "
        "against the distance from the nearest cluster of training states over its radius; states "
        "inside and outside the range of the training"
    )
    return figure


def trust_map(
    temperature: Float[np.ndarray, " column"],
    equivalence_ratio: Float[np.ndarray, " row"],
    trusted: Float[np.ndarray, "row column"],
    *,
    inside: tuple[tuple[float, float], tuple[float, float]],
) -> Figure:
    """Share of the steps of an ignition that are trusted, over unburnt states."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(0.62 * WIDTH, 3.4), layout="constrained")
    axes = figure.subplots()
    shown = axes.pcolormesh(temperature, equivalence_ratio, trusted, vmin=0, vmax=1, cmap="viridis")
    (left, right), (low, high) = inside
    corners = ([left, right, right, left, left], [low, low, high, high, low])
    axes.plot(*corners, color="white", lw=1.4, ls="--")
    axes.set_xlabel("initial temperature [K]")
    axes.set_ylabel("equivalence ratio")
    figure.colorbar(shown, label="trusted share of the steps")
    figure.set_label(
        "Where the surrogate is to be trusted, at 1.7 atm; dashed, the range of its training"
    )
    return figure


def measurement_figure(
    measured: xr.Dataset,
    simulated: Float[np.ndarray, " sample"],
    air: xr.Dataset,
    curves: Mapping[str, tuple[Float[np.ndarray, " point"], Float[np.ndarray, " point"]]],
    stepped: Float[np.ndarray, " sample"],
) -> Figure:
    """Measured ignition delays beside the mechanism and the surrogate.

    Args:
        measured: all points that the mechanism is compared with.
        simulated: delays of these by the mechanism, s.
        air: the points in air, where the surrogate may be asked.
        curves: name of a pressure to temperatures and delays by the mechanism in air.
        stepped: delays of the points in air by the surrogate, s.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, 3.3), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, (temperature, delay) in curves.items():
        left.semilogy(1000 / temperature, 1e6 * delay, lw=1.0, label=f"mechanism, {name}")
    places = 1000 / air["temperature"].values
    left.semilogy(places, 1e6 * air["ignition_delay"], "ks", ms=5, mfc="none", label="measured")
    left.semilogy(places, 1e6 * stepped, "x", color="C3", label="network")
    left.set_xlabel("1000 K / T")
    left.set_ylabel("ignition delay [µs]")
    left.legend(fontsize="small")
    left.set_title("stoichiometric hydrogen in air", fontsize="medium")
    ratio = simulated / measured["ignition_delay"].values
    right.semilogy(measured["temperature"], ratio, "o", ms=2.5, alpha=0.6)
    middle = float(np.nanmedian(ratio))
    right.axhline(1.0, color="black", lw=0.9)
    right.axhline(middle, color="C1", lw=1.2, ls="--", label=f"median {middle:.2f}")
    right.set_xlabel("temperature [K]")
    right.set_ylabel("simulated over measured delay")
    right.legend(fontsize="small")
    right.set_title("mechanism, shock tubes, 1 to 3 atm", fontsize="medium")
    figure.set_label(
        "Ignition delays measured in shock tubes above 1150 K (ChemKED). Left: in air, where the "
        "network may be asked, at constant pressure. Right: mixtures mostly diluted in argon, by "
        "the mechanism at constant volume; the network refuses them"
    )
    return figure
