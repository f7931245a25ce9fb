"""LevelDB keeps the contract of all stores, and keeps what it was given through a crash."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from ledger.key_value import KeyValueStore
from node.storage.leveldb import LevelKeyValueStore
from primitives.errors import CorruptStateError, InvalidInputError
from tests.helpers.key_value_contract import KeyValueContract

PAIRS = [(b"%04d" % number, bytes(200)) for number in range(2_000)]


class TestLevelKeyValueStore(KeyValueContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[KeyValueStore]:
        store = LevelKeyValueStore(tmp_path / "database")
        yield store
        store.close()


def test_what_was_written_is_there_after_closing(tmp_path: Path) -> None:
    store = LevelKeyValueStore(tmp_path)
    store.write([(b"key", b"value"), (b"gone", b"")], [], sync=True)
    store.write([], [b"gone"], sync=True)
    store.close()
    store = LevelKeyValueStore(tmp_path)
    assert list(store.iterate()) == [(b"key", b"value")]
    store.close()


def test_an_iteration_shows_the_store_as_it_was_when_it_was_asked_for(tmp_path: Path) -> None:
    store = LevelKeyValueStore(tmp_path)
    store.write([(b"a", b"1")], [], sync=False)
    asked_for = store.iterate()
    store.write([(b"b", b"2")], [], sync=False)
    assert list(asked_for) == [(b"a", b"1")]
    store.close()


def test_every_range_over_a_few_keys_is_right_in_both_directions(tmp_path: Path) -> None:
    """Backwards, plyvel misses a key that equals the start of its range and is alone in it."""
    bounds = [None, b"", b"a", b"aa", b"b", b"bb", b"c", b"cc"]
    store = LevelKeyValueStore(tmp_path)
    for keys in ([], [b"a"], [b"b"], [b"a", b"b"], [b"a", b"c"], [b"a", b"b", b"c"]):
        store.write([(key, b"") for key in keys], [], sync=False)
        for start, stop in product(bounds, bounds):
            expected = [
                key
                for key in keys
                if (start is None or key >= start) and (stop is None or key < stop)
            ]
            assert [key for key, _ in store.iterate(start, stop)] == expected
            assert [key for key, _ in store.iterate(start, stop, reverse=True)] == expected[::-1]
        store.write([], keys, sync=False)
    store.close()


def test_a_second_opener_is_told_that_the_home_is_in_use(tmp_path: Path) -> None:
    store = LevelKeyValueStore(tmp_path)
    with pytest.raises(InvalidInputError, match=str(tmp_path)) as caught:
        LevelKeyValueStore(tmp_path)
    assert caught.value.code == "home_in_use"
    store.close()


def test_another_process_is_told_that_the_home_is_in_use(tmp_path: Path) -> None:
    store = LevelKeyValueStore(tmp_path)
    program = (
        "from pathlib import Path\nfrom node.storage.leveldb import LevelKeyValueStore\n"
        f"LevelKeyValueStore(Path({str(tmp_path)!r}))"
    )
    other = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert "in another node process" in other.stderr
    store.close()


def test_a_synced_batch_survives_kill_9(tmp_path: Path) -> None:
    program = (
        "import os, signal\nfrom pathlib import Path\n"
        "from node.storage.leveldb import LevelKeyValueStore\n"
        f"store = LevelKeyValueStore(Path({str(tmp_path)!r}))\n"
        "store.write([(b'a', b'1'), (b'b', b'2')], [], sync=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    store = LevelKeyValueStore(tmp_path)
    assert list(store.iterate()) == [(b"a", b"1"), (b"b", b"2")]
    store.close()


def test_a_torn_last_batch_is_gone_whole(tmp_path: Path) -> None:
    store = LevelKeyValueStore(tmp_path)
    store.write([(b"kept", b"1")], [], sync=True)
    store.write([(b"x", bytes(500)), (b"y", bytes(500))], [], sync=False)
    store.close()
    (log,) = tmp_path.glob("*.log")
    with log.open("r+b") as file:
        file.truncate(log.stat().st_size - 300)
    store = LevelKeyValueStore(tmp_path)
    assert list(store.iterate()) == [(b"kept", b"1")]
    store.close()


def damage_tables(folder: Path) -> None:
    """Write batches into tables, then change a byte in the middle of each."""
    store = LevelKeyValueStore(folder)
    store.write(PAIRS, [], sync=True)
    store.close()
    LevelKeyValueStore(folder).close()
    tables = [*folder.glob("*.ldb"), *folder.glob("*.sst")]
    assert tables
    for table in tables:
        data = bytearray(table.read_bytes())
        data[len(data) // 3] ^= 0x55
        table.write_bytes(data)


def test_a_damaged_table_is_noticed_by_reads(tmp_path: Path) -> None:
    damage_tables(tmp_path)
    store = LevelKeyValueStore(tmp_path)
    with pytest.raises(CorruptStateError, match=str(tmp_path)):
        list(store.iterate())
    with pytest.raises(CorruptStateError, match=str(tmp_path)):
        for key, _ in PAIRS:
            store.get(key)
    store.close()


def test_a_folder_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "CURRENT").write_text("not a manifest\n")
    with pytest.raises(CorruptStateError, match="does not answer"):
        LevelKeyValueStore(tmp_path)


def test_a_folder_that_cannot_be_locked_for_another_reason_is_not_called_in_use(
    tmp_path: Path,
) -> None:
    (tmp_path / "LOCK").mkdir()
    with pytest.raises(CorruptStateError, match="LOCK"):
        LevelKeyValueStore(tmp_path)
