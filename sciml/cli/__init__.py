"""The `sciml` command.

Its options are the fields of frozen dataclasses, one for each subcommand. Bad input gives one
sentence on stderr and status 2; a run whose bounds do not all hold gives status 1.
"""

from __future__ import annotations

import contextlib
import io
import sys
import warnings
from collections.abc import Sequence

import tyro
from tyro.conf import FlagCreatePairsOff

from sciml.cli.commands import HOLDS, Cases, Command, Data, Info, Modes, Predict, Run
from sciml.cli.terminal import complain, complaints_of_warnings, sentence, unboxed

__all__ = ["main"]

BAD_INPUT, INTERRUPTED = 2, 130


def main(args: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status.

    0: done, and every bound holds. 1: a bound falls short. 2: bad input, with a sentence on
    stderr. 130: interrupted.
    """
    args = list(sys.argv[1:] if args is None else args)
    if args == ["--version"]:
        import sciml

        print(f"sciml {sciml.__version__}")
        return HOLDS
    command = _parse(args)
    if command is None:
        return BAD_INPUT
    try:
        with warnings.catch_warnings():
            warnings.showwarning = complaints_of_warnings()
            return command()
    except (ValueError, OSError) as error:
        complain(sentence(error))
        return BAD_INPUT
    except KeyboardInterrupt:
        complain(f"interrupted{getattr(command, 'resumption', '')}")
        return INTERRUPTED


def _parse(args: Sequence[str]) -> Cases | Run | Data | Predict | Info | Modes | None:
    """The subcommand with its options; None, after a sentence on stderr, if they are wrong.

    Raises:
        SystemExit: help was asked for and given.
    """
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(
                Command,  # type: ignore[arg-type]
                prog="sciml",
                description="Surrogates for fluid mechanics: run a case, generate its data, "
                "predict with what was fitted, compare decompositions.",
                args=args,
                config=(FlagCreatePairsOff,),
            )
    except SystemExit as exit:
        if exit.code == 0:
            raise
        complain(unboxed(said.getvalue()))
        return None
