"""``quorate warmup``: compile the kernels, and say so while it takes."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ml_runtime.kernels import KERNEL_FILES
from ml_runtime.warmup import warm_up

__all__ = ["run_warmup"]


def run_warmup() -> None:
    """Compile every kernel; what is compiled already is only loaded."""
    console = Console(stderr=True, highlight=False)
    started = time.monotonic()
    if console.is_terminal:
        columns = (
            TextColumn("compiling kernels (long only once on a machine)"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[kernel]}"),
        )
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task("", total=len(KERNEL_FILES), kernel="")
            count = warm_up(
                lambda kernel: bar.update(task, kernel=kernel),
                on_file=lambda _: bar.advance(task),
            )
    else:
        console.print("compiling kernels (only the first run on a machine takes long)")
        count = warm_up()
    console.print(f"{count} kernels ready in {time.monotonic() - started:.1f} s")
