"""Transactions about voluntary fees: support a model, collect one's part.

Nobody needs to pay, and whether anybody did changes nothing else: predictions stay free.
Source: docs/spec/ledger.md §7.37, docs/spec/incentives.md §5.6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from incentives.accounting import verify_collection
from incentives.support import SupportPot, collect, pay_in
from ledger.errors import TransactionFailedError
from ledger.karma_records import karma_key, read_karma
from ledger.parameters import Parameters
from ledger.schema import AMOUNT_MAX, StateReader
from ledger.support_records import (
    PotRecord,
    ShareRecord,
    read_pot,
    settle_support,
    support_pot_key,
    support_share_key,
)
from ledger.transaction import Transaction
from ledger.transactions.kind import ExecutionContext
from ledger.transactions.model_access import get_model, get_progress, read_model_name
from primitives.codec import Encodable, Value
from primitives.fields import FieldReader

__all__ = ["COLLECT_SUPPORT", "SUPPORT_MODEL", "CollectSupport", "SupportModel"]

_UNITS: Final = 20_000
"""A handful of records are read and written, as with a stake."""


@dataclass(frozen=True, slots=True)
class SupportModel:
    """Pay to those whose samples a model was taught with.

    Parameters
    ----------
    model
        Name of the model.
    amount
        In the smallest unit, at least 1.
    """

    model: str
    amount: int

    def to_fields(self) -> list[Encodable]:
        """Return the body of the envelope."""
        return [self.model, self.amount]


@dataclass(frozen=True, slots=True)
class CollectSupport:
    """Take what the sender is owed of a model's voluntary fees."""

    model: str

    def to_fields(self) -> list[Encodable]:
        """Return the body of the envelope."""
        return [self.model]


class SupportModelKind:
    """Pays a voluntary fee into a model's pot."""

    code: Final = 38
    name: Final = "support_model"
    has_payload: Final = False
    result_fields: Final = ("validated_samples",)

    def decode_body(self, value: list[Value]) -> SupportModel:
        """Return the body; raises `InvalidInputError`."""
        reader = FieldReader(value, self.name, 2)
        body = SupportModel(read_model_name(reader), reader.integer("amount", 1, AMOUNT_MAX))
        reader.end()
        return body

    def check(
        self, _transaction: Transaction, _body: SupportModel, _parameters: Parameters
    ) -> None:
        """Check nothing further: the rest depends on the state."""

    def cost(self, _state: StateReader, _transaction: Transaction, _body: SupportModel) -> int:
        """Return the price of the records that change."""
        return _UNITS

    def apply(
        self, context: ExecutionContext, _transaction: Transaction, body: SupportModel
    ) -> list[Encodable]:
        """Move the sender's money into the pot.

        Raises
        ------
        TransactionFailedError
            ``unknown_model``, ``no_valid_contributions`` or ``insufficient_balance``.
        """
        get_model(context, body.model)
        valid = get_progress(context, body.model).valid
        if not valid:
            raise TransactionFailedError(
                "no_valid_contributions",
                f"nobody has a validated sample on {body.model!r} yet whom this could be paid to",
            )
        context.hold(context.sender, body.amount)
        pot = read_pot(context, body.model) or SupportPot()
        after = PotRecord(pay_in(pot, body.amount, valid))
        context.put(support_pot_key(body.model), after)
        return [valid]


class CollectSupportKind:
    """Pays an account its part of a model's voluntary fees."""

    code: Final = 39
    name: Final = "collect_support"
    has_payload: Final = False
    result_fields: Final = ("paid",)

    def decode_body(self, value: list[Value]) -> CollectSupport:
        """Return the body; raises `InvalidInputError`."""
        reader = FieldReader(value, self.name, 1)
        body = CollectSupport(read_model_name(reader))
        reader.end()
        return body

    def check(
        self, _transaction: Transaction, _body: CollectSupport, _parameters: Parameters
    ) -> None:
        """Check nothing further: the rest depends on the state."""

    def cost(self, _state: StateReader, _transaction: Transaction, _body: CollectSupport) -> int:
        """Return the price of the records that change."""
        return _UNITS

    def apply(
        self, context: ExecutionContext, _transaction: Transaction, body: CollectSupport
    ) -> list[Encodable]:
        """Pay the sender what it is owed.

        Raises
        ------
        TransactionFailedError
            ``unknown_model`` or ``nothing_to_collect``.
        """
        get_model(context, body.model)
        sender = context.sender
        valid = read_karma(context, karma_key(sender, body.model)).valid
        pot = read_pot(context, body.model) or SupportPot()
        share = settle_support(context, pot, sender, body.model, valid)
        if not share.owed:
            raise TransactionFailedError(
                "nothing_to_collect", f"nothing is owed to you of what {body.model!r} was paid"
            )
        verify_collection(pot, share)
        pot, share, paid = collect(pot, share)
        context.put(support_pot_key(body.model), PotRecord(pot))
        context.put(support_share_key(sender, body.model), ShareRecord(share))
        context.release(sender, paid)
        return [paid]


SUPPORT_MODEL: Final = SupportModelKind()
COLLECT_SUPPORT: Final = CollectSupportKind()
