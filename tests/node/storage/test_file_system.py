"""One contract for the disk of this machine and for the simulated one; what a crash leaves."""

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from node.storage.file_system import FileSystem, LocalFileSystem
from tests.simulator.disk import DiskFaults, SimulatedFiles, SimulatedValues


def do_nothing() -> None:
    pass


def make_simulated() -> SimulatedFiles:
    return SimulatedFiles(DiskFaults(do_nothing))


@pytest.fixture(params=[LocalFileSystem, make_simulated])
def files(request: pytest.FixtureRequest) -> FileSystem:
    make: Callable[[], FileSystem] = request.param
    return make()


def test_what_is_written_reads_back(files: FileSystem, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    files.make_folder(folder)
    file = files.create(folder / "b.wal")
    file.write(b"first ")
    file.write(b"second")
    assert file.size == 12
    file.flush()
    assert files.read(folder / "b.wal") == b"first second"
    file.sync()
    file.close()


def test_a_file_is_continued_and_cut_off(files: FileSystem, tmp_path: Path) -> None:
    path = tmp_path / "log.wal"
    file = files.create(path)
    file.write(b"0123456789")
    file.close()
    files.truncate(path, 4)
    file = files.open_end(path)
    assert file.size == 4
    file.write(b"x")
    file.sync()
    file.close()
    assert files.read(path) == b"0123x"


def test_files_are_listed_by_name_and_deleted(files: FileSystem, tmp_path: Path) -> None:
    for name in ("b.wal", "a.wal", "c.txt"):
        files.create(tmp_path / name).close()
    assert [path.name for path in files.list_files(tmp_path, ".wal")] == ["a.wal", "b.wal"]
    files.delete(tmp_path / "a.wal")
    files.sync_folder(tmp_path)
    assert [path.name for path in files.list_files(tmp_path, ".wal")] == ["b.wal"]


def test_a_file_is_made_once(files: FileSystem, tmp_path: Path) -> None:
    files.create(tmp_path / "a.wal").close()
    with pytest.raises(FileExistsError):
        files.create(tmp_path / "a.wal")


def test_a_simulated_crash_keeps_what_was_synced_and_sometimes_more(tmp_path: Path) -> None:
    path = tmp_path / "log.wal"
    found = set()
    for seed in range(50):
        files = make_simulated()
        file = files.create(path)
        file.write(b"synced ")
        file.sync()
        files.sync_folder(tmp_path)
        file.write(b"ab")
        file.write(b"cd")
        files.crash(Random(seed))
        found.add(files.read(path))
    assert all(data.startswith(b"synced ") for data in found)
    assert {b"synced ", b"synced abcd", b"synced \x00\x00cd"} <= found


def test_a_simulated_crash_may_forget_files_that_the_folder_was_not_synced_for(
    tmp_path: Path,
) -> None:
    found = set()
    for seed in range(20):
        files = make_simulated()
        files.create(tmp_path / "old.wal").close()
        files.sync_folder(tmp_path)
        files.create(tmp_path / "new.wal").close()
        files.delete(tmp_path / "old.wal")
        files.crash(Random(seed))
        found.add(tuple(path.name for path in files.list_files(tmp_path, ".wal")))
    assert found == {(), ("new.wal",), ("old.wal",), ("new.wal", "old.wal")}


def test_a_simulated_disk_can_be_full_and_fail_to_sync(tmp_path: Path) -> None:
    faults = DiskFaults(do_nothing)
    files = SimulatedFiles(faults)
    file = files.create(tmp_path / "a.wal")
    faults.bytes_left = 3
    with pytest.raises(OSError, match="No space"):
        file.write(b"12345")
    assert files.read(tmp_path / "a.wal") == b"123"
    faults.bytes_left, faults.fails_sync = None, True
    with pytest.raises(OSError, match="Input/output"):
        file.sync()


def test_a_simulated_store_loses_only_batches_that_were_not_synced() -> None:
    found = set()
    for seed in range(20):
        values = SimulatedValues(DiskFaults(do_nothing))
        values.write([(b"a", b"1")], (), True)
        values.write([(b"a", b"2"), (b"b", b"2")], (), False)
        values.write([], [b"a"], False)
        values.crash(Random(seed))
        found.add(tuple(values.iterate()))
    assert found == {
        ((b"a", b"1"),),
        ((b"a", b"2"), (b"b", b"2")),
        ((b"b", b"2"),),
    }
