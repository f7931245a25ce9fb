"""Two executions of one block are told apart at the first transaction that differs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ledger.divergence import (
    BlockDigests,
    ExecutionTrace,
    TransactionDigest,
    find_first_difference,
)
from ledger.receipt import Receipt, ReceiptStatus
from ledger.schema import Account, Record

IDS = [bytes([number]) * 32 for number in range(3)]


def make_receipt(number: int, code: str = "ok") -> Receipt:
    return Receipt(IDS[number], ReceiptStatus.OK, code, "", 0, 1, [])


def trace(*writes: dict[bytes, Record | None], arrays: int = 1) -> tuple[TransactionDigest, ...]:
    """Return the digests of transactions that wrote these records one after the other."""
    found = ExecutionTrace()
    written: dict[bytes, Record | None] = {}
    model = np.zeros(4, dtype=np.int64)
    for number, changes in enumerate(writes):
        written.update(changes)
        model[number] += arrays
        found.note(make_receipt(number), written, {"model": {"weights": model}})
    return found.digests


WRITES: list[dict[bytes, Record | None]] = [
    {b"a": Account(balance=1)},
    {b"a": Account(balance=1), b"b": None},
    {b"c": Account(balance=3)},
]
TRANSACTIONS = trace(*WRITES)
BLOCK = BlockDigests(7, 9, b"b" * 32, b"p" * 32, b"s" * 32, TRANSACTIONS)


def make_other(**changes: object) -> BlockDigests:
    return replace(BLOCK, **changes)  # type: ignore[arg-type]


def test_equal_executions_do_not_differ() -> None:
    other = make_other(transactions=trace(*WRITES))
    assert find_first_difference([BLOCK], [other]) == ""


def test_a_record_counts_for_the_transaction_that_wrote_it_even_if_it_is_the_same_again() -> None:
    first, second, third = TRANSACTIONS
    assert len({first.writes, second.writes, third.writes}) == 3
    assert trace(WRITES[0], {b"b": None})[1].writes != second.writes


@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_first_transaction_that_differs_is_named(place: int) -> None:
    writes = list(WRITES)
    writes[place] = {b"z": None}
    other = make_other(transactions=trace(*writes), state_root=b"o" * 32)
    found = find_first_difference([BLOCK], [other])
    assert found == (
        f"block 7 (6262626262626262): transaction {place} ({IDS[place].hex()}): writes differ"
    )


def test_arrays_and_receipts_are_compared_too() -> None:
    other = make_other(transactions=trace(*WRITES, arrays=2))
    assert "transaction 0" in find_first_difference([BLOCK], [other])
    assert "arrays differ" in find_first_difference([BLOCK], [other])
    spoilt = replace(TRANSACTIONS[1], receipt=b"x" * 32, writes=b"x" * 32)
    other = make_other(transactions=(TRANSACTIONS[0], spoilt, TRANSACTIONS[2]))
    assert "receipt and writes differ" in find_first_difference([BLOCK], [other])


def test_what_became_of_a_transaction_is_told_in_words() -> None:
    spoilt = replace(TRANSACTIONS[2], status="FAILED", code="nonce_gap")
    other = make_other(transactions=(*TRANSACTIONS[:2], spoilt))
    assert "OK ok here, FAILED nonce_gap there" in find_first_difference([BLOCK], [other])


def test_other_transactions_are_told() -> None:
    spoilt = replace(TRANSACTIONS[0], transaction_id=b"x" * 32)
    other = make_other(transactions=(spoilt, *TRANSACTIONS[1:]))
    assert f"is {(b'x' * 32).hex()} in the other report" in find_first_difference([BLOCK], [other])


def test_an_execution_that_broke_off_is_placed() -> None:
    other = make_other(transactions=TRANSACTIONS[:2], state_root=b"", failure="ZeroDivisionError")
    found = find_first_difference([BLOCK], [other])
    assert "transaction 2, or what follows the last one" in found
    assert "“went well” and “ZeroDivisionError”" in found


def test_a_difference_behind_the_last_transaction_is_told() -> None:
    found = find_first_difference([BLOCK], [make_other(state_root=b"o" * 32)])
    assert "every transaction did the same" in found


def test_a_difference_before_the_block_is_told() -> None:
    found = find_first_difference([BLOCK], [make_other(parent_root=b"o" * 32)])
    assert "differ already" in found


def test_only_blocks_of_both_are_compared() -> None:
    alone = make_other(block_id=b"x" * 32, state_root=b"o" * 32)
    assert find_first_difference([BLOCK], [alone]) == "the reports have no block in common"
    assert find_first_difference([alone, BLOCK], [BLOCK]) == ""
