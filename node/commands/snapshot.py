"""``quorate snapshot``: back up a ledger, and restore it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

from node.backup import create_backup, restore_backup
from node.commands.terminal import OutputFormat, print_answer, print_note
from node.home import NodeHome

__all__ = ["create_snapshot", "restore_snapshot"]


def create_snapshot(home: Path, to: Path, output: OutputFormat) -> None:
    """Write a snapshot file."""
    manifest = create_backup(NodeHome(home), to, _make_report())
    answer = {
        "file": str(to),
        "height": manifest.height,
        "keys": manifest.key_count,
        "bytes": to.stat().st_size,
    }
    text = (
        f"{to}: state after height {manifest.height}, {manifest.key_count} keys,"
        f" {answer['bytes']:,} bytes; it holds no key of yours: back those up apart"
    )
    print_answer(answer, text, output)


def restore_snapshot(file: Path, home: Path, output: OutputFormat, *, replaces: bool) -> None:
    """Put a snapshot file in place."""
    height = asyncio.run(restore_backup(NodeHome(home), file, _make_report(), replaces=replaces))
    print_answer({"height": height}, f"the ledger stands at height {height}", output)
    print_note(
        "a validator whose own log is gone watches first and votes once it cannot contradict what"
        " it may have signed (docs/operations.md)"
    )


def _make_report() -> Callable[[str, int, int], None]:
    """Return what draws a progress bar on a terminal, and nothing elsewhere."""
    is_terminal = sys.stderr.isatty() and "CI" not in os.environ

    def report(what: str, done: int, total: int) -> None:
        if is_terminal:
            part = done / max(total, 1)
            end = "\n" if done == total else ""
            sys.stderr.write(f"\r{what} {'█' * int(part * 30):<30} {part:4.0%}\x1b[K{end}")
            sys.stderr.flush()

    return report
