"""What a node makes of a disk on which something is missing, damaged or old."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from ledger.errors import DivergedStateError
from node.home import NodeHome
from node.recovery import (
    SET_ASIDE_MAX,
    Assurance,
    Disks,
    choose_assurance,
    note_damage,
    open_disks,
)
from node.storage.guarded_log import RESERVED_VIEWS, LogState
from node.storage.leveldb import LevelKeyValueStore
from node.storage.sign_guard import GuardState, SignGuard, create_guard, guard_path
from primitives.errors import CorruptStateError, InvalidInputError
from tests.helpers.ledger import Chain, Network, make_network

BLOCKS = 3


class House:
    """A node's folder, and what happens to it between starts."""

    def __init__(self, root: Path, validators: int = 4) -> None:
        self.home = NodeHome(root / "home")
        self.network: Network = make_network(validators)
        self.guard_file = guard_path(self.home.validator_key_file)
        self.home.validator_key_file.parent.mkdir(parents=True)
        self.home.validator_key_file.write_text("a key; nobody here reads it")
        create_guard(self.guard_file, GuardState(self.network.chain_id))

    def visit(
        self,
        do: Callable[[Disks], None] = lambda disks: None,
        assurance: Assurance = Assurance.NONE,
    ) -> Disks:
        """Open everything, do something and close; what is returned is closed."""

        async def open_and_close() -> Disks:
            async with AsyncExitStack() as stack:
                disks = open_disks(self.home, self.network.genesis, assurance, stack)
                do(disks)
                return disks

        return asyncio.run(open_and_close())

    def live(self) -> None:
        """Make some blocks final and sign a vote in the view of each."""

        def work(disks: Disks) -> None:
            chain = Chain(self.network, disks.database)
            for _ in range(BLOCKS):
                block = chain.run()
                disks.log.append(b"vote", block.header.view)
                disks.log.sync()
                disks.log.prune(block.header.view + 1)

        self.visit(work)

    def height(self) -> int:
        heights: list[int] = []
        self.visit(lambda disks: heights.append(disks.store.tip().height))
        return heights[0]

    @property
    def data(self) -> Path:
        return self.home.root / "data"

    @property
    def aside(self) -> list[str]:
        folder = self.data / "set-aside"
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@pytest.fixture
def house(tmp_path: Path) -> House:
    house = House(tmp_path)
    house.live()
    return house


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 0x10
    path.write_bytes(bytes(data))


def test_a_first_start_signs_at_once(tmp_path: Path) -> None:
    history = House(tmp_path).visit().history
    assert history.log is LogState.NEW
    assert not history.must_observe
    assert history.sign_floor_view == 0


def test_a_restart_signs_at_once_and_keeps_its_chain(house: House) -> None:
    history = house.visit().history
    assert history.log is LogState.WHOLE
    assert not history.must_observe
    assert history.sign_floor_view == BLOCKS
    assert house.height() == BLOCKS
    assert house.aside == []


def lose_data(house: House) -> None:
    shutil.rmtree(house.data)


def lose_log(house: House) -> None:
    shutil.rmtree(house.home.wal_folder)


def empty_log(house: House) -> None:
    for path in house.home.wal_folder.iterdir():
        path.unlink()


def spoil_log(house: House) -> None:
    flip(next(house.home.wal_folder.glob("*.wal")), 80)


def spoil_head_of_log(house: House) -> None:
    flip(next(house.home.wal_folder.glob("*.wal")), 2)


def cut_log(house: House) -> None:
    path = next(house.home.wal_folder.glob("*.wal"))
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
    "lose", [lose_data, lose_log, empty_log, spoil_log, spoil_head_of_log, cut_log]
)
def test_whoever_lost_its_log_signs_nothing_where_it_may_have_signed(
    house: House, lose: Callable[[House], None]
) -> None:
    lose(house)
    for _ in range(2):
        history = house.visit().history
        assert history.log in (LogState.MISSING, LogState.OLD)
        assert history.must_observe
        assert history.sign_floor_view == BLOCKS, "a clean stop says exactly how far"


def test_after_a_crash_what_was_reserved_counts(house: House) -> None:
    def crash(disks: Disks) -> None:
        disks.log.append(b"vote", BLOCKS + 1)
        disks.log.sync()
        shutil.copytree(house.home.root, house.home.root.with_name("crashed"))

    house.visit(crash)
    shutil.rmtree(house.home.root)
    house.home.root.with_name("crashed").rename(house.home.root)
    assert house.visit().history.log is LogState.WHOLE
    lose_log(house)
    assert house.visit().history.sign_floor_view == BLOCKS + RESERVED_VIEWS


