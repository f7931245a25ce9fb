"""``quorate config``: what is wrong with a node's settings, and what they are."""

from __future__ import annotations

import json
from pathlib import Path

from node.commands.terminal import OutputFormat, fail, print_answer, render_table
from node.configuration_check import Finding, examine, list_settings
from node.home import NodeHome

__all__ = ["check_config", "show_config"]


def check_config(home: Path, output: OutputFormat) -> None:
    """Print every finding; exit code 1 if one of them is an error."""
    findings = examine(NodeHome(home))
    errors = [each for each in findings if each.is_error]
    text = "\n".join(_show(each) for each in findings) or "all settings, keys and files are well"
    print_answer([each.to_json() for each in findings], text, output)
    if errors:
        raise fail(f"{len(errors)} of {len(findings)} findings keep the node from starting")


def show_config(home: Path, output: OutputFormat) -> None:
    """Print every setting with its value and its source."""
    settings = list_settings(NodeHome(home))
    rows = [[each.name, json.dumps(each.value, default=str), each.source] for each in settings]
    answer = [{"name": each.name, "value": each.value, "source": each.source} for each in settings]
    print_answer(answer, render_table(["setting", "value", "from"], rows), output)


def _show(finding: Finding) -> str:
    mark = "error  " if finding.is_error else "warning"
    return f"{mark} {finding.setting}: {finding.message}"
