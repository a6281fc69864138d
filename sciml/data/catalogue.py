"""Reference data by name: found on this machine, or downloaded and checked."""

from __future__ import annotations

import os
import tarfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sciml.data.files import atomic, sha256

__all__ = ["Entry", "Unavailable", "entry", "fetch", "names"]

PACKAGE = Path(__file__).parent


class Unavailable(OSError):
    """Data that is neither on this machine nor could be downloaded."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A file of the catalogue.

    Attributes:
        name: what it is asked for by.
        path: where it lies in a data folder.
        bytes: its size.
        sha256: the checksum of its contents.
        description: what it holds, with its units.
        origin: the paper and table, or the repository, it comes from.
        licence: under which it may be used.
        doi: of the paper.
        url: where it can be downloaded, empty if nowhere.
        archive: the entry it is packed in as well, empty if none.
        member: its name in that archive.
    """

    name: str
    path: str
    bytes: int
    sha256: str
    description: str
    origin: str
    licence: str
    doi: str = ""
    url: str = ""
    archive: str = ""
    member: str = ""


@cache
def _entries() -> dict[str, Entry]:
    with open(PACKAGE / "catalogue.toml", "rb") as file:
        return {name: Entry(name=name, **fields) for name, fields in tomllib.load(file).items()}


def names(prefix: str = "") -> tuple[str, ...]:
    """The names in the catalogue that begin with `prefix`, sorted.

    >>> names("flow/ghia")
    ('flow/ghia1982_u', 'flow/ghia1982_v')
    """
    return tuple(sorted(name for name in _entries() if name.startswith(prefix)))


def entry(name: str) -> Entry:
    """What the catalogue says of one file.

    Raises:
        ValueError: there is no such name.

    >>> entry("flow/ghia1982_u").doi
    '10.1016/0021-9991(82)90058-4'
    """
    if name not in _entries():
        raise ValueError(f"the catalogue has no {name!r}, only {', '.join(_entries())}")
    return _entries()[name]


def fetch(name: str, *, offline: bool = False) -> Path:
    """The path of a reference file, its checksum verified.

    Looks in the folder that the environment variable SCIML_DATA names, among the
    small tables shipped with the package, in `../shared/data` beside a checkout and
    in the user's cache; else downloads the file into that cache.

    Args:
        name: as in `names()`.
        offline: never download.

    Raises:
        ValueError: there is no such name, or the file's contents are not those of
            the catalogue.
        Unavailable: the file is not here and was not downloaded; the sentence says
            where it comes from and where to put it.

    >>> fetch("flow/ghia1982_u").name
    'ghia1982_u_x0.5.csv'
    """
    wanted = entry(name)
    for folder in _folders():
        if (folder / wanted.path).is_file():
            return _verified(folder / wanted.path, wanted)
    if wanted.archive and (archive := _find_archive(wanted)):
        return _unpack(archive, wanted)
    if offline or not wanted.url:
        raise Unavailable(_advice(wanted, "is not on this machine"))
    return _download(wanted)


def _folders() -> Iterator[Path]:
    """Where data may lie, the first first."""
    if chosen := os.environ.get("SCIML_DATA"):
        yield Path(chosen)
    yield PACKAGE / "small"
    checkout = PACKAGE.parents[1]
    if (checkout / "pyproject.toml").is_file():
        yield checkout.parent / "shared" / "data"
    yield _cache()


def _cache() -> Path:
    import pooch

    return Path(pooch.os_cache("sciml")) / "data"


def _verified(path: Path, wanted: Entry) -> Path:
    found = sha256(path)
    if found != wanted.sha256:
        raise ValueError(
            f"{path} is not the {wanted.name} of the catalogue: its SHA-256 is {found}, "
            f"not {wanted.sha256}; remove it or put the right file there"
        )
    return path


def _find_archive(wanted: Entry) -> Path | None:
    archive = entry(wanted.archive)
    places = (folder / archive.path for folder in _folders())
    return next((place for place in places if place.is_file()), None)


def _unpack(archive: Path, wanted: Entry) -> Path:
    """Take one file out of an archive, into the cache."""
    path = _cache() / wanted.path
    with tarfile.open(_verified(archive, entry(wanted.archive))) as tar:
        if wanted.member not in tar.getnames():
            raise ValueError(f"{archive} holds no file {wanted.member}")
        source = tar.extractfile(wanted.member)
        assert source is not None
        with atomic(path) as part:
            part.write_bytes(source.read())
    return _verified(path, wanted)


def _download(wanted: Entry) -> Path:
    import pooch
    import requests

    path = _cache() / wanted.path
    try:
        pooch.retrieve(wanted.url, f"sha256:{wanted.sha256}", fname=path.name, path=path.parent)
    except requests.RequestException as error:
        raise Unavailable(_advice(wanted, f"could not be downloaded ({error})")) from error
    return path


def _advice(wanted: Entry, fault: str) -> str:
    """One sentence: what is missing, where it comes from, where to put it."""
    place = Path(os.environ.get("SCIML_DATA", "a data folder")) / wanted.path
    doi = f", doi:{wanted.doi}" if wanted.doi else ""
    url = f", {wanted.url}" if wanted.url else ""
    choose = "" if "SCIML_DATA" in os.environ else " and let SCIML_DATA name that folder"
    return (
        f"{wanted.name} {fault}; it comes from {wanted.origin}{doi}{url}: put it at {place}{choose}"
    )
