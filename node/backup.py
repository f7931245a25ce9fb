"""A home's ledger as one file, and back: what ``quorate snapshot`` makes and restores.

Theory of operation
-------------------
The file holds answers of the snapshot protocol (docs/spec/snapshots.md §3), one after the other, as
a node would send them: the genesis, an offer, the chunks of the state, how every epoch ended, the
chunks of tensors, the payloads. To restore it is to join by a snapshot from a peer that is this
file, so everything is checked as if a stranger had sent it: hashes, certificates, the epoch chain
from the genesis, the state root.

Format: ``quorate-snapshot/1`` and a line feed; records, each u32 length ‖ message; u32 0; SHA-256
of all before it. Keys and the sign guard are never in it.

Invariants: (B1) nothing is put in place before all of it was checked; (B2) what was there before is
set aside, never deleted; (B3) the write-ahead log and the sign guard are left alone, so a validator
signs nothing at or below what it signed before, whatever is restored.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Final

from ledger.genesis import Genesis, genesis_from_json
from ledger.reader import LedgerReader
from ledger.snapshot import Manifest, is_snapshot_height
from ledger.snapshot_export import iterate_payload_ids, iterate_tensor_chunks
from node.clock import read_wall_ms
from node.data_format import open_data_folder
from node.home import NodeHome
from node.snapshots.import_folder import ImportFolder, put_ledger_in_place
from node.snapshots.joining import Joining, read_known_chain
from node.snapshots.maker import make_snapshot
from node.snapshots.messages import (
    EPOCH_ENDS_MAX,
    MESSAGE_BYTES_MAX,
    PAYLOADS_MAX,
    TENSORS_MAX,
    Chunk,
    ChunkRequest,
    EpochEnds,
    EpochEndsRequest,
    GenesisText,
    Message,
    Offer,
    OfferRequest,
    Payloads,
    PayloadsRequest,
    TensorItem,
    Tensors,
    TensorsRequest,
    decode_message,
    encode_message,
)
from node.snapshots.server import SnapshotLibrary
from node.snapshots.shelf import SnapshotShelf
from node.storage.durable_files import make_folder, sync_folder
from node.storage.home_lock import HomeLock
from node.storage.leveldb import LevelKeyValueStore
from node.storage.payload_store import PayloadStore
from p2p.frames import Channel
from p2p.tcp import PeerCallbacks
from primitives.errors import InvalidInputError

__all__ = ["create_backup", "restore_backup"]

_MAGIC: Final = b"quorate-snapshot/1\n"
_LENGTH_BYTES: Final = 4
_PEER: Final = 0

Report = Callable[[str, int, int], None]
"""Told what is done, how much of it, and of how much."""


def create_backup(home: NodeHome, target: Path, report: Report) -> Manifest:
    """Write the newest certified state of a stopped node to a new file of mode 0600.

    Parameters
    ----------
    home
        Of the node, which must not run.
    target
        Must not exist.
    report
        For a progress bar.

    Returns
    -------
    Manifest
        Of the snapshot in the file.

    Raises
    ------
    InvalidInputError
        ``file_exists``, or ``no_snapshot``: the chain is too short.
    QuorateError
        The node runs, or its ledger is damaged.
    """
    if target.exists():
        raise InvalidInputError(
            "file_exists", f"{target} exists; a backup is never written over", field="to"
        )
    with HomeLock(home.root):
        database = LevelKeyValueStore(home.ledger_folder)
        payloads = PayloadStore(home.payload_folder)
        try:
            height = _choose_height(LedgerReader(database))
            with tempfile.TemporaryDirectory(dir=target.parent) as folder:
                shelf = SnapshotShelf(Path(folder) / "shelf")
                manifest = make_snapshot(database, height, shelf)
                library = SnapshotLibrary(database, payloads, shelf)
                messages = _list_messages(library, database, manifest)
                _write_file(target, messages, len(manifest.chunk_hashes), report)
        finally:
            payloads.close()
            database.close()
    return manifest


def _choose_height(reader: LedgerReader) -> int:
    tip = reader.tip().height
    for height in range(tip - 1, reader.base_height(), -1):
        if is_snapshot_height(reader, height):
            return height
    raise InvalidInputError(
        "no_snapshot", f"the chain has {tip} blocks, too few for a snapshot", field="height"
    )


def _list_messages(
    library: SnapshotLibrary, database: LevelKeyValueStore, manifest: Manifest
) -> Iterator[Message]:
    reader = LedgerReader(database)
    yield GenesisText(reader.genesis().to_json().encode())
    yield Offer(manifest.height, manifest.encode())
    for number in range(len(manifest.chunk_hashes)):
        yield _require(library.answer(ChunkRequest(manifest.snapshot_id, number)))
    epoch = 0
    while epoch < manifest.epoch:
        answer = _require(library.answer(EpochEndsRequest(epoch)))
        count = len(answer.ends) if isinstance(answer, EpochEnds) else 0
        if count == 0:
            break
        yield answer
        epoch += count
    yield from _in_batches(
        library, iterate_tensor_chunks(database, manifest.height), TENSORS_MAX, TensorsRequest
    )
    yield from _in_batches(
        library, iterate_payload_ids(database, manifest.height), PAYLOADS_MAX, PayloadsRequest
    )


def _in_batches(
    library: SnapshotLibrary,
    names: Iterator[bytes],
    size: int,
    ask: Callable[[tuple[bytes, ...]], Message],
) -> Iterator[Message]:
    waiting: list[bytes] = []
    for name in names:
        waiting.append(name)
        if len(waiting) == size:
            waiting = yield from _answer_all(library, waiting, ask)
    while waiting:
        waiting = yield from _answer_all(library, waiting, ask)


def _answer_all(
    library: SnapshotLibrary, names: list[bytes], ask: Callable[[tuple[bytes, ...]], Message]
) -> Generator[Message, None, list[bytes]]:
    """Yield the answer to a request; return the names that it had no room for."""
    answer = _require(library.answer(ask(tuple(names))))
    yield answer
    given = len(answer.items) if isinstance(answer, Tensors | Payloads) else len(names)
    return names[given:]


def _require(message: Message | None) -> Message:
    if message is None:
        raise InvalidInputError("no_snapshot", "the ledger lacks a part of its own state")
    return message


def _write_file(
    target: Path, messages: Iterator[Message], chunk_count: int, report: Report
) -> None:
    temporary = target.with_name(f"{target.name}.partial")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    digest = sha256()
    with os.fdopen(descriptor, "wb") as file:

        def put(data: bytes) -> None:
            digest.update(data)
            file.write(data)

        put(_MAGIC)
        for done, message in enumerate(messages):
            data = encode_message(message)
            put(len(data).to_bytes(_LENGTH_BYTES, "big") + data)
            report("writing", done + 1, max(done + 1, chunk_count))
        put(bytes(_LENGTH_BYTES))
        file.write(digest.digest())
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(target)
    sync_folder(target.parent)


async def restore_backup(
    home: NodeHome, source: Path, report: Report, *, replaces: bool = False
) -> int:
    """Put the state in a file in place as a home's ledger; return its height.

    Parameters
    ----------
    home
        Of a node that does not run; may be empty but for its keys.
    source
        A file of :func:`create_backup`.
    report
        For a progress bar.
    replaces
        A ledger that is there is set aside; otherwise it is an error.

    Raises
    ------
    InvalidInputError
        The file is cut short, altered, of another chain than the home or of a newer format; or a
        ledger is there.
    QuorateError
        The node runs.
    """
    with HomeLock(home.root):
        with source.open("rb") as file:
            index = _Index(file, report)
            genesis = _choose_genesis(home, index.genesis)
            if home.ledger_folder.exists() and not replaces:
                raise InvalidInputError(
                    "ledger_exists",
                    f"{home.ledger_folder} holds a ledger; --replace sets it aside",
                    field="home",
                    value=str(home.root),
                )
            height = await _import(home, genesis, index)
        if home.ledger_folder.exists():
            aside = home.ledger_folder.with_name(f"ledger-replaced-{read_wall_ms()}")
            home.ledger_folder.rename(aside)
        put_ledger_in_place(home.ledger_folder)
        # What the API process keeps is a copy of the ledger before.
        shutil.rmtree(home.api_folder, ignore_errors=True)
        if not home.genesis_file.exists():
            make_folder(home.genesis_file.parent)
            home.genesis_file.write_text(genesis.to_json(), encoding="utf-8")
    return height


async def _import(home: NodeHome, genesis: Genesis, index: _Index) -> int:
    # A new folder says of which format it is, as one that a node makes does.
    open_data_folder(home.ledger_folder.parent)
    payloads = PayloadStore(home.payload_folder)
    folder = ImportFolder(home.ledger_folder, genesis, payloads)
    network = _FileNetwork(index)
    try:
        joining = Joining(
            network,
            folder,
            read_known_chain(genesis, None),
            bytes_max=shutil.disk_usage(home.root).free,
            threshold=0,
            stall_ms=3_000,
            answers_enough=1,
        )
        result = await joining.run()
    finally:
        payloads.close()
    if result.height is None:
        raise InvalidInputError(
            "bad_snapshot", f"the snapshot was not restored: {result.reason}", field="file"
        )
    return result.height


def _choose_genesis(home: NodeHome, text: str) -> Genesis:
    genesis = genesis_from_json(text)
    if home.genesis_file.exists():
        own = genesis_from_json(home.genesis_file.read_text(encoding="utf-8"))
        if own.chain_id != genesis.chain_id:
            raise InvalidInputError(
                "wrong_chain",
                f"the snapshot is of chain {genesis.chain_id.hex()}, this home is of"
                f" {own.chain_id.hex()}",
                field="file",
                value=genesis.chain_id.hex(),
                limit=own.chain_id.hex(),
            )
    return genesis


class _Index:
    """Where in a file which answer is; made by one pass that checks the file's hash."""

    def __init__(self, file: BinaryIO, report: Report) -> None:
        self._file = file
        self.genesis = ""
        self.offer: tuple[int, int] | None = None
        self.chunks: dict[int, tuple[int, int]] = {}
        self.ends: dict[int, tuple[int, int]] = {}
        self.tensors: dict[bytes, tuple[int, int]] = {}
        self.payloads: dict[bytes, tuple[int, int]] = {}
        self._read_all(report)

    def load(self, place: tuple[int, int]) -> Message:
        """Return the answer at a place."""
        offset, size = place
        self._file.seek(offset)
        return decode_message(self._file.read(size))

    def _read_all(self, report: Report) -> None:
        file, digest = self._file, sha256()
        total = os.fstat(file.fileno()).st_size
        magic = file.read(len(_MAGIC))
        digest.update(magic)
        if magic != _MAGIC:
            name = "a newer or" if magic.startswith(b"quorate-snapshot/") else "no"
            raise InvalidInputError(
                "bad_snapshot",
                f"the file is of {name} unknown snapshot format: {magic[:20]!r}; this release reads"
                f" {_MAGIC.decode().strip()}",
                field="file",
            )
        while True:
            head = file.read(_LENGTH_BYTES)
            digest.update(head)
            size = int.from_bytes(head, "big")
            if len(head) < _LENGTH_BYTES or size > MESSAGE_BYTES_MAX:
                raise _cut_short(file.tell())
            if size == 0:
                break
            place = (file.tell(), size)
            data = file.read(size)
            if len(data) < size:
                raise _cut_short(file.tell())
            digest.update(data)
            self._note(decode_message(data), place)
            report("checking", file.tell(), total)
        if file.read(33) != digest.digest():
            raise InvalidInputError(
                "bad_snapshot",
                "the file's checksum does not fit: it was altered or damaged; use another copy",
                field="file",
            )

    def _note(self, message: Message, place: tuple[int, int]) -> None:
        match message:
            case GenesisText(text):
                self.genesis = text.decode("utf-8")
            case Offer():
                self.offer = place
            case Chunk(number=number):
                self.chunks[number] = place
            case EpochEnds(epoch=epoch):
                self.ends[epoch] = place
            case Tensors(items):
                self.tensors.update({item.chunk_hash: place for item in items})
            case Payloads(items):
                self.payloads.update({item.transaction_id: place for item in items})
            case _:
                pass


