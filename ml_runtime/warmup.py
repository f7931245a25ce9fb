"""Compiles every kernel, or loads it from the compiler's cache."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numba.core import event

from ml_runtime.evaluation import learn_and_evaluate
from ml_runtime.family import ModelFamily, count_parameters
from ml_runtime.kernels import KERNEL_FILES
from ml_runtime.samples import Batch, DenseSamples, Samples, SparseSamples
from ml_runtime.spec import ModelSpec

__all__ = ["load_kernels_of", "warm_up"]

_PACKAGE: Final = "ml_runtime.kernels"
_SMALL: Final = 1 << 20


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
            # A file also holds what it calls of others; each kernel counts where it is written.
            count += sum(
                each.py_func.__module__ == module.__name__
                for each in vars(module).values()
                if hasattr(each, "py_func")
            )
            on_file(name)
    return count


def load_kernels_of(family: ModelFamily, spec: ModelSpec) -> None:
    """Load what a model of a spec is learnt and asked with, so that its first batch need not wait.

    A small model learns one sample of zeros; nothing else is touched. Large models are left alone:
    making one for this would take longer than loading.
    """
    if family.tasks == ("none",) or count_parameters(family, spec) > _SMALL:
        return
    none = np.zeros(0, dtype=np.int64)
    samples: Samples = DenseSamples(np.zeros((1, spec.feature_count), dtype=np.int64))
    if spec.layout == "sparse":
        samples = SparseSamples(np.zeros(2, dtype=np.int64), none, none, spec.feature_count)
    state = family.initial_state(spec)
    batch = Batch(samples, np.zeros(1, dtype=np.int64))
    learn_and_evaluate(family, spec, state, batch)
