"""Which transactions cost no fee: what the network asks its members to do.

If a price could keep validators from voting, a price that was set too high could never be lowered.
Source: docs/spec/ledger.md §6.
"""

from __future__ import annotations

from typing import Final

from ledger.codes import OK
from ledger.errors import TransactionFailedError
from ledger.invite import decode_invite
from ledger.membership import read_validators
from ledger.schema import StateReader
from ledger.transaction import Transaction
from ledger.transactions.evidence import REPORT_EVIDENCE
from ledger.transactions.governance import PROPOSE, VOTE, WITHDRAW_PROPOSAL, is_seated
from ledger.transactions.membership import REQUEST_MEMBERSHIP, check_invite
from ledger.transactions.registry import body_of

__all__ = ["is_free"]

_GOVERNANCE: Final = (PROPOSE.code, VOTE.code, WITHDRAW_PROPOSAL.code)


def is_free(state: StateReader, transaction: Transaction, timestamp_ms: int) -> bool:
    """Say whether a transaction costs no fee.

    Free are, without a sponsor: evidence from a validator's node, under its validator key;
    proposals and votes of validators; the request of a newcomer with a valid invite.

    Parameters
    ----------
    state : at the transaction's turn.
    transaction : admitted.
    timestamp_ms : of the block.
    """
    if transaction.sponsor is not None:
        return False
    if transaction.kind == REPORT_EVIDENCE.code:
        signing_key = transaction.signatures[0].public_key
        return any(each.public_key == signing_key for each in read_validators(state).validators)
    if transaction.kind in _GOVERNANCE:
        return is_seated(state, transaction.sender)
    if transaction.kind == REQUEST_MEMBERSHIP.code and body_of(transaction).invite:
        return _find_fault(state, transaction, timestamp_ms) == OK
    return False


def _find_fault(state: StateReader, transaction: Transaction, timestamp_ms: int) -> str:
    try:
        check_invite(state, decode_invite(body_of(transaction).invite), timestamp_ms)
    except TransactionFailedError as error:
        return error.code
    return OK
