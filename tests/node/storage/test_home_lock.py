from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from node.storage.home_lock import HomeLock
from primitives.errors import InvalidInputError


def test_a_home_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    with HomeLock(tmp_path), pytest.raises(InvalidInputError, match=str(os.getpid())) as caught:
        HomeLock(tmp_path).__enter__()
    assert caught.value.code == "home_in_use"
    assert str(tmp_path) in caught.value.message


def test_a_home_is_free_again_afterwards(tmp_path: Path) -> None:
    for _ in range(2):
        with HomeLock(tmp_path / "made"):
            pass


def test_a_home_is_free_again_when_its_process_was_killed(tmp_path: Path) -> None:
    program = (
        "import os, signal\nfrom pathlib import Path\n"
        "from node.storage.home_lock import HomeLock\n"
        f"HomeLock(Path({str(tmp_path)!r})).__enter__()\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    with HomeLock(tmp_path):
        pass