def test_an_old_backup_of_the_data_is_found_out(house: House, tmp_path: Path) -> None:
    backup = shutil.copytree(house.data, tmp_path / "backup")
    house.live()
    shutil.rmtree(house.data)
    shutil.copytree(backup, house.data)
    history = house.visit().history
    assert history.log is LogState.OLD
    assert history.sign_floor_view == 2 * BLOCKS


def test_an_old_backup_of_the_ledger_alone_leaves_the_signer_above_what_was_dropped(
    house: House, tmp_path: Path
) -> None:
    backup = shutil.copytree(house.home.ledger_folder, tmp_path / "backup")
    house.live()
    shutil.rmtree(house.home.ledger_folder)
    shutil.copytree(backup, house.home.ledger_folder)
    history = house.visit().history
    assert history.log is LogState.WHOLE
    assert history.sign_floor_view == 2 * BLOCKS
    assert house.height() == BLOCKS


def lose_ledger(house: House) -> None:
    shutil.rmtree(house.home.ledger_folder)


@pytest.mark.parametrize("name", ["CURRENT", "MANIFEST-*", "*.ldb"])
def test_a_ledger_that_lacks_a_file_is_set_aside(house: House, name: str) -> None:
    house.visit()
    names = sorted(path.name for path in house.home.ledger_folder.iterdir())
    for path in house.home.ledger_folder.glob(name):
        path.unlink()
    history = house.visit().history
    assert history.log is LogState.WHOLE
    assert history.sign_floor_view == BLOCKS
    assert house.aside == ["ledger-0"]
    kept = {path.name for path in (house.data / "set-aside" / "ledger-0").iterdir()}
    assert len(kept & set(names)) >= len(names) - 2, "nothing is deleted"
    assert house.height() == 0


def test_a_lost_ledger_does_not_take_the_signer_back(house: House) -> None:
    lose_ledger(house)
    history = house.visit().history
    assert history.log is LogState.WHOLE
    assert history.sign_floor_view == BLOCKS
    assert house.height() == 0


def spoil_old_block(house: House) -> None:
    """Spoil a block of the database that holds nothing which is read at a start."""
    database = LevelKeyValueStore(house.home.ledger_folder)
    database.write([(b"\x00%d" % number, bytes(5_000)) for number in range(50)], [], True)
    database._source.compact_range()
    database.close()
    tables = house.home.ledger_folder.glob("*.ldb")
    flip(max(tables, key=lambda path: path.stat().st_size), 100)


def test_a_spoilt_block_of_the_database_is_found_when_there_is_a_suspicion(house: House) -> None:
    spoil_old_block(house)
    house.visit()
    assert house.aside == []
    with pytest.raises(CorruptStateError) as damage:
        house.visit(lambda disks: list(disks.database.iterate()).clear())
    note_damage(house.home, damage.value)
    house.visit()
    assert house.aside == ["ledger-0"]
    assert house.height() == 0
    assert not (house.data / "suspect").exists()


def test_a_false_suspicion_costs_a_look(house: House) -> None:
    note_damage(house.home, CorruptStateError("the disk did not answer"))
    assert (house.data / "suspect").read_text() == "the disk did not answer\n"
    assert house.height() == BLOCKS
    assert house.aside == []
    assert not (house.data / "suspect").exists()


def test_a_suspicion_is_of_the_disk_alone(house: House) -> None:
    note_damage(house.home, DivergedStateError(1, b"a", b"b"))
    note_damage(house.home, OSError("no space left on device"))
    assert not (house.data / "suspect").exists()


def test_a_disk_that_refuses_is_no_damaged_ledger(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: LevelKeyValueStore, folder: Path) -> None:
        raise CorruptStateError("does not answer") from OSError("Too many open files")

    monkeypatch.setattr(LevelKeyValueStore, "__init__", refuse)
    with pytest.raises(CorruptStateError, match="does not answer"):
        house.visit()
    assert house.aside == []


