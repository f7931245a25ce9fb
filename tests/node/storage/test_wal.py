from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.storage.wal import WriteAheadLog
from primitives.errors import CorruptStateError, InvariantViolationError

HEADER_BYTES = 32
RECORDS = [b"first", b"", b"third" * 100]


def write_log(folder: Path, *turns: list[bytes], segment_bytes_max: int = 10**6) -> list[Path]:
    """Write every turn with a sync of its own; return the segments."""
    log = WriteAheadLog(folder, segment_bytes_max)
    for records in turns:
        for record in records:
            log.append(record, tag=0)
        log.sync()
    log.close()
    return sorted(folder.glob("*.wal"))


def read_log(folder: Path) -> list[bytes]:
    log = WriteAheadLog(folder)
    records = log.records()
    log.close()
    return records


def write_byte(path: Path, position: int, value: int) -> None:
    with path.open("r+b") as file:
        file.seek(position)
        file.write(bytes([value]))


def test_records_come_back_in_order(tmp_path: Path) -> None:
    write_log(tmp_path, RECORDS)
    assert read_log(tmp_path) == RECORDS


def test_a_log_is_continued_after_it_is_opened_again(tmp_path: Path) -> None:
    for record in RECORDS:
        write_log(tmp_path, [record])
    assert read_log(tmp_path) == RECORDS


def test_records_that_were_just_appended_are_listed_too(tmp_path: Path) -> None:
    log = WriteAheadLog(tmp_path)
    log.append(b"record", tag=1)
    assert log.records() == [b"record"]
    log.close()
    log.close()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.binary(max_size=40), max_size=4), max_size=8), st.integers(60, 300))
def test_any_turns_come_back_from_segments_of_any_size(
    tmp_path_factory: pytest.TempPathFactory, turns: list[list[bytes]], segment_bytes_max: int
) -> None:
    folder = tmp_path_factory.mktemp("wal")
    write_log(folder, *turns, segment_bytes_max=segment_bytes_max)
    assert read_log(folder) == [record for records in turns for record in records]


