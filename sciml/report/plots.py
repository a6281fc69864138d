"""Figures as a paper wants them: one style, drawn without a display."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from cycler import cycler
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sciml.data.files import atomic

__all__ = ["COLOURS", "TEXT_WIDTH", "figure", "save_figure", "style", "training_curves"]

TEXT_WIDTH = 6.9
"""Width of a page's text in inches: the width of a figure that spans it."""

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#4d4d4d")
"""Colours told apart by all eyes (Okabe and Ito), in the order of use."""

_STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#4d4d4d",
    "axes.labelsize": 9,
    "axes.linewidth": 0.6,
    "axes.prop_cycle": cycler(color=COLOURS),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 9,
    "figure.constrained_layout.use": True,
    "figure.dpi": 100,
    "figure.titlesize": 10,
    "font.family": "STIXGeneral",
    "font.size": 9,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.5,
    "image.interpolation": "nearest",
    "image.origin": "lower",
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    "mathtext.fontset": "stix",
    "savefig.dpi": 220,
    "xtick.color": "#4d4d4d",
    "xtick.labelcolor": "black",
    "xtick.labelsize": 8,
    "xtick.major.width": 0.6,
    "ytick.color": "#4d4d4d",
    "ytick.labelcolor": "black",
    "ytick.labelsize": 8,
    "ytick.major.width": 0.6,
}


@contextmanager
def style() -> Iterator[None]:
    """Draw in the report's style for as long as the block lasts."""
    with matplotlib.rc_context(_STYLE):
        yield


def figure(
    rows: int = 1,
    columns: int = 1,
    *,
    width: float = TEXT_WIDTH,
    height: float | None = None,
    **options: Any,
) -> tuple[Figure, np.ndarray]:
    """A figure with a grid of axes, in the report's style.

    Args:
        rows: of axes.
        columns: of axes.
        width: of the figure, in inches; the text's width by default.
        height: of the figure, in inches; by default each axes is as high as 0.62 of its width.
        options: for `Figure.subplots`, `sharex=True` say.

    Returns:
        the figure, and its axes as an array of shape (rows, columns).

    >>> _, axes = figure(2, 3)
    >>> axes.shape
    (2, 3)
    """
    height = 0.62 * width / columns * rows if height is None else height
    with style():
        made = Figure(figsize=(width, height))
        return made, made.subplots(rows, columns, squeeze=False, **options)


def save_figure(drawn: Figure, path: Path) -> Path:
    """Write a figure as a PNG file, atomically; return the path."""
    with style(), atomic(path) as part:
        FigureCanvasAgg(drawn)
        drawn.savefig(part, format="png", metadata={"Software": None})
    return path


def training_curves(histories: Mapping[str, Mapping[str, Any]]) -> Figure | None:
    """The loss over the epochs of every fit that kept a history, on a logarithmic scale.

    The members of an ensemble, `name/0`, `name/1`, ..., share a colour.

    Args:
        histories: by fit, the columns `train_loss` and, where there is one, `valid_loss`.

    Returns:
        the figure; None if there is no history to draw.
    """
    models = list(dict.fromkeys(fit.partition("/")[0] for fit in histories))
    if not models:
        return None
    drawn, axes = figure(height=2.9)
    ax = axes[0, 0]
    for fit, history in histories.items():
        model = fit.partition("/")[0]
        colour = COLOURS[models.index(model) % len(COLOURS)]
        _curve(ax, history.get("train_loss"), color=colour, linewidth=0.8, linestyle="--")
        _curve(ax, history.get("valid_loss"), color=colour)
    for number, model in enumerate(models):
        ax.plot([], [], color=COLOURS[number % len(COLOURS)], label=model)
    ax.plot([], [], color="#4d4d4d", linewidth=0.8, linestyle="--", label="training")
    ax.plot([], [], color="#4d4d4d", label="validation")
    ax.set(yscale="log", xlabel="epoch", ylabel="loss")
    ax.margins(x=0)
    ax.grid(which="major")
    ax.legend(ncols=2)
    drawn.set_label(
        "Training curves: the loss on the training samples (dashed) and on the validation "
        "samples (solid) after each epoch, of every model that is trained."
    )
    return drawn


def _curve(ax: Any, values: Any, **options: Any) -> None:
    """A column over the epochs; missing values leave gaps."""
    if values is None:
        return
    losses = np.array([np.nan if value is None else value for value in values], dtype=float)
    marker = "o" if len(losses) < 3 else None
    ax.plot(np.arange(1, len(losses) + 1), losses, marker=marker, **options)
