"""Answers what peers ask about snapshots, at a rate that leaves the line to consensus.

Requests wait in a short queue for each peer and are answered in turn, so that one peer that asks
for much does not keep the others waiting; reading is done by a thread. Nothing is remembered of a
peer but its queue.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol

from ledger.key_value import KeyValueReader
from ledger.layout import chunk_key
from ledger.payload import Payload
from ledger.reader import LedgerReader
from ledger.snapshot_keys import kept_envelope_key
from node.snapshots.messages import (
    ANSWER_BYTES,
    EPOCH_ENDS_MAX,
    MESSAGE_BYTES_MAX,
    Chunk,
    ChunkRequest,
    EpochEnds,
    EpochEndsRequest,
    GenesisRequest,
    GenesisText,
    Message,
    Offer,
    OfferRequest,
    PayloadItem,
    Payloads,
    PayloadsRequest,
    TensorItem,
    Tensors,
    TensorsRequest,
    encode_message,
)
from node.snapshots.shelf import SnapshotShelf
from p2p.rate_limit import TokenBucket
from primitives.errors import QuorateError

__all__ = ["BYTES_PER_SECOND", "SnapshotLibrary", "SnapshotServer"]

logger = logging.getLogger(__name__)

BYTES_PER_SECOND: Final = 16 * 1024 * 1024
"""What all peers together are sent, unless the settings say otherwise."""

WAITING_MAX: Final = 8
"""Requests of one peer that wait; it is meant to have fewer open."""

_PAYLOAD_FRAMING_BYTES: Final = 128


class PayloadReader(Protocol):
    """Where live payloads are read from."""

    def read(self, transaction_id: bytes) -> Payload | None:
        """Return the payload of a transaction, or None if it is not held."""


class SnapshotLibrary:
    """Finds what is asked for; any thread may call it.

    Parameters
    ----------
    values
        The ledger's store.
    payloads
        Of final blocks.
    shelf
        Where snapshots are.
    """

    def __init__(
        self, values: KeyValueReader, payloads: PayloadReader, shelf: SnapshotShelf
    ) -> None:
        self._values = values
        self._reader = LedgerReader(values)
        self._payloads = payloads
        self._shelf = shelf

    def answer(self, request: Message) -> Message | None:
        """Return the answer to a request; None if it is none.

        Raises
        ------
        CorruptStateError
            Our disk does not give back what was written.
        """
        match request:
            case OfferRequest():
                newest = self._shelf.newest
                manifest = b"" if newest is None else newest.encode()
                return Offer(self._reader.tip().height, manifest)
            case ChunkRequest(snapshot_id, number):
                data = self._shelf.read_chunk(snapshot_id, number)
                return Chunk(snapshot_id, number, data or b"")
            case EpochEndsRequest(epoch):
                return EpochEnds(epoch, tuple(self._collect_ends(epoch)))
            case TensorsRequest(hashes):
                return Tensors(
                    tuple(
                        TensorItem(each, self._values.get(chunk_key(each)) or b"")
                        for each in hashes
                    )
                )
            case GenesisRequest():
                return GenesisText(self._reader.genesis().to_json().encode())
            case PayloadsRequest(transaction_ids):
                return Payloads(tuple(self._collect_payloads(transaction_ids)))
        return None

    def _collect_ends(self, epoch: int) -> Iterator[bytes]:
        size = 0
        for number in range(epoch, epoch + EPOCH_ENDS_MAX):
            end = self._reader.epoch_end(number)
            if end is None:
                return
            encoded = end.encode()
            size += len(encoded)
            if size > ANSWER_BYTES and number > epoch:
                return
            yield encoded

    def _collect_payloads(self, transaction_ids: tuple[bytes, ...]) -> Iterator[PayloadItem]:
        size = 0
        for number, transaction_id in enumerate(transaction_ids):
            item = self._find_payload(transaction_id)
            size += len(item.envelope) + len(item.data) + _PAYLOAD_FRAMING_BYTES
            if size > ANSWER_BYTES and number:
                return
            yield item

    def _find_payload(self, transaction_id: bytes) -> PayloadItem:
        payload = self._payloads.read(transaction_id)
        envelope = self._values.get(kept_envelope_key(transaction_id))
        if payload is not None and envelope is None:
            found = self._reader.find_transaction(transaction_id)
            envelope = None if found is None else found.transaction.raw
        if payload is None or envelope is None:
            return PayloadItem(transaction_id, b"", b"", b"")
        if len(envelope) + len(payload.data) + 2 * _PAYLOAD_FRAMING_BYTES > MESSAGE_BYTES_MAX:
            logger.error("payload %s is too large to be handed on", transaction_id.hex())
            return PayloadItem(transaction_id, b"", b"", b"")
        return PayloadItem(transaction_id, envelope, payload.salt, payload.data)


class SnapshotServer:
    """Takes requests from the network and sends the answers.

    Parameters
    ----------
    library
        Finds what is asked for; None as long as this node has nothing to offer.
    send
        Sends an encoded answer to a peer, by number.
    bytes_per_second
        Most that is sent to all peers together.
    """

    def __init__(
        self,
        library: SnapshotLibrary | None,
        send: Callable[[int, bytes], None],
        bytes_per_second: int = BYTES_PER_SECOND,
    ) -> None:
        self._library = library
        self._send = send
        self._bucket = TokenBucket(bytes_per_second, bytes_per_second)
        self._waiting: dict[int, deque[Message]] = {}
        self._wake = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="snapshot-server")
        self.counters: Counter[str] = Counter()

    def on_request(self, peer: int, message: Message) -> None:
        """Take a request of a peer's; never waits."""
        waiting = self._waiting.setdefault(peer, deque())
        if len(waiting) >= WAITING_MAX:
            self.counters["snapshot_requests_dropped"] += 1
            return
        waiting.append(message)
        self._wake.set()

    async def serve(self) -> None:
        """Answer until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                await self._wake.wait()
                # One request of each peer in turn.
                for peer in list(self._waiting):
                    request = self._waiting[peer].popleft()
                    if not self._waiting[peer]:
                        del self._waiting[peer]
                    answer = await loop.run_in_executor(self._thread, self._encode_answer, request)
                    if answer is not None:
                        self._send(peer, answer)
                        self.counters["snapshot_answers"] += 1
                        await asyncio.sleep(self._bucket.spend(len(answer), loop.time()))
                if not self._waiting:
                    self._wake.clear()
        finally:
            # The database must not be closed under a read.
            self._thread.shutdown(cancel_futures=True)

    def _encode_answer(self, request: Message) -> bytes | None:
        if self._library is None:
            return encode_message(Offer(0, b"")) if isinstance(request, OfferRequest) else None
        try:
            answer = self._library.answer(request)
        except QuorateError:
            # Whoever reads the damaged place for the chain itself stops the node and says why.
            logger.exception("a snapshot request could not be answered")
            return None
        return None if answer is None else encode_message(answer)
