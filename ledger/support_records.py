"""What the state says of voluntary fees: each model's pot, and what each account was settled at.

Source: docs/spec/ledger.md §5.11.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from incentives.support import SupportPot, SupportShare, settle
from ledger.schema import read_record
from ledger.transactions.kind import ExecutionContext
from primitives.accounts import AccountId
from primitives.codec import encode

__all__ = [
    "PotRecord",
    "ShareRecord",
    "decode_pot",
    "decode_share",
    "read_pot",
    "settle_support",
    "support_pot_key",
    "support_share_key",
]

_PER_SAMPLE_BYTES: Final = 32
"""A payment adds less than 2^127, so this overflows after 2^128 payments."""


def support_pot_key(model: str) -> bytes:
    """Return the state key of a model's voluntary fees."""
    return b"support/" + model.encode()


def support_share_key(account: AccountId, model: str) -> bytes:
    """Return the state key of what an account is owed of a model's voluntary fees."""
    return support_pot_key(model) + b"/" + account


@dataclass(frozen=True, slots=True)
class PotRecord:
    """The voluntary fees of a model, as the state holds them."""

    pot: SupportPot

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode((_pack(self.pot.per_sample), self.pot.held, self.pot.paid))


def decode_pot(data: bytes) -> PotRecord:
    """Return the pot whose canonical bytes are `data`; raises as `read_record`."""
    reader = read_record(data, "support", 3)
    per_sample = reader.bytes("per_sample", _PER_SAMPLE_BYTES)
    return PotRecord(
        SupportPot(
            int.from_bytes(per_sample, "big"), reader.counter("held"), reader.counter("paid")
        )
    )


@dataclass(frozen=True, slots=True)
class ShareRecord:
    """What an account is owed, as the state holds it."""

    share: SupportShare

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode((_pack(self.share.per_sample), self.share.owed))


def decode_share(data: bytes) -> ShareRecord:
    """Return the share whose canonical bytes are `data`; raises as `read_record`."""
    reader = read_record(data, "support_share", 2)
    per_sample = reader.bytes("per_sample", _PER_SAMPLE_BYTES)
    return ShareRecord(SupportShare(int.from_bytes(per_sample, "big"), reader.counter("owed")))


def read_pot(context: ExecutionContext, model: str) -> SupportPot | None:
    """Return a model's pot, or None if nobody ever paid in."""
    record = context.get(support_pot_key(model), decode_pot)
    return None if record is None else record.pot


def settle_support(
    context: ExecutionContext, pot: SupportPot, account: AccountId, model: str, valid: int
) -> SupportShare:
    """Bring what an account is owed up to date; return it.

    Parameters
    ----------
    context : the transaction.
    pot : the model's.
    account, model : whose share of what.
    valid : the account's validated samples on the model until now.
    """
    key = support_share_key(account, model)
    known = context.get(key, decode_share)
    share = settle(pot, SupportShare() if known is None else known.share, valid)
    context.put(key, ShareRecord(share))
    return share


def _pack(per_sample: int) -> bytes:
    return per_sample.to_bytes(_PER_SAMPLE_BYTES, "big")
