"""Pictures of a comparison: energies, modes, eigenvalues, spectra, fields beside the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from sciml.modes.compare import Comparison
from sciml.modes.grids import axes_of, gridded
from sciml.modes.layout import MASK, TIME
from sciml.modes.measures import power_spectra

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["comparison_figures"]

WIDTH = 7.2
"""Width of a figure in inches: the text width of a page."""

OWN_SCALE = "; each has its own scale, pictures one symmetric about zero"

MARKERS = "osD^vP*X"
MOST_MODES, MOST_ROWS = 4, 6
"""In one picture of modes: in a row, and below one another."""


def comparison_figures(comparison: Comparison) -> dict[str, Figure]:
    """Every figure that the data allows, by name; a label is its caption."""
    drawn = {
        "energy": energy_figure(comparison),
        "modes": modes_figure(comparison),
        "reconstruction": reconstruction_figure(comparison),
        "octaves": octaves_figure(comparison),
        "forecast": forecast_figure(comparison),
        "eigenvalues": eigenvalues_figure(comparison),
        "spectra": spectra_figure(comparison),
        "invariance": invariance_figure(comparison),
    }
    return {name: figure for name, figure in drawn.items() if figure is not None}


def _panels(rows: int, columns: int, height: float, **options: Any) -> tuple[Figure, np.ndarray]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def _ran(comparison: Comparison) -> Mapping[str, Mapping[str, Any]]:
    return {name: comparison.figures(name) for name in comparison.shown}


def energy_figure(comparison: Comparison) -> Figure:
    """What is lost against the number of modes or latents."""
    figure, axes = _panels(1, 2, 2.9)
    for place, record in enumerate(_ran(comparison).values()):
        ranks = record["scales"]["ranks"]
        style = {"marker": MARKERS[place % len(MARKERS)], "ms": 4, "label": record["title"]}
        axes[0, 0].plot(ranks["rank"], np.array(ranks["energy"]) * 100, **style)
        axes[0, 1].semilogy(ranks["rank"], np.clip(ranks["error"], 1e-8, None), **style)
    axes[0, 0].set(xlabel="modes or latents", ylabel="energy held, %", ylim=(None, 101))
    axes[0, 1].set(xlabel="modes or latents", ylabel="relative error")
    axes[0, 0].legend(fontsize="small")
    for ax in axes.flat:
        ax.grid(which="major")
    figure.set_label(
        "Energy of the deviations from the mean that is held, and relative error of the "
        "reconstruction, of snapshots between those trained on, against the number of modes"
    )
    return figure


def modes_figure(comparison: Comparison) -> Figure | None:
    """The first modes of each method, as pictures or lines with their coordinates."""
    name = comparison.yardstick.layout.variables[0]
    fields = {}
    for method in list(comparison.shown)[:MOST_ROWS]:
        modes = comparison.shown[method].modes.isel(mode=slice(0, MOST_MODES))
        grid = gridded(_component(modes, name), [name])
        if grid is None:
            return _lines_without_grid(comparison, name)
        fields[comparison.figures(method)["title"]] = grid
    columns = min(MOST_MODES, next(iter(fields.values())).sizes["mode"])
    heads = [f"mode {k + 1}" for k in range(columns)]
    figure = _pictures(
        {
            title: [grid[name].isel(mode=k) for k in range(grid.sizes["mode"])]
            for title, grid in fields.items()
        },
        heads,
    )
    what = _what(comparison, name)
    figure.set_label(
        f"The first modes of each method: how {what} changes with each latent, by one standard "
        f"deviation of it{OWN_SCALE}"
    )
    return figure


def _what(comparison: Comparison, name: str) -> str:
    has_components = "i" in comparison.yardstick.layout.template[name].dims
    return f"the first component of {name}" if has_components else name


def _component(ds: xr.Dataset, name: str) -> xr.Dataset:
    """One variable, of a vector its first component."""
    return ds[[name]].isel(i=0) if "i" in ds[name].dims else ds[[name]]


def _pictures(rows: Mapping[str, Sequence[xr.DataArray]], heads: Sequence[str]) -> Figure:
    """Fields in a plane as pictures, on a line as curves, with shared axes."""
    first = next(iter(rows.values()))[0]
    axes = [axis for axis in ("z", "y", "x") if axis in first.dims]
    flat = len(axes) == 1
    shape = 0.5 if flat else min(1.3, _extent(first, axes[-2]) / _extent(first, axes[-1]))
    height = 0.6 + len(rows) * (WIDTH / len(heads) * max(shape, 0.3) + 0.12)
    figure, panels = _panels(len(rows), len(heads), height, sharex=True, sharey=not flat)
    for row, (title, fields) in enumerate(rows.items()):
        for column in range(len(heads)):
            if column < len(fields):
                _draw(panels[row, column], fields[column], axes)
            else:
                panels[row, column].set_axis_off()
        panels[row, 0].set_ylabel(
            title.replace(" ", "\n") + ("" if flat else f"\n{axes[-2]}"), fontsize="small"
        )
    for column, head in enumerate(heads):
        panels[0, column].set_title(head, fontsize="medium")
        panels[-1, column].set_xlabel(axes[-1])
    return figure


def _draw(ax: Any, field: xr.DataArray, axes: Sequence[str]) -> None:
    if len(axes) == 3:
        field = field.isel({axes[0]: field.sizes[axes[0]] // 2})
    x = _places(field, axes[-1])
    if len(axes) == 1:
        ax.plot(x, field.values)
        ax.margins(x=0)
        return
    values = field.transpose(*axes[-2:]).values
    finite = abs(values[np.isfinite(values)])
    top = float(np.quantile(finite, 0.999)) if len(finite) else 1.0
    ax.pcolormesh(
        x,
        _places(field, axes[-2]),
        values,
        cmap="RdBu_r",
        vmin=-(top or 1.0),
        vmax=top or 1.0,
        shading="nearest",
        rasterized=True,
    )
    ax.set_aspect("equal")


def _places(field: xr.DataArray, axis: str) -> np.ndarray:
    return field[axis].values if axis in field.coords else np.arange(field.sizes[axis])


def _extent(field: xr.DataArray, axis: str) -> float:
    return max(float(np.ptp(_places(field, axis))), 1e-30)


def _lines_without_grid(comparison: Comparison, name: str) -> Figure | None:
    """Modes over the number of the cell, where the mesh has no coordinates."""
    if comparison.yardstick.layout.points > 2000:
        return None
    titles = [comparison.figures(m)["title"] for m in list(comparison.shown)[:MOST_ROWS]]
    figure, axes = _panels(len(titles), 1, 0.6 + 1.3 * len(titles), sharex=True)
    for ax, title, shown in zip(axes[:, 0], titles, comparison.shown.values(), strict=False):
        rows = comparison.yardstick.layout.rows(shown.modes, "mode")
        for k, row in enumerate(np.asarray(rows)[:MOST_MODES]):
            ax.plot(row, label=f"mode {k + 1}")
        ax.set_ylabel(title, fontsize="small")
    axes[0, 0].legend(ncols=MOST_MODES, fontsize="small")
    axes[-1, 0].set_xlabel("number of the cell")
    figure.set_label(f"The first modes of each method, over the numbers of {name}")
    return figure


def reconstruction_figure(comparison: Comparison) -> Figure | None:
    """A snapshot that was not trained on, beside what each method makes of it."""
    name = comparison.yardstick.layout.variables[0]
    between = comparison.division.between
    middle = between.isel({TIME: [between.sizes[TIME] // 2]})
    rows, truth = {}, _framed(middle, comparison, name)
    if truth is None:
        return None
    mean = comparison.yardstick.layout.fields(comparison.yardstick.mean[None])
    about = float(_component(mean, name)[name].mean())
    for method in list(comparison.shown)[:MOST_ROWS]:
        found = _framed(comparison.shown[method].reconstruction, comparison, name)
        assert found is not None
        rows[comparison.figures(method)["title"]] = [truth - about, found - about, found - truth]
    figure = _pictures(rows, ["truth", "reconstruction", "difference"])
    time = float(middle[TIME].values[0])
    figure.set_label(
        f"{_what(comparison, name).capitalize()} at time {time:g}, between snapshots that were "
        f"trained on, less its mean {about:.3g}: the truth, what each method reconstructs, and the "
        f"difference{OWN_SCALE}"
    )
    return figure


def _framed(ds: xr.Dataset, comparison: Comparison, name: str) -> xr.DataArray | None:
    """A field on a grid, without a value in the solid."""
    field = _component(ds, name)
    train = comparison.division.train
    if MASK in train:
        field = field.assign({MASK: train[MASK]})
    grid = gridded(field, [name])
    if grid is None or axes_of(grid, [name]) is None:
        return None
    found = grid[name].isel({TIME: 0}, drop=True)
    return found.where(grid[MASK]) if MASK in grid else found


def octaves_figure(comparison: Comparison) -> Figure:
    """Relative error by octave of frequency and of wavenumber."""
    from matplotlib.ticker import NullFormatter

    ran = _ran(comparison)
    both = [kind for kind in ("frequency", "wavenumber") if _any(ran, kind)]
    figure, axes = _panels(1, len(both), 2.9)
    for ax, kind in zip(axes[0], both, strict=True):
        for place, record in enumerate(ran.values()):
            octaves = record["scales"][kind]
            energy = np.array(octaves["energy"])
            heard = energy > 1e-9
            style = {"marker": MARKERS[place % len(MARKERS)], "ms": 4, "label": record["title"]}
            error = np.clip(np.array(octaves["error"], float)[heard], 1e-8, None)
            ax.loglog(np.array(octaves["centre"])[heard], error, **style)
        ax.loglog(
            np.array(octaves["centre"])[heard],
            energy[heard],
            color="0.5",
            ls="--",
            label="share of the energy",
        )
        ax.set(xlabel=f"{kind}, octaves", ylabel="relative error")
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.grid(which="major")
    axes[0, 0].legend(fontsize="small")
    figure.set_label(
        "Relative error of the reconstruction by octave, and the share of the energy that lies "
        "in it (dashed)"
    )
    return figure


def _any(ran: Mapping[str, Mapping[str, Any]], kind: str) -> bool:
    return all(record["scales"][kind] is not None for record in ran.values())


def forecast_figure(comparison: Comparison) -> Figure | None:
    """Error against the time since the last snapshot that was known."""
    ran = {n: r for n, r in _ran(comparison).items() if r["scales"]["forecast"] is not None}
    if not ran:
        return None
    figure, axes = _panels(1, 1, 2.9)
    for place, record in enumerate(ran.values()):
        found = record["scales"]["forecast"]
        error = np.clip(np.array(found["error"], float), 1e-8, 1e3)
        axes[0, 0].semilogy(found["time"], error, color=f"C{place}", label=record["title"])
    axes[0, 0].axhline(1.0, color="0.5", ls="--", lw=0.9)
    axes[0, 0].set(xlabel="time since the last known snapshot", ylabel="relative error")
    axes[0, 0].margins(x=0)
    axes[0, 0].grid(which="major")
    axes[0, 0].legend(fontsize="small")
    dynamics = comparison.options.dynamics
    figure.set_label(
        "Relative error of the forecast from the end of the training snapshots; 1 is the mean of "
        f"them (dashed). Latents of methods without dynamics of their own go on by: {dynamics}"
    )
    return figure


def eigenvalues_figure(comparison: Comparison) -> Figure | None:
    """Eigenvalues of one step, with the unit circle."""
    found = {n: s.eigenvalues for n, s in comparison.shown.items() if s.eigenvalues is not None}
    if not found:
        return None
    figure, axes = _panels(1, len(found), min(3.6, WIDTH / len(found)))
    turn = np.linspace(0, 2 * np.pi, 200)
    for place, (name, values) in enumerate(found.items()):
        ax = axes[0, place]
        ax.plot(np.cos(turn), np.sin(turn), color="0.6", lw=0.9)
        ax.plot(values.real, values.imag, "o", ms=4, color=f"C{place}")
        ax.set_aspect("equal")
        ax.set(xlabel="real part", ylabel="imaginary part")
        ax.set_title(comparison.figures(name)["title"], fontsize="medium")
    figure.set_label(
        "Eigenvalues of one step between training snapshots; on the unit circle a mode neither "
        "grows nor decays"
    )
    return figure


def spectra_figure(comparison: Comparison) -> Figure:
    """Power of the first latents over frequency."""
    names = list(comparison.shown)
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure, axes = _panels(rows, columns, 0.5 + 1.9 * rows, sharex=True, sharey=True)
    step = comparison.record["data"]["step"]
    for ax, name in zip(axes.flat, names, strict=False):
        latents = comparison.shown[name].latents.transpose(TIME, "mode").values
        frequency, power = power_spectra(latents[:, :MOST_MODES], step)
        top = np.where(power.max(0) > 0, power.max(0), 1.0)
        for k, row in enumerate((power / top).T):
            ax.semilogy(frequency, row.clip(1e-8), lw=0.9, label=f"{k + 1}")
        ax.set_title(comparison.figures(name)["title"], fontsize="medium")
        ax.set_xlabel("frequency")
    for ax in list(axes.flat)[len(names) :]:
        ax.set_axis_off()
    axes[0, 0].set_ylabel("power over its largest")
    axes[0, 0].legend(fontsize="small", ncols=2, title="latent")
    figure.set_label("Spectra of the first latents over the training snapshots (Hann window)")
    return figure


def invariance_figure(comparison: Comparison) -> Figure | None:
    """Errors on views that methods have not seen."""
    ran = {n: r for n, r in _ran(comparison).items() if r["invariance"]["transfer"]}
    if not ran:
        return None
    views = list(next(iter(ran.values()))["invariance"]["transfer"])
    figure, axes = _panels(1, 1, 3.0)
    width = 0.8 / len(ran)
    for place, record in enumerate(ran.values()):
        errors = [record["invariance"]["transfer"][view] for view in views]
        where = np.arange(len(views)) + (place - (len(ran) - 1) / 2) * width
        axes[0, 0].bar(where, np.clip(errors, 1e-8, None), width, label=record["title"])
    axes[0, 0].set_yscale("log")
    axes[0, 0].set_xticks(range(len(views)), [v.replace(" ", "\n", 1) for v in views])
    axes[0, 0].set_ylabel("relative error")
    axes[0, 0].legend(fontsize="small")
    figure.set_label(
        "Relative error of each method, fitted through a round window in the middle of the domain, "
        "on the same flow through the window turned, moved, mirrored, magnified, and on deviations "
        "of other amplitudes"
    )
    return figure
