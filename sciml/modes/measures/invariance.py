"""Invariance: is the fit equivariant, does it transfer, how many modes does it take to travel."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import xarray as xr

from sciml.modes.grids import axes_of
from sciml.modes.layout import TIME
from sciml.modes.measures.meaning import principal_angles
from sciml.modes.measures.windows import View, Window
from sciml.modes.measures.yardstick import Yardstick, directions
from sciml.modes.method import Method

__all__ = ["EXACT", "equivariance", "rank_needed", "transfer"]

EXACT = ("turned 90°", "mirrored")
"""Views that take points of the window to points of it, so that only rounding stands between."""


def transfer(
    method: Method, window: Window, times: slice | np.ndarray, yardstick: Yardstick
) -> dict[str, float]:
    """Relative errors of a method, fitted through the window, on views it has never seen.

    Args:
        method: fitted on the window's plain view of other snapshots.
        window: what it is shown.
        times: of the snapshots that are shown.
        yardstick: of the plain view; errors are relative to the energy of the deviations.

    Returns:
        name of the view to error, the plain one first.
    """
    found = {}
    for name, view in {"as it was": View(), **window.views}.items():
        truth = window.seen(view, times)
        found[name] = yardstick.error(truth, method.reconstruct(truth))
    return found


def equivariance(
    make: Callable[[], Method],
    fitted: Method,
    window: Window,
    times: slice | np.ndarray,
    yardstick: Yardstick,
    views: Sequence[str] = EXACT,
) -> dict[str, float]:
    """The largest angle [rad] between modes of a view and the view of the modes.

    Args:
        make: gives an unfitted method.
        fitted: one that was fitted on the plain view.
        window: what methods are fitted on.
        times: of the training snapshots.
        yardstick: of the plain view.
        views: which are tried.
    """
    plain = _modes(fitted, window.seen(View(), times), yardstick)
    found = {}
    for name in views:
        if name not in window.views:
            continue
        view = window.views[name]
        train = window.seen(view, times)
        method = make()
        method.fit(train)
        turned = _turned(plain, view, yardstick)
        found[name] = float(principal_angles(turned, _modes(method, train, yardstick)).max())
    return found


def _modes(method: Method, train: xr.Dataset, yardstick: Yardstick) -> np.ndarray:
    """Weighted directions (mode, point) that the latents move the field in."""
    rows = directions(method, method.encode(train), yardstick.layout)
    return rows * np.sqrt(yardstick.layout.weights)


def _turned(rows: np.ndarray, view: View, yardstick: Yardstick) -> np.ndarray:
    """Directions seen through another view of the same window."""
    fields = yardstick.layout.fields(rows / np.sqrt(yardstick.layout.weights), TIME).fillna(0.0)
    axes = axes_of(fields, yardstick.layout.variables) or ()
    points = (fields.sizes[axes[-1]] - 1) // 2
    window = Window(fields=fields, axes=axes, spacing=(1.0,) * len(axes), points=points)
    found = window.seen(view, slice(None))
    return np.asarray(yardstick.layout.rows(found)) * np.sqrt(yardstick.layout.weights)


def rank_needed(
    make: Callable[[int], Method],
    train: xr.Dataset,
    ranks: Sequence[int],
    yardstick: Yardstick,
    *,
    energy: float = 0.99,
) -> tuple[int | None, Mapping[int, float]]:
    """The least of some ranks that holds a share of the energy, and the share of each rank tried.

    Args:
        make: gives an unfitted method of a rank.
        train: snapshots, such as a travelling structure.
        ranks: in increasing order; the search ends with the first that suffices.
        yardstick: of the snapshots.
        energy: the share asked for.
    """
    held: dict[int, float] = {}
    for rank in ranks:
        method = make(rank)
        method.fit(train)
        held[rank] = 1.0 - yardstick.error(train, method.reconstruct(train)) ** 2
        if held[rank] >= energy:
            return rank, held
    return None, held
