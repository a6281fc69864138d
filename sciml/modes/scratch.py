"""Snapshots laid out anew in a temporary file, so that points can be read without the rest."""

from __future__ import annotations

from collections.abc import Sequence
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from sciml.modes.layout import Layout

if TYPE_CHECKING:
    from sciml.modes.columns import Piece

__all__ = ["Scratch", "unpacked_whole"]

PACKING = ("zlib", "compression", "compressor", "compressors", "szip", "zstd", "blosc", "bzip2")


def unpacked_whole(field: xr.DataArray, dim: str) -> bool:
    """Whether a file stores a variable packed, a few rows at a time."""
    encoding = field.encoding
    packed = any(encoding.get(name) not in (None, False, ()) for name in PACKING)
    rows = encoding.get("preferred_chunks", {}).get(dim, field.sizes[dim])
    return packed and rows < field.sizes[dim] and field.chunks is None


class Scratch:
    """A context in which each piece is one run of a temporary file.

    The file is in the folder that `tempfile` chooses (set `TMPDIR` for another), takes as much room
    as the snapshots unpacked, and is gone when the context ends.

    Args:
        ds: snapshots.
        layout: which of their numbers make a row.
        dim: the dimension that counts rows.
        pieces: runs of points.
        memory: bytes that may be read at a time.
    """

    def __init__(
        self, ds: xr.Dataset, layout: Layout, dim: str, pieces: Sequence[Piece], memory: int
    ) -> None:
        self._ds, self._layout, self._dim, self._memory = ds, layout, dim, memory
        self._places: dict[int, int] = {}
        self._pieces = pieces
        end = 0
        for piece in pieces:
            self._places[piece.columns.start] = end
            end += ds.sizes[dim] * piece.slab.size * ds[piece.variable].dtype.itemsize

    def __enter__(self) -> Any:
        self._file = TemporaryFile(prefix="sciml-modes-")
        for name in self._layout.variables:
            self._lay(name, [piece for piece in self._pieces if piece.variable == name])
        return self._read

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def _lay(self, name: str, pieces: Sequence[Piece]) -> None:
        field, one = self._ds[name], self._layout.template[name]
        count, width = field.sizes[self._dim], field.dtype.itemsize
        together = field.encoding.get("preferred_chunks", {}).get(self._dim, 1)
        step = max(1, self._memory // (one.size * width))
        step = max(together, step - step % together)
        for first in range(0, count, step):
            rows = field.isel({self._dim: slice(first, first + step)})
            values = rows.transpose(self._dim, *one.dims).values
            for piece in pieces:
                self._file.seek(self._places[piece.columns.start] + first * piece.slab.size * width)
                part = np.ascontiguousarray(values[(slice(None), *piece.slab.index)])
                self._file.write(part.data)

    def _read(self, piece: Piece) -> np.ndarray:
        count, kind = self._ds.sizes[self._dim], self._ds[piece.variable].dtype
        self._file.seek(self._places[piece.columns.start])
        values = np.empty((count, piece.slab.size), dtype=kind)
        self._file.readinto(values.data)
        return values
