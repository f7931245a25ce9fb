"""Opens what a node has on disk, finds out what of it was lost, and does what is safe about it.

Three things can be damaged or missing, each alone or with others:

- the **ledger**, which others have too: it is set aside and fetched from them again;
- the **log** of what was signed, which nobody else has: a damaged one is set aside, and the
  validator signs nothing until it cannot contradict what it may have signed;
- the **guard** beside the key (`node.storage.sign_guard`), without which nobody knows whether the
  log is whole: the node does not start until its operator has said what is known of the key.

Nothing is ever deleted here. A validator that is alone has nobody to fetch from, so for it nothing
is set aside either. What an operator does in each case: docs/operations/recovery.md.
"""

from __future__ import annotations

import contextlib
import logging
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Final

import plyvel

from ledger.errors import DivergedStateError
from ledger.genesis import Genesis
from ledger.store import LedgerStore
from node.home import NodeHome
from node.storage.durable_files import make_folder, sync_folder
from node.storage.guarded_log import GuardedLog, LogState, measure_log, open_instance
from node.storage.leveldb import LevelKeyValueStore
from node.storage.payload_store import PayloadStore
from node.storage.sign_guard import (
    NEVER_SIGNED,
    UNKNOWN_VIEW,
    GuardState,
    SignGuard,
    create_guard,
    forget_log,
    guard_path,
)
from node.storage.wal import WriteAheadLog
from primitives.errors import CorruptStateError, InvalidInputError

__all__ = ["Assurance", "Disks", "SigningHistory", "choose_assurance", "note_damage", "open_disks"]

logger = logging.getLogger(__name__)

SET_ASIDE_MAX: Final = 3
"""So often a folder is set aside; a disk that spoils it yet again has to be replaced first."""


class Assurance(Enum):
    """What the operator says, at the start, about a key whose history is not on disk."""

    NONE = "none"
    FRESH_KEY = "fresh-key"
    """The key has never signed anything on this chain, here or elsewhere."""

    OBSERVE_FIRST = "observe-first"
    """The key may have signed anything, but no other process uses it any more."""

    ACCEPT_LOST_VOTES = "accept-lost-votes"
    """The validator may contradict itself, as one of the f that the network bears."""


@dataclass(frozen=True, slots=True)
class SigningHistory:
    """What is known of what the key has signed, and what follows for the signer.

    Parameters
    ----------
    log : what comparing the log with the guard of the key came to.
    must_observe : records were lost; consensus finds out by watching how far the key may have got.
    sign_floor_view : nothing is to be signed for views up to this one.
    is_accepted : records were lost, and the operator lets the validator vote nevertheless.
    """

    log: LogState
    must_observe: bool
    sign_floor_view: int
    is_accepted: bool = False


@dataclass(frozen=True, slots=True)
class Disks:
    """Everything of a node that is on disk, open."""

    database: LevelKeyValueStore
    store: LedgerStore
    payloads: PayloadStore
    log: GuardedLog
    history: SigningHistory


def choose_assurance(*, fresh_key: bool, observe_first: bool, accept_lost_votes: bool) -> Assurance:
    """Return what the options of ``quorate start`` say.

    Raises
    ------
    InvalidInputError
        ``invalid_configuration`` if they say two things.
    """
    said = [
        assurance
        for assurance, is_given in (
            (Assurance.FRESH_KEY, fresh_key),
            (Assurance.OBSERVE_FIRST, observe_first),
            (Assurance.ACCEPT_LOST_VOTES, accept_lost_votes),
        )
        if is_given
    ]
    if len(said) > 1:
        options = " and ".join(f"--{assurance.value}" for assurance in said)
        raise InvalidInputError(
            "invalid_configuration", f"{options} exclude each other", field="options"
        )
    return said[0] if said else Assurance.NONE


