"""The small eigenvalue problem that a Gram matrix or a triangle leaves."""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Float64

from sciml.modes.gram import symmetric

__all__ = ["leading"]


def leading(
    small: Float64[np.ndarray, "n n"], method: Literal["gram", "qr"]
) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, "n n"]]:
    """Singular values of A, descending, and its left singular vectors.

    Args:
        small: the upper triangle of A Aᵀ for "gram", or the R of Aᵀ = Q R for "qr".
        method: which of them it is.

    >>> leading(np.diag([4.0, 9.0]), "gram")[0]
    array([3., 2.])
    """
    if method == "qr":
        _, values, vectors = np.linalg.svd(np.triu(small))
        return values, vectors.T
    squares, vectors = np.linalg.eigh(symmetric(small))
    return np.sqrt(np.maximum(squares[::-1], 0.0)), vectors[:, ::-1]
