"""Runs the suite of real processes under real faults, or says why it cannot.

    python -m tests.processes [arguments for pytest]

Needs root and Debian's iproute2 (``tests/processes/install-tools``). Without them it is listed as
NOT RUN; with ``CI`` in the environment that is a failure.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.processes.namespaces import find_obstacle

FOLDER = Path(__file__).resolve().parent


def main() -> int:
    obstacle = find_obstacle()
    if obstacle is not None:
        print(f"NOT RUN: tests/processes: {obstacle}")
        return 1 if os.environ.get("CI") else 0
    # Named so that pytest's own search leaves them alone: they are not part of `make test`.
    checks = sorted(str(path) for path in FOLDER.glob("check_*.py"))
    return int(pytest.main([*checks, "--durations=0", *sys.argv[1:]]))


if __name__ == "__main__":
    sys.exit(main())