def test_a_folder_is_set_aside_only_so_often(house: House) -> None:
    for _ in range(SET_ASIDE_MAX):
        (house.home.ledger_folder / "CURRENT").unlink()
        house.live()
    (house.home.ledger_folder / "CURRENT").unlink()
    with pytest.raises(CorruptStateError, match="replace the disk"):
        house.visit()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (
            lambda house: (house.home.ledger_folder / "CURRENT").unlink(),
            "nobody else has the chain",
        ),
        (lose_log, "--accept-lost-votes"),
        (spoil_log, "restore it"),
    ],
)
def test_a_validator_that_is_alone_does_not_start_without_its_disk(
    tmp_path: Path, damage: Callable[[House], None], words: str
) -> None:
    house = House(tmp_path, validators=1)
    house.live()
    damage(house)
    with pytest.raises(CorruptStateError, match=words):
        house.visit()
    assert house.aside == []


def test_lost_votes_are_accepted_on_the_operators_word(house: House) -> None:
    lose_log(house)
    history = house.visit(assurance=Assurance.ACCEPT_LOST_VOTES).history
    assert history.log is LogState.MISSING
    assert history.is_accepted
    assert not history.must_observe
    assert history.sign_floor_view == 0
    assert house.visit().history.sign_floor_view == BLOCKS, "the word holds for one start"


def test_a_key_without_its_guard_does_not_start(house: House) -> None:
    house.guard_file.unlink()
    with pytest.raises(InvalidInputError, match="--fresh-key") as refusal:
        house.visit()
    assert refusal.value.code == "guard_missing"
    assert not house.guard_file.exists()


def test_a_node_without_a_key_needs_no_guard(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.guard_file.unlink()
    house.home.validator_key_file.unlink()
    assert house.visit().history.log is LogState.NEW
    house.home.validator_key_file.write_text("a new key")
    assert house.visit().history.log is LogState.NEW


def test_a_key_of_unknown_use_observes_until_it_has_signed_again(house: House) -> None:
    house.guard_file.unlink()
    assert house.visit(assurance=Assurance.OBSERVE_FIRST).history.must_observe
    assert house.visit().history.must_observe, "the word is remembered"

    def sign(disks: Disks) -> None:
        disks.log.append(b"vote", 500)
        disks.log.sync()

    house.visit(sign)
    history = house.visit().history
    assert history.log is LogState.WHOLE
    assert not history.must_observe
    assert history.sign_floor_view == 499


def test_an_operator_who_knows_of_a_rollback_has_the_node_observe(house: House) -> None:
    assert house.visit(assurance=Assurance.OBSERVE_FIRST).history.must_observe
    assert house.visit().history.must_observe


def test_a_guard_from_the_day_of_the_first_start_is_not_believed(house: House) -> None:
    house.guard_file.unlink()
    create_guard(house.guard_file, GuardState(house.network.chain_id))
    history = house.visit().history
    assert history.log is LogState.UNGUARDED
    assert history.must_observe


def test_a_fresh_key_without_guard_starts_on_the_operators_word(house: House) -> None:
    house.guard_file.unlink()
    assert house.visit(assurance=Assurance.FRESH_KEY).history.log is LogState.WHOLE
    lose_data(house)
    house.guard_file.unlink()
    assert house.visit(assurance=Assurance.FRESH_KEY).history.log is LogState.NEW


def test_a_key_that_has_signed_is_not_fresh(house: House) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        house.visit(assurance=Assurance.FRESH_KEY)
    assert refusal.value.code == "key_was_used"


def test_the_guard_of_another_chain_needs_the_operators_word(house: House) -> None:
    house.guard_file.unlink()
    create_guard(house.guard_file, GuardState(b"another chain".ljust(32)))
    with pytest.raises(InvalidInputError) as refusal:
        house.visit()
    assert refusal.value.code == "wrong_guard"
    assert house.visit(assurance=Assurance.FRESH_KEY).history.log is LogState.WHOLE
    assert house.visit().history.log is LogState.WHOLE


def test_a_damaged_guard_is_not_replaced(house: House) -> None:
    house.guard_file.write_bytes(bytes(8192))
    for assurance in Assurance:
        with pytest.raises(CorruptStateError, match="--observe-first"):
            house.visit(assurance=assurance)


def test_options_that_exclude_each_other_are_refused() -> None:
    nothing = {"fresh_key": False, "observe_first": False, "accept_lost_votes": False}
    assert choose_assurance(**nothing) is Assurance.NONE
    assert choose_assurance(**{**nothing, "observe_first": True}) is Assurance.OBSERVE_FIRST
    with pytest.raises(InvalidInputError, match="--fresh-key and --accept-lost-votes"):
        choose_assurance(fresh_key=True, observe_first=False, accept_lost_votes=True)


def test_the_guard_is_given_back_whatever_happens(house: House) -> None:
    with SignGuard(house.guard_file) as guard:
        assert guard.state.reserved_view == BLOCKS
