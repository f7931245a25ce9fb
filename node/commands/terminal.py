"""What all commands share: text or JSON on standard output, problems and exit codes.

Standard output carries the answer alone, so that it can be piped; everything said beside it goes
to standard error. Exit codes: 0 done, 1 failure, 2 usage, 3 unreachable or not synced, 4 refused by
the chain.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from typing import ParamSpec, TypeVar

from primitives.errors import QuorateError

__all__ = [
    "ExitCode",
    "OutputFormat",
    "fail",
    "handles_problems",
    "print_answer",
    "print_note",
    "render_table",
]

P = ParamSpec("P")
R = TypeVar("R")


class ExitCode:
    """Exit codes of every command."""

    FAILURE = 1
    USAGE = 2
    UNREACHABLE = 3
    REJECTED = 4


class OutputFormat(StrEnum):
    """How a command prints its answer."""

    TEXT = "text"
    JSON = "json"


def print_answer(answer: object, text: str, output: OutputFormat) -> None:
    """Print ``text`` for people or ``answer`` as JSON for machines, on standard output."""
    shown = text if output is OutputFormat.TEXT else json.dumps(answer, indent=2, default=str)
    sys.stdout.write(shown + "\n")
    sys.stdout.flush()


def print_note(text: str) -> None:
    """Say something beside the answer, on standard error."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def fail(message: str, code: int = ExitCode.FAILURE) -> SystemExit:
    """Say why the command ends and return the exception that ends it.

    Examples
    --------
    >>> raise fail("no such model", ExitCode.REJECTED)
    Traceback (most recent call last):
    SystemExit: 4
    """
    colour = sys.stderr.isatty() and "NO_COLOR" not in os.environ
    print_note(f"\x1b[31merror:\x1b[0m {message}" if colour else f"error: {message}")
    return SystemExit(code)


def handles_problems(command: Callable[P, R]) -> Callable[P, R]:
    """Turn this project's exceptions into one line and the right exit code."""

    @functools.wraps(command)
    def wrapper(*arguments: P.args, **options: P.kwargs) -> R:
        try:
            return command(*arguments, **options)
        except QuorateError as error:
            raise fail(str(error), _choose_exit_code(error)) from error
        except OSError as error:
            raise fail(_describe_system_error(error)) from error
        except KeyboardInterrupt:
            raise SystemExit(130) from None

    return wrapper


def _describe_system_error(error: OSError) -> str:
    """Return file and cause, without the number of the error, which helps nobody."""
    if error.filename is None or error.strerror is None:
        return str(error)
    return f"{error.filename}: {error.strerror}"


def _choose_exit_code(error: QuorateError) -> int:
    # Named rather than imported: commands that never talk to a node need not load a client.
    names = {kind.__name__ for kind in type(error).__mro__}
    if names & {"UnreachableError", "NotFinalError"}:
        return ExitCode.UNREACHABLE
    if names & {"RefusedError", "TransactionFailedError"}:
        return ExitCode.REJECTED
    return ExitCode.FAILURE


def render_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a plain table: numbers to the right, everything else to the left.

    Examples
    --------
    >>> print(render_table(["name", "height"], [["digits", 12]]))
    name    height
    digits      12
    """
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(headings, *texts, strict=True)]
    numeric = [
        bool(texts) and all(row[index].lstrip("-").isdigit() for row in texts)
        for index in range(len(headings))
    ]

    def line(cells: Sequence[str]) -> str:
        aligned = (
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(cells, widths, numeric, strict=True)
        )
        return "  ".join(aligned).rstrip()

    return "\n".join(line(cells) for cells in [list(headings), *texts])
