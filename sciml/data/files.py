"""Files that are either complete or absent: atomic writing, JSON and checksums."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["atomic", "read_json", "sha256", "write_json"]


@contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary sibling of `path` that takes its name when the block ends.

    The sibling is flushed to the disk and then renamed, so that a reader, or a
    process that starts after a crash, sees the old file or the new one, never a
    part of it.

    Args:
        path: the file to write; its folder is made if it is missing.

    Yields:
        the path to write to, in the same folder and with the same suffix.

    Raises:
        FileNotFoundError: the block ended without writing the file.

    >>> from tempfile import mkdtemp
    >>> folder = Path(mkdtemp())
    >>> with atomic(folder / "a.txt") as part:
    ...     _ = part.write_text("whole")
    ...     (folder / "a.txt").exists()
    False
    >>> (folder / "a.txt").read_text()
    'whole'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.{os.getpid()}.{os.urandom(4).hex()}{path.suffix}")
    try:
        yield part
        if not part.exists():
            raise FileNotFoundError(f"nothing was written to {part}, which was to become {path}")
        _flush(part)
        os.replace(part, path)
        _flush(path.parent)
    finally:
        part.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Wait until the disk holds what was written to a file or a folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: str | os.PathLike[str], value: Any) -> Path:
    """Write a value as indented JSON, atomically; return the path.

    Raises:
        ValueError: the value holds what JSON cannot (NaN and infinity among it).

    >>> from tempfile import mkdtemp
    >>> folder = Path(mkdtemp())
    >>> read_json(write_json(folder / "a.json", {"drag": 5.58}))
    {'drag': 5.58}
    """
    path = Path(path)
    try:
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} cannot be written as JSON: {error}") from error
    with atomic(path) as part:
        part.write_text(text + "\n", encoding="utf-8")
    return path


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not JSON; the sentence names it.
    """
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a JSON file: {error}") from error


def sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's bytes, in hexadecimal.

    >>> from tempfile import mkdtemp
    >>> folder = Path(mkdtemp())
    >>> _ = (folder / "a").write_bytes(b"abc")
    >>> sha256(folder / "a")[:8]
    'ba7816bf'
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