def _cut_short(offset: int) -> InvalidInputError:
    return InvalidInputError(
        "bad_snapshot",
        f"the file is cut short or damaged at byte {offset}; use another copy",
        field="file",
        value=offset,
    )


class _FileNetwork:
    """A network with one peer, which is a file."""

    def __init__(self, index: _Index) -> None:
        self._index = index
        self._callbacks: PeerCallbacks | None = None

    def connect(self, callbacks: PeerCallbacks) -> None:
        """Say whom to tell."""
        self._callbacks = callbacks

    async def start(self) -> None:
        """Offer what the file holds."""
        if self._callbacks is not None:
            self._callbacks.on_connected(_PEER)

    async def stop(self) -> None:
        """End; nothing is open."""

    def send(self, _peer: int, _channel: Channel, data: bytes) -> None:
        """Answer a request, soon."""
        answer = self._answer(decode_message(data))
        if answer is not None and self._callbacks is not None:
            on_message = self._callbacks.on_message
            encoded = encode_message(answer)
            asyncio.get_running_loop().call_soon(on_message, _PEER, Channel.SNAPSHOT, encoded)

    def _answer(self, request: Message) -> Message | None:
        index = self._index
        match request:
            case OfferRequest():
                return Offer(0, b"") if index.offer is None else index.load(index.offer)
            case ChunkRequest(snapshot_id, number):
                place = index.chunks.get(number)
                return Chunk(snapshot_id, number, b"") if place is None else index.load(place)
            case EpochEndsRequest(epoch):
                return self._find_ends(epoch)
            case TensorsRequest(hashes):
                found = [self._find_tensor(each) for each in hashes]
                return Tensors(tuple(found))
            case PayloadsRequest(transaction_ids):
                return self._find_payloads(transaction_ids)
        return None

    def _find_ends(self, epoch: int) -> EpochEnds:
        start = max((each for each in self._index.ends if each <= epoch), default=None)
        if start is None:
            return EpochEnds(epoch, ())
        answer = self._index.load(self._index.ends[start])
        ends = answer.ends if isinstance(answer, EpochEnds) else ()
        return EpochEnds(epoch, ends[epoch - start :][:EPOCH_ENDS_MAX])

    def _find_tensor(self, chunk_hash: bytes) -> TensorItem:
        place = self._index.tensors.get(chunk_hash)
        answer = None if place is None else self._index.load(place)
        items = answer.items if isinstance(answer, Tensors) else ()
        return next(
            (each for each in items if each.chunk_hash == chunk_hash), TensorItem(chunk_hash, b"")
        )

    def _find_payloads(self, transaction_ids: tuple[bytes, ...]) -> Payloads | None:
        place = self._index.payloads.get(transaction_ids[0]) if transaction_ids else None
        answer = None if place is None else self._index.load(place)
        if not isinstance(answer, Payloads):
            return None
        by_id = {item.transaction_id: item for item in answer.items}
        found = []
        for each in transaction_ids:
            if each not in by_id:
                break
            found.append(by_id[each])
        return Payloads(tuple(found))
