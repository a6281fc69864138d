"""The command compares decompositions of a file, or says in a sentence why it cannot."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from sciml.cli import main
from sciml.data.files import read_json


@pytest.fixture
def wave(tmp_path):
    t, x = np.arange(80) * 0.1, 2 * np.pi * np.arange(24) / 24
    path = tmp_path / "wave.npz"
    np.savez(path, u=np.cos(x - 2 * t[:, None]), v=np.sin(x - 2 * t[:, None]), t=t, x=x)
    return path


def test_a_report_of_a_file(wave, tmp_path, capsys):
    command = f"modes {wave} --variable u --rank 2 -o {tmp_path / 'out'} --methods pod dmd"
    assert main([*command.split(), "--dynamics", "none"]) == 0
    said = capsys.readouterr().out
    assert "POD  fit" in said and f"report: {tmp_path / 'out' / 'report.html'}" in said
    record = read_json(tmp_path / "out/result.json")
    assert record["data"]["variables"] == ["u"]
    assert record["methods"]["pod"]["over_seeds"]["error_between"]["mean"] < 1e-6
    page = (tmp_path / "out/report.html").read_text()
    assert f"sciml modes {wave} --rank 2" in page and "--dynamics none" in page


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("--variable w", "no field w over time; the file holds u"),
        ("--methods pood", "there is no method 'pood'; did you mean pod?"),
        ("--rank 0", "rank must be at least 1, not 0"),
        ("--every 0", "every must be at least 1, not 0"),
        ("--rank 70 --methods pod", "no method could be run: pod: 70 modes were asked for"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(wave, capsys, options, sentence):
    assert main(["modes", str(wave), *options.split()]) == 2
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1


def test_a_missing_file_is_refused(capsys, tmp_path):
    assert main(["modes", str(tmp_path / "none.nc")]) == 2
    assert "there is no file or folder" in capsys.readouterr().err


def test_help_of_modes_imports_nothing_heavy():
    code = (
        "import sys; from sciml.cli import main\n"
        "try: main(['modes', '--help'])\nexcept SystemExit: "
        "print(sorted({'torch', 'matplotlib', 'xarray', 'numba', 'scipy'} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert said.splitlines()[-1] == "[]"
    for option in ("--variable", "--rank", "--methods", "--seeds", "--budget", "--steps"):
        assert option in said
