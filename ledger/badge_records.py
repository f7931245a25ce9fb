"""What the state says of badges: who has earned which, on which model, and when.

Source: docs/spec/ledger.md §5.11.
"""

from __future__ import annotations

from dataclasses import dataclass

from ledger.reader import LedgerReader
from ledger.schema import read_record
from ledger.stored_records import decode_own
from primitives.accounts import AccountId
from primitives.codec import encode

__all__ = ["EarnedBadge", "badge_key", "badge_prefix", "decode_earned_badge", "list_badges"]


def badge_prefix(account: AccountId) -> bytes:
    """Return what the state keys of an account's badges start with."""
    return b"badge/" + account + b"/"


def badge_key(account: AccountId, badge_id: str, model: str) -> bytes:
    """Return the state key of a badge; the model is empty for one earned over all models."""
    return badge_prefix(account) + f"{badge_id}/{model}".encode()


@dataclass(frozen=True, slots=True)
class EarnedBadge:
    """A badge that was earned; it stays.

    Parameters
    ----------
    height, timestamp_ms
        Of the block in which the criterion was first seen to be met.
    """

    height: int
    timestamp_ms: int

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode((self.height, self.timestamp_ms))


def decode_earned_badge(data: bytes) -> EarnedBadge:
    """Return the badge whose canonical bytes are `data`; raises as `read_record`."""
    reader = read_record(data, "badge", 2)
    return EarnedBadge(reader.counter("height"), reader.counter("timestamp_ms"))


def list_badges(
    ledger: LedgerReader,
    account: AccountId,
    *,
    height: int | None = None,
    start_after: bytes | None = None,
    limit: int,
) -> list[tuple[str, str, EarnedBadge]]:
    """Return id, model (empty if overall) and record of an account's badges, by id and model.

    Parameters
    ----------
    ledger : whose state is read.
    account : whose badges.
    height : after which block; the tip if left out.
    start_after : only badges whose state keys come after this one.
    limit : most badges.
    """
    prefix = badge_prefix(account)
    found = []
    for key, value in ledger.scan(prefix, height=height, start_after=start_after, limit=limit):
        badge_id, _, model = key[len(prefix) :].decode().partition("/")
        found.append((badge_id, model, decode_own(value, decode_earned_badge)))
    return found
