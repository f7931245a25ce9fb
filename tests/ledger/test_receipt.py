"""Receipts survive encoding; their root covers each and their order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.receipt import Receipt, ReceiptStatus, compute_receipts_root, decode_receipt
from primitives.errors import InvalidInputError

COUNTERS = st.integers(0, 2**63 - 1)
DATA = st.lists(st.integers(-9, 9) | st.binary(max_size=4) | st.lists(st.booleans(), max_size=2))
RECEIPTS = st.builds(
    Receipt,
    transaction_id=st.binary(min_size=32, max_size=32),
    status=st.sampled_from(ReceiptStatus),
    code=st.text(max_size=16),
    message=st.text(max_size=64),
    fee=COUNTERS,
    compute_units=COUNTERS,
    data=DATA,
)


@given(RECEIPTS)
def test_receipts_survive_encoding(receipt: Receipt) -> None:
    assert decode_receipt(receipt.encode()) == receipt


@given(st.binary(max_size=60))
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidInputError):
        decode_receipt(data)


def test_the_root_covers_every_receipt_and_their_order() -> None:
    roots = {
        compute_receipts_root(receipts)
        for receipts in ([], [b"a"], [b"a", b"b"], [b"b", b"a"], [b"a", b"b", b"b"])
    }
    assert len(roots) == 5
