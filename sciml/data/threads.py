"""How many threads the numerical libraries take."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["limited_threads"]


@contextmanager
def limited_threads(count: int | None = 1) -> Iterator[None]:
    """So many threads at most in torch and numba, where they are loaded, as long as this lasts.

    Many small operations run faster on one thread than on several that wait for each other.

    Args:
        count: the largest number of threads; None leaves them as they are.

    Raises:
        ValueError: a count below 1.

    >>> with limited_threads(1):
    ...     pass
    """
    if count is not None and count < 1:
        raise ValueError(f"{count} threads were asked for; give 1 or more, or None for no limit")
    names = ("torch", "numba") if count is not None else ()
    loaded = [sys.modules[name] for name in names if name in sys.modules]
    before = [library.get_num_threads() for library in loaded]
    for library, threads in zip(loaded, before, strict=True):
        library.set_num_threads(min(threads, count or threads))
    try:
        yield
    finally:
        for library, threads in zip(loaded, before, strict=True):
            library.set_num_threads(threads)
