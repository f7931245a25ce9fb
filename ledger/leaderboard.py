"""Who has the most karma, on a model or overall, read from the state of one final block.

Karma is kept by account, so a leaderboard reads every record of karma there is, one for each
account and each pair of account and model, at most `RECORDS_MAX` of them in the order of their
keys: a network of thousands of accounts stays below that. It serves who asks and never execution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ledger.karma_records import KARMA_PREFIX, Karma, current_points, decode_karma
from ledger.model_records import decode_model, model_key
from ledger.parameters import decode_parameters
from ledger.reader import LedgerReader
from ledger.schema import CHAIN_PARAMETERS
from ledger.stored_records import decode_own
from primitives.accounts import ACCOUNT_ID_BYTES, AccountId

__all__ = ["RECORDS_MAX", "Leader", "Leaderboard", "list_leaders", "read_half_life"]

RECORDS_MAX: Final = 100_000
"""Records of karma that one leaderboard reads, which takes a few seconds."""

_ACCOUNT_END: Final = len(KARMA_PREFIX) + ACCOUNT_ID_BYTES


@dataclass(frozen=True, slots=True)
class Leader:
    """An account on a leaderboard.

    Parameters
    ----------
    account : whose karma.
    points : whole points, faded up to the time of the block.
    valid, reported : samples of its own that were validated, of others that it rightly reported.
    badges : on the model; overall all of them.
    """

    account: AccountId
    points: int
    valid: int
    reported: int
    badges: int


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """The accounts with the most points, most first; equal ones by account id.

    Parameters
    ----------
    leaders : as many as were asked for.
    is_complete : whether all records of karma were looked at.
    """

    leaders: tuple[Leader, ...]
    is_complete: bool


def list_leaders(
    ledger: LedgerReader,
    model: str = "",
    *,
    height: int | None = None,
    limit: int,
    records_max: int = RECORDS_MAX,
) -> Leaderboard:
    """Return the accounts with the most points as of a block.

    Parameters
    ----------
    ledger : whose state is read.
    model : name of the model; empty for karma over all models.
    height : after which block; the tip if left out.
    limit : most accounts, ≥ 0.
    records_max : most records of karma to look at.
    """
    # Fixed now: in another thread blocks may become final while the records are read.
    at = ledger.tip().height if height is None else height
    now_ms = ledger.header(at).timestamp_ms
    half_life_ms = read_half_life(ledger, model, at)
    ending = b"/" + model.encode() if model else b""
    records = ledger.scan(KARMA_PREFIX, height=at, limit=records_max + 1)
    found = (
        _make_leader(key, decode_own(value, decode_karma), now_ms, half_life_ms)
        for key, value in records[:records_max]
        if key[_ACCOUNT_END:] == ending
    )
    # Somebody who was only sponsored has a record, too, and has not earned anything.
    leaders = [leader for leader in found if leader.points or leader.valid or leader.reported]
    leaders.sort(key=lambda leader: (-leader.points, leader.account))
    return Leaderboard(tuple(leaders[:limit]), len(records) <= records_max)


def read_half_life(ledger: LedgerReader, model: str = "", height: int | None = None) -> int:
    """Return the half-life of karma on a model, or overall if none is named; 0 if it lasts.

    Parameters
    ----------
    ledger : whose state is read.
    model : name of the model; one that is unknown has none.
    height : after which block; the tip if left out.
    """
    if model:
        found = ledger.read(model_key(model), decode_model, height)
        return 0 if found is None else found.description.terms.karma_half_life_ms
    parameters = ledger.read(CHAIN_PARAMETERS, decode_parameters, height)
    return 0 if parameters is None else parameters.karma_half_life_ms


def _make_leader(key: bytes, karma: Karma, now_ms: int, half_life_ms: int) -> Leader:
    return Leader(
        AccountId(key[len(KARMA_PREFIX) : _ACCOUNT_END]),
        current_points(karma, now_ms, half_life_ms),
        karma.valid,
        karma.reported,
        karma.badges,
    )
