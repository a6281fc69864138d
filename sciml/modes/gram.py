"""Inner products of all pairs of snapshots, summed in float64 without a copy of the data."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float64
from scipy.linalg.blas import dsyrk

__all__ = ["converted", "finite", "gram_of", "project", "weighted_gram"]

CACHE = 2**21
"""Bytes of float64 that are worked on at a time: they stay in the processor's cache."""


def weighted_gram(
    rows: np.ndarray, weights: Float64[np.ndarray, " point"] | None = None, *, centre: bool = True
) -> Float64[np.ndarray, "row row"]:
    r"""$G_{kl} = \sum_p w_p\,(x_{kp} - \bar x_p)(x_{lp} - \bar x_p)$ in float64.

    Numbers are converted a few points at a time, so that float32 data takes little more memory, and
    the mean is subtracted before anything is multiplied: a large mean costs no digits.

    Args:
        rows: x (row, point), of any real kind.
        weights: w; by default one.
        centre: subtract the mean over the rows.

    Raises:
        ValueError: numbers that are not finite.

    >>> weighted_gram(np.array([[1.0, 2.0], [3.0, 2.0]]))
    array([[ 1., -1.],
           [-1.,  1.]])
    """
    ones = np.ones(rows.shape[1]) if weights is None else weights
    return symmetric(gram_of(rows, None, ones, centre=centre)[1])


def gram_of(
    values: np.ndarray,
    kept: np.ndarray | None,
    weights: Float64[np.ndarray, " point"],
    *,
    centre: bool,
) -> tuple[Float64[np.ndarray, " point"], Float64[np.ndarray, "row row"]]:
    """Mean over the rows and upper triangle of the weighted Gram matrix of a piece."""
    alike = len(weights) == 0 or weights.min() == weights.max()
    mean, root = np.zeros(len(weights)), np.sqrt(weights)
    G = np.zeros((len(values), len(values)), order="F")
    for place, block in converted(values, kept, len(weights)):
        mean[place] = finite(block)
        if centre:
            block -= mean[place]
        if not alike:
            block *= root[place]
        G = dsyrk(1.0, block.T, beta=1.0, c=G, trans=1, overwrite_c=1)
    if alike and len(weights):
        G *= weights[0]
    return mean if centre else np.zeros(len(weights)), G


def project(
    values: np.ndarray,
    kept: np.ndarray | None,
    mean: Float64[np.ndarray, " point"],
    *,
    onto: Float64[np.ndarray, "row mode"],
    kind: np.dtype,
) -> np.ndarray:
    """Combinations (mode, point) of the rows of a piece, less the mean: `onto`ᵀ (x - x̄)."""
    found = np.empty((onto.shape[1], len(mean)), dtype=kind)
    shares = onto.sum(0)[:, None]
    for place, block in converted(values, kept, len(mean)):
        found[:, place] = onto.T @ block - shares * mean[place]
    return found


def converted(
    values: np.ndarray, kept: np.ndarray | None, count: int
) -> Iterator[tuple[slice, Float64[np.ndarray, "row some"]]]:
    """A few points at a time in float64, in memory that is used again for the next."""
    step = max(128, CACHE // (8 * max(1, len(values))))
    room = np.empty(len(values) * min(step, count))
    for first in range(0, count, step):
        last = min(first + step, count)
        block = room[: len(values) * (last - first)].reshape(len(values), -1)
        block[...] = values[:, first:last] if kept is None else values[:, kept[first:last]]
        yield slice(first, last), block


def finite(block: Float64[np.ndarray, "row some"]) -> Float64[np.ndarray, " some"]:
    """The mean over the rows.

    Raises:
        ValueError: a number is not finite.
    """
    mean = np.full(len(block), 1 / len(block)) @ block
    if not np.isfinite(mean).all():
        row, point = np.argwhere(~np.isfinite(block))[0]
        raise ValueError(
            f"snapshot {row} holds {block[row, point]}, and perhaps others do: numbers must be "
            "finite; mark points without flow by a variable `mask`, true in the fluid"
        )
    return mean


def symmetric(upper: Float64[np.ndarray, "row row"]) -> Float64[np.ndarray, "row row"]:
    """The whole matrix of which the upper triangle is given."""
    return np.triu(upper) + np.triu(upper, 1).T
