"""The wheel, installed by itself, lists the cases it carries."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*command: str | Path, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = ("-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT)
    run(sys.executable, *build, cwd=folder)
    return next(folder.glob("sciml_cfd-*.whl"))


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory) -> Path:
    """A new environment with the wheel; what it depends on is borrowed from this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    install = ("install", "--quiet", "--no-deps", "--no-index", wheel)
    run(sys.executable, "-m", "pip", "--python", folder / "bin" / "python", *install, cwd=folder)
    site = next(folder.glob("lib/python*/site-packages"))
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def test_wheel_holds_the_package_and_the_cases_only(wheel):
    held = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "sciml/py.typed",
        "sciml/data/catalogue.toml",
        "sciml/data/small/flow/benchmarks/ghia1982_u_x0.5.csv",
        "sciml/cases/obstacle_flow/case.py",
    } <= held
    tops = {name.split("/")[0] for name in held}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"sciml"}
    assert not [name for name in held if "__pycache__" in name or "/tests/" in name]


def test_installed_command_lists_the_cases(environment, tmp_path):
    where = run(
        environment / "bin" / "python", "-c", "import sciml; print(sciml.__file__)", cwd=tmp_path
    )
    assert Path(where.strip()).is_relative_to(environment)
    listed = run(environment / "bin" / "sciml", "cases", cwd=tmp_path)
    name, _, summary = next(
        line for line in listed.splitlines() if line.startswith("obstacle-flow")
    ).partition(" ")
    assert name == "obstacle-flow" and summary.strip()


def test_installed_package_finds_its_tables(environment, tmp_path):
    code = "from sciml.data import fetch; print(fetch('flow/ghia1982_u', offline=True))"
    path = run(environment / "bin" / "python", "-c", code, cwd=tmp_path)
    assert Path(path.strip()).is_relative_to(environment)
