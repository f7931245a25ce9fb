"""``quorate warmup``: compile the kernels, with progress."""

from __future__ import annotations

import sys

from ml_runtime.warmup import warm_up
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from node.commands.terminal import print_note

__all__ = ["run_warmup"]


def run_warmup() -> None:
    """Compile every kernel; what is compiled already is only loaded."""
    if not sys.stderr.isatty():
        count = 0

        def note(_name: str, done: int, total: int) -> None:
            nonlocal count
            count = total
            del done

        warm_up(note)
        print_note(f"{count} kernels are ready")
        return
    columns = (
        TextColumn("compiling kernels (first run only)"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("kernels", total=None)

        def show(_name: str, done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        warm_up(show)
