"""Compiles every kernel, or loads it from the compiler's cache."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, Final

from numba.core import event

__all__ = ["KERNEL_FILES", "warm_up"]

_PACKAGE: Final = "ml_runtime.kernels"

KERNEL_FILES: Final = (
    "scalars",
    "linear",
    "sums",
    "gradient",
    "bayes",
    "network",
    "neighbours",
    "exact",
    "clusters",
    "trees",
    "drift",
)
"""The files of kernels, each after those that it calls."""


class _CompilationListener(event.Listener):
    """Says which kernel the compiler begins with."""

    def __init__(self, progress: Callable[[str], None]) -> None:
        self._progress = progress

    def on_start(self, event: Any) -> None:
        function = event.data["dispatcher"].py_func
        # The compiler also reports the functions of its own that a kernel calls.
        if function.__module__.startswith(_PACKAGE):
            self._progress(function.__name__)

    def on_end(self, event: Any) -> None:
        """Nothing: the next start or the return of `warm_up` says as much."""


def _ignore(_name: str) -> None:
    """Take a name and do nothing."""


def warm_up(
    progress: Callable[[str], None] = _ignore, *, on_file: Callable[[str], None] = _ignore
) -> int:
    """Make every kernel ready to be called; return how many there are.

    Kernels have explicit signatures, so loading their module compiles them: seconds the first time
    on a machine, a fraction of a second from then on.

    Parameters
    ----------
    progress
        Called with the name of each kernel that has to be compiled, just before it is; not called
        for those that come from the compiler's cache.
    on_file
        Called with the name of each of `KERNEL_FILES` when it is ready.
    """
    count = 0
    with event.install_listener("numba:compile", _CompilationListener(progress)):
        for name in KERNEL_FILES:
            module = importlib.import_module(f"{_PACKAGE}.{name}")
            count += sum(hasattr(each, "py_func") for each in vars(module).values())
            on_file(name)
    return count
