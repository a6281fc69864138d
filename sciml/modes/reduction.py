"""Snapshots as few numbers each, and no field but those asked for: what DMD and SPOD run on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr
from jaxtyping import Float64, Inexact

from sciml.modes.layout import Layout, Scaling

__all__ = ["Reduction", "reduce"]

FLOORS = {"gram": 2e-8, "qr": 1e-10}
BLOCK = 2**22

Rows = Any


@dataclass(frozen=True, kw_only=True)
class Reduction:
    r"""All resolved POD amplitudes of snapshots, and the way back to the mesh.

    Distances and angles between rows of `states` are those between the snapshots in the inner
    product of the layout, so whatever is linear in the snapshots can be done with them. A field
    that is a combination of POD modes is one of snapshots as well: no POD mode is ever made.

    Attributes:
        layout: of the snapshots.
        mean: what was subtracted from each snapshot.
        states: POD amplitudes (time, state).
        mixing: POD modes are (snapshots - mean)ᵀ times this (time, state).
        rows: the snapshots.
    """

    layout: Layout
    mean: Float64[np.ndarray, " point"]
    states: Float64[np.ndarray, "time state"]
    mixing: Float64[np.ndarray, "time state"]
    rows: Rows

    def spread(
        self, vectors: Inexact[np.ndarray, "vector state"]
    ) -> Inexact[np.ndarray, "vector point"]:
        """The fields that vectors of POD amplitudes stand for."""
        share = vectors @ self.mixing.T
        found = np.empty((len(vectors), self.layout.points), dtype=share.dtype)
        for part in _blocks(self.rows):
            block = np.asarray(self.rows[:, part], dtype=np.float64) - self.mean[part]
            found[:, part] = share @ block
        return found


def reduce(
    ds: xr.Dataset,
    variables: Sequence[str] | None = None,
    *,
    scaling: Scaling = "none",
    mean: Literal["time", "none"] = "none",
    method: Literal["gram", "qr"] = "gram",
) -> Reduction:
    """The POD amplitudes of snapshots, as many as the arithmetic resolves.

    Args:
        ds: snapshots, see :class:`sciml.modes.Layout`.
        variables: which of the data's.
        scaling: of several variables.
        mean: "time" subtracts the mean of the snapshots.
        method: "gram" resolves amplitudes down to 2e-8 of the largest, "qr" down to 1e-10.

    Raises:
        ValueError: the data is not finite in the fluid, or does not differ from its mean.
    """
    layout = Layout.of(ds, variables, scaling=scaling)
    rows = layout.rows(ds)
    average = np.zeros(layout.points)
    if mean == "time":
        average = np.asarray(rows.mean(axis=0, dtype=np.float64))
    vectors, values = (_by_gram if method == "gram" else _by_qr)(rows, average, layout.weights)
    kept = values > FLOORS[method] * values.max()
    if not kept.any():
        raise ValueError("the snapshots are zero, or equal to their mean: there is nothing to find")
    vectors, values = vectors[:, kept], values[kept]
    return Reduction(
        layout=layout, mean=average, states=vectors * values, mixing=vectors / values, rows=rows
    )


Factors = tuple[Float64[np.ndarray, "time state"], Float64[np.ndarray, " state"]]


def _by_gram(
    rows: Rows, mean: Float64[np.ndarray, " point"], weights: Float64[np.ndarray, " point"]
) -> Factors:
    """From the inner products between snapshots, summed in float64."""
    gram = np.zeros((rows.shape[0],) * 2)
    for block in _weighted(rows, mean, weights):
        gram += block @ block.T
    _require_finite(gram)
    squares, vectors = np.linalg.eigh(gram)
    return vectors[:, ::-1], np.sqrt(np.maximum(squares[::-1], 0))


def _by_qr(
    rows: Rows, mean: Float64[np.ndarray, " point"], weights: Float64[np.ndarray, " point"]
) -> Factors:
    """From the triangle of a QR factorisation, block after block."""
    triangle = np.zeros((0, rows.shape[0]))
    for block in _weighted(rows, mean, weights):
        _require_finite(block.sum(axis=1))
        triangle = np.asarray(np.linalg.qr(np.concatenate([triangle, block.T]), mode="r"))
    _, values, right = np.linalg.svd(triangle)
    return right[: len(values)].T, values


def _blocks(rows: Rows) -> Iterator[slice]:
    width = max(BLOCK // max(rows.shape[0], 1), rows.shape[0])
    for start in range(0, rows.shape[1], width):
        yield slice(start, min(start + width, rows.shape[1]))


def _weighted(
    rows: Rows, mean: Float64[np.ndarray, " point"], weights: Float64[np.ndarray, " point"]
) -> Iterator[Float64[np.ndarray, "time some"]]:
    for part in _blocks(rows):
        block = np.asarray(rows[:, part], dtype=np.float64) - mean[part]
        yield block * np.sqrt(weights[part])


def _require_finite(sums: Float64[np.ndarray, "..."]) -> None:
    if not np.isfinite(sums).all():
        bad = int((~np.isfinite(sums.diagonal() if sums.ndim == 2 else sums)).sum())
        raise ValueError(
            f"{bad} snapshots hold what is not finite: mark points without flow by a variable "
            "`mask`, true in the fluid, and drop snapshots that are broken"
        )
