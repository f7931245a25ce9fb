"""Snapshots on disk: two are kept, whole ones only, and never a damaged chunk is handed on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger import snapshot as snapshot_module
from ledger.snapshot import verify_manifest
from node.snapshots.maker import SnapshotMaker, make_snapshot
from node.snapshots.shelf import SnapshotShelf, chunk_file_name
from primitives.errors import CorruptStateError
from tests.helpers.snapshots import EpochedChain, make_chain, make_epoch_chain


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_module, "CHUNK_BYTES", 600)


@pytest.fixture
def chain() -> EpochedChain:
    chain = make_chain(accounts=20)
    chain.run_many(9)
    return chain


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_put_there_is_read_back_also_by_the_next_process(
    chain: EpochedChain, tmp_path: Path
) -> None:
    manifest = make_snapshot(chain.values, 5, SnapshotShelf(tmp_path))
    verify_manifest(manifest, make_epoch_chain(chain, 1))
    shelf = SnapshotShelf(tmp_path)
    assert shelf.newest == manifest
    expected = chain.take_snapshot(5)
    assert expected.manifest == manifest
    found = [
        shelf.read_chunk(manifest.snapshot_id, number) for number in range(len(expected.chunks))
    ]
    assert found == expected.chunks
    assert shelf.read_chunk(manifest.snapshot_id, len(expected.chunks)) is None
    assert shelf.read_chunk(bytes(32), 0) is None


def test_the_newest_two_are_kept(chain: EpochedChain, tmp_path: Path) -> None:
    shelf = SnapshotShelf(tmp_path)
    made = [make_snapshot(chain.values, height, shelf) for height in (2, 4, 6)]
    assert shelf.newest == made[2]
    assert [shelf.read_chunk(each.snapshot_id, 0) is None for each in made] == [True, False, False]
    assert names(tmp_path) == ["0000000000000004", "0000000000000006"]


def test_a_snapshot_that_was_not_finished_is_deleted(chain: EpochedChain, tmp_path: Path) -> None:
    shelf = SnapshotShelf(tmp_path)
    make_snapshot(chain.values, 2, shelf)
    chunks = 0

    def fail() -> None:
        nonlocal chunks
        chunks += 1
        if chunks == 3:
            raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        make_snapshot(chain.values, 4, shelf, fail)
    assert names(tmp_path) == ["0000000000000002"]
    # What a kill leaves, which cleans nothing up:
    (tmp_path / "0000000000000004.new").mkdir()
    (tmp_path / "0000000000000004.new" / chunk_file_name(0)).write_bytes(b"half")
    newest = SnapshotShelf(tmp_path).newest
    assert newest is not None
    assert newest.height == 2
    assert names(tmp_path) == ["0000000000000002"]


@pytest.mark.parametrize("damage", ["manifest", "no manifest"])
def test_a_snapshot_without_a_manifest_is_none(
    chain: EpochedChain, tmp_path: Path, damage: str
) -> None:
    make_snapshot(chain.values, 2, SnapshotShelf(tmp_path))
    path = tmp_path / "0000000000000002" / "manifest"
    if damage == "manifest":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        path.unlink()
    assert SnapshotShelf(tmp_path).newest is None
    assert names(tmp_path) == []


@pytest.mark.parametrize("damage", ["flip", "gone"])
def test_a_damaged_chunk_is_not_handed_on(chain: EpochedChain, tmp_path: Path, damage: str) -> None:
    shelf = SnapshotShelf(tmp_path)
    manifest = make_snapshot(chain.values, 2, shelf)
    path = tmp_path / "0000000000000002" / chunk_file_name(1)
    if damage == "gone":
        path.unlink()
    else:
        data = path.read_bytes()
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert shelf.read_chunk(manifest.snapshot_id, 1) is None
    if damage == "flip":
        assert shelf.newest is None, "a snapshot with a damaged chunk is of no use to anyone"


class TestMaker:
    @pytest.fixture
    def shelf(self, tmp_path: Path) -> SnapshotShelf:
        return SnapshotShelf(tmp_path)

    def run_and_make(
        self, chain: EpochedChain, shelf: SnapshotShelf, count: int, interval: int = 4
    ) -> list[int]:
        """Run blocks; return at which heights there was a new snapshot, and of which height."""
        made: list[int] = []
        maker = SnapshotMaker(chain.values, shelf, interval)
        for number in range(count + 1):
            # First with the chain as it is, then after each block.
            chain.run_many(min(number, 1))
            maker.on_final(chain.store.tip().height)
            if maker._work is not None:
                maker._work.result()
            newest = shelf.newest
            if newest is not None and newest.height not in made:
                made.append(newest.height)
        maker.stop()
        return made

    def test_one_at_every_interval(self, shelf: SnapshotShelf) -> None:
        assert self.run_and_make(make_chain(), shelf, 14) == [4, 8, 12]

    def test_the_next_height_that_has_a_certificate(self, shelf: SnapshotShelf) -> None:
        chain = make_chain()
        chain.run_many(3)
        parent = chain.execute()
        chain.finalize(chain.execute((), parent))
        made: list[int] = []
        put = shelf.put
        shelf.put = lambda height, *rest: made.append(height) or put(height, *rest)  # type: ignore[method-assign,func-returns-value]
        assert self.run_and_make(chain, shelf, 6) == [5, 8]
        assert made == [5, 8], "the block at height 4 has no certificate of its own"

    def test_damage_of_the_ledger_is_survived(
        self, shelf: SnapshotShelf, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> Iterator[tuple[bytes, bytes]]:
            raise CorruptStateError("the disk lost it")

        monkeypatch.setattr("node.snapshots.maker.iterate_state", fail)
        assert self.run_and_make(make_chain(), shelf, 6) == []

    def test_a_stop_ends_it_without_a_trace(self, tmp_path: Path) -> None:
        chain = make_chain(accounts=50)
        chain.run_many(6)
        shelf = SnapshotShelf(tmp_path)
        maker = SnapshotMaker(chain.values, shelf, 4)
        maker._is_stopping.set()
        maker.on_final(6)
        maker.stop()
        assert shelf.newest is None
        assert names(tmp_path) == []
