"""Which software this is."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version

__all__ = ["read_version"]


@cache
def read_version() -> str:
    """Return the version of the installed package; ``unknown`` when it runs without one."""
    try:
        return version("quorate")
    except PackageNotFoundError:
        return "unknown"
