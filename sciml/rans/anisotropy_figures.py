"""Pictures of anisotropies: beside the simulation's, in the barycentric triangle, by distance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float

from sciml.rans.realizability import barycentric_position

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["anisotropy_maps", "barycentric_map", "coefficient_figure", "error_by_distance"]

WIDTH = 7.2
"""Width of a figure in inches: the text width of a page."""

PAIRS = {"$b_{11}$": (0, 0), "$b_{12}$": (0, 1), "$b_{22}$": (1, 1), "$b_{33}$": (2, 2)}
_FAR = 30.0
"""Distances beyond are drawn here."""

DUCT_PAIRS = {"$b_{12}$": (0, 1), "$b_{13}$": (0, 2), "$b_{22}$": (1, 1), "$b_{23}$": (1, 2)}


def anisotropy_maps(
    truth: xr.Dataset,
    predictions: Mapping[str, xr.Dataset],
    *,
    axes: tuple[int, int] = (0, 1),
    pairs: Mapping[str, tuple[int, int]] = PAIRS,
) -> Figure:
    """Components of b in the plane of a flow: the simulation first, models below it.

    Args:
        truth: samples of one flow, with `position` and `anisotropy`.
        predictions: name to `anisotropy` of the same samples.
        axes: which coordinates span the plane.
        pairs: name of a component to its place.
    """
    from matplotlib.figure import Figure

    rows = {"simulation": truth, **predictions}
    x, y = (truth["position"].values[:, axis] for axis in axes)
    size = _extent(x, y)
    height = 0.5 + len(rows) * (WIDTH / len(pairs)) * min(1.2, size)
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    panels = figure.subplots(len(rows), len(pairs), sharex=True, sharey=True, squeeze=False)
    dot = float(np.clip(18_000 / len(x), 1.0, 12.0))
    for column, (name, (i, j)) in enumerate(pairs.items()):
        values = truth["anisotropy"].values[:, i, j]
        top = float(np.quantile(abs(values), 0.995)) or 0.1
        for row, ds in enumerate(rows.values()):
            shown = panels[row, column].scatter(
                x,
                y,
                c=ds["anisotropy"].values[:, i, j],
                s=dot,
                marker="s",
                linewidths=0,
                vmin=-top,
                vmax=top,
                cmap="RdBu_r",
                rasterized=True,
            )
        panels[0, column].set_title(name, fontsize="medium")
        figure.colorbar(shown, ax=panels[:, column], location="bottom", shrink=0.85, aspect=18)
    for row, name in enumerate(rows):
        panels[row, 0].set_ylabel(name.replace(" ", "\n", 1), fontsize="small")
        for panel in panels[row]:
            panel.set_aspect("equal")
            panel.set_xticks([])
            panel.set_yticks([])
            panel.spines[:].set_visible(False)
    flow = truth.attrs.get("flow", "a flow")
    figure.set_label(f"Components of the anisotropy in {flow}, which no model was trained on")
    return figure


def barycentric_map(truth: xr.Dataset, predictions: Mapping[str, xr.Dataset]) -> Figure:
    """Where the anisotropies of a flow lie in the triangle of what turbulence can be."""
    from matplotlib.figure import Figure

    rows = {"simulation": truth, **predictions}
    figure = Figure(figsize=(WIDTH, 0.4 + 0.95 * WIDTH / len(rows)), layout="constrained")
    panels = figure.subplots(1, len(rows), sharex=True, sharey=True, squeeze=False)[0]
    for panel, (name, ds) in zip(panels, rows.items(), strict=True):
        place = barycentric_position(torch.from_numpy(ds["anisotropy"].values)).numpy()
        panel.plot([0, 1, 0.5, 0], [0, 0, 0.75**0.5, 0], color="black", lw=0.9)
        panel.plot(*place.T, ".", ms=1.2, alpha=0.25, rasterized=True)
        panel.set_title(name, fontsize="medium")
        panel.set_aspect("equal")
        panel.set_axis_off()
        for where, text, ha in (((1, 0), "one", "right"), ((0, 0), "two", "left")):
            panel.annotate(
                text, where, xytext=(0, -9), textcoords="offset points", ha=ha, fontsize="small"
            )
        panel.annotate(
            "three",
            (0.5, 0.75**0.5),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            fontsize="small",
        )
    flow = truth.attrs.get("flow", "a flow")
    figure.set_label(
        f"Anisotropies in {flow}: turbulence of one, two and three components at the corners; "
        "points outside the triangle are not realizable"
    )
    return figure


def error_by_distance(
    distances: Mapping[str, Float[np.ndarray, " sample"]],
    errors: Mapping[str, Float[np.ndarray, " sample"]],
) -> Figure:
    """Error of b against the distance from the training states, by flow."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(0.72 * WIDTH, 3.3), layout="constrained")
    axes = figure.subplots()
    axes.axvline(1.0, color="0.3", lw=0.9, ls="--", label="end of the trusted states")
    distances = {name: distance.clip(1e-2, _FAR) for name, distance in distances.items()}
    every = np.concatenate(list(distances.values()))
    edges = np.geomspace(every.min(), every.max() * 1.001, 12)
    for place, (name, distance) in enumerate(distances.items()):
        shown = slice(None, None, max(1, len(distance) // 1500))
        color = f"C{place}"
        axes.loglog(
            distance[shown],
            errors[name][shown].clip(1e-4),
            ".",
            ms=1.5,
            alpha=0.25,
            color=color,
            rasterized=True,
        )
        bins = np.digitize(distance, edges)
        filled = [k for k in range(1, len(edges)) if (bins == k).sum() >= 20]
        middle = [np.sqrt(edges[k - 1] * edges[k]) for k in filled]
        level = [np.sqrt(np.mean(errors[name][bins == k] ** 2)) for k in filled]
        axes.loglog(middle, level, "-o", ms=3, color=color, label=name)
    axes.set_xlabel("distance from the training states")
    axes.set_ylabel("error of b")
    axes.legend(fontsize="small")
    figure.set_label(
        "Error of the anisotropy in each cell, root-mean-square of nine components, against the "
        "distance of its features from the nearest cluster of training states over its radius; "
        "lines are root-mean-squares of bins"
    )
    return figure


def coefficient_figure(
    strain: Float[np.ndarray, " sample"],
    truth: Float[np.ndarray, "sample basis"],
    found: Float[np.ndarray, "sample basis"],
    *,
    shown: Sequence[int] = (0, 1, 3),
) -> Figure:
    """Coefficients of some tensors, known and found, against the strain."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, 2.7), layout="constrained")
    panels: Any = figure.subplots(1, len(shown))
    order = np.argsort(strain)
    for panel, basis in zip(panels, shown, strict=True):
        panel.semilogx(strain[order], truth[order, basis], ".", ms=3, color="black", label="known")
        panel.semilogx(strain[order], found[order, basis], "x", ms=3, color="C1", label="found")
        panel.set_xlabel("|G| k/ε")
        panel.set_title(f"coefficient of tensor {basis + 1}", fontsize="medium")
    panels[0].legend(fontsize="small")
    figure.set_label(
        "Coefficients of Pope's tensors in general flows: those of the model that made the labels, "
        "and those that the network found from the anisotropy alone"
    )
    return figure


def _extent(x: Float[np.ndarray, " sample"], y: Float[np.ndarray, " sample"]) -> float:
    return float(np.ptp(y) / max(np.ptp(x), 1e-30))
