"""An import on a real disk: killed at every step, damaged, swapped in whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger import snapshot as snapshot_module
from ledger.snapshot_keys import IMPORTED_KEY
from node.snapshots.fetch_actions import (
    Action,
    Ask,
    Finish,
    ImportState,
    SaveManifest,
    StoreChunk,
    StorePayload,
    StoreTensor,
)
from node.snapshots.import_folder import put_ledger_in_place
from node.snapshots.messages import ChunkRequest
from node.snapshots.server import SnapshotLibrary
from node.storage.leveldb import LevelKeyValueStore
from primitives.errors import InvariantViolationError
from tests.helpers.ledger import make_key
from tests.helpers.snapshot_fetch import FetchScene, KilledError, check_same_ledger, serve
from tests.helpers.snapshots import EpochedChain, make_chain

HEIGHT = 8


@pytest.fixture(scope="module", autouse=True)
def small_chunks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshot_module, "CHUNK_BYTES", 600)
        yield


@pytest.fixture(scope="module")
def chain() -> EpochedChain:
    chain = make_chain(accounts=20)
    chain.create_model()
    chain.contribute()
    chain.run_many(8)
    return chain


@pytest.fixture(scope="module")
def library(chain: EpochedChain, tmp_path_factory: pytest.TempPathFactory) -> SnapshotLibrary:
    return serve(chain, tmp_path_factory.mktemp("shelf"), HEIGHT)


class MortalScene(FetchScene):
    """Is killed before its n-th action that touches the disk."""

    deadly = -1

    def before_action(self, action: Action) -> None:
        if isinstance(action, Ask):
            return
        if self.deadly == 0:
            self.deadly = -1
            raise KilledError
        self.deadly -= 1

    def restart(self) -> None:
        """Leave everything as it is on disk and begin anew."""
        self.folder.close()
        self.start()


def make_scene(chain: EpochedChain, library: SnapshotLibrary, folder: Path) -> MortalScene:
    return MortalScene(chain, folder, {0: library.answer, 1: library.answer})


def count_actions(chain: EpochedChain, library: SnapshotLibrary, folder: Path) -> int:
    scene = make_scene(chain, library, folder)
    kinds: list[type[Action]] = []
    scene.before_action = lambda action: kinds.append(type(action))  # type: ignore[method-assign]
    scene.join()
    lasting = [kind for kind in kinds if kind is not Ask]
    expected = {SaveManifest, StoreChunk, ImportState, StoreTensor, StorePayload, Finish}
    assert set(lasting) == expected
    return len(lasting)


def test_killed_before_every_step_it_goes_on(
    chain: EpochedChain, library: SnapshotLibrary, tmp_path: Path
) -> None:
    total = count_actions(chain, library, tmp_path / "whole")
    for deadly in range(total):
        scene = make_scene(chain, library, tmp_path / str(deadly))
        scene.deadly = deadly
        with pytest.raises(KilledError):
            scene.join()
        assert not scene.ledger_folder.exists(), "half a ledger was put in place"
        stored = scene.stored_chunks
        scene.restart()
        joined = scene.join()
        chunk_count = len({each for _, each in scene.asked if isinstance(each, ChunkRequest)})
        assert scene.stored_chunks == chunk_count, f"{stored} chunks were fetched again"
        check_same_ledger(joined, chain, HEIGHT)
        joined.values.close()


def test_killed_again_and_again_it_comes_to_an_end(
    chain: EpochedChain, library: SnapshotLibrary, tmp_path: Path
) -> None:
    scene = make_scene(chain, library, tmp_path)
    kills = 0
    while not scene.is_finished:
        # A manifest, the import, and one step forward.
        scene.deadly = 3
        try:
            scene.connect(*scene.peers)
            scene.run()
        except KilledError:
            kills += 1
            scene.restart()
    assert kills > 5
    check_same_ledger(scene.open_ledger(), chain, HEIGHT)


@pytest.mark.parametrize("damage", ["flip", "torn", "empty", "gone", "too long"])
def test_damaged_files_are_fetched_again(
    chain: EpochedChain, library: SnapshotLibrary, tmp_path: Path, damage: str
) -> None:
    scene = make_scene(chain, library, tmp_path)
    scene.connect(0)
    scene.run(until=lambda: scene.stored_chunks >= 5)
    scene.folder.close()
    path = sorted((tmp_path / "data" / "snapshot-fetch").glob("*.chunk"))[2]
    data = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        changed = {
            "flip": bytes([data[0] ^ 1]) + data[1:],
            "torn": data[: len(data) // 2],
            "empty": b"",
            "too long": data + bytes(snapshot_module.CHUNK_BYTES_MAX),
        }
        path.write_bytes(changed[damage])
    scene.start()
    check_same_ledger(scene.join(), chain, HEIGHT)
    assert scene.dropped == {}


def test_a_chunk_that_the_disk_loses_before_the_import_blames_nobody(
    chain: EpochedChain, library: SnapshotLibrary, tmp_path: Path
) -> None:
    scene = make_scene(chain, library, tmp_path)
    damaged: list[Path] = []

    def damage_once(action: Action) -> None:
        if isinstance(action, ImportState) and not damaged:
            damaged.extend(sorted((tmp_path / "data" / "snapshot-fetch").glob("*.chunk"))[:2])
            for path in damaged:
                path.write_bytes(b"lost")

    scene.before_action = damage_once  # type: ignore[method-assign]
    check_same_ledger(scene.join(), chain, HEIGHT)
    assert len(damaged) == 2
    assert scene.dropped == {}


def test_a_damaged_manifest_is_none(
    chain: EpochedChain, library: SnapshotLibrary, tmp_path: Path
) -> None:
    scene = make_scene(chain, library, tmp_path)
    scene.connect(0)
    scene.run(until=lambda: scene.stored_chunks >= 2)
    (tmp_path / "data" / "snapshot-fetch" / "manifest").write_bytes(b"\x00")
    scene.restart()
    assert scene.folder.load_manifest() is None
    check_same_ledger(scene.join(), chain, HEIGHT)


class TestSwap:
    """Every state that a crash can leave, and what a start makes of it."""

    def make_folder(self, path: Path, name: str) -> None:
        path.mkdir(parents=True)
        (path / "name").write_text(name)

    def read(self, tmp_path: Path) -> str:
        return (tmp_path / "ledger" / "name").read_text()

    def test_nothing_to_swap_changes_nothing(self, tmp_path: Path) -> None:
        self.make_folder(tmp_path / "ledger", "mine")
        self.make_folder(tmp_path / "ledger-new", "half")
        assert not put_ledger_in_place(tmp_path / "ledger")
        assert self.read(tmp_path) == "mine"
        assert (tmp_path / "ledger-new").is_dir(), "what can be resumed is kept"

    def test_an_empty_home(self, tmp_path: Path) -> None:
        assert not put_ledger_in_place(tmp_path / "ledger")
        assert not (tmp_path / "ledger").exists()

    @pytest.mark.parametrize("crash", ["before", "after the first rename", "old left over", "new"])
    def test_a_ready_ledger_replaces_the_old_one(self, tmp_path: Path, crash: str) -> None:
        self.make_folder(tmp_path / "ledger-ready", "imported")
        self.make_folder(tmp_path / "snapshot-fetch", "chunks")
        if crash == "after the first rename":
            self.make_folder(tmp_path / "ledger-old", "old")
        elif crash == "old left over":
            self.make_folder(tmp_path / "ledger", "old")
            self.make_folder(tmp_path / "ledger-old", "older")
        elif crash == "before":
            self.make_folder(tmp_path / "ledger", "old")
        assert put_ledger_in_place(tmp_path / "ledger")
        assert self.read(tmp_path) == "imported"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["ledger"]
        assert not put_ledger_in_place(tmp_path / "ledger")

    def test_after_the_second_rename_only_the_old_one_goes(self, tmp_path: Path) -> None:
        self.make_folder(tmp_path / "ledger", "imported")
        self.make_folder(tmp_path / "ledger-old", "old")
        assert not put_ledger_in_place(tmp_path / "ledger")
        assert self.read(tmp_path) == "imported"
        assert not (tmp_path / "ledger-old").exists()

    def test_an_old_ledger_alone_is_not_thrown_away(self, tmp_path: Path) -> None:
        self.make_folder(tmp_path / "ledger-old", "old")
        with pytest.raises(InvariantViolationError):
            put_ledger_in_place(tmp_path / "ledger")
        assert (tmp_path / "ledger-old").is_dir()


def test_nothing_of_an_attempt_at_another_snapshot_is_left(
    chain: EpochedChain, library: SnapshotLibrary, tmp_path: Path
) -> None:
    scene = make_scene(chain, library, tmp_path)
    half = LevelKeyValueStore(tmp_path / "data" / "ledger-new")
    half.write([(b"v/half", b"\x01"), (IMPORTED_KEY, bytes(32))], (), sync=True)
    half.close()
    joined = scene.join()
    assert joined.values.get(b"v/half") is None
    check_same_ledger(joined, chain, HEIGHT)
    joined.values.close()


def test_an_old_ledger_far_behind_is_replaced_whole(
    chain: EpochedChain, library: SnapshotLibrary, tmp_path: Path
) -> None:
    """Keys of the old store that the snapshot does not have are gone with it."""
    scene = make_scene(chain, library, tmp_path)
    old = LevelKeyValueStore(scene.ledger_folder)
    old.write([(b"v/left over", make_key("old").public_key)], (), sync=True)
    old.close()
    joined = scene.join()
    assert joined.values.get(b"v/left over") is None
    check_same_ledger(joined, chain, HEIGHT)
    joined.values.close()
    shutil.rmtree(scene.ledger_folder)
