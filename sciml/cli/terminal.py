"""What the command says: sentences, stages of work, records and results."""

from __future__ import annotations

import contextlib
import math
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sciml.case import Case, Result, Score

__all__ = [
    "complain",
    "complaints_of_warnings",
    "lines",
    "print_result",
    "sentence",
    "stage",
    "unboxed",
]


MOST_COLUMNS = 8
"""Figures beside each other at most; more of them stand below each other, a column a model."""


def complain(what: str) -> None:
    """One line on stderr."""
    print(f"sciml: {what}", file=sys.stderr)


def complaints_of_warnings() -> Callable[..., None]:
    """What takes the place of `warnings.showwarning`: one line for each, and none twice."""
    said: set[str] = set()

    def complain_of_warning(message: Warning | str, *where: Any, **more: Any) -> None:
        words = " ".join(str(message).split())
        if words not in said:
            said.add(words)
            complain(f"warning: {words}")

    return complain_of_warning


def sentence(error: ValueError | OSError) -> str:
    """What went wrong, on one line and without an error number."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def unboxed(text: str) -> str:
    """The message in a box of tyro's as one sentence, with the command that gives help.

    Explanations, which stand further to the right, are left out.
    """
    plain = re.sub(r"\x1b\[[\d;]*m", "", text)
    body = [line[1:].rstrip("│ ") for line in plain.splitlines()[1:]]  # the first is the title
    said = [line.strip() for line in body if line and not line.startswith(" " * 9)]
    joined = " ".join("; " if set(line) <= set("─-╯") else line for line in said)
    message, _, help_ = joined.partition("For full helptext, ")
    command = re.search(r"sciml[\w -]*\w", help_)
    message = message.partition("Argument helptext")[0]
    message = re.sub(r"\s*\.?\s*;\s*", "; ", message).strip("; ").removesuffix(".")
    return f"{message[:1].lower()}{message[1:]}; see {command[0] if command else 'sciml --help'}"


def lines(entry: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    """A nested record as indented lines."""
    width = max((len(str(name)) for name in entry), default=0)
    for name, value in entry.items():
        if isinstance(value, Mapping):
            yield f"{indent}{name}"
            yield from lines(value, indent + "  ")
        else:
            yield f"{indent}{name!s:<{width}}  {_text(value)}"


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return str(value)


@contextlib.contextmanager
def stage(name: str) -> Iterator[None]:
    """Say on a terminal what is being done and, afterwards, how long it took."""
    if not sys.stderr.isatty():
        yield
        return
    print(f"{name} ...", file=sys.stderr)
    start = time.perf_counter()
    yield
    print(f"{name}: {time.perf_counter() - start:.1f} s", file=sys.stderr)


def print_result(case: Case, result: Result) -> None:
    """The models against the bounds, as a table, and the verdict."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 120)
    known = [*case.metrics, *case.diagnostics]
    keys = [key for key in known if any(key in m.metrics for m in result.models.values())]
    heads = [*keys, "fit, s", "predict, s/sample"]
    columns = {
        name: [_cell(model.metrics[key]) for key in keys]
        + [f"{model.fit_seconds:.3g}", f"{model.predict_seconds:.3g}"]
        for name, model in result.models.items()
    }
    corner, side, above = "model", list(columns), heads
    body = list(columns.values())
    if len(heads) > MOST_COLUMNS:
        corner, side, above = "", heads, list(columns)
        body = [list(row) for row in zip(*columns.values(), strict=True)]
    table = Table(title=f"{case.name}, tier {result.tier}, seed {result.seed}")
    table.add_column(corner, no_wrap=True)
    for name in above:
        table.add_column(name, justify="right", overflow="fold")
    for name, cells in zip(side, body, strict=True):
        table.add_row(name, *cells)
    console.print(table)
    for name, metric, score in result.shortfalls():
        console.print(f"[red]falls short[/]: {metric} of {name}: {_cell(score)}", highlight=False)
    if result.holds:
        console.print("[green]every bound holds[/]")


def _cell(score: Score) -> str:
    if score.bound is None:
        return "–" if math.isnan(score.value) else f"{score.value:.3g}"
    sign = {"at most": "≤", "at least": "≥"}[score.bound.direction]
    mark = "[green]✓[/]" if score.holds else "[red]✗[/]"
    return f"{score.value:.3g} {mark} {sign} {score.bound.value:g}"
