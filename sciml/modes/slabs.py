"""A mesh cut into runs of points that lie together in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

__all__ = ["Slab", "slabs"]


@dataclass(frozen=True)
class Slab:
    """Indices along each dimension, and how many points they select."""

    index: tuple[slice, ...]
    size: int


def slabs(shape: Sequence[int], most: int, chunks: Sequence[int] = ()) -> Iterator[Slab]:
    """Runs of at most `most` points that follow each other in the order of C.

    Args:
        shape: of the mesh.
        most: points in a run; a run may be longer by what a file stores together.
        chunks: points that a file stores together along each dimension.

    >>> [slab.index for slab in slabs((5, 2), 4)]
    [(slice(0, 2, None), slice(0, 2, None)), (slice(2, 4, None), slice(0, 2, None)),
     (slice(4, 5, None), slice(0, 2, None))]
    """
    axis = next((k for k in range(len(shape)) if prod(shape[k + 1 :]) <= most), len(shape))
    if axis == len(shape):
        yield Slab((), 1)
        return
    inner = prod(shape[axis + 1 :])
    step = max(1, most // max(inner, 1))
    chunk = chunks[axis] if len(chunks) else 1
    if step > chunk:
        step -= step % chunk
    whole = tuple(slice(0, n) for n in shape[axis + 1 :])
    for lead in np.ndindex(*shape[:axis]):
        before = tuple(slice(k, k + 1) for k in lead)
        for first in range(0, shape[axis], step):
            last = min(first + step, shape[axis])
            yield Slab((*before, slice(first, last), *whole), (last - first) * inner)
