"""``quorate divergence``: where two nodes' executions of the same blocks part."""

from __future__ import annotations

from pathlib import Path

from ledger.divergence import find_first_difference
from node.commands.terminal import OutputFormat, print_answer
from node.divergence import load_report

__all__ = ["show_divergence"]


def show_divergence(first: Path, second: Path, output: OutputFormat) -> None:
    """Compare two reports; raises ``invalid_report``."""
    ours, theirs = load_report(first), load_report(second)
    difference = find_first_difference(ours.blocks, theirs.blocks)
    machines = {
        name: [ours.machine.get(name, "unknown"), theirs.machine.get(name, "unknown")]
        for name in sorted({*ours.machine, *theirs.machine})
        if ours.machine.get(name) != theirs.machine.get(name)
    }
    lines = [difference or "both executed every block that they have in common the same way"]
    lines += [f"{name}: {here}, {there}" for name, (here, there) in machines.items()]
    answer = {"difference": difference or None, "machines": machines}
    print_answer(answer, "\n".join(lines), output)
