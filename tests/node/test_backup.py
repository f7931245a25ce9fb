"""A ledger becomes a file and a ledger again; a file that is not whole becomes nothing."""

from __future__ import annotations

import asyncio
import stat
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from ledger.reader import LedgerReader
from node.backup import create_backup, restore_backup
from node.data_format import DATA_FORMAT, DataFormatError, open_data_folder
from node.home import NodeHome
from node.snapshots.import_folder import put_ledger_in_place
from node.storage.home_lock import HomeLock
from node.storage.leveldb import LevelKeyValueStore
from node.storage.payload_store import PayloadStore
from primitives.errors import InvalidInputError, QuorateError
from tests.helpers.ledger import make_network
from tests.helpers.snapshots import EpochedChain, make_chain

ReportedSteps = list[tuple[str, int, int]]


def ignore(_what: str, _done: int, _total: int) -> None:
    """Nobody looks at the progress."""


def make_home(folder: Path) -> tuple[NodeHome, EpochedChain, bytes]:
    """Return a home with a chain of some epochs, a model and a payload, closed."""
    home = NodeHome(folder)
    home.root.mkdir(parents=True, exist_ok=True)
    open_data_folder(home.ledger_folder.parent)
    values = LevelKeyValueStore(home.ledger_folder)
    plain = make_chain()
    chain = EpochedChain(plain.network, values=values)
    chain.create_model()
    transaction_id = chain.contribute()
    chain.run_many(14)
    payloads = PayloadStore(home.payload_folder)
    payload = chain.payloads.read(transaction_id)
    assert payload is not None
    payloads.write_many([(transaction_id, payload)])
    payloads.close()
    values.close()
    home.genesis_file.parent.mkdir(parents=True)
    home.genesis_file.write_text(chain.network.genesis.to_json())
    return home, chain, transaction_id


@pytest.fixture
def backup(tmp_path: Path) -> tuple[Path, bytes]:
    home, _, transaction_id = make_home(tmp_path / "old")
    target = tmp_path / "backup"
    create_backup(home, target, ignore)
    return target, transaction_id


def restore(home: NodeHome, source: Path, *, replaces: bool = False) -> int:
    return asyncio.run(restore_backup(home, source, ignore, replaces=replaces))


def test_what_is_restored_is_what_was_backed_up(tmp_path: Path) -> None:
    home, _, transaction_id = make_home(tmp_path / "old")
    target = tmp_path / "backup"
    steps: ReportedSteps = []
    manifest = create_backup(home, target, lambda *step: steps.append(step))
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert steps
    assert not list(tmp_path.glob("*.partial"))

    new = NodeHome(tmp_path / "new")
    new.root.mkdir()
    assert restore(new, target) == manifest.height
    assert new.genesis_file.read_text() == home.genesis_file.read_text()
    stores = [LevelKeyValueStore(each.ledger_folder) for each in (home, new)]
    old_reader, new_reader = (LedgerReader(store) for store in stores)
    assert new_reader.tip().height == manifest.height
    assert (
        new_reader.stored_block(manifest.height).state_root
        == old_reader.stored_block(manifest.height).state_root
    )
    for store in stores:
        store.close()
    payloads = PayloadStore(new.payload_folder)
    assert payloads.read(transaction_id) is not None
    payloads.close()
    assert not (new.root / "keys").exists(), "a backup holds no keys"


def test_ledger_that_is_there_is_set_aside_and_never_deleted(
    tmp_path: Path, backup: tuple[Path, bytes]
) -> None:
    home = NodeHome(tmp_path / "old")
    with pytest.raises(InvalidInputError, match="--replace sets it aside"):
        restore(home, backup[0])
    guard = home.root / "keys" / "sign-guard"
    guard.parent.mkdir()
    guard.write_bytes(b"as it was")
    wal = home.wal_folder / "log"
    wal.parent.mkdir()
    wal.write_bytes(b"votes")
    restore(home, backup[0], replaces=True)
    assert len(list(home.ledger_folder.parent.glob("ledger-replaced-*"))) == 1
    assert guard.read_bytes() == b"as it was"
    assert wal.read_bytes() == b"votes"


