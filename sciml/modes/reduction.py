"""Snapshots as few numbers each, and no field but those asked for: what DMD and SPOD run on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import xarray as xr
from jaxtyping import Float64, Inexact

from sciml.modes.columns import Columns
from sciml.modes.gram import converted, project
from sciml.modes.layout import TIME, Layout, Scaling
from sciml.modes.pod import FLOORS, PodOptions, decomposed

__all__ = ["Reduction", "products", "reduce"]


@dataclass(frozen=True, kw_only=True)
class Reduction:
    r"""All resolved POD amplitudes of snapshots, and the way back to the mesh.

    Distances and angles between rows of `states` are those between the snapshots in the inner
    product of the layout, so whatever is linear in the snapshots can be done with them. A field
    that is a combination of POD modes is one of snapshots as well: no POD mode is ever made.

    Attributes:
        mean: what was subtracted from each snapshot.
        states: POD amplitudes (time, state), the largest first.
        mixing: POD modes are (snapshots - mean)ᵀ times this (time, state).
        columns: the snapshots.
    """

    mean: Float64[np.ndarray, " point"]
    states: Float64[np.ndarray, "time state"]
    mixing: Float64[np.ndarray, "time state"]
    columns: Columns

    @property
    def layout(self) -> Layout:
        """The mesh and its inner product."""
        return self.columns.layout

    def spread(
        self, vectors: Inexact[np.ndarray, "vector some"]
    ) -> Inexact[np.ndarray, "vector point"]:
        """The fields that vectors of leading POD amplitudes stand for."""
        if np.iscomplexobj(vectors):
            both = self.spread(np.concatenate([vectors.real, vectors.imag]))
            return both[: len(vectors)] + 1j * both[len(vectors) :]
        onto = self.mixing[:, : vectors.shape[1]] @ vectors.T
        found = np.empty((len(vectors), len(self.mean)))
        work = partial(project, onto=onto, kind=found.dtype)
        for place, part in self.columns.each(work, self.mean):
            found[:, place] = part
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
        ds: snapshots, see :class:`sciml.modes.Layout`: in memory, in a file, or with dask.
        variables: which of the data's.
        scaling: of several variables.
        mean: "time" subtracts the mean of the snapshots.
        method: "gram" resolves amplitudes down to 2e-8 of the largest, "qr" down to 1e-10.

    Raises:
        ValueError: the data is not finite in the fluid, or does not differ from its mean.
    """
    columns = Columns(ds, Layout.of(ds, variables, scaling=scaling))
    rank = min(columns.count, columns.layout.points)
    options = PodOptions(rank=rank, mean=mean, method=method)
    average, vectors, values, _ = decomposed(columns, options)
    kept = values > FLOORS[method] * values.max()
    if not kept.any():
        raise ValueError("the snapshots are zero, or equal to their mean: there is nothing to find")
    vectors, values = vectors[:, kept], values[kept]
    return Reduction(
        mean=average, states=vectors * values, mixing=vectors / values, columns=columns
    )


def products(
    ds: xr.Dataset,
    layout: Layout,
    mean: Float64[np.ndarray, " point"],
    fields: Float64[np.ndarray, "field point"],
    *,
    dim: str = TIME,
) -> Float64[np.ndarray, "row field"]:
    """Plain sums over the points of snapshots less the mean, times fields that hold the weights."""
    return Columns(ds, layout, dim).total(_products, np.add, mean, fields)[1]


def _products(
    values: np.ndarray,
    kept: np.ndarray | None,
    mean: Float64[np.ndarray, " point"],
    fields: Float64[np.ndarray, "field point"],
) -> tuple[None, Float64[np.ndarray, "row field"]]:
    found = np.zeros((len(values), len(fields)))
    for place, block in converted(values, kept, len(mean)):
        block -= mean[place]
        found += block @ fields[:, place].T
    return None, found