def open_disks(
    home: NodeHome,
    genesis: Genesis,
    assurance: Assurance,
    stack: AsyncExitStack,
) -> Disks:
    """Open everything, setting damaged folders aside.

    Parameters
    ----------
    home
        Locked by this process.
    genesis
        Put into an empty ledger.
    assurance
        What the operator says about the keys.
    stack
        Closes what was opened.

    Raises
    ------
    CorruptStateError
        Something is lost that only the operator can replace; the message says what to do.
    InvalidInputError
        ``guard_missing``, ``wrong_guard`` or ``key_was_used``: the key may have been used
        elsewhere; ``wrong_chain``: the ledger is that of another genesis.
    """
    is_alone = len(genesis.members) == 1
    database = _open_ledger(home, is_alone=is_alone)
    stack.callback(database.close)
    store = LedgerStore(database)
    log = _open_log(home, is_alone=is_alone)
    with contextlib.ExitStack() as unless_opened:
        unless_opened.callback(log.close)
        guard = _open_guard(home, GuardState(genesis.chain_id), log, assurance)
        guarded = GuardedLog(home.wal_folder, log, guard)
        unless_opened.pop_all()
    stack.callback(guarded.close)
    history = _judge(guarded.state, guard.state, assurance, is_alone=is_alone)
    store.initialise(genesis)
    payloads = PayloadStore(home.payload_folder)
    stack.callback(payloads.close)
    return Disks(database, store, payloads, guarded, history)


def note_damage(home: NodeHome, error: BaseException) -> None:
    """Note that the disk failed while the node ran, so that the next start looks closely."""
    if isinstance(error, CorruptStateError) and not isinstance(error, DivergedStateError):
        _suspicion(home).write_text(f"{error}\n", encoding="utf-8")


def _suspicion(home: NodeHome) -> Path:
    return home.ledger_folder.with_name("suspect")


def _open_ledger(home: NodeHome, *, is_alone: bool) -> LevelKeyValueStore:
    suspicion = _suspicion(home)
    try:
        database = _open_checked(home.ledger_folder, is_suspect=suspicion.exists())
    except CorruptStateError as error:
        if not _is_damage(error):
            raise
        if is_alone:
            raise CorruptStateError(
                f"{error}; this validator is alone, so nobody else has the chain: restore"
                f" {home.root / 'data'} from a backup"
            ) from error
        place = _set_aside(home.ledger_folder)
        logger.error(
            "alarm ledger_damaged: %s; it was moved to %s and is fetched from the others",
            error,
            place,
        )
        database = LevelKeyValueStore(home.ledger_folder)
    suspicion.unlink(missing_ok=True)
    return database


def _open_checked(folder: Path, *, is_suspect: bool) -> LevelKeyValueStore:
    """Open the ledger's database and read its tip; all of it if there is a suspicion."""
    tables = [path for path in folder.glob("*") if path.suffix in (".ldb", ".log", ".sst")]
    if tables and not (folder / "CURRENT").exists():
        # LevelDB would take the folder for a new one, and delete what it holds.
        raise CorruptStateError(f"the database in {folder} lacks its file CURRENT")
    database = LevelKeyValueStore(folder)
    try:
        store = LedgerStore(database)
        if not store.is_new:
            height = store.tip().height
            store.header(height)
            store.certificate(height)
            store.genesis()
        if is_suspect:
            for _ in database.iterate():
                pass
    except BaseException:
        database.close()
        raise
    return database


def _is_damage(error: CorruptStateError) -> bool:
    """Tell damage from a disk that is full, read-only or out of reach."""
    cause = error.__cause__
    if isinstance(cause, (plyvel.Error, OSError)):
        return isinstance(cause, plyvel.CorruptionError) or "No such file" in str(cause)
    return True


def _open_log(home: NodeHome, *, is_alone: bool) -> WriteAheadLog:
    try:
        return WriteAheadLog(home.wal_folder)
    except CorruptStateError as error:
        if is_alone:
            raise
        place = _set_aside(home.wal_folder)
        logger.error("alarm log_damaged: %s; it was moved to %s", error, place)
        return WriteAheadLog(home.wal_folder)


def _set_aside(folder: Path) -> Path:
    """Move a folder out of the way and return where it is now."""
    parent = folder.parent / "set-aside"
    make_folder(parent)
    for number in range(SET_ASIDE_MAX):
        place = parent / f"{folder.name}-{number}"
        if not place.exists():
            folder.rename(place)
            sync_folder(parent)
            sync_folder(folder.parent)
            return place
    raise CorruptStateError(
        f"{folder} is damaged again, after {SET_ASIDE_MAX} times before: replace the disk, then"
        f" empty {parent}"
    )


