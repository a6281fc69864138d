"""What is read out of a file, and what the file does not say itself."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

__all__ = ["MOST_BYTES", "ReadOptions"]

MOST_BYTES = 4 * 10**9
"""Snapshots larger than this are thinned, unless `every` says otherwise."""


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """What is read out of a file, and what the file does not say itself.

    Args:
        variables: names of the variables; by default all that are over time.
        time_dimension: the dimension along which snapshots follow one another: its name, or its
            place (0 is the first, -1 the last) in an array whose dimensions have no names.
        time_step: time between snapshots [s], where the file gives no times.
        shape: of the mesh (z, y, x or fewer), where the file holds it in one long row.
        start: first time that is kept; by default all.
        stop: last time that is kept.
        every: keep every n-th snapshot; by default as many as four gigabytes hold.

    Raises:
        ValueError: a number out of its range.
    """

    variables: tuple[str, ...] | None = None
    time_dimension: str | int | None = None
    time_step: float | None = None
    shape: tuple[int, ...] | None = None
    start: float | None = None
    stop: float | None = None
    every: int | None = None

    def __post_init__(self) -> None:
        """Refuse numbers out of range."""
        if self.every is not None and self.every < 1:
            raise ValueError(f"every must be at least 1, not {self.every}")
        if self.time_step is not None and not self.time_step > 0:
            raise ValueError(f"the time step must be above 0, not {self.time_step}")
        if self.shape is not None and not all(size >= 1 for size in self.shape):
            raise ValueError(f"the shape of a mesh has sizes of at least 1, not {self.shape}")

    def times(self, given: np.ndarray | None, count: int) -> np.ndarray:
        """The times of `count` snapshots: those given, else steps from zero."""
        if given is not None and self.time_step is None:
            return np.asarray(given)
        return np.arange(count) * (1.0 if self.time_step is None else self.time_step)

    def kept(self, times: np.ndarray, bytes_each: int) -> Int[np.ndarray, " kept"]:
        """Which snapshots are kept.

        Args:
            times: of all snapshots.
            bytes_each: size of one.

        Raises:
            ValueError: none lies between `start` and `stop`.
        """
        first = -np.inf if self.start is None else self.start
        last = np.inf if self.stop is None else self.stop
        inside = np.flatnonzero((times >= first) & (times <= last))
        if not len(inside):
            raise ValueError(
                f"no snapshot lies between start {first:g} and stop {last:g}; "
                f"the data runs from {times[0]:g} to {times[-1]:g}"
            )
        return inside[:: self.every or _thinning(len(inside), bytes_each)]


def _thinning(count: int, bytes_each: int) -> int:
    """So that what is kept fits in memory; said aloud where not all is."""
    every = max(1, -(-count * bytes_each // MOST_BYTES))
    if every > 1:
        warnings.warn(
            f"{count} snapshots would take {count * bytes_each / 1e9:.1f} GB: one in {every} is "
            "read, and frequencies above half of what that samples are folded; choose with every, "
            "start and stop",
            stacklevel=4,
        )
    return every
