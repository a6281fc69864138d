from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sciml.data import atomic, read_json, sha256, write_json

ROOT = Path(__file__).parents[2]


def test_failure_keeps_the_old_file_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), atomic(path) as part:
        part.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_sigkill_while_writing_keeps_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    code = (
        "import sys, time; from sciml.data import atomic\n"
        f"with atomic({str(path)!r}) as part:\n"
        "    file = open(part, 'w'); file.write('half'); file.flush()\n"
        "    print('writing', flush=True); time.sleep(60)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"writing\n"
    child.kill()
    assert child.wait() == -signal.SIGKILL
    child.stdout.close()
    assert path.read_text() == "old"
    with atomic(path) as part:
        part.write_text("new")
    assert path.read_text() == "new"


def test_writing_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing was written"), atomic(tmp_path / "a"):
        pass


def test_json_round_trip_and_what_it_cannot_hold(tmp_path):
    value = {"drag": [5.58, None], "name": "Schäfer"}
    assert read_json(write_json(tmp_path / "a.json", value)) == value
    with pytest.raises(ValueError, match=r"a\.json cannot be written"):
        write_json(tmp_path / "a.json", {"drag": float("nan")})
    assert read_json(tmp_path / "a.json") == value
    (tmp_path / "b.json").write_text("{")
    with pytest.raises(ValueError, match=r"b\.json is not a JSON file"):
        read_json(tmp_path / "b.json")


def test_sha256_of_a_known_text(tmp_path):
    (tmp_path / "a").write_bytes(b"")
    assert sha256(tmp_path / "a").startswith("e3b0c44298fc1c149afbf4c8996fb924")
