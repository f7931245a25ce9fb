"""All kinds of transactions there are.

A new kind is added to ``KINDS``; nothing else needs to know about it.
"""

from __future__ import annotations

from typing import Any, Final

from ledger.codes import UNKNOWN_KIND
from ledger.transaction import Transaction
from ledger.transactions.accounts import ROTATE_ACCOUNT_KEY, TRANSFER
from ledger.transactions.campaigns import ADVANCE_CAMPAIGN, OPEN_CAMPAIGN, SHOW_PIECE
from ledger.transactions.contributions import CLAIM, CONTRIBUTE, REFUND, REPORT
from ledger.transactions.evidence import REPORT_EVIDENCE
from ledger.transactions.exchange_settlement import ADVANCE_EXCHANGE
from ledger.transactions.exchanges import (
    OPEN_EXCHANGE,
    REVEAL_MODEL,
    SHOW_EXCHANGE_PIECE,
    SUBMIT_MODEL,
)
from ledger.transactions.governance import PROPOSE, VOTE, WITHDRAW_PROPOSAL
from ledger.transactions.kind import TransactionKind
from ledger.transactions.membership import (
    LEAVE_VALIDATORS,
    REQUEST_MEMBERSHIP,
    ROTATE_VALIDATOR_KEY,
    UPDATE_MEMBER,
)
from ledger.transactions.model_evaluation import (
    COMMIT_VALIDATION,
    DRAW_SAMPLES,
    EVALUATE_MODEL,
    SHOW_VALIDATION,
)
from ledger.transactions.model_parameters import FINISH_UPLOAD, UPDATE_TENSORS, UPLOAD_PART
from ledger.transactions.model_versions import EXTEND_MODEL, REVERT_MODEL, SET_ALIAS
from ledger.transactions.models import CREATE_MODEL
from ledger.transactions.staking import SET_COMMISSION, STAKE, UNSTAKE, WITHDRAW_STAKE
from ledger.transactions.support import COLLECT_SUPPORT, SUPPORT_MODEL
from primitives.errors import InvalidInputError

__all__ = ["KINDS", "body_of", "get_kind", "kind_of"]

# The body's type differs from kind to kind and never leaves the kind.
AnyKind = TransactionKind[Any]

KINDS: Final[tuple[AnyKind, ...]] = (
    TRANSFER,
    CREATE_MODEL,
    CONTRIBUTE,
    REFUND,
    REPORT,
    CLAIM,
    PROPOSE,
    ROTATE_VALIDATOR_KEY,
    REPORT_EVIDENCE,
    VOTE,
    WITHDRAW_PROPOSAL,
    LEAVE_VALIDATORS,
    UPDATE_MEMBER,
    REQUEST_MEMBERSHIP,
    ROTATE_ACCOUNT_KEY,
    SET_ALIAS,
    REVERT_MODEL,
    EXTEND_MODEL,
    UPLOAD_PART,
    FINISH_UPLOAD,
    UPDATE_TENSORS,
    COMMIT_VALIDATION,
    SHOW_VALIDATION,
    EVALUATE_MODEL,
    DRAW_SAMPLES,
    OPEN_EXCHANGE,
    SUBMIT_MODEL,
    REVEAL_MODEL,
    SHOW_EXCHANGE_PIECE,
    ADVANCE_EXCHANGE,
    STAKE,
    UNSTAKE,
    WITHDRAW_STAKE,
    SET_COMMISSION,
    SUPPORT_MODEL,
    COLLECT_SUPPORT,
    OPEN_CAMPAIGN,
    SHOW_PIECE,
    ADVANCE_CAMPAIGN,
)

_BY_CODE: Final = {kind.code: kind for kind in KINDS}
_BY_NAME: Final = {kind.name: kind for kind in KINDS}

_BODY_MEMO: Final = "body"


def get_kind(name: str) -> AnyKind:
    """Return the kind with a name.

    Raises
    ------
    InvalidInputError
        ``unknown_kind``.
    """
    kind = _BY_NAME.get(name)
    if kind is None:
        raise InvalidInputError(
            UNKNOWN_KIND, f"no transaction kind is named {name!r}", field="kind", value=name
        )
    return kind


def kind_of(transaction: Transaction) -> AnyKind:
    """Return the kind of a transaction.

    Raises
    ------
    InvalidInputError
        ``unknown_kind``.
    """
    kind = _BY_CODE.get(transaction.kind)
    if kind is None:
        known = ", ".join(f"{kind.code} {kind.name}" for kind in KINDS)
        raise InvalidInputError(
            UNKNOWN_KIND,
            f"transaction.kind {transaction.kind} is unknown; known are {known}",
            field="transaction.kind",
            value=transaction.kind,
        )
    return kind


def body_of(transaction: Transaction) -> Any:
    """Return the decoded body of a transaction; decoded at most once.

    Raises
    ------
    InvalidInputError
        ``unknown_kind``, or as the kind's `decode_body` does.
    """
    memo = transaction.memo
    body = memo.get(_BODY_MEMO)
    if body is None:
        body = memo[_BODY_MEMO] = kind_of(transaction).decode_body(transaction.body)
    return body
