"""A POD kept up to date while snapshots arrive, each seen once."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64

__all__ = ["Running"]


@dataclass
class Running:
    r"""The leading directions of the rows seen so far, of which no more than `most` are kept.

    Rows that arrive are split into what the directions hold and a remainder; the singular value
    decomposition of a small matrix turns the directions so that they hold the most of both. A
    moving mean adds one row to those that arrive.

    Ross, Lim, Lin, Yang, Int. J. Comput. Vis. 77, 125 (2008),
    https://doi.org/10.1007/s11263-007-0075-7.

    Args:
        points: numbers in a row.
        most: directions kept.
        centre: follow the mean.

    Attributes:
        mean: of the rows so far.
        directions: orthonormal.
        values: singular values.
        amplitudes: of all rows so far.
        squares: the sum of squares of the deviations from the mean.
    """

    points: int
    most: int
    centre: bool
    mean: Float64[np.ndarray, " point"] = field(init=False)
    directions: Float64[np.ndarray, "mode point"] = field(init=False)
    values: Float64[np.ndarray, " mode"] = field(init=False)
    amplitudes: Float64[np.ndarray, "row mode"] = field(init=False)
    squares: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        """Nothing seen yet."""
        self.mean = np.zeros(self.points)
        self.directions = np.empty((0, self.points))
        self.values, self.amplitudes = np.empty(0), np.empty((0, 0))

    def add(self, rows: Float64[np.ndarray, "row point"]) -> None:
        """Take in rows; they are overwritten."""
        before, new = len(self.amplitudes), len(rows)
        step = rows.mean(0) - self.mean if self.centre else np.zeros_like(self.mean)
        rows -= self.mean + step
        share = before * new / (before + new)
        arrived = np.vstack([rows, np.sqrt(share) * step]) if self.centre and before else rows
        self.squares += float((arrived**2).sum())
        rest, inside, triangle = self._split(arrived)
        self._turn(rest, inside, triangle, before, new)
        self.mean = self.mean + step * (new / (before + new))

    def _split(
        self, arrived: Float64[np.ndarray, "new point"]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """New directions, and the rows' parts along the old and the new ones.

        The old directions are taken out once more from the new, which where little remained of a
        row are rounding and could point anywhere.
        """
        U = self.directions
        inside = arrived @ U.T
        Q, R = np.linalg.qr((arrived - inside @ U).T)
        Q -= U.T @ (U @ Q)
        Q, more = np.linalg.qr(Q)
        return Q.T, inside, (more @ R).T

    def _turn(
        self, rest: np.ndarray, inside: np.ndarray, triangle: np.ndarray, before: int, new: int
    ) -> None:
        """Directions that hold the most of what was there and what arrived."""
        had, extra = len(self.values), len(rest)
        arrived = np.hstack([inside, triangle])
        old = np.hstack([np.diag(self.values), np.zeros((had, extra))])
        _, values, turned = np.linalg.svd(np.vstack([old, arrived]), full_matrices=False)
        turned = turned[: self.most]
        coordinates = np.vstack(
            [np.hstack([self.amplitudes, np.zeros((before, extra))]), arrived[:new]]
        )
        if self.centre and before:
            step = arrived[-1] / np.sqrt(before * new / (before + new))
            coordinates[:before] -= step * (new / (before + new))
            coordinates[before:] += step * (before / (before + new))
        self.amplitudes = coordinates @ turned.T
        self.directions = turned @ np.vstack([self.directions, rest])
        self.values = values[: self.most]