def _open_guard(
    home: NodeHome, expected: GuardState, log: WriteAheadLog, assurance: Assurance
) -> SignGuard:
    """Open the guard of the key, or do what the operator's word allows if it does not fit."""
    path = guard_path(home.validator_key_file)
    if not path.exists() and not home.list_validator_key_files():
        # There is no key that could have signed; one that is laid here later is a new one.
        create_guard(path, expected)
    if not path.exists():
        if assurance is Assurance.NONE:
            raise InvalidInputError(
                "guard_missing",
                f"{path} is missing, so nobody knows what the validator key has signed. Put it back"
                " if you have it. Start once with --fresh-key if the key has never signed, with"
                " --observe-first if it has and the node that used it is gone for good",
                field="guard",
                value=str(path),
            )
        create_guard(path, expected)
        guard = SignGuard(path)
        if assurance is Assurance.FRESH_KEY:
            _vouch(guard, expected, home.wal_folder, log)
        else:
            forget_log(guard)
        return guard
    guard = SignGuard(path)
    try:
        _check_guard(guard, path, expected, assurance)
        if assurance is Assurance.FRESH_KEY:
            _vouch(guard, expected, home.wal_folder, log)
        elif assurance is Assurance.OBSERVE_FIRST:
            forget_log(guard)
    except BaseException:
        guard.close()
        raise
    return guard


def _check_guard(guard: SignGuard, path: Path, expected: GuardState, assurance: Assurance) -> None:
    state = guard.state
    fits = state.chain_id == expected.chain_id
    if not fits and assurance is not Assurance.FRESH_KEY:
        raise InvalidInputError(
            "wrong_guard",
            f"{path} is of chain {state.chain_id.hex()}, the genesis is of"
            f" {expected.chain_id.hex()}. Put back the guard of these keys, or start once with"
            " --fresh-key if they have never signed on this chain",
            field="guard",
            value=str(path),
        )
    if fits and assurance is Assurance.FRESH_KEY and state.instance != NEVER_SIGNED:
        raise InvalidInputError(
            "key_was_used",
            f"{path} says that the key has signed, for views up to {state.reserved_view} at most:"
            " start without --fresh-key",
            field="guard",
            value=str(path),
        )


def _vouch(guard: SignGuard, fresh: GuardState, folder: Path, log: WriteAheadLog) -> None:
    """Let the guard say that a key has signed nothing: then any log is whole."""
    if log.records():
        fresh = replace(fresh, instance=open_instance(folder), log_end=measure_log(folder))
    guard.save(fresh, durable=True)


def _judge(
    log: LogState, guard: GuardState, assurance: Assurance, *, is_alone: bool
) -> SigningHistory:
    """Return what the signer may do."""
    if log in (LogState.NEW, LogState.WHOLE):
        return SigningHistory(log, must_observe=False, sign_floor_view=guard.floor_view)
    if assurance is Assurance.ACCEPT_LOST_VOTES:
        logger.error("alarm records_lost: %s; votes at once, as its operator wants", _TEXTS[log])
        return SigningHistory(log, must_observe=False, sign_floor_view=0, is_accepted=True)
    if is_alone:
        raise CorruptStateError(
            f"{_TEXTS[log]}; this validator is alone and cannot find out from others what it"
            " signed: restore the data folder, or start once with --accept-lost-votes"
        )
    floor_view = guard.floor_view
    if log is not LogState.UNGUARDED and guard.reserved_view != UNKNOWN_VIEW:
        floor_view = guard.reserved_view
    logger.error(
        "alarm records_lost: %s; nothing is signed up to view %d, nor before enough others said"
        " how far they are",
        _TEXTS[log],
        floor_view,
    )
    # The floor alone would do if the guard could not be an old copy as well.
    return SigningHistory(log, must_observe=True, sign_floor_view=floor_view)


_TEXTS: Final = {
    LogState.MISSING: "the log of what was signed is gone, or is that of another node",
    LogState.OLD: "the log of what was signed is an old copy",
    LogState.UNGUARDED: "the guard beside the key is an old copy, so the log may be one too",
}
