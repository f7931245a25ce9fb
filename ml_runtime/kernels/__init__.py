"""The inner loops, compiled by numba: int64 in, int64 out, no allocation of objects.

One file for each way of learning. Tables and constants come in as arguments, because the compiler's
cache looks at nothing but a kernel's own file. Each kernel has a plain twin of the same name in
``ml_runtime/kernels/reference/`` that gives the same bits. Signatures are explicit, so that a call
costs microseconds and compilation happens when the module is loaded, once for each machine. Integer
arithmetic does not depend on the processor, the order of loops or the number of threads.

Places in the sparse loops are unsigned, because the compiler tests a signed index for being
negative at every access, which costs more than the multiplication. Such a number must never meet a
signed one in arithmetic: the result would be a float. Source: docs/spec/ml.md §2, §5.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

__all__ = ["KERNEL_FILES"]

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


class _KernelFile:
    """Loads a file of kernels when the first of them is called.

    All of them together take 90 MB and a second; a process that serves two families needs neither
    the time nor the memory of the others.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        module = importlib.import_module(f"{__name__}.{self._name}")
        self.__dict__.update({name: getattr(module, name) for name in module.__all__})
        return getattr(module, attribute)


if not TYPE_CHECKING:
    # `from ml_runtime.kernels import trees` finds these before it would load the file.
    globals().update({name: _KernelFile(name) for name in KERNEL_FILES})
