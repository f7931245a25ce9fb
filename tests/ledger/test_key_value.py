"""The store in memory keeps the contract of all stores."""

from __future__ import annotations

import pytest

from ledger.key_value import KeyValueStore, MemoryKeyValueStore
from tests.helpers.key_value_contract import KeyValueContract


class TestMemoryKeyValueStore(KeyValueContract):
    @pytest.fixture
    def store(self) -> KeyValueStore:
        return MemoryKeyValueStore()

    def test_closing_loses_nothing(self, store: KeyValueStore) -> None:
        store.write([(b"a", b"1")], [], sync=True)
        store.close()
        assert store.get(b"a") == b"1"
