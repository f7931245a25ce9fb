from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ledger.payload import Payload
from node.storage.payload_store import PayloadStore
from primitives.errors import CorruptStateError, InvariantViolationError

SLOT_BYTES = 128


def make_id(number: int) -> bytes:
    return bytes([number]) * 32


def make_payload(number: int, size: int = 100) -> Payload:
    return Payload(bytes([number]) * 32, bytes([number]) * size)


def make_pairs(*numbers: int) -> list[tuple[bytes, Payload]]:
    return [(make_id(number), make_payload(number)) for number in numbers]


def held(folder: Path) -> list[int]:
    """Return which of the first ten payloads a store that is opened anew gives back."""
    store = PayloadStore(folder)
    found = [number for number in range(10) if store.read(make_id(number)) is not None]
    for number in found:
        assert store.read(make_id(number)) == make_payload(number)
    store.close()
    return found


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PayloadStore]:
    store = PayloadStore(tmp_path)
    yield store
    store.close()


def test_payloads_read_back_and_after_opening_again(store: PayloadStore, tmp_path: Path) -> None:
    store.write_many(make_pairs(1, 2))
    store.write_many(make_pairs(3))
    assert store.read(make_id(2)) == make_payload(2)
    assert len(store) == 3
    store.close()
    assert held(tmp_path) == [1, 2, 3]


def test_an_empty_payload_is_held_too(store: PayloadStore) -> None:
    store.write_many([(make_id(1), make_payload(1, size=0))])
    assert store.read(make_id(1)) == make_payload(1, size=0)


def test_a_payload_that_is_not_held_is_none(store: PayloadStore) -> None:
    assert store.read(make_id(1)) is None
    assert not store.destroy(make_id(1))


def test_what_is_held_already_is_left_as_it_is(store: PayloadStore, tmp_path: Path) -> None:
    store.write_many(make_pairs(1))
    sizes = {path: path.stat().st_size for path in tmp_path.iterdir()}
    store.write_many([(make_id(1), make_payload(7))])
    store.write_many([])
    assert store.read(make_id(1)) == make_payload(1)
    assert {path: path.stat().st_size for path in tmp_path.iterdir()} == sizes


def test_nothing_of_a_payload_is_on_disk_in_the_clear(store: PayloadStore, tmp_path: Path) -> None:
    store.write_many(make_pairs(1))
    assert not any(b"\x01" * 33 in path.read_bytes() for path in tmp_path.iterdir())


def test_the_files_are_for_their_owner_alone(store: PayloadStore, tmp_path: Path) -> None:
    store.write_many(make_pairs(1))
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_a_destroyed_payload_is_gone_for_good(store: PayloadStore, tmp_path: Path) -> None:
    store.write_many(make_pairs(1, 2, 3))
    slots = (tmp_path / "slots").read_bytes()
    assert store.destroy(make_id(2))
    assert not store.destroy(make_id(2))
    assert store.read(make_id(2)) is None
    after = (tmp_path / "slots").read_bytes()
    assert after[SLOT_BYTES : 2 * SLOT_BYTES] == bytes(SLOT_BYTES)
    key = slots[SLOT_BYTES + 32 : SLOT_BYTES + 64]
    assert not any(key in path.read_bytes() for path in tmp_path.iterdir())
    store.close()
    assert held(tmp_path) == [1, 3]


def test_a_slot_is_never_used_again(store: PayloadStore, tmp_path: Path) -> None:
    store.write_many(make_pairs(1, 2))
    store.destroy(make_id(2))
    store.close()
    store = PayloadStore(tmp_path)
    store.write_many(make_pairs(2))
    store.close()
    assert (tmp_path / "slots").stat().st_size == 3 * SLOT_BYTES
    assert held(tmp_path) == [1, 2]


def test_segments_change_and_all_are_read(tmp_path: Path) -> None:
    store = PayloadStore(tmp_path, segment_bytes_max=150)
    for number in range(6):
        store.write_many(make_pairs(number))
    store.close()
    assert len(list(tmp_path.glob("*.payloads"))) > 2
    assert held(tmp_path) == list(range(6))


