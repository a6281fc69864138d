"""A folder that is replaced as a whole."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(folder: Path, *, marker: str) -> Iterator[Path]:
    """Yield an empty folder that takes the name `folder` when the block ends.

    Whoever reads sees the old contents or the new, never a mixture; of several writers the last
    one stays. If the block fails, the old contents stay.

    Args:
        folder: the folder to make or replace.
        marker: name of a file that says that an existing folder may be replaced.

    Raises:
        FileExistsError: something else stands there: a file, or a folder without the marker.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "model"
        >>> with replacing(target, marker="a.txt") as part:
        ...     _ = (part / "a.txt").write_text("whole")
        >>> [path.name for path in target.iterdir()]
        ['a.txt']
    """
    _require_replaceable(folder, marker)
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = _sibling(folder, "part")
    part.mkdir()
    try:
        yield part
        _take_name(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _require_replaceable(folder: Path, marker: str) -> None:
    if marker not in (names := _names(folder)) and names:
        raise FileExistsError(
            f"{folder} exists and has no {marker}, so it is not overwritten: choose another folder"
        )


def _names(folder: Path) -> list[str]:
    """What a folder holds; read again if another writer put a new one in its place meanwhile."""
    try:
        while True:
            before = folder.stat().st_ino
            names = os.listdir(folder)
            if folder.stat().st_ino == before:
                return names
    except FileNotFoundError:
        return []
    except NotADirectoryError:
        return [folder.name]


def _take_name(part: Path, folder: Path) -> None:
    """Rename; a folder in the way is moved aside first, again if another writer comes between."""
    aside = []
    while True:
        try:
            os.rename(part, folder)
            break
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        old = _sibling(folder, "old")
        try:
            os.rename(folder, old)
            aside.append(old)
        except FileNotFoundError:
            continue
    for old in aside:
        shutil.rmtree(old, ignore_errors=True)


def _sibling(folder: Path, purpose: str) -> Path:
    return folder.with_name(f".{folder.name}.{os.getpid()}.{os.urandom(4).hex()}.{purpose}")
