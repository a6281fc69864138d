"""The triangular factor of tall and skinny matrices, piece by piece."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64
from scipy.linalg.lapack import dtpqrt

from sciml.modes.gram import converted, finite

__all__ = ["add_triangles", "tall_skinny_qr", "triangle_of"]

PANEL = 16
"""Columns that LAPACK reflects together; the fastest for pieces that fit in the cache."""


def tall_skinny_qr(
    rows: np.ndarray, weights: Float64[np.ndarray, " point"] | None = None, *, centre: bool = True
) -> Float64[np.ndarray, "row row"]:
    r"""R of $\left(W^{1/2} (X - \bar X)\right)^T = Q R$, by Householder reflections in float64.

    $R^T R$ is what :func:`sciml.modes.gram.weighted_gram` gives, but R is not squared: its
    singular values are right down to rounding, not to the root of rounding. Pieces of the data are
    reduced one after the other against the triangle so far, so that none is held.

    Demmel, Grigori, Hoemmen, Langou, SIAM J. Sci. Comput. 34, A206 (2012),
    https://doi.org/10.1137/080731992.

    Args:
        rows: X (row, point), of any real kind.
        weights: W; by default one.
        centre: subtract the mean over the rows.

    Raises:
        ValueError: numbers that are not finite.

    >>> x = np.array([[1.0, 2.0, 0.0], [3.0, 2.0, 5.0]])
    >>> R = tall_skinny_qr(x, centre=False)
    >>> np.allclose(R.T @ R, x @ x.T)
    True
    """
    ones = np.ones(rows.shape[1]) if weights is None else weights
    return triangle_of(rows, None, ones, centre=centre)[1]


def triangle_of(
    values: np.ndarray,
    kept: np.ndarray | None,
    weights: Float64[np.ndarray, " point"],
    *,
    centre: bool,
) -> tuple[Float64[np.ndarray, " point"], Float64[np.ndarray, "row row"]]:
    """Mean over the rows and triangular factor of a piece."""
    mean, root = np.zeros(len(weights)), np.sqrt(weights)
    R = np.zeros((len(values), len(values)), order="F")
    for place, block in converted(values, kept, len(weights)):
        mean[place] = finite(block)
        if centre:
            block -= mean[place]
        block *= root[place]
        R = _reduced(R, block.T)
    return mean if centre else np.zeros(len(weights)), R


def add_triangles(
    a: Float64[np.ndarray, "row row"], b: Float64[np.ndarray, "more row"]
) -> Float64[np.ndarray, "row row"]:
    """The triangular factor of one matrix atop the other."""
    return _reduced(np.array(a, order="F"), np.array(b, order="F"))


def _reduced(
    R: Float64[np.ndarray, "row row"], below: Float64[np.ndarray, "point row"]
) -> Float64[np.ndarray, "row row"]:
    """The triangle after more rows are reflected into it; both are overwritten."""
    panel = min(PANEL, len(R))
    R, _, _, _ = dtpqrt(0, panel, R, below, overwrite_a=1, overwrite_b=1)
    return R
