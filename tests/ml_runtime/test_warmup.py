"""Warming up makes every kernel ready."""

import os
import subprocess
import sys
from pathlib import Path

from ml_runtime import kernels
from ml_runtime.warmup import warm_up


def test_every_kernel_is_compiled() -> None:
    assert warm_up() == len(kernels.__all__)
    assert all(getattr(kernels, name).signatures for name in kernels.__all__)


def test_progress_names_each_kernel_that_is_compiled(tmp_path: Path) -> None:
    code = "from ml_runtime.warmup import warm_up; warm_up(print)"
    said = [
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=Path(__file__).resolve().parent.parent.parent,
            env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for _ in range(2)
    ]
    assert set(said[0]) >= set(kernels.__all__)
    assert said[1] == []
