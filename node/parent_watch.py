"""Ends a child process when its parent is gone, however the parent ended.

A parent that is killed with -9 cannot stop its children. It therefore holds the writing end of a
pipe that is the child's standard input: the kernel closes it with the parent, and the child reads
the end of the file.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable

__all__ = ["watch_parent"]


def watch_parent(on_parent_gone: Callable[[], None]) -> threading.Thread:
    """Call ``on_parent_gone`` from a thread of its own once standard input ends.

    Parameters
    ----------
    on_parent_gone
        Called at most once; must be safe to call from another thread.
    """
    input_descriptor = sys.stdin.fileno()

    def wait() -> None:
        while os.read(input_descriptor, 4096):
            pass
        on_parent_gone()

    thread = threading.Thread(target=wait, name="parent-watch", daemon=True)
    thread.start()
    return thread
