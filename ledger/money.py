"""All money is accounted for, after every transaction.

Bodies move money through `ExecutionContext` alone, which neither makes nor loses any. This counts
it once more from what a body wrote: a second pair of eyes that costs a microsecond.
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
_NO_ACCOUNT = Account()


def verify_money(state: BlockState) -> None:
    """Verify that what was written since the last `keep` neither makes nor loses money.

    Raises
    ------
    InvariantViolationError
        It does.
    """
    grown = 0
    for key, record in state.journal.items():
        if key.startswith(ACCOUNT_PREFIX):
            before = state.get_kept(key, decode_account) or _NO_ACCOUNT
            after = cast("Account", record)
            grown += after.balance - before.balance
    supply = state.journal.get(CHAIN_SUPPLY)
    if supply is None and not grown:
        return
    kept = state.get_kept(CHAIN_SUPPLY, decode_supply) or _NO_SUPPLY
    after_supply = cast("Supply", supply or kept)
    verify_movement(
        balances=grown,
        held=after_supply.held - kept.held,
        burnt=after_supply.burnt - kept.burnt,
        minted=after_supply.total - kept.total,
    )