@pytest.mark.parametrize("part", [0.0, 0.2, 0.5, 0.9, 0.999])
def test_file_that_was_altered_or_cut_short_is_refused_and_nothing_is_put_in_place(
    tmp_path: Path, backup: tuple[Path, bytes], part: float
) -> None:
    data = backup[0].read_bytes()
    place = int(part * (len(data) - 1))
    altered = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
    for spoilt in (altered, data[:place]):
        source = tmp_path / "spoilt"
        source.write_bytes(spoilt)
        home = NodeHome(tmp_path / "new")
        home.root.mkdir(exist_ok=True)
        with pytest.raises(InvalidInputError):
            restore(home, source)
        assert not home.ledger_folder.exists()


def test_file_whose_checksum_was_made_to_fit_is_refused_by_the_certificates(
    tmp_path: Path, backup: tuple[Path, bytes]
) -> None:
    data = bytearray(backup[0].read_bytes()[:-32])
    place = data.index(b"shared")
    data[place] ^= 1
    source = tmp_path / "forged"
    source.write_bytes(bytes(data) + sha256(data).digest())
    home = NodeHome(tmp_path / "new")
    home.root.mkdir()
    with pytest.raises(InvalidInputError):
        restore(home, source)
    assert not home.ledger_folder.exists()


def test_snapshot_of_another_chain_or_a_newer_format_is_refused(
    tmp_path: Path, backup: tuple[Path, bytes]
) -> None:
    home = NodeHome(tmp_path / "new")
    home.genesis_file.parent.mkdir(parents=True)
    other = replace(make_network().genesis, chain_name="other")
    home.genesis_file.write_text(other.to_json())
    with pytest.raises(InvalidInputError, match="this home is of") as caught:
        restore(home, backup[0])
    assert caught.value.code == "wrong_chain"
    newer = tmp_path / "newer"
    newer.write_bytes(backup[0].read_bytes().replace(b"quorate-snapshot/1", b"quorate-snapshot/2"))
    with pytest.raises(InvalidInputError, match="newer"):
        restore(home, newer)


def test_backup_is_never_written_over_and_never_of_a_running_node(tmp_path: Path) -> None:
    home, _, _ = make_home(tmp_path / "old")
    target = tmp_path / "backup"
    target.write_bytes(b"precious")
    with pytest.raises(InvalidInputError, match="never written over"):
        create_backup(home, target, ignore)
    with HomeLock(home.root), pytest.raises(QuorateError):
        create_backup(home, tmp_path / "other", ignore)


def test_chain_of_one_block_has_no_snapshot(tmp_path: Path) -> None:
    home = NodeHome(tmp_path / "old")
    home.ledger_folder.parent.mkdir(parents=True)
    values = LevelKeyValueStore(home.ledger_folder)
    EpochedChain(make_network(), values=values)
    values.close()
    with pytest.raises(InvalidInputError, match="too few"):
        create_backup(home, tmp_path / "backup", ignore)
    assert not put_ledger_in_place(home.ledger_folder)


def test_data_folder_says_its_format_and_older_ones_are_brought_up(tmp_path: Path) -> None:
    new = tmp_path / "new"
    open_data_folder(new)
    assert f'"format": {DATA_FORMAT}' in (new / "format.json").read_text()
    open_data_folder(new)
    old = tmp_path / "old"
    old.mkdir()
    open_data_folder(old)
    assert f'"format": {DATA_FORMAT}' in (old / "format.json").read_text()


def test_folder_from_before_models_had_policies_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ledger").mkdir()
    (tmp_path / "format.json").write_text('{"format": 1}')
    with pytest.raises(DataFormatError, match="Set it aside"):
        open_data_folder(tmp_path)
    assert (tmp_path / "format.json").read_text() == '{"format": 1}'


def test_migration_that_was_cut_short_is_begun_again(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    done: list[int] = []

    def fail(_: Path) -> None:
        done.append(2)
        if len(done) < 3:
            raise RuntimeError("power lost")

    migrations = {0: lambda _: done.append(1), 1: fail}
    with pytest.raises(RuntimeError):
        open_data_folder(folder, migrations, 2)
    open_data_folder(folder, migrations, 2)
    assert done == [1, 2, 2], "the first step is not done twice"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"format": 99}', "is of format 99"),
        ("{", "cannot be read"),
        ('{"format": "x"}', "names no format"),
        ("[]", "cannot be read"),
    ],
)
def test_newer_or_damaged_format_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "format.json").write_text(text)
    with pytest.raises(DataFormatError, match=reason):
        open_data_folder(tmp_path)
