"""Fetches a snapshot from peers of whom any may lie: events in, actions out, no clock, no disk.

Theory of operation
-------------------
::

    SEEKING ─► CHAINING ─► STATE ─► IMPORTING ─► CONTENT ─► DONE
       ▲  offers   │ epoch ends │ chunks    root │      tensors, payloads
       └───────────┴────────────┴────────────────┘ what was chosen is a lie, or held by nobody now

Invariants: (F1) what is handed out to be stored has been checked against a hash that a verified
manifest, or a state with a certified root, names; (F2) whoever said something that a check refuted
is never asked again; (F3) what is held of unchecked data is one message; what is open at a peer is
bounded; (F4) the fetch ends: it is done, or nothing useful came for a while and it gives up.

An answer that nobody waits for is ignored: it may have been late.
Source: docs/spec/snapshots.md §7.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, assert_never

from ledger.payload import SALT_BYTES, Payload
from ledger.snapshot import Manifest, decode_manifest, hash_chunk, verify_manifest
from ledger.snapshot_import import envelope_put, tensor_put
from node.snapshots.fetch_actions import (
    Action,
    Ask,
    DiscardState,
    DropPeer,
    FetchLimits,
    FetchProgress,
    FetchStage,
    Finish,
    GiveUp,
    ImportState,
    SaveManifest,
    StoreChunk,
    StorePayload,
    StoreTensor,
)
from node.snapshots.fetch_peers import FetchPeers, Peer, Request
from node.snapshots.fetch_queue import FetchQueue
from node.snapshots.messages import (
    PAYLOADS_MAX,
    TENSORS_MAX,
    Chunk,
    ChunkRequest,
    EpochEnds,
    EpochEndsRequest,
    Message,
    Offer,
    OfferRequest,
    Payloads,
    PayloadsRequest,
    Tensors,
    TensorsRequest,
)
from primitives.epoch_chain import EpochChain
from primitives.epoch_end import decode_epoch_end
from primitives.errors import InvalidInputError, InvariantViolationError

__all__ = ["SnapshotFetcher"]

GATHER_MS: Final = 1_000
"""How long other offers are waited for once one is there."""

OFFER_INTERVAL_MS: Final = 5_000
"""How often who offered nothing of use is asked again."""


class SnapshotFetcher:
    """One fetch, from the first question to the last item.

    Parameters
    ----------
    chain
        Begins with validators that are trusted.
    limits
        See :class:`FetchLimits`.
    held
        Hashes of chunks of an earlier attempt that are on disk.
    saved
        The manifest of an earlier attempt.
    now_ms
        The monotonic time.
    """

    def __init__(
        self,
        chain: EpochChain,
        limits: FetchLimits,
        held: Iterable[bytes],
        saved: Manifest | None,
        now_ms: int,
    ) -> None:
        self.chain = chain
        self._limits = limits
        self._held = set(held)
        self._saved = saved
        self._actions: list[Action] = []
        self._peers = FetchPeers(lambda peer, message: self._actions.append(Ask(peer, message)))
        self._stage = FetchStage.SEEKING
        self._now_ms = now_ms
        self._useful_ms = now_ms
        self._first_offer_ms: int | None = None
        self._asked_ms = now_ms
        self._manifest: Manifest | None = None
        self._offerer: int | None = None
        self._refused: set[bytes] = set()
        self._has_begun = False
        self._missing = 0
        self._chunks: FetchQueue[int] = FetchQueue(())
        self._tensors: FetchQueue[bytes] = FetchQueue(())
        self._payloads: FetchQueue[bytes] = FetchQueue(())
        self._payloads_absent = 0

    @property
    def progress(self) -> FetchProgress:
        """How far it is."""
        total = 0 if self._manifest is None else len(self._manifest.chunk_hashes)
        return FetchProgress(
            stage=self._stage,
            height=0 if self._manifest is None else self._manifest.height,
            chunks_done=total - self._missing + self._chunks.done_count,
            chunks_total=total,
            items_done=self._tensors.done_count + self._payloads.done_count,
            payloads_absent=self._payloads_absent,
            peers=sum(1 for _ in self._peers),
            liars=len(self._peers.liars),
        )

    def on_connected(self, number: int, now_ms: int) -> list[Action]:
        """Take note of a connected peer."""
        self._now_ms = now_ms
        peer = self._peers.connect(number)
        if peer is not None and self._stage is FetchStage.SEEKING:
            self._peers.ask(peer, OfferRequest(), now_ms)
        return self._go_on()

    def on_disconnected(self, number: int, now_ms: int) -> list[Action]:
        """Take note that a peer is gone; what it owed is asked of others."""
        self._now_ms = now_ms
        self._take_back(self._peers.disconnect(number))
        return self._go_on()

    def on_message(self, number: int, message: Message, now_ms: int) -> list[Action]:
        """Take an answer; requests are none of our business."""
        self._now_ms = now_ms
        peer = self._peers.get(number)
        if peer is not None:
            try:
                self._take_answer(peer, message)
            except InvalidInputError as error:
                self._condemn(number, str(error))
        return self._go_on()

    def on_malformed(self, number: int, reason: str, now_ms: int) -> list[Action]:
        """Take note that a peer sent what is no message."""
        self._now_ms = now_ms
        if self._peers.get(number) is not None:
            self._condemn(number, reason)
        return self._go_on()

    def on_tick(self, now_ms: int) -> list[Action]:
        """Look at the time; to be called several times a second."""
        self._now_ms = now_ms
        self._take_back(self._peers.expire(now_ms))
        return self._go_on()

    def on_state_imported(
        self, tensors: Iterable[bytes], payloads: Iterable[bytes], now_ms: int
    ) -> list[Action]:
        """Go on with what the state refers to.

        Parameters
        ----------
        tensors
            Hashes of chunks that are still to be had, each once.
        payloads
            Ids of transactions whose payloads are still to be had.
        now_ms
            The monotonic time.
        """
        self._now_ms = self._useful_ms = now_ms
        self._tensors = FetchQueue(tensors)
        self._payloads = FetchQueue(payloads)
        self._stage = FetchStage.CONTENT
        return self._go_on()

    def on_import_failed(self, reason: str, now_ms: int) -> list[Action]:
        """Condemn who offered chunks that do not give the certified root; look for another."""
        self._now_ms = self._useful_ms = now_ms
        snapshot_id = self._require_manifest().snapshot_id
        for peer in list(self._peers):
            if peer.offer is not None and peer.offer.snapshot_id == snapshot_id:
                self._condemn(peer.number, reason)
        self._refuse(snapshot_id)
        return self._go_on()

    def on_chunks_damaged(self, chunk_hashes: Iterable[bytes], now_ms: int) -> list[Action]:
        """Fetch chunks again that our own disk lost."""
        self._now_ms = self._useful_ms = now_ms
        self._held.difference_update(chunk_hashes)
        self._fetch_state()
        return self._go_on()

    def _go_on(self) -> list[Action]:
        """Do what can be done now, and return what is to be done by others."""
        if self._stage is FetchStage.SEEKING:
            self._seek()
        if self._stage is FetchStage.CHAINING:
            self._follow_chain()
        if self._stage is FetchStage.STATE:
            self._ask_chunks()
        if self._stage is FetchStage.CONTENT:
            self._ask_content()
        self._check_stall()
        actions, self._actions = self._actions, []
        return actions

    def _take_answer(self, peer: Peer, message: Message) -> None:
        match message:
            case Offer():
                self._take_offer(peer, message)
            case EpochEnds():
                self._take_epoch_ends(peer, message)
            case Chunk():
                self._take_chunk(peer, message)
            case Tensors():
                self._take_tensors(peer, message)
            case Payloads():
                self._take_payloads(peer, message)
            case _:
                return

    # Choosing a snapshot.

    def _seek(self) -> None:
        if self._now_ms - self._asked_ms >= OFFER_INTERVAL_MS:
            self._asked_ms = self._now_ms
            for peer in self._peers.list_free(self._now_ms):
                if not peer.open:
                    self._peers.ask(peer, OfferRequest(), self._now_ms)
        saved = self._saved
        if saved is not None and self._is_of_use(saved) and any(True for _ in self._peers):
            self._choose(saved, None)
            return
        offers = [
            each
            for each in self._peers
            if each.offer
            and self._is_of_use(each.offer)
            and each.offer.snapshot_id not in each.lacks
        ]
        if not offers:
            self._check_hopeless()
            return
        if self._first_offer_ms is None:
            self._first_offer_ms = self._now_ms
        all_answered = all(each.has_answered for each in self._peers)
        if all_answered or self._now_ms - self._first_offer_ms >= GATHER_MS:
            best = max(offers, key=self._rank)
            if best.offer is not None:
                self._choose(best.offer, best.number)

    def _rank(self, peer: Peer) -> tuple[int, int, int]:
        """Prefer what f + 1 offer, then the highest: one liar alone costs us the least."""
        offer = peer.offer
        if offer is None:
            return (0, 0, 0)
        same = sum(
            1 for each in self._peers if each.offer and each.offer.snapshot_id == offer.snapshot_id
        )
        return (min(same, self._limits.answers_enough), offer.height, -peer.number)

    def _is_of_use(self, manifest: Manifest) -> bool:
        return (
            manifest.height >= self._limits.height_min
            and manifest.byte_count <= self._limits.bytes_max
            and manifest.snapshot_id not in self._refused
        )

    def _choose(self, manifest: Manifest, offerer: int | None) -> None:
        self._manifest, self._offerer = manifest, offerer
        self._stage = FetchStage.CHAINING

    def _check_hopeless(self) -> None:
        """Give up when there is nothing to be had."""
        limits = self._limits
        if self._has_begun:
            # There was one: the next will come.
            patience_ms = limits.stall_ms
        else:
            patience_ms = limits.patience_ms
            heard = [each for each in self._peers if each.has_answered]
            is_all = len(heard) == sum(1 for _ in self._peers)
            if is_all and len(heard) >= limits.answers_enough:
                self._give_up(f"{len(heard)} peers offer no snapshot of use")
                return
        if self._now_ms - self._useful_ms >= patience_ms:
            self._give_up("no peer offered a snapshot of use in time")

    def _take_offer(self, peer: Peer, offer: Offer) -> None:
        if self._peers.close(peer, lambda asked: isinstance(asked, OfferRequest)) is None:
            return
        peer.offer = decode_manifest(offer.manifest) if offer.manifest else None
        peer.has_answered = True

    def _seek_again(self) -> None:
        """Ask everyone anew what there is."""
        self._stage = FetchStage.SEEKING
        self._manifest = self._offerer = self._saved = self._first_offer_ms = None
        self._asked_ms = self._now_ms
        for peer in self._peers:
            peer.has_answered = False
            peer.offer = None
            peer.open.clear()
            if peer.rests_until_ms <= self._now_ms:
                self._peers.ask(peer, OfferRequest(), self._now_ms)

    def _refuse(self, snapshot_id: bytes) -> None:
        self._refused.add(snapshot_id)
        self._seek_again()

    # The epoch chain.

    def _follow_chain(self) -> None:
        """Ask for what is missing of the epoch chain; verify the manifest once nothing is."""
        manifest = self._require_manifest()
        if self.chain.epoch >= manifest.epoch:
            self._judge_manifest(manifest)
            return
        if self._peers.is_open(EpochEndsRequest):
            return
        free = self._peers.list_free(self._now_ms)
        # Its offerer must be able to prove it; a manifest from disk has none.
        sources = [each for each in free if self._offerer in (None, each.number)]
        if sources:
            self._peers.ask(sources[0], EpochEndsRequest(self.chain.epoch), self._now_ms)
        elif self._offerer is not None:
            self._seek_again()

    def _judge_manifest(self, manifest: Manifest) -> None:
        try:
            verify_manifest(manifest, self.chain)
        except InvalidInputError as error:
            if self._offerer is not None:
                self._condemn(self._offerer, str(error))
            self._seek_again()
            return
        self._actions.append(SaveManifest(manifest))
        self._fetch_state()

    def _take_epoch_ends(self, peer: Peer, answer: EpochEnds) -> None:
        asked = EpochEndsRequest(answer.epoch)
        if self._peers.close(peer, lambda each: each == asked) is None:
            return
        if answer.epoch != self.chain.epoch:
            return
        if not answer.ends:
            if peer.number == self._offerer:
                raise InvalidInputError(
                    "unproven", f"the end of epoch {answer.epoch} is missing under the offer"
                )
            self._seek_again()
            return
        for encoded in answer.ends:
            self.chain.extend(decode_epoch_end(encoded))
            self._useful_ms = self._now_ms

    # The state.

    def _fetch_state(self) -> None:
        hashes = self._require_manifest().chunk_hashes
        missing = [number for number, each in enumerate(hashes) if each not in self._held]
        self._missing = len(missing)
        self._chunks = FetchQueue(missing)
        self._stage = FetchStage.STATE
        self._has_begun = True
        self._useful_ms = self._now_ms

    def _ask_chunks(self) -> None:
        manifest = self._require_manifest()
        snapshot_id = manifest.snapshot_id
        if self._chunks.check_done():
            self._stage = FetchStage.IMPORTING
            self._actions.append(ImportState(manifest))
            return
        while asked := [
            (peer, number)
            for peer in self._peers.list_free(self._now_ms)
            if snapshot_id not in peer.lacks
            for number in self._chunks.take(peer.number, 1)
        ]:
            for peer, number in asked:
                self._peers.ask(peer, ChunkRequest(snapshot_id, number), self._now_ms)
        peers = list(self._peers)
        if peers and all(snapshot_id in peer.lacks for peer in peers):
            # The target has moved on.
            self._seek_again()

    def _take_chunk(self, peer: Peer, answer: Chunk) -> None:
        asked = ChunkRequest(answer.snapshot_id, answer.number)
        if self._peers.close(peer, lambda each: each == asked) is None:
            return
        manifest = self._require_manifest()
        if self._stage is not FetchStage.STATE or answer.snapshot_id != manifest.snapshot_id:
            return
        if not answer.data:
            peer.lacks.add(answer.snapshot_id)
            self._chunks.give_back([answer.number])
            return
        chunk_hash = manifest.chunk_hashes[answer.number]
        if hash_chunk(answer.data) != chunk_hash:
            self._chunks.give_back([answer.number])
            raise InvalidInputError(
                "bad_chunk", f"chunk {answer.number} does not have the hash that the manifest says"
            )
        self._chunks.finish(answer.number)
        self._held.add(chunk_hash)
        self._useful_ms = self._now_ms
        self._actions.append(StoreChunk(chunk_hash, answer.data))

    # What the state refers to.

    def _ask_content(self) -> None:
        for peer in self._peers.list_free(self._now_ms):
            if hashes := self._tensors.take(peer.number, TENSORS_MAX):
                self._peers.ask(peer, TensorsRequest(tuple(hashes)), self._now_ms)
            elif ids := self._payloads.take(peer.number, PAYLOADS_MAX):
                self._peers.ask(peer, PayloadsRequest(tuple(ids)), self._now_ms)
        if self._tensors.check_done() and self._payloads.check_done():
            self._stage = FetchStage.DONE
            self._actions.append(Finish(self._require_manifest()))

    def _take_tensors(self, peer: Peer, answer: Tensors) -> None:
        names = tuple(item.chunk_hash for item in answer.items)
        asked = self._close_batch(peer, TensorsRequest, names)
        for position, item in enumerate(answer.items[: len(asked)]):
            if not item.data:
                if self._tensors.note_absent(item.chunk_hash, peer.number) < self._enough:
                    continue
                # A later state uses other chunks, and these are given up: so is this snapshot.
                self._actions.append(DiscardState())
                self._refuse(self._require_manifest().snapshot_id)
                return
            try:
                key, value = tensor_put(item.chunk_hash, item.data)
            except InvalidInputError:
                self._tensors.give_back(asked[position:])
                raise
            self._tensors.finish(item.chunk_hash)
            self._useful_ms = self._now_ms
            self._actions.append(StoreTensor(key, value))
        self._tensors.give_back(asked[len(names) :])

    def _take_payloads(self, peer: Peer, answer: Payloads) -> None:
        names = tuple(item.transaction_id for item in answer.items)
        asked = self._close_batch(peer, PayloadsRequest, names)
        for position, item in enumerate(answer.items[: len(asked)]):
            transaction_id = item.transaction_id
            if not item.envelope:
                if self._payloads.note_absent(transaction_id, peer.number) >= self._enough:
                    self._payloads.drop(transaction_id)
                    self._payloads_absent += 1
                continue
            try:
                payload = _build_payload(item.salt, item.data)
                key, envelope = envelope_put(transaction_id, item.envelope, payload)
            except InvalidInputError:
                self._payloads.give_back(asked[position:])
                raise
            self._payloads.finish(transaction_id)
            self._useful_ms = self._now_ms
            self._actions.append(StorePayload(transaction_id, payload, key, envelope))
        self._payloads.give_back(asked[len(names) :])

    @property
    def _enough(self) -> int:
        """How many must say that they lack something: one of them at least is honest."""
        return self._limits.answers_enough

    def _close_batch(
        self,
        peer: Peer,
        kind: type[TensorsRequest] | type[PayloadsRequest],
        names: tuple[bytes, ...],
    ) -> tuple[bytes, ...]:
        """Return what was asked for in the request whose first part is answered; empty if none."""

        def matches(asked: Request) -> bool:
            return isinstance(asked, kind) and _names_of(asked)[: len(names)] == names

        found = self._peers.close(peer, matches) if names else None
        if found is None or self._stage is not FetchStage.CONTENT:
            return ()
        return _names_of(found)

    # Failures.

    def _take_back(self, requests: Iterable[Request]) -> None:
        """Ask others for what was asked in vain."""
        for request in requests:
            match request:
                case ChunkRequest(snapshot_id, number):
                    manifest = self._manifest
                    if (
                        self._stage is FetchStage.STATE
                        and manifest is not None
                        and manifest.snapshot_id == snapshot_id
                    ):
                        self._chunks.give_back([number])
                case TensorsRequest(hashes):
                    if self._stage is FetchStage.CONTENT:
                        self._tensors.give_back(hashes)
                case PayloadsRequest(ids):
                    if self._stage is FetchStage.CONTENT:
                        self._payloads.give_back(ids)
                case OfferRequest() | EpochEndsRequest():
                    pass
                case _:
                    assert_never(request)

    def _condemn(self, number: int, reason: str) -> None:
        self._take_back(self._peers.condemn(number, reason))
        self._actions.append(DropPeer(number, reason))

    def _check_stall(self) -> None:
        waits = (FetchStage.CHAINING, FetchStage.STATE, FetchStage.CONTENT)
        if self._stage in waits and self._now_ms - self._useful_ms >= self._limits.stall_ms:
            self._give_up(f"nothing of use came while {self._stage.value}")

    def _give_up(self, reason: str) -> None:
        self._stage = FetchStage.FAILED
        self._actions.append(GiveUp(reason))

    def _require_manifest(self) -> Manifest:
        if self._manifest is None:
            raise InvariantViolationError("a snapshot is fetched and none was chosen")
        return self._manifest


def _names_of(request: Request) -> tuple[bytes, ...]:
    match request:
        case TensorsRequest(hashes):
            return hashes
        case PayloadsRequest(ids):
            return ids
    return ()


def _build_payload(salt: bytes, data: bytes) -> Payload:
    if len(salt) != SALT_BYTES:
        raise InvalidInputError("malformed", f"a salt has {SALT_BYTES} bytes", field="salt")
    return Payload(salt, data)
