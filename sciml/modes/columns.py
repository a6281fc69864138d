"""Snapshots read a few points at a time, wherever they lie: in memory, in a file, with dask."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import xarray as xr

from sciml.modes.layout import TIME, Layout
from sciml.modes.scratch import Scratch, unpacked_whole
from sciml.modes.slabs import Slab, slabs

__all__ = ["MEMORY", "Columns", "Piece"]

MEMORY = 2**28
"""Bytes that pieces of a file may take together."""

AT_ONCE = 4
"""Pieces in memory at a time: one at work, one being read, and room to convert each."""

Part = TypeVar("Part")


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A run of points of one variable.

    Attributes:
        variable: its name.
        slab: where it lies on the mesh.
        columns: where its points in the fluid lie in a row of the :class:`Layout`.
        kept: which of its points are in the fluid; None if all are.
    """

    variable: str
    slab: Slab
    columns: slice
    kept: np.ndarray | None


Read = Callable[[Piece], np.ndarray]


@dataclass(frozen=True)
class Columns:
    """The rows of a layout, to be worked on by columns: all snapshots of some points at a time.

    What NumPy holds is not copied. A file opened by xarray is read piece by piece, the next piece
    while one is at work; one that is packed snapshot by snapshot is first laid out anew in a
    temporary file, since each piece would unpack all of it. What dask holds stays with dask.

    Args:
        ds: snapshots.
        layout: which of their numbers make a row.
        dim: the dimension that counts rows.
        memory: bytes that pieces of a file may take.
    """

    ds: xr.Dataset
    layout: Layout
    dim: str = TIME
    memory: int = MEMORY

    def __post_init__(self) -> None:
        """Refuse fields that do not fit before anything is read."""
        self.layout.require(self.ds, self.dim)

    @property
    def lazy(self) -> bool:
        """Whether dask holds a variable."""
        return any(self.ds[name].chunks is not None for name in self.layout.variables)

    @property
    def count(self) -> int:
        """Rows."""
        return self.ds.sizes[self.dim]

    def each(self, work: Callable[..., Part], *fields: np.ndarray) -> Iterator[tuple[slice, Part]]:
        """What `work` makes of each piece, in the order of the columns.

        Args:
            work: of the piece's numbers (row, raw point), which of the points are kept (or None),
                and the part of each field.
            fields: numbers whose last axis is the points of a row.
        """
        if self.lazy:
            yield from self._by_dask(work, fields)
            return
        with self.source() as read:
            for piece, values in _ahead(self.pieces(), read):
                cut = [f[..., piece.columns] for f in fields]
                yield piece.columns, work(values, piece.kept, *cut)

    def total(
        self,
        work: Callable[..., tuple[Part, np.ndarray]],
        add: Callable[[np.ndarray, np.ndarray], np.ndarray],
        *fields: np.ndarray,
    ) -> tuple[list[Part], np.ndarray]:
        """What `work` makes of each piece, and the sum of what else it makes of them.

        Args:
            work: as in `each`, but of two results, of which the second is summed.
            add: how two are summed.
            fields: numbers whose last axis is the points of a row.
        """
        if self.lazy:
            return self._total_by_dask(work, add, fields)
        own, total = [], None
        for _, (part, more) in self.each(work, *fields):
            own.append(part)
            total = more if total is None else add(total, more)
        assert total is not None
        return own, total

    def pieces(self) -> list[Piece]:
        """The runs of points that are read at a time."""
        found, first, seen = [], 0, 0
        for name in self.layout.variables:
            one = self.layout.template[name]
            room = self.memory // AT_ONCE
            most = max(1, room // max(1, self.count * self.ds[name].dtype.itemsize))
            for slab in slabs(one.shape, most, _chunks(self.ds[name], one.dims)):
                kept = self.layout.kept
                inside = None
                if kept is not None:
                    inside = np.flatnonzero(kept[seen : seen + slab.size])
                count = slab.size if inside is None else len(inside)
                if inside is not None and count == slab.size:
                    inside = None
                columns = slice(first, first + count)
                if count:
                    found.append(Piece(variable=name, slab=slab, columns=columns, kept=inside))
                first, seen = first + count, seen + slab.size
        return found

    def read(self, piece: Piece) -> np.ndarray:
        """Numbers (row, raw point) of a piece."""
        one = self.layout.template[piece.variable]
        array = self.ds[piece.variable].isel(dict(zip(one.dims, piece.slab.index, strict=True)))
        return array.transpose(self.dim, *one.dims).values.reshape(self.count, -1)

    def source(self) -> AbstractContextManager[Read]:
        pieces = self.pieces()
        names = self.layout.variables
        if len(pieces) > 2 * len(names) and any(
            unpacked_whole(self.ds[name], self.dim) for name in names
        ):
            return Scratch(self.ds, self.layout, self.dim, pieces, self.memory // AT_ONCE)
        return nullcontext(self.read)

    def _by_dask(
        self, work: Callable[..., Part], fields: Sequence[np.ndarray]
    ) -> Iterator[tuple[slice, Part]]:
        from dask import compute

        places, boxes = self._boxes(work, fields)
        for place, box in zip(places, compute(*boxes), strict=True):
            yield place, box.item()

    def _total_by_dask(
        self,
        work: Callable[..., tuple[Part, np.ndarray]],
        add: Callable[[np.ndarray, np.ndarray], np.ndarray],
        fields: Sequence[np.ndarray],
    ) -> tuple[list[Part], np.ndarray]:
        """Sums are made in pairs where the pieces are, so that one comes back, not all."""
        from dask import compute, delayed

        _, boxes = self._boxes(work, fields)
        parts = [delayed(np.ndarray.item, pure=False)(box) for box in boxes]
        own, sums = [part[0] for part in parts], [part[1] for part in parts]
        plus = delayed(add, pure=False)
        while len(sums) > 1:
            odd = sums[len(sums) - len(sums) % 2 :]
            sums = [plus(a, b) for a, b in zip(sums[::2], sums[1::2], strict=False)] + odd
        found, total = compute(own, sums[0])
        return found, total

    def _boxes(
        self, work: Callable[..., Any], fields: Sequence[np.ndarray]
    ) -> tuple[list[slice], list[Any]]:
        """Where each chunk of points lies in a row, and the work on it, not yet done.

        As blocks of an array, since dask joins these with what reads them into one task: numbers
        are used by the process that read them.
        """
        from dask import array

        rows = self.layout.rows(self.ds, self.dim)
        if rows.numblocks[0] > 1:
            rows = rows.rechunk({0: -1, 1: "auto"})
        widths = rows.chunks[1]
        ends = np.cumsum([0, *widths])
        boxes = array.map_blocks(
            partial(_boxed, work),
            rows,
            *[array.from_array(f, chunks=(*f.shape[:-1], widths)) for f in fields],
            chunks=((1,), (1,) * len(widths)),
            meta=np.empty((0, 0), dtype=object),
        )
        places = [slice(int(a), int(b)) for a, b in pairwise(ends)]
        return places, list(boxes.to_delayed().ravel())


def _boxed(work: Callable[..., Any], values: np.ndarray, *fields: np.ndarray) -> np.ndarray:
    """What comes out, as a block of one thing."""
    box = np.empty((1, 1), dtype=object)
    box[0, 0] = work(values, None, *fields)
    return box


def _ahead(pieces: Sequence[Piece], read: Read) -> Iterator[tuple[Piece, np.ndarray]]:
    """Each piece's numbers, the next being read meanwhile."""
    if len(pieces) == 1:
        yield pieces[0], read(pieces[0])
        return
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(read, pieces[0])
        for piece, following in zip(pieces, [*pieces[1:], None], strict=True):
            values = coming.result()
            if following is not None:
                coming = reader.submit(read, following)
            yield piece, values


def _chunks(field: xr.DataArray, dims: Sequence[Any]) -> tuple[int, ...]:
    """How many points the file stores together along each dimension of the mesh."""
    preferred = field.encoding.get("preferred_chunks", {})
    return tuple(preferred.get(dim, 1) for dim in dims)
