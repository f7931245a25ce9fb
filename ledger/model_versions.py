"""Versions of a model that have a name, and what has to be there to go back to one.

The state holds the descriptor of every version that an alias names, so that all validators, also
those that joined by a snapshot, can go back to it. ``latest`` is always the version in force and
has no record; ``best`` is kept by the ledger: whenever 256 more samples were judged, the version
with which that began is the best one if it was right more often than the best so far.
Source: docs/spec/ledger.md §5.6.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Protocol

from ledger.model_records import ModelProgress, check_model_name
from ledger.model_tensors import ModelTensors, decode_model_tensors
from ledger.schema import Record, RecordT, read_record
from ml_runtime.spec import ModelSpec, decode_spec
from primitives.codec import Value, encode
from primitives.errors import InvalidInputError, InvariantViolationError
from primitives.fields import COUNTER_MAX, FieldReader

__all__ = [
    "ALIASES_MAX",
    "BEST",
    "LATEST",
    "PINNED_PREFIX",
    "Alias",
    "Aliases",
    "BestWindow",
    "PinnedVersion",
    "aliases_key",
    "best_window_key",
    "check_alias",
    "decode_aliases",
    "decode_best_window",
    "decode_pinned_version",
    "move_alias",
    "pin_version",
    "pinned_version_key",
    "read_aliases",
    "release_version",
    "watch_best",
]

LATEST: Final = "latest"
BEST: Final = "best"
RESERVED: Final = (LATEST, BEST)

ALIASES_MAX: Final = 32
WINDOW_SAMPLES: Final = 256
"""Samples over which versions are compared."""

PINNED_PREFIX: Final = b"pinned/"
_ALIAS_BYTES_MAX: Final = 64
_TENSORS_BYTES_MAX: Final = 8 * 1024 * 1024


class VersionState(Protocol):
    """The state of a block under execution, as far as versions need it."""

    def get(self, key: bytes, decode: Callable[[bytes], RecordT]) -> RecordT | None:
        """Return the record under a key, or None."""
        ...

    def put(self, key: bytes, record: Record | None) -> None:
        """Write a record, or remove it."""
        ...


def aliases_key(name: str) -> bytes:
    """Return the state key of a model's aliases."""
    return b"aliases/" + name.encode()


def pinned_version_key(name: str, version: int) -> bytes:
    """Return the state key of a version that can be gone back to."""
    return PINNED_PREFIX + name.encode() + b"/" + version.to_bytes(8, "big")


def best_window_key(name: str) -> bytes:
    """Return the state key of what is counted towards the best version."""
    return b"best/" + name.encode()


@dataclass(frozen=True, slots=True)
class Alias:
    """A name of a version."""

    alias: str
    version: int


@dataclass(frozen=True, slots=True)
class Aliases:
    """All names of a model's versions, ascending."""

    aliases: tuple[Alias, ...] = ()

    def get(self, alias: str) -> int | None:
        """Return the version that a name stands for, or None."""
        return next((each.version for each in self.aliases if each.alias == alias), None)

    def put(self, alias: str, version: int | None) -> Aliases:
        """Return the names with one set, or without it if there is no version."""
        kept = [each for each in self.aliases if each.alias != alias]
        if version is not None:
            kept.append(Alias(alias, version))
        return Aliases(tuple(sorted(kept, key=lambda each: each.alias)))

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode(([[each.alias, each.version] for each in self.aliases],))


def decode_aliases(data: bytes) -> Aliases:
    """Return the aliases whose canonical bytes are `data`; raises as `read_record`."""
    reader = read_record(data, "aliases", 1)
    values = reader.array("aliases", ALIASES_MAX)
    aliases = Aliases(tuple(_read_alias(value) for value in values))
    names = [each.alias for each in aliases.aliases]
    if names != sorted(set(names)):
        raise InvalidInputError("malformed", "aliases must ascend", field="aliases")
    return aliases


@dataclass(frozen=True, slots=True)
class PinnedVersion:
    """A version whose parameters every validator keeps.

    Parameters
    ----------
    references : how many aliases, windows and submissions to exchanges hold it.
    spec : of the model when the version was made; it may have grown since.
    tensors : its parameters by their chunks.
    """

    references: int
    spec: ModelSpec
    tensors: ModelTensors

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode((self.references, self.spec.to_fields(), self.tensors.encode()))


def decode_pinned_version(data: bytes) -> PinnedVersion:
    """Return the pinned version whose canonical bytes are `data`; raises as `read_record`."""
    reader = read_record(data, "pinned", 3)
    references = reader.integer("references", 1, COUNTER_MAX)
    spec = decode_spec(reader.value())
    tensors = reader.bytes("tensors", bytes_max=_TENSORS_BYTES_MAX)
    return PinnedVersion(references, spec, decode_model_tensors(tensors))


