from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from node.storage.sign_guard import (
    NEVER_SIGNED,
    UNKNOWN_VIEW,
    GuardState,
    LogEnd,
    SignGuard,
    create_guard,
    forget_log,
    guard_path,
)
from primitives.errors import CorruptStateError, InvalidInputError

STATE = GuardState(b"c" * 32)
PAGE = 4096


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = guard_path(tmp_path / "keys" / "validator.json")
    create_guard(path, STATE)
    return path


def read(path: Path) -> GuardState:
    with SignGuard(path) as guard:
        return guard.state


def spoil(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1]))


def test_a_new_guard_says_that_nothing_was_signed(path: Path) -> None:
    assert read(path) == STATE
    assert STATE.instance == NEVER_SIGNED
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("durable", [True, False])
def test_what_was_saved_last_is_found(path: Path, durable: bool) -> None:
    with SignGuard(path) as guard:
        for view in range(1, 6):
            last = replace(STATE, reserved_view=view, log_end=LogEnd(view, 7 * view))
            guard.save(last, durable=durable)
            assert read(path) == guard.state == last


def test_a_torn_write_leaves_the_state_before(path: Path) -> None:
    with SignGuard(path) as guard:
        guard.save(replace(STATE, reserved_view=1), durable=True)
        guard.save(replace(STATE, reserved_view=2), durable=True)
    spoil(path, 20)
    assert read(path) == replace(STATE, reserved_view=1)
    spoil(path, PAGE + 20)
    with pytest.raises(CorruptStateError, match="observe-first"):
        SignGuard(path)


def test_every_byte_of_a_slot_is_checked(path: Path) -> None:
    with SignGuard(path) as guard:
        guard.save(replace(STATE, reserved_view=1), durable=True)
    for offset in range(PAGE, PAGE + 100):
        spoil(path, offset)
        assert read(path) == STATE, offset
        spoil(path, offset)
        assert read(path).reserved_view == 1


def test_a_guard_is_never_written_over(path: Path) -> None:
    with SignGuard(path) as guard:
        guard.save(replace(STATE, reserved_view=9), durable=True)
    with pytest.raises(InvalidInputError) as refusal:
        create_guard(path, STATE)
    assert refusal.value.code == "file_exists"
    assert read(path).reserved_view == 9
    assert [each.name for each in path.parent.iterdir()] == ["sign-guard"]


def test_a_draft_that_a_crash_left_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "sign-guard.draft").write_bytes(b"half")
    create_guard(tmp_path / "sign-guard", STATE)
    assert read(tmp_path / "sign-guard") == STATE


def test_a_missing_guard_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        SignGuard(tmp_path / "sign-guard")
    assert refusal.value.code == "guard_missing"


def test_the_durable_floor_is_that_of_the_last_sync(path: Path) -> None:
    with SignGuard(path) as guard:
        guard.save(replace(STATE, floor_view=5), durable=True)
        guard.save(replace(STATE, floor_view=8), durable=False)
        assert guard.durable_floor_view == 5
        assert guard.state.floor_view == 8


def test_a_forgotten_log_is_matched_by_none(path: Path) -> None:
    with SignGuard(path) as guard:
        guard.save(replace(STATE, instance=b"i" * 16, floor_view=3), durable=True)
        forget_log(guard)
    found = read(path)
    assert found.instance not in (b"i" * 16, NEVER_SIGNED)
    assert found.reserved_view == UNKNOWN_VIEW
    assert found.floor_view == 3
