"""The shape of the project: who imports whom, what importing costs, what is public."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import sciml

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "lightning_fabric", "matplotlib", "numba", "scipy", "shapely", "xarray", "pooch"}


def run(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_layers_are_kept():
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("module", ["sciml", "sciml.data"])
def test_importing_is_light(module):
    loaded = run(f"import sys, {module}; print(*sys.modules)").split()
    assert module in loaded
    assert HEAVY.isdisjoint(loaded)


def test_help_is_light():
    shown = run(
        "import sys\n"
        "from sciml.cli import main\n"
        "sys.argv = ['sciml', '--help']\n"
        "try:\n"
        "    status = main()\n"
        "except SystemExit as end:\n"
        "    status = end.code\n"
        "print('MODULES', status, *sys.modules)"
    )
    text, _, loaded = shown.rpartition("MODULES")
    assert "run" in text and "predict" in text
    assert loaded.split()[0] in {"0", "None"}
    assert HEAVY.isdisjoint(loaded.split())


def modules() -> list[str]:
    found = pkgutil.walk_packages(sciml.__path__, "sciml.", onerror=lambda name: None)
    return ["sciml", *(module.name for module in found)]


def own_names(module: ModuleType) -> list[str]:
    """What a package offers besides its modules."""
    return [
        name for name, value in vars(module).items() if not name.startswith("_") and callable(value)
    ]


@pytest.mark.parametrize("name", modules())
def test_public_names_exist(name):
    module = importlib.import_module(name)
    names = getattr(module, "__all__", [])
    if hasattr(module, "__path__"):
        assert names or not own_names(module), f"{name} says not what is public"
    assert len(set(names)) == len(names)
    assert [public for public in names if not hasattr(module, public)] == []
