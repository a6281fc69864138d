"""Pictures of assimilation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import xarray as xr

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["twin_figure"]

WIDTH = 7.2
"""Width of a figure in inches: the text width of a page."""


def twin_figure(
    twin: xr.Dataset,
    method: str,
    *,
    sample: int = 0,
    start: float | None = None,
    stop: float | None = None,
) -> Figure:
    """Truth, observations and the analysis of one method with its spread, a row for each component.

    Args:
        twin: from :func:`twin_experiment`.
        method: whose analysis is shown.
        sample: which experiment.
        start, stop: of the times shown; all by default.

    Raises:
        ValueError: a method that the experiment does not have.
    """
    from matplotlib.figure import Figure

    names = twin["analysis"].values.tolist()
    if method not in names:
        raise ValueError(f"the experiment has no method {method!r}: choose among {names}")
    one = twin.isel(sample=sample).sel(time=slice(start, stop))
    analysis = one.sel(analysis=method)
    time = one["time"].values
    components = one["component"].values.tolist()
    figure = Figure(figsize=(WIDTH, 0.4 + 1.35 * len(components)), layout="constrained")
    rows = figure.subplots(len(components), 1, sharex=True, squeeze=False)[:, 0]
    for axes, component in zip(rows, components, strict=True):
        axes.plot(time, one["truth"].sel(component=component), color="black", lw=1.0, label="truth")
        mean = analysis["state"].sel(component=component).values
        spread = analysis["spread"].sel(component=component).values
        axes.fill_between(time, mean - 2 * spread, mean + 2 * spread, color="C0", alpha=0.25, lw=0)
        axes.plot(time, mean, color="C0", lw=1.0, ls="--", label=f"{method} ± 2 spreads")
        if component in one["observed"].values:
            seen = one["observation"].sel(observed=component)
            axes.plot(time, seen, ".", color="C3", markersize=3.5, label="observations")
            axes.legend(
                frameon=False, fontsize=7, ncols=3, loc="lower right", bbox_to_anchor=(1.0, 0.97)
            )
        axes.set_ylabel(component)
    rows[-1].set_xlabel("time")
    figure.set_label(
        f"Twin experiment: {', '.join(twin.attrs['observed'])} observed with error variance "
        f"{twin.attrs['error_variance']:g}; truth, observations and analysis by {method}"
    )
    return figure
