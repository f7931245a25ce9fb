"""When the log is believed: always after a crash, never when it is an older one or another."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from node.storage.guarded_log import RESERVED_VIEWS, GuardedLog, LogState
from node.storage.sign_guard import UNKNOWN_VIEW, GuardState, SignGuard, create_guard, forget_log
from node.storage.wal import WriteAheadLog

FRESH = GuardState(b"c" * 32)
SEGMENT_BYTES_MAX = 400


class Machine:
    """A folder for the key and one for the log, and a log that may be open."""

    def __init__(self, root: Path) -> None:
        self.guard_file = root / "keys" / "sign-guard"
        self.folder = root / "data" / "wal"
        self.root = root
        create_guard(self.guard_file, FRESH)
        self._open: list[WriteAheadLog] = []

    def open(self) -> GuardedLog:
        log = WriteAheadLog(self.folder, SEGMENT_BYTES_MAX)
        self._open.append(log)
        return GuardedLog(self.folder, log, SignGuard(self.guard_file))

    def sign(self, log: GuardedLog, *views: int) -> None:
        for view in views:
            log.append(b"vote of view %d" % view, view)
            log.sync()

    def crash(self) -> None:
        """End without a word: what was handed to the system stays, and nothing else is done."""
        for log in self._open:
            log._is_broken = True  # so that closing it does not write
            log.close()
        self._open.clear()

    def copy(self, name: str) -> Path:
        return Path(shutil.copytree(self.root / "data", self.root / name))

    def put_back(self, backup: Path) -> None:
        shutil.rmtree(self.root / "data")
        shutil.copytree(backup, self.root / "data")

    @property
    def guard(self) -> GuardState:
        with SignGuard(self.guard_file) as guard:
            return guard.state


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_key_that_never_signed_has_a_new_log_however_often_it_starts(machine: Machine) -> None:
    for _ in range(3):
        log = machine.open()
        assert log.state is LogState.NEW
        log.sync()
        log.close()


@pytest.mark.parametrize("ends_cleanly", [True, False])
def test_a_log_is_whole_after_any_end(machine: Machine, ends_cleanly: bool) -> None:
    for start in range(1, 200, 20):
        log = machine.open()
        assert log.state is (LogState.NEW if start == 1 else LogState.WHOLE)
        machine.sign(log, *range(start, start + 20))
        if ends_cleanly:
            log.close()
        machine.crash()


def test_views_are_reserved_ahead_and_given_back_at_a_clean_stop(machine: Machine) -> None:
    log = machine.open()
    machine.sign(log, 5)
    assert machine.guard.reserved_view == 5 + RESERVED_VIEWS - 1
    machine.sign(log, 4 + RESERVED_VIEWS)
    assert machine.guard.reserved_view == 5 + RESERVED_VIEWS - 1
    machine.sign(log, 5 + RESERVED_VIEWS)
    assert machine.guard.reserved_view == 4 + 2 * RESERVED_VIEWS
    log.close()
    assert machine.guard.reserved_view == 5 + RESERVED_VIEWS


def test_a_stop_without_signatures_does_not_lower_what_was_reserved(machine: Machine) -> None:
    machine.sign(machine.open(), 5)
    machine.crash()
    machine.open().close()
    assert machine.guard.reserved_view == 5 + RESERVED_VIEWS - 1


def test_nothing_is_appended_to_a_log_before_its_views_are_reserved(machine: Machine) -> None:
    seen: list[int] = []

    class Watched(WriteAheadLog):
        def append(self, record: bytes, tag: int) -> None:
            seen.append(machine.guard.reserved_view)
            super().append(record, tag)

    log = GuardedLog(machine.folder, Watched(machine.folder), SignGuard(machine.guard_file))
    views = [1, 2, RESERVED_VIEWS, RESERVED_VIEWS + 1, 1000]
    machine.sign(log, *views)
    assert all(reserved >= view for reserved, view in zip(seen, views, strict=True))
    log.close()


@pytest.mark.parametrize("hot", [True, False])
def test_an_old_copy_is_found_out_even_if_one_vote_is_missing(machine: Machine, hot: bool) -> None:
    log = machine.open()
    machine.sign(log, 1, 2)
    if not hot:
        log.close()
        log = machine.open()
    backup = machine.copy("backup")
    machine.sign(log, 2)
    machine.crash()
    machine.put_back(backup)
    assert machine.open().state is LogState.OLD
    machine.crash()
    assert machine.open().state is LogState.OLD, "a loss is found again at the next start"


def test_a_copy_that_lacks_nothing_is_believed(machine: Machine) -> None:
    log = machine.open()
    machine.sign(log, 1, 2)
    log.close()
    machine.put_back(machine.copy("backup"))
    assert machine.open().state is LogState.WHOLE


def wipe(machine: Machine) -> None:
    shutil.rmtree(machine.root / "data")


def empty(machine: Machine) -> None:
    for path in machine.folder.iterdir():
        path.unlink()


def lose_segments(machine: Machine) -> None:
    for path in machine.folder.glob("*.wal"):
        path.unlink()


def take_another_log(machine: Machine) -> None:
    wipe(machine)
    other = Machine(machine.root / "other")
    other.sign(other.open(), *range(1, 50))
    other.crash()
    shutil.copytree(other.root / "data", machine.root / "data")


@pytest.mark.parametrize(
    ("lose", "state"),
    [
        (wipe, LogState.MISSING),
        (empty, LogState.MISSING),
        (lose_segments, LogState.OLD),
        (take_another_log, LogState.MISSING),
    ],
)
def test_a_lost_log_is_found_out(
    machine: Machine, lose: Callable[[Machine], None], state: LogState
) -> None:
    machine.sign(machine.open(), 1, 2, 3)
    machine.crash()
    lose(machine)
    for _ in range(2):
        assert machine.open().state is state
        machine.crash()


def test_an_old_guard_is_not_taken_for_that_of_a_new_key(machine: Machine) -> None:
    first = machine.guard_file.read_bytes()
    machine.sign(machine.open(), 1)
    machine.crash()
    machine.guard_file.write_bytes(first)
    assert machine.open().state is LogState.UNGUARDED


@pytest.mark.parametrize("lose", [wipe, lose_segments])
def test_after_a_loss_the_guard_goes_with_the_log_from_the_first_signature_on(
    machine: Machine, lose: Callable[[Machine], None]
) -> None:
    machine.sign(machine.open(), 1, 2, 3)
    machine.crash()
    lose(machine)
    log = machine.open()
    machine.sign(log, 100)
    machine.crash()
    assert machine.guard.floor_view == 99, "nothing below is signed any more, whatever comes"
    log = machine.open()
    assert log.state is LogState.WHOLE
    machine.sign(log, 101)
    log.close()
    assert machine.guard.floor_view == 99
    assert machine.guard.reserved_view == 99 + RESERVED_VIEWS


def test_a_forgotten_log_is_believed_again_once_something_was_signed(machine: Machine) -> None:
    machine.sign(machine.open(), 1)
    machine.crash()
    with SignGuard(machine.guard_file) as guard:
        forget_log(guard)
    log = machine.open()
    assert log.state is LogState.MISSING
    assert machine.guard.reserved_view == UNKNOWN_VIEW
    machine.sign(log, 70)
    log.close()
    assert machine.open().state is LogState.WHOLE
    assert machine.guard.reserved_view == 70


def test_records_are_dropped_only_below_a_floor_that_is_durable(machine: Machine) -> None:
    log = machine.open()
    machine.sign(log, *range(1, 41))
    segments = len(list(machine.folder.glob("*.wal")))
    assert segments > 2
    log.prune(31)
    assert machine.guard.floor_view == 30
    assert len(list(machine.folder.glob("*.wal"))) == segments
    machine.sign(log, 1 + RESERVED_VIEWS)
    log.prune(31)
    assert len(list(machine.folder.glob("*.wal"))) < segments
    log.close()
    assert machine.guard.floor_view == 30


def test_after_a_failed_write_the_guard_stays_as_it_was(machine: Machine) -> None:
    log = machine.open()
    machine.sign(log, 1)
    machine._open[0]._is_broken = True
    with pytest.raises(Exception, match="failed before"):
        log.append(b"vote", 2)
    log.close()
    assert machine.guard.reserved_view == RESERVED_VIEWS
    assert machine.open().state is LogState.WHOLE


def test_a_torn_name_of_a_log_is_replaced_before_anything_goes_with_it(machine: Machine) -> None:
    machine.open().close()
    (machine.folder / "instance").write_text("12")
    log = machine.open()
    machine.sign(log, 1)
    log.close()
    assert machine.open().state is LogState.WHOLE