@dataclass(frozen=True, slots=True)
class BestWindow:
    """What is counted towards the best version.

    Parameters
    ----------
    version : with which the window began; pinned meanwhile.
    correct, judged : of the model when it began.
    best_correct, best_judged : of the best window so far, 0 of 0 before the first.
    """

    version: int
    correct: int
    judged: int
    best_correct: int = 0
    best_judged: int = 0

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        counts = (self.correct, self.judged, self.best_correct, self.best_judged)
        return encode((self.version, *counts))


def decode_best_window(data: bytes) -> BestWindow:
    """Return the window whose canonical bytes are `data`; raises as `read_record`."""
    reader = read_record(data, "best", 5)
    names = ("version", "correct", "judged", "best_correct", "best_judged")
    return BestWindow(*(reader.counter(name) for name in names))


def read_aliases(state: VersionState, name: str) -> Aliases:
    """Return a model's aliases."""
    return state.get(aliases_key(name), decode_aliases) or Aliases()


def check_alias(alias: str) -> None:
    """Refuse what cannot be an owner's alias; raises ``malformed`` or ``reserved_alias``."""
    if alias in RESERVED:
        raise InvalidInputError(
            "reserved_alias",
            f"the ledger itself says which version is {alias}",
            field="alias",
            value=alias,
        )
    check_model_name(alias)


def move_alias(
    state: VersionState,
    name: str,
    alias: str,
    pinned: PinnedVersion | None,
) -> None:
    """Let an alias name a version, pinning that and releasing the one it named before.

    Parameters
    ----------
    pinned : the version as `PinnedVersion` with any count of references, or None to take the alias
        away.
    """
    aliases = read_aliases(state, name)
    before = aliases.get(alias)
    if pinned is not None:
        pin_version(state, name, pinned)
    if before is not None:
        release_version(state, name, before)
    version = None if pinned is None else pinned.tensors.version
    state.put(aliases_key(name), aliases.put(alias, version))


def pin_version(state: VersionState, name: str, pinned: PinnedVersion) -> None:
    """Keep a version for somebody who will call `release_version` exactly once.

    Parameters
    ----------
    pinned : the version with any count of references; its chunks must be stored by now.
    """
    key = pinned_version_key(name, pinned.tensors.version)
    known = state.get(key, decode_pinned_version)
    held = replace(pinned, references=1) if known is None else _count(known, 1)
    state.put(key, held)


def release_version(state: VersionState, name: str, version: int) -> None:
    """Let go of a version that was pinned.

    Raises
    ------
    InvariantViolationError
        If nobody has pinned it: it was released twice.
    """
    key = pinned_version_key(name, version)
    known = state.get(key, decode_pinned_version)
    if known is None:
        raise InvariantViolationError(f"version {version} of {name} is released twice")
    state.put(key, None if known.references == 1 else _count(known, -1))


def watch_best(
    state: VersionState, name: str, progress: ModelProgress, current: PinnedVersion
) -> None:
    """Compare versions when a window of samples is full; `current` is the one just made."""
    window = state.get(best_window_key(name), decode_best_window)
    if window is None:
        _begin_window(state, name, progress, current, (0, 0))
        return
    judged = progress.judged - window.judged
    if judged < WINDOW_SAMPLES:
        return
    correct = progress.correct - window.correct
    best = (window.best_correct, window.best_judged)
    # correct / judged > best correct / best judged, without a division.
    if best[1] == 0 or correct * best[1] > best[0] * judged:
        best = (correct, judged)
        held = state.get(pinned_version_key(name, window.version), decode_pinned_version)
        if held is None:
            raise InvariantViolationError(f"version {window.version} of {name} is not pinned")
        move_alias(state, name, BEST, held)
    release_version(state, name, window.version)
    _begin_window(state, name, progress, current, best)


def _begin_window(
    state: VersionState,
    name: str,
    progress: ModelProgress,
    current: PinnedVersion,
    best: tuple[int, int],
) -> None:
    pin_version(state, name, current)
    window = BestWindow(current.tensors.version, progress.correct, progress.judged, *best)
    state.put(best_window_key(name), window)


def _count(pinned: PinnedVersion, change: int) -> PinnedVersion:
    return replace(pinned, references=pinned.references + change)


def _read_alias(value: Value) -> Alias:
    reader = FieldReader(value, "aliases", 2)
    return Alias(reader.text("alias", _ALIAS_BYTES_MAX), reader.integer("version", 0, COUNTER_MAX))
