"""Commands that people type often load neither the compiler nor the web server."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("numba", "llvmlite", "fastapi", "starlette", "uvicorn")
PROGRAM = """
import contextlib, io, json, sys
sys.argv = ["quorate", *json.loads(sys.argv[1])]
from node.cli import main
code = 0
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    try:
        main()
    except SystemExit as leaving:
        code = leaving.code or 0
print(json.dumps([code, sorted(name for name in sys.modules if "." not in name)]))
"""


def run_command(arguments: list[str], home: Path) -> tuple[int, list[str]]:
    """Run one command in a fresh process; return its exit code and the modules it loaded."""
    command = [sys.executable, "-c", PROGRAM, json.dumps(arguments)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, cwd=home)
    assert finished.returncode == 0, finished.stderr
    code, modules = json.loads(finished.stdout.splitlines()[-1])
    return code, modules


@pytest.mark.parametrize(
    ("arguments", "expected_code"),
    [
        (["--help"], 0),
        (["keys", "--help"], 0),
        (["status", "--help"], 0),
        (["model", "--help"], 0),
        # Nothing listens there: the command runs to its end and reports an unreachable node.
        (["status", "--url", "http://127.0.0.1:9"], 3),
        (["doctor", "--url", "http://127.0.0.1:9", "."], 1),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_light_commands_load_nothing_heavy(
    arguments: list[str], expected_code: int, tmp_path: Path
) -> None:
    code, modules = run_command(arguments, tmp_path)
    assert code == expected_code
    assert [name for name in HEAVY if name in modules] == []
