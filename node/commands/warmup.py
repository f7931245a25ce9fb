"""``quorate warmup``: compile the kernels, and say so while it takes."""

from __future__ import annotations

import time

from rich.console import Console

from ml_runtime.warmup import warm_up

__all__ = ["run_warmup"]


def run_warmup() -> None:
    """Compile every kernel; what is compiled already is only loaded."""
    console = Console(stderr=True, highlight=False)
    started = time.monotonic()
    if console.is_terminal:
        with console.status("compiling kernels (only the first run on a machine takes long)"):
            count = warm_up()
    else:
        console.print("compiling kernels (only the first run on a machine takes long)")
        count = warm_up()
    console.print(f"{count} kernels ready in {time.monotonic() - started:.1f} s")
