"""Compiles every kernel, or loads it from the compiler's cache."""

from __future__ import annotations

import importlib
from collections.abc import Callable

__all__ = ["warm_up"]

_MODULES = ("ml_runtime.kernels",)


def warm_up(on_progress: Callable[[str, int, int], None]) -> None:
    """Make every kernel ready to be called.

    Kernels have explicit signatures, so loading their module compiles them: seconds the first time
    on a machine, a fraction of a second from then on.

    Parameters
    ----------
    on_progress
        Called with a module's name, how many are done and how many there are.
    """
    for done, name in enumerate(_MODULES):
        on_progress(name, done, len(_MODULES))
        importlib.import_module(name)
    on_progress("", len(_MODULES), len(_MODULES))
