"""All money is accounted for, after every transaction and at the end of every block.

Bodies move money through `ExecutionContext` alone, which neither makes nor loses any. This counts
it once more from what a body wrote: a second pair of eyes that costs half a microsecond. What
is due with a block, of which rewards are a part, moves money by itself and is counted like a body.
"""

from __future__ import annotations

from typing import cast

from incentives.accounting import verify_movement
from ledger.schema import (
    ACCOUNT_PREFIX,
    CHAIN_SUPPLY,
    Account,
    Supply,
    decode_account,
    decode_supply,
)
from ledger.state import BlockState

__all__ = ["verify_money"]

_NO_SUPPLY = Supply(0)


def verify_money(state: BlockState, fees: int = 0) -> None:
    """Verify that what was written since the last `keep` neither makes nor loses money.

    Parameters
    ----------
    state : with what was written.
    fees : that payers have lost before, and that must be held now.

    Raises
    ------
    InvariantViolationError
        It does.
    """
    grown = 0
    journal, kept_records = state.journal, state.written
    for key, record in journal.items():
        if type(record) is Account:
            grown += record.balance
        elif record is not None or not key.startswith(ACCOUNT_PREFIX):
            continue
        before = kept_records.get(key) or state.get_kept(key, decode_account)
        if before is not None:
            grown -= cast("Account", before).balance
    supply = journal.get(CHAIN_SUPPLY)
    if supply is None and grown == fees:
        return
    kept = state.get_kept(CHAIN_SUPPLY, decode_supply) or _NO_SUPPLY
    after_supply = cast("Supply", supply or kept)
    verify_movement(
        balances=grown - fees,
        held=after_supply.held - kept.held,
        burnt=after_supply.burnt - kept.burnt,
        minted=after_supply.total - kept.total,
    )
