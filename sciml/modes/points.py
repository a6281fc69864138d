"""The same decomposition where snapshots outnumber points: sums over time, for pairs of points."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from jaxtyping import Float64
from scipy.linalg.blas import dsyrk

from sciml.modes.columns import Columns
from sciml.modes.gram import finite
from sciml.modes.qr import add_triangles
from sciml.modes.small import leading

__all__ = ["by_points"]


def by_points(
    columns: Columns, rank: int, *, centre: bool, method: Literal["gram", "qr"]
) -> tuple[
    Float64[np.ndarray, " point"],
    Float64[np.ndarray, "time mode"],
    Float64[np.ndarray, " mode"],
    float,
]:
    """Mean, left singular vectors and singular values of weighted rows; the sum of all squares.

    Raises:
        ValueError: numbers that are not finite.
    """
    root = np.sqrt(columns.layout.weights)
    mean = np.zeros(len(root))
    for block in _blocks(columns):
        mean += finite(block) * (len(block) / columns.count)
    mean *= centre
    small = np.zeros((len(root), len(root)), order="F")
    for block in _blocks(columns):
        block = (block - mean) * root
        if method == "qr":
            small = add_triangles(small, block)
        else:
            small = dsyrk(1.0, block.T, beta=1.0, c=small, overwrite_c=1)
    values, right = leading(small, method)
    onto = root[:, None] * right[:, :rank]
    left = np.concatenate([(block - mean) @ onto for block in _blocks(columns)])
    scale = values[:rank]
    left = np.divide(left, scale, out=np.zeros_like(left), where=scale > 0)
    signs = np.sign(left[np.abs(left).argmax(0), np.arange(rank)])
    return mean, left * signs, scale, float((values**2).sum())


def _blocks(columns: Columns) -> Iterator[Float64[np.ndarray, "some point"]]:
    """All points of some snapshots at a time."""
    step = max(1, columns.memory // (32 * columns.layout.points))
    for first in range(0, columns.count, step):
        some = columns.ds.isel({columns.dim: slice(first, first + step)})
        yield np.array(columns.layout.rows(some, columns.dim), dtype=np.float64)
