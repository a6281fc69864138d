"""Finding cases by name, without importing what they need until one is asked for."""

from __future__ import annotations

import ast
import difflib
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sciml.case.definition import Case

__all__ = ["cases", "checkout", "find_case", "load_case", "summary_of"]

_PACKAGE = Path(__file__).resolve().parent.parent


def checkout() -> Path | None:
    """The folder of the checkout that sciml runs from; None for an installed wheel."""
    folder = _PACKAGE.parent
    return folder if (folder / "pyproject.toml").is_file() else None


def cases(folder: Path | None = None) -> dict[str, Path]:
    """Every case by its name, in alphabetical order, with its folder.

    Args:
        folder: where to look; by default the `cases/` of the checkout or of the wheel.

    >>> "obstacle_flow" in cases()  # a name on the command line has a hyphen
    False
    """
    if folder is None:
        home = checkout()
        folder = (home or _PACKAGE) / "cases"
    files = sorted(folder.glob("*/case.py"))
    return {file.parent.name.replace("_", "-"): file.parent for file in files}


def summary_of(folder: Path) -> str:
    """First line of the docstring of a case, read without running it."""
    source = (folder / "case.py").read_text(encoding="utf-8")
    docstring = ast.get_docstring(ast.parse(source)) or ""
    return docstring.partition("\n")[0]


def find_case(name: str) -> Path:
    """The folder of a case, given its name, its folder or its `case.py`.

    Raises:
        ValueError: there is no such case; the sentence lists the known ones.
    """
    known = cases()
    if name in known:
        return known[name]
    path = Path(name)
    if path.name == "case.py" and path.is_file():
        return path.parent.resolve()
    if (path / "case.py").is_file():
        return path.resolve()
    near = difflib.get_close_matches(name.replace("_", "-"), known, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    listed = ", ".join(known) or "none"
    raise ValueError(f"there is no case named {name!r}; {hint}the known cases are: {listed}")


def load_case(folder: Path) -> Case:
    """Run the `case.py` of a folder and return its variable `case`.

    Raises:
        ValueError: the file defines no `case`, or its name is not that of the folder.
    """
    from sciml.case.definition import Case

    module_name = f"sciml_case_{folder.name}"
    spec = spec_from_file_location(module_name, folder / "case.py")
    if spec is None or spec.loader is None:
        raise ValueError(f"{folder / 'case.py'} cannot be imported")
    module = module_from_spec(spec)
    sys.modules[module_name] = module
    spec.loader.exec_module(module)
    case = getattr(module, "case", None)
    if not isinstance(case, Case):
        raise ValueError(f"{folder / 'case.py'} must define `case`, a sciml.Case")
    if case.name != folder.name.replace("_", "-"):
        raise ValueError(
            f"the case in {folder} calls itself {case.name!r}; "
            f"its folder asks for {folder.name.replace('_', '-')!r}"
        )
    return case
