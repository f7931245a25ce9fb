"""What every key-value store must do; a test class of a store derives from the suite."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.key_value import KeyValueStore

KEYS = st.binary(min_size=1, max_size=3)
VALUES = st.binary(max_size=4)
BATCHES = st.lists(
    st.tuples(
        st.dictionaries(KEYS, VALUES, max_size=6),
        st.lists(KEYS, max_size=3),
    ),
    max_size=8,
)


class KeyValueContract:
    """Derive, and give the fixture ``store`` an empty store."""

    @pytest.fixture
    def store(self) -> KeyValueStore:
        raise LookupError("the test class of a store provides the fixture 'store'")

    def test_what_was_never_written_is_not_there(self, store: KeyValueStore) -> None:
        assert store.get(b"key") is None
        assert list(store.iterate()) == []

    def test_a_batch_puts_and_deletes_together(self, store: KeyValueStore) -> None:
        store.write([(b"a", b"1"), (b"b", b"2")], [], sync=True)
        store.write([(b"c", b"3"), (b"b", b"4")], [b"a", b"absent"], sync=False)
        assert list(store.iterate()) == [(b"b", b"4"), (b"c", b"3")]
        assert store.get(b"a") is None

    def test_iteration_keeps_to_its_bounds_in_both_directions(self, store: KeyValueStore) -> None:
        pairs = [(bytes([number]), b"%d" % number) for number in range(1, 7)]
        store.write(pairs, [], sync=True)
        assert list(store.iterate(b"\x02", b"\x05")) == pairs[1:4]
        assert list(store.iterate(b"\x02", b"\x05", reverse=True)) == pairs[3:0:-1]
        assert list(store.iterate(reverse=True)) == pairs[::-1]
        assert list(store.iterate(stop=b"\x03")) == pairs[:2]
        assert list(store.iterate(start=b"\x05", reverse=True)) == [pairs[5], pairs[4]]
        assert list(store.iterate(b"\x05", b"\x02")) == []

    def test_an_iteration_shows_the_store_as_it_was(self, store: KeyValueStore) -> None:
        store.write([(b"a", b"1"), (b"c", b"3")], [], sync=True)
        under_way = store.iterate()
        assert next(under_way) == (b"a", b"1")
        store.write([(b"b", b"2"), (b"d", b"4")], [b"c"], sync=True)
        assert list(under_way) == [(b"c", b"3")]
        assert [key for key, _ in store.iterate()] == [b"a", b"b", b"d"]

    def test_a_snapshot_shows_the_store_as_it_was(self, store: KeyValueStore) -> None:
        store.write([(b"a", b"1")], [], sync=True)
        snapshot = store.snapshot()
        store.write([(b"b", b"2")], [b"a"], sync=True)
        assert list(snapshot.iterate()) == [(b"a", b"1")]
        assert snapshot.get(b"b") is None
        snapshot.close()

    @settings(
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.differing_executors,
        ],
        max_examples=60,
    )
    @given(batches=BATCHES, start=st.none() | KEYS, stop=st.none() | KEYS)
    def test_it_equals_a_sorted_dictionary(
        self,
        store: KeyValueStore,
        batches: list[tuple[dict[bytes, bytes], list[bytes]]],
        start: bytes | None,
        stop: bytes | None,
    ) -> None:
        store.write([], [key for key, _ in list(store.iterate())], sync=False)
        model: dict[bytes, bytes] = {}
        for puts, deletes in batches:
            deletes = [key for key in deletes if key not in puts]
            store.write(list(puts.items()), deletes, sync=False)
            for key in deletes:
                model.pop(key, None)
            model.update(puts)
            assert all(store.get(key) == model.get(key) for key in (*puts, *deletes))
        expected = [
            (key, model[key])
            for key in sorted(model)
            if (start is None or key >= start) and (stop is None or key < stop)
        ]
        assert list(store.iterate(start, stop)) == expected
        assert list(store.iterate(start, stop, reverse=True)) == expected[::-1]