def test_a_block_costs_one_sync_for_each_file(
    store: PayloadStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    store.write_many(make_pairs(1, 2, 3))
    assert len(synced) == len(set(synced)) == 2


def test_ciphertext_is_on_disk_before_its_slot(
    store: PayloadStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[tuple[int, int]] = []
    segment, slots = tmp_path / "00000000.payloads", tmp_path / "slots"
    monkeypatch.setattr(
        os, "fdatasync", lambda _: sizes.append((segment.stat().st_size, slots.stat().st_size))
    )
    store.write_many(make_pairs(1))
    assert sizes == [(32 + 100 + 16, 0), (32 + 100 + 16, SLOT_BYTES)]


def test_a_torn_slot_file_loses_the_last_write_alone(tmp_path: Path) -> None:
    """Cut the file at every byte of the last write."""
    folder = tmp_path / "payloads"
    store = PayloadStore(folder)
    store.write_many(make_pairs(1, 2))
    store.write_many(make_pairs(3, 4))
    store.close()
    whole = (folder / "slots").read_bytes()
    for size in range(2 * SLOT_BYTES, len(whole)):
        (folder / "slots").write_bytes(whole[:size])
        # A cut in the padding of a slot is mended by reading zeros there.
        assert held(folder) in ([1, 2], [1, 2, 3], [1, 2, 3, 4])
    store = PayloadStore(folder)
    store.write_many(make_pairs(5))
    store.close()
    assert 5 in held(folder)


def test_slots_of_the_last_write_may_reach_the_disk_in_any_order(tmp_path: Path) -> None:
    store = PayloadStore(tmp_path)
    store.write_many(make_pairs(1))
    store.write_many(make_pairs(2, 3))
    store.close()
    overwrite_slot(tmp_path, 1, b"garbage")
    assert held(tmp_path) == [1, 3]
    assert held(tmp_path) == [1, 3]


def test_a_damaged_slot_before_the_last_write_is_corruption(tmp_path: Path) -> None:
    store = PayloadStore(tmp_path)
    store.write_many(make_pairs(1))
    store.write_many(make_pairs(2))
    store.close()
    overwrite_slot(tmp_path, 0, b"garbage")
    with pytest.raises(CorruptStateError, match="slot 0 of"):
        PayloadStore(tmp_path)


def overwrite_slot(folder: Path, number: int, data: bytes) -> None:
    with (folder / "slots").open("r+b") as file:
        file.seek(number * SLOT_BYTES)
        file.write(data)


def test_a_damaged_ciphertext_is_corruption_and_not_an_erased_payload(
    store: PayloadStore, tmp_path: Path
) -> None:
    store.write_many(make_pairs(1, 2))
    with (tmp_path / "00000000.payloads").open("r+b") as file:
        file.write(b"garbage")
    with pytest.raises(CorruptStateError, match=make_id(1).hex()):
        store.read(make_id(1))
    assert store.read(make_id(2)) == make_payload(2)


def test_ciphertext_without_a_slot_is_passed_over(tmp_path: Path) -> None:
    """A crash came between the two syncs."""
    store = PayloadStore(tmp_path)
    store.write_many(make_pairs(1))
    store.close()
    with (tmp_path / "00000000.payloads").open("ab") as file:
        file.write(b"orphan")
    store = PayloadStore(tmp_path)
    store.write_many(make_pairs(2))
    store.close()
    assert held(tmp_path) == [1, 2]


def test_what_was_written_survives_kill_9(tmp_path: Path) -> None:
    program = (
        "import os, signal\nfrom pathlib import Path\nfrom ledger.payload import Payload\n"
        "from node.storage.payload_store import PayloadStore\n"
        f"store = PayloadStore(Path({str(tmp_path)!r}))\n"
        "for n in (1, 2):\n"
        "    store.write_many([(bytes([n]) * 32, Payload(bytes([n]) * 32, bytes([n]) * 100))])\n"
        "store.destroy(bytes([1]) * 32)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    assert held(tmp_path) == [2]


def test_nothing_is_written_after_a_failed_write(
    store: PayloadStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(28, f"no room for {descriptor}")

    store.write_many(make_pairs(1))
    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", fail)
        with pytest.raises(OSError, match="no room"):
            store.write_many(make_pairs(2))
    for write in (lambda: store.write_many(make_pairs(3)), lambda: store.destroy(make_id(1))):
        with pytest.raises(InvariantViolationError):
            write()
    assert store.read(make_id(1)) == make_payload(1)
    assert store.read(make_id(2)) is None
    store.close()
    assert held(tmp_path) == [1]


def test_an_id_of_another_length_is_a_mistake_of_ours(store: PayloadStore) -> None:
    with pytest.raises(InvariantViolationError, match="is no transaction id"):
        store.write_many([(b"short", make_payload(1))])
    store.write_many(make_pairs(1))
    assert len(store) == 1


def test_a_closed_store_takes_nothing(store: PayloadStore) -> None:
    store.close()
    store.close()
    with pytest.raises(InvariantViolationError):
        store.write_many(make_pairs(1))


class PayloadStoreAgainstDictionary(RuleBasedStateMachine):
    """Any order of writing, destroying and opening again gives what a dictionary gives."""

    @initialize(segment_bytes_max=st.integers(1, 400))
    def begin(self, segment_bytes_max: int) -> None:
        self.segment_bytes_max = segment_bytes_max
        self.folder = FOLDERS.mktemp("payloads")
        self.model: dict[bytes, Payload] = {}
        self.store = PayloadStore(self.folder, segment_bytes_max)

    @rule(numbers=st.lists(st.integers(0, 9), max_size=4))
    def write(self, numbers: list[int]) -> None:
        pairs = make_pairs(*numbers)
        self.store.write_many(pairs)
        self.model.update(pairs)

    @rule(number=st.integers(0, 9))
    def destroy(self, number: int) -> None:
        was_held = self.model.pop(make_id(number), None) is not None
        assert self.store.destroy(make_id(number)) == was_held

    @rule()
    def open_again(self) -> None:
        self.store.close()
        self.store = PayloadStore(self.folder, self.segment_bytes_max)

    @invariant()
    def same(self) -> None:
        if hasattr(self, "store"):
            assert len(self.store) == len(self.model)
            for number in range(10):
                assert self.store.read(make_id(number)) == self.model.get(make_id(number))

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()


FOLDERS: pytest.TempPathFactory


class TestPayloadStoreAgainstDictionary(PayloadStoreAgainstDictionary.TestCase):
    settings = settings(max_examples=25, stateful_step_count=20, deadline=None)

    @pytest.fixture(autouse=True)
    def _folders(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        global FOLDERS
        FOLDERS = tmp_path_factory
