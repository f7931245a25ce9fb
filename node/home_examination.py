"""Looks at a node's folder from outside, whether the node runs or not, and changes nothing in it.

What is found is told as findings, each well or not. The write-ahead log is opened as a node would,
but in a copy, because opening it mends its end; so its own code says whether it reads back.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from node.home import NodeHome
from node.storage.wal import WriteAheadLog
from primitives.errors import CorruptStateError

__all__ = [
    "FREE_BYTES_MIN",
    "Finding",
    "FindingState",
    "examine_home",
    "find_holder",
    "is_paused",
    "read_log_tail",
]

FREE_BYTES_MIN = 2 * 1024**3
"""Less free space than this is a warning: a node whose disk is full stops."""

LOG_COPY_BYTES_MAX = 512 * 1024**2
"""Longer logs are not copied to be read: pruning keeps them at a few segments of 16 MiB."""

LOG_TAIL_BYTES = 64 * 1024
UNKNOWN_HOLDER = "unknown"


class FindingState(StrEnum):
    """What is to be thought of a finding."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Parameters
    ----------
    name
        What was looked at.
    state
        How it is.
    text
        What was found, for people.
    """

    name: str
    state: FindingState
    text: str


def find_holder(home: NodeHome) -> str | None:
    """Return the number of the process that holds a node's folder; None if none does.

    The lock is tried for a moment, shared, which keeps nobody out but a node that starts in that
    very moment; the file is neither made nor written.
    """
    try:
        with (home.root / "lock").open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return file.read(32).decode("ascii", "replace").strip() or UNKNOWN_HOLDER
    except OSError:
        return None
    return None


def is_paused(process: str) -> bool:
    """Return whether a process was stopped as by SIGSTOP, so that it cannot answer."""
    try:
        status = Path("/proc", str(int(process)), "stat").read_text("ascii", "replace")
    except (OSError, ValueError):
        return False
    # The name of the program comes before, in parentheses, and may hold anything.
    return status.rpartition(")")[2].split()[:1] in (["T"], ["t"])


def examine_home(home: NodeHome) -> Iterator[Finding]:
    """Look at everything in a node's folder that can be looked at without changing it."""
    if not home.root.is_dir():
        yield Finding("folder", FindingState.FAILED, f"there is no folder {home.root}")
        return
    yield _examine_files(home)
    yield _examine_keys(home)
    yield _examine_data_folder(home)
    yield _examine_disk(home)
    yield _examine_log(home)


def read_log_tail(home: NodeHome, lines_max: int) -> list[str]:
    """Return the last lines that the node printed, if it prints into its folder."""
    try:
        with home.log_file.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - LOG_TAIL_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []
    return [_shorten_log_line(line) for line in lines[-lines_max:]]


def _examine_files(home: NodeHome) -> Finding:
    missing = [
        str(file.relative_to(home.root))
        for file in (home.config_file, home.genesis_file, home.transport_key_file)
        if not file.is_file()
    ]
    if missing:
        text = f"{', '.join(missing)} missing; `quorate init` lays a node's files out"
        return Finding("files", FindingState.FAILED, text)
    return Finding("files", FindingState.OK, "configuration, genesis and keys are there")


def _examine_keys(home: NodeHome) -> Finding:
    files = sorted(home.transport_key_file.parent.glob("*.json"))
    exposed = [file.name for file in files if file.stat().st_mode & 0o077]
    if exposed:
        text = f"{', '.join(exposed)} can be read by other users; chmod 600 mends it"
        return Finding("keys", FindingState.WARNING, text)
    return Finding("keys", FindingState.OK, f"{len(files)} key files, for this user alone")


def _examine_data_folder(home: NodeHome) -> Finding:
    folder = home.wal_folder.parent
    if not folder.exists():
        return Finding("data", FindingState.OK, "no data yet; this node has never run")
    closed = [
        str(each.relative_to(home.root))
        for each in (folder, home.ledger_folder, home.wal_folder, home.payload_folder)
        if each.exists() and not os.access(each, os.R_OK | os.W_OK | os.X_OK)
    ]
    if closed:
        text = f"{', '.join(closed)} cannot be written by this user"
        return Finding("data", FindingState.FAILED, text)
    return Finding("data", FindingState.OK, f"{folder} can be written")


def _examine_disk(home: NodeHome) -> Finding:
    usage = shutil.disk_usage(home.root)
    text = f"{usage.free / 1024**3:.1f} of {usage.total / 1024**3:.1f} GiB free"
    if usage.free < FREE_BYTES_MIN:
        return Finding(
            "disk", FindingState.WARNING, f"only {text}; a node whose disk is full stops"
        )
    return Finding("disk", FindingState.OK, text)


def _examine_log(home: NodeHome) -> Finding:
    """Look at the write-ahead log: read through if no node writes to it, else only measured."""
    segments = sorted(home.wal_folder.glob("*.wal"))
    try:
        size_bytes = sum(segment.stat().st_size for segment in segments)
    except OSError:
        size_bytes = 0  # A running node prunes.
    count = "1 segment" if len(segments) == 1 else f"{len(segments)} segments"
    text = f"{count} of the write-ahead log, {size_bytes / 1024**2:.1f} MiB"
    if not segments:
        return Finding("wal", FindingState.OK, "no write-ahead log yet")
    if find_holder(home) is not None or size_bytes > LOG_COPY_BYTES_MAX:
        return Finding("wal", FindingState.OK, text)
    with tempfile.TemporaryDirectory(prefix="quorate-doctor-") as folder:
        copy = Path(folder) / "wal"
        try:
            shutil.copytree(home.wal_folder, copy)
            log = WriteAheadLog(copy)
            try:
                records = len(log.records())
            finally:
                log.close()
        except (CorruptStateError, OSError) as error:
            reason = str(error).replace(str(copy), str(home.wal_folder))
            return Finding("wal", FindingState.FAILED, reason)
    return Finding("wal", FindingState.OK, f"{text}: {records} records, all read back")


def _shorten_log_line(line: str) -> str:
    """Return a line of the log as a person reads it: time, level, message."""
    try:
        fields = json.loads(line)
        return f"{fields['time'][11:19]} {fields['level']:<8} {fields['message']}"
    except (ValueError, KeyError, TypeError):
        return line
