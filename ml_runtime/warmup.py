"""Compiles every kernel, or loads it from the compiler's cache."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, Final

from numba.core import event

__all__ = ["warm_up"]

_MODULES: Final = ("ml_runtime.kernels",)


class _CompilationListener(event.Listener):
    """Says which kernel the compiler begins with."""

    def __init__(self, progress: Callable[[str], None]) -> None:
        self._progress = progress

    def on_start(self, event: Any) -> None:
        function = event.data["dispatcher"].py_func
        # The compiler also reports the functions of its own that a kernel calls.
        if function.__module__ in _MODULES:
            self._progress(function.__name__)

    def on_end(self, event: Any) -> None:
        """Nothing: the next start or the return of `warm_up` says as much."""


def _ignore(_name: str) -> None:
    """Take a name and do nothing."""


def warm_up(progress: Callable[[str], None] = _ignore) -> int:
    """Make every kernel ready to be called; return how many there are.

    Kernels have explicit signatures, so loading their module compiles them: seconds the first time
    on a machine, a fraction of a second from then on.

    Parameters
    ----------
    progress
        Called with the name of each kernel that has to be compiled, just before it is; not called
        for those that come from the compiler's cache.
    """
    with event.install_listener("numba:compile", _CompilationListener(progress)):
        return sum(len(importlib.import_module(name).__all__) for name in _MODULES)
