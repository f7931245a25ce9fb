"""Warming up makes every kernel ready."""

import importlib
import os
import pkgutil
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import ml_runtime.kernels
from ml_runtime.kernels import KERNEL_FILES
from ml_runtime.warmup import warm_up

ROOT = Path(__file__).resolve().parent.parent.parent


def run(code: str, cache: Path) -> list[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "NUMBA_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()


def test_every_file_of_kernels_is_warmed() -> None:
    files = {each.name for each in pkgutil.iter_modules(ml_runtime.kernels.__path__)}
    assert set(KERNEL_FILES) == files - {"reference"}
    ready: list[str] = []
    count = warm_up(on_file=ready.append)
    assert tuple(ready) == KERNEL_FILES
    distinct = set()
    for name in KERNEL_FILES:
        module = importlib.import_module(f"ml_runtime.kernels.{name}")
        kernels = [each for each in vars(module).values() if hasattr(each, "py_func")]
        assert all(each.signatures for each in kernels)
        distinct.update(each.py_func for each in kernels)
    assert count == len(distinct), "what a file calls of another one is counted once"


def test_progress_names_each_kernel_that_is_compiled_and_a_read_only_cache_serves(
    tmp_path: Path,
) -> None:
    code = "from ml_runtime.warmup import warm_up; warm_up(print)"
    warmed, copied = tmp_path / "warmed", tmp_path / "copied"
    assert set(run(code, warmed)) >= {"train_tree", "solve_modulo", "softmax2"}
    shutil.copytree(warmed, copied)
    for path in (copied, *copied.rglob("*")):
        path.chmod(stat.S_IRUSR | (stat.S_IXUSR if path.is_dir() else 0))
    try:
        assert run(code, copied) == []
    finally:
        for path in (copied, *copied.rglob("*")):
            path.chmod(stat.S_IRWXU)