def test_a_synced_record_survives_kill_9(tmp_path: Path) -> None:
    program = (
        "import os, signal\nfrom pathlib import Path\n"
        "from node.storage.wal import WriteAheadLog\n"
        f"log = WriteAheadLog(Path({str(tmp_path)!r}))\n"
        "log.append(b'vote', tag=1)\nlog.sync()\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    assert read_log(tmp_path) == [b"vote"]


def test_a_torn_end_is_cut_off_wherever_it_is_torn(tmp_path: Path) -> None:
    """Cut the file at every byte of the last turn."""
    folder = tmp_path / "log"
    (path,) = write_log(folder, [b"kept"])
    kept_bytes = path.stat().st_size
    write_log(folder, [b"torn", b"torn too"])
    whole = path.read_bytes()
    for size in range(kept_bytes, len(whole)):
        path.write_bytes(whole[:size])
        records = read_log(folder)
        assert records[:1] == [b"kept"]
        assert len(records) == (2 if size >= kept_bytes + HEADER_BYTES + len(b"torn") else 1)
    write_log(folder, [b"goes on"])
    assert read_log(folder)[-1] == b"goes on"


def test_pages_of_the_last_turn_may_reach_the_disk_in_any_order(tmp_path: Path) -> None:
    """A crash before the sync returned may leave a hole with a whole record behind it."""
    (path,) = write_log(tmp_path, [b"kept"])
    hole = path.stat().st_size
    write_log(tmp_path, [b"missing", b"present"])
    write_byte(path, hole + HEADER_BYTES, 0)
    assert read_log(tmp_path) == [b"kept"]
    write_log(tmp_path, [b"after"])
    assert read_log(tmp_path) == [b"kept", b"after"]


def test_a_hole_in_what_was_synced_is_corruption(tmp_path: Path) -> None:
    (path,) = write_log(tmp_path, [b"promised"], [b"later"])
    write_byte(path, path.read_bytes().index(b"promised"), 0)
    with pytest.raises(CorruptStateError, match="new validator key"):
        WriteAheadLog(tmp_path)
    with pytest.raises(CorruptStateError):
        WriteAheadLog(tmp_path)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_one_changed_byte_never_changes_what_was_promised(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("wal")
    (path,) = write_log(folder, [b"a" * 20], [b"b" * 20], [b"c" * 20])
    position = data.draw(st.integers(0, path.stat().st_size - 1))
    write_byte(path, position, path.read_bytes()[position] ^ data.draw(st.integers(1, 255)))
    try:
        records = read_log(folder)
    except CorruptStateError:
        return
    # The last turn alone cannot be told from one that a crash tore.
    assert records == [b"a" * 20, b"b" * 20]


def test_a_record_inside_a_torn_record_is_not_taken_for_one(tmp_path: Path) -> None:
    """What peers send is logged: it must not be able to look like the log itself."""
    (other,) = write_log(tmp_path / "other", [], [b"x" * 50], [b"y"])
    planted = other.read_bytes()
    (path,) = write_log(tmp_path / "log", [b"kept"])
    kept_bytes = path.stat().st_size
    write_log(tmp_path / "log", [b"begins" + planted + b"ends"])
    write_byte(path, kept_bytes + HEADER_BYTES, 0)
    assert read_log(tmp_path / "log") == [b"kept"]


def test_zeros_at_the_end_are_cut_off(tmp_path: Path) -> None:
    (path,) = write_log(tmp_path, [b"kept"])
    with path.open("ab") as file:
        file.write(bytes(4096))
    assert read_log(tmp_path) == [b"kept"]


def test_a_damaged_segment_before_the_last_is_corruption(tmp_path: Path) -> None:
    paths = write_log(tmp_path, [b"a" * 50], [b"b" * 50], [b"c"], segment_bytes_max=60)
    assert len(paths) == 3
    with paths[1].open("r+b") as file:
        file.truncate(paths[1].stat().st_size - 1)
    with pytest.raises(CorruptStateError, match=paths[1].name):
        WriteAheadLog(tmp_path)


def test_a_missing_segment_is_corruption(tmp_path: Path) -> None:
    paths = write_log(tmp_path, [b"a" * 50], [b"b" * 50], [b"c"], segment_bytes_max=60)
    paths[1].unlink()
    with pytest.raises(CorruptStateError, match=f"{paths[1].name} is missing"):
        WriteAheadLog(tmp_path)


@pytest.mark.parametrize("size", [0, 10, 28])
def test_a_segment_that_was_just_begun_may_be_torn(tmp_path: Path, size: int) -> None:
    paths = write_log(tmp_path, [b"a" * 50], [b"b" * 50], segment_bytes_max=60)
    paths[1].write_bytes(bytes(size))
    assert read_log(tmp_path) == [b"a" * 50]
    write_log(tmp_path, [b"again"], segment_bytes_max=60)
    assert read_log(tmp_path) == [b"a" * 50, b"again"]


def test_the_first_segment_may_be_torn_while_it_is_begun(tmp_path: Path) -> None:
    (path,) = write_log(tmp_path)
    path.write_bytes(b"")
    assert read_log(tmp_path) == []


@pytest.mark.parametrize("name", ["000000000000.wal", "notes.wal"])
def test_a_file_that_is_no_segment_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"something else, longer than a preamble is")
    with pytest.raises(CorruptStateError, match=name):
        WriteAheadLog(tmp_path)


def test_whole_segments_below_the_tag_are_deleted(tmp_path: Path) -> None:
    log = WriteAheadLog(tmp_path, segment_bytes_max=60)
    for tag in range(6):
        log.append(b"%d" % tag * 50, tag)
        log.sync()
    log.prune(below_tag=3)
    assert log.records() == [b"%d" % tag * 50 for tag in (3, 4, 5)]
    log.close()
    log = WriteAheadLog(tmp_path, segment_bytes_max=60)
    log.prune(below_tag=5)
    log.append(b"6", tag=6)
    assert log.records() == [b"5" * 50, b"6"]
    log.close()


def test_a_segment_is_kept_for_one_record_and_those_behind_it_too(tmp_path: Path) -> None:
    log = WriteAheadLog(tmp_path, segment_bytes_max=60)
    for tag in (1, 9, 2, 3):
        log.append(b"%d" % tag * 50, tag)
    log.prune(below_tag=5)
    assert [record[:1] for record in log.records()] == [b"9", b"2", b"3"]
    log.close()
    assert len(read_log(tmp_path)) == 3


def test_the_segment_that_is_written_to_is_never_deleted(tmp_path: Path) -> None:
    log = WriteAheadLog(tmp_path)
    log.append(b"record", tag=1)
    log.prune(below_tag=100)
    assert log.records() == [b"record"]
    log.close()


def test_a_turn_costs_one_sync_and_a_turn_without_records_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = WriteAheadLog(tmp_path)
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    for record in RECORDS:
        log.append(record, tag=1)
    log.sync()
    log.sync()
    assert len(synced) == 1
    log.close()
    assert len(synced) == 1


def test_nothing_is_written_after_a_failed_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failed fsync the kernel may have dropped the pages: a second one proves nothing."""

    def fail(descriptor: int) -> None:
        raise OSError(5, f"no such luck with {descriptor}")

    log = WriteAheadLog(tmp_path)
    log.append(b"record", tag=1)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", fail)
        with pytest.raises(OSError, match="no such luck"):
            log.sync()
    with pytest.raises(InvariantViolationError):
        log.append(b"another", tag=1)
    with pytest.raises(InvariantViolationError):
        log.sync()
    log.close()
