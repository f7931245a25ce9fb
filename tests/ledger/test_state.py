"""The layered state: nearest layer wins, a failed transaction leaves no trace."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from ledger.schema import Account, RecordT, decode_account
from ledger.state import BlockState, Layer

KEYS = [b"account/a", b"account/b", b"account/c"]
LAYERS = st.dictionaries(
    st.sampled_from(KEYS), st.none() | st.builds(Account, nonce=st.integers(0, 9))
)


class StoredState:
    def __init__(self, records: Layer) -> None:
        self.records = records

    def get(self, key: bytes, decode: Callable[[bytes], RecordT]) -> RecordT | None:
        record = self.records.get(key)
        return None if record is None else decode(record.encode())


@given(base=LAYERS, ancestors=st.lists(LAYERS, max_size=3), kept=LAYERS, undone=LAYERS)
def test_the_nearest_layer_wins_and_undo_drops_the_journal(
    base: Layer, ancestors: list[Layer], kept: Layer, undone: Layer
) -> None:
    state = BlockState(ancestors, StoredState(base))
    expected: dict[bytes, object] = dict(base)
    for layer in [*reversed(ancestors), kept]:
        expected.update(layer)
    for key, record in kept.items():
        state.put(key, record)
    state.keep()
    for key, record in undone.items():
        state.put(key, record)
        assert state.get(key, decode_account) == record
    assert state.written == kept
    state.undo()
    assert {key: state.get(key, decode_account) for key in KEYS} == {
        key: expected.get(key) for key in KEYS
    }
