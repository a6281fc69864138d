from __future__ import annotations

import csv
import dataclasses
import hashlib
import http.server
import io
import tarfile
import threading
from functools import partial

import pytest

from sciml.data import Unavailable, catalogue, entry, fetch, names, sha256
from sciml.data.catalogue import Entry


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """No data folder and an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("SCIML_DATA", raising=False)
    monkeypatch.setattr(catalogue, "_folders", lambda: iter([catalogue._cache()]))


@pytest.fixture
def add(monkeypatch):
    """Put an entry of the test's own into the catalogue."""

    def add(**fields) -> Entry:
        content = fields.pop("content")
        new = Entry(
            **dict(path=f"{fields['name']}.dat", description="a test", origin="a paper, Table 1")
            | dict(licence="facts", bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
            | fields
        )
        known = catalogue._entries()
        monkeypatch.setattr(catalogue, "_entries", lambda: known | {new.name: new})
        return new

    return add


@pytest.fixture
def server(tmp_path):
    """A web server on this machine; yields its folder and address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args) -> None:
            pass

    folder = tmp_path / "served"
    folder.mkdir()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{web.server_port}"
        web.shutdown()


def test_every_entry_says_where_it_comes_from():
    assert len(names("flow/cars/")) == 14 and len(names("flow/airfoils/")) >= 15
    for name in names():
        found = entry(name)
        assert found.description and found.origin and found.licence
        assert len(found.sha256) == 64 and found.bytes > 0
        assert found.url.startswith("https://") or not found.url
        assert not found.archive or found.archive in names()


@pytest.mark.parametrize("name", ["flow/ghia1982_u", "flow/ghia1982_v", "flow/schaefer_turek_2d1"])
def test_published_tables_are_in_the_package(name, monkeypatch):
    monkeypatch.undo()
    path = fetch(name, offline=True)
    assert path.stat().st_size == entry(name).bytes
    with open(path) as file:
        assert len(list(csv.DictReader(file))) >= 4


def test_the_folder_of_sciml_data_comes_first(monkeypatch, tmp_path, add):
    monkeypatch.undo()
    monkeypatch.setenv("SCIML_DATA", str(tmp_path))
    wanted = entry("flow/ghia1982_u")
    mine = tmp_path / wanted.path
    mine.parent.mkdir(parents=True)
    mine.write_bytes((catalogue.PACKAGE / "small" / wanted.path).read_bytes())
    assert fetch("flow/ghia1982_u") == mine


def test_other_contents_are_refused(add, tmp_path):
    wanted = add(name="table", content=b"1,2,3\n")
    place = catalogue._cache() / wanted.path
    place.parent.mkdir(parents=True)
    place.write_bytes(b"1,2,4\n")
    with pytest.raises(ValueError, match=r"is not the table of the catalogue: its SHA-256"):
        fetch("table")
    place.write_bytes(b"1,2,3\n")
    assert fetch("table") == place


def test_download_is_checked_and_kept(add, server):
    folder, address = server
    (folder / "a.dat").write_bytes(b"naca")
    add(name="wing", content=b"naca", url=f"{address}/a.dat")
    path = fetch("wing")
    assert path.read_bytes() == b"naca" and path.is_relative_to(catalogue._cache())
    (folder / "a.dat").unlink()
    assert fetch("wing", offline=True) == path


def test_download_of_other_contents_is_refused(add, server):
    folder, address = server
    (folder / "a.dat").write_bytes(b"something else")
    wanted = add(name="wing", content=b"naca", url=f"{address}/a.dat")
    with pytest.raises(ValueError, match="wing"):
        fetch("wing")
    assert not (catalogue._cache() / wanted.path).exists()


def test_what_cannot_be_had_says_where_it_comes_from(add, server):
    _, address = server
    add(name="gone", content=b"naca", url=f"{address}/gone.dat", doi="10.1/2")
    with pytest.raises(Unavailable, match=r"gone could not be .* a paper, Table 1, doi:10\.1/2"):
        fetch("gone")
    with pytest.raises(Unavailable, match=r"gone is not on this machine.*SCIML_DATA"):
        fetch("gone", offline=True)
    add(name="printed", content=b"naca")
    with pytest.raises(Unavailable, match=r"put it at a data folder/printed\.dat"):
        fetch("printed")


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="no 'flow/boats', only flow/ghia1982_u"):
        fetch("flow/boats")


def test_members_come_out_of_an_archive_at_hand(add, monkeypatch, tmp_path):
    content = b"RAE\n1 0\n"
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        info = tarfile.TarInfo("wings/rae.dat")
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    archive = add(name="wings", content=packed.getvalue(), path="wings.tar.gz")
    wanted = add(name="wings/rae", content=content, archive="wings", member="wings/rae.dat")
    place = catalogue._cache() / archive.path
    place.parent.mkdir(parents=True)
    place.write_bytes(packed.getvalue())
    path = fetch("wings/rae", offline=True)
    assert path.read_bytes() == content and sha256(path) == wanted.sha256
    wrong = dataclasses.asdict(wanted) | {"name": "wings/none", "member": "wings/none.dat"}
    add(**{key: wrong[key] for key in ("name", "archive", "member")}, content=b"none")
    with pytest.raises(ValueError, match="holds no file"):
        fetch("wings/none", offline=True)


def test_reference_files_that_are_here_are_those_of_the_catalogue(monkeypatch, reference):
    monkeypatch.undo()
    for name in ("flow/airfoils/rae2822", "flow/cars/car_001"):
        assert sha256(reference(name)) == entry(name).sha256
