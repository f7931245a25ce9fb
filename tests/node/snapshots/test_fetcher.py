"""A node joins by a snapshot among peers of whom some lie, fall silent, or go away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ledger import snapshot as snapshot_module
from ledger.snapshot import Manifest, decode_manifest
from node.snapshots.messages import (
    Chunk,
    ChunkRequest,
    EpochEnds,
    EpochEndsRequest,
    Message,
    Offer,
    OfferRequest,
    PayloadItem,
    Payloads,
    PayloadsRequest,
    TensorItem,
    Tensors,
    TensorsRequest,
)
from node.snapshots.server import SnapshotLibrary
from primitives.epoch_end import decode_epoch_end
from tests.helpers.ledger import make_certificate
from tests.helpers.snapshot_fetch import LIMITS, Answer, FetchScene, check_same_ledger, serve
from tests.helpers.snapshots import EpochedChain, make_chain

HEIGHT = 12


@pytest.fixture(scope="module", autouse=True)
def small_chunks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshot_module, "CHUNK_BYTES", 300)
        yield


@pytest.fixture(scope="module")
def chain() -> EpochedChain:
    """Three epochs, a model, two contributions, fifty accounts."""
    chain = make_chain(accounts=50)
    chain.create_model()
    chain.contribute()
    chain.run_many(5)
    chain.contribute()
    chain.run_many(7)
    return chain


@pytest.fixture(scope="module")
def library(chain: EpochedChain, tmp_path_factory: pytest.TempPathFactory) -> SnapshotLibrary:
    return serve(chain, tmp_path_factory.mktemp("shelf"), HEIGHT)


def make_scene(
    chain: EpochedChain, library: SnapshotLibrary, folder: Path, peers: int = 3, **options: object
) -> FetchScene:
    answers: dict[int, Answer] = dict.fromkeys(range(peers), library.answer)
    return FetchScene(chain, folder, answers, **options)  # type: ignore[arg-type]


def test_a_node_joins_and_goes_on_like_everyone(
    chain: EpochedChain, library: SnapshotLibrary, tmp_path: Path
) -> None:
    scene = make_scene(chain, library, tmp_path)
    joined = scene.join()
    check_same_ledger(joined, chain, HEIGHT)
    assert joined.store.epoch_end(0) == chain.store.epoch_end(0)
    assert scene.dropped == {}
    asked = {peer for peer, message in scene.asked if isinstance(message, ChunkRequest)}
    assert asked == {0, 1, 2}, "chunks come from all peers in parallel"
    chunks = [message for _, message in scene.asked if isinstance(message, ChunkRequest)]
    assert len(chunks) == len(set(chunks)) == scene.stored_chunks > 10


@pytest.mark.parametrize("seed", range(5))
def test_answers_in_any_order(
    chain: EpochedChain, library: SnapshotLibrary, tmp_path: Path, seed: int
) -> None:
    check_same_ledger(make_scene(chain, library, tmp_path, seed=seed).join(), chain, HEIGHT)


def test_one_honest_peer_is_enough(
    chain: EpochedChain, library: SnapshotLibrary, tmp_path: Path
) -> None:
    check_same_ledger(make_scene(chain, library, tmp_path, peers=1).join(), chain, HEIGHT)


def is_offer(change: Callable[[Manifest], Manifest]) -> Callable[[Message], Message]:
    def lie(answer: Message) -> Message:
        if isinstance(answer, Offer):
            manifest = change(decode_manifest(answer.manifest))
            return Offer(answer.final_height, manifest.encode())
        return answer

    return lie


def flip(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def lie_about_a_chunk(answer: Message) -> Message:
    return replace(answer, data=flip(answer.data)) if isinstance(answer, Chunk) else answer


def swell_a_chunk(answer: Message) -> Message:
    if isinstance(answer, Chunk):
        return replace(answer, data=bytes(snapshot_module.CHUNK_BYTES_MAX))
    return answer


def send_another_chunk(answer: Message) -> Message:
    return replace(answer, data=b"\x92\x01\x01") if isinstance(answer, Chunk) else answer


def lie_about_tensors(answer: Message) -> Message:
    if isinstance(answer, Tensors):
        return Tensors(tuple(TensorItem(each.chunk_hash, b"no") for each in answer.items))
    return answer


def lie_about_payloads(answer: Message) -> Message:
    if isinstance(answer, Payloads):
        return Payloads(tuple(replace(each, data=flip(each.data)) for each in answer.items))
    return answer


def lie_about_salts(answer: Message) -> Message:
    if isinstance(answer, Payloads):
        return Payloads(tuple(replace(each, salt=b"short") for each in answer.items))
    return answer


def swap_envelopes(answer: Message) -> Message:
    if isinstance(answer, Payloads):
        return Payloads(
            tuple(
                PayloadItem(each.transaction_id, b"\x00" + each.envelope, each.salt, each.data)
                for each in answer.items
            )
        )
    return answer


def forge_epochs(answer: Message) -> Message:
    """The liar writes its own validators into the end of an epoch."""
    if isinstance(answer, EpochEnds):
        end = decode_epoch_end(answer.ends[0])
        forged = replace(end, next_keys=tuple(flip(key) for key in end.next_keys))
        return EpochEnds(answer.epoch, (forged.encode(), *answer.ends[1:]))
    return answer


def send_garbage_for_epochs(answer: Message) -> Message:
    return EpochEnds(answer.epoch, (b"\x00",)) if isinstance(answer, EpochEnds) else answer


def hide_epochs(answer: Message) -> Message:
    return EpochEnds(answer.epoch, ()) if isinstance(answer, EpochEnds) else answer


def promise_the_moon(answer: Message) -> Message:
    """A manifest of a height that nobody certified, so that it is looked at first."""

    def change(manifest: Manifest) -> Manifest:
        header = replace(manifest.block.header, height=10**9)
        block = replace(manifest.block, header=header, certified_height=10**9)
        return replace(manifest, block=block)

    return is_offer(change)(answer)


def use_a_receipts_root_of_its_own(answer: Message) -> Message:
    return is_offer(
        lambda each: replace(each, block=replace(each.block, receipts_root=b"\x01" * 32))
    )(answer)


def send_no_manifest(answer: Message) -> Message:
    return Offer(10**6, b"garbage") if isinstance(answer, Offer) else answer


def invent_chunks(answer: Message) -> Message:
    """The block is certified; the chunks are not its state, but fit the manifest."""
    lie = b"\x92\xc4\x01k\xc4\x01v"
    if isinstance(answer, Chunk):
        return replace(answer, data=lie)
    return is_offer(
        lambda each: replace(
            each,
            chunk_hashes=(snapshot_module.hash_chunk(lie),),
            key_count=1,
            byte_count=len(lie),
            # Looked at before honest ones: the liar is ahead of them.
        )
    )(answer)


LIES: list[Callable[[Message], Message]] = [
    lie_about_a_chunk,
    swell_a_chunk,
    send_another_chunk,
    lie_about_tensors,
    lie_about_payloads,
    lie_about_salts,
    swap_envelopes,
    forge_epochs,
    send_garbage_for_epochs,
    hide_epochs,
    promise_the_moon,
    use_a_receipts_root_of_its_own,
    send_no_manifest,
    invent_chunks,
]


def lying(library: SnapshotLibrary, lie: Callable[[Message], Message]) -> Answer:
    def answer(request: Message) -> Message | None:
        honest = library.answer(request)
        return None if honest is None else lie(honest)

    return answer


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.__name__)
def test_a_liar_is_found_and_dropped(
    chain: EpochedChain,
    library: SnapshotLibrary,
    tmp_path: Path,
    lie: Callable[[Message], Message],
) -> None:
    """The liar is alone at first, so that it is asked everything; then honest peers come."""
    scene = make_scene(chain, library, tmp_path, peers=2)
    scene.peers[9] = lying(library, lie)
    scene.connect(9)
    scene.run(until=lambda: bool(scene.dropped))
    assert set(scene.dropped) == {9}
    asked_before = len(scene.asked)
    joined = scene.join() if not scene.is_finished else scene.open_ledger()
    check_same_ledger(joined, chain, HEIGHT)
    assert set(scene.dropped) == {9}, "no honest peer was dropped"
    assert 9 not in {peer for peer, _ in scene.asked[asked_before:]}


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.__name__)
def test_a_liar_among_honest_peers_does_no_harm(
    chain: EpochedChain,
    library: SnapshotLibrary,
    tmp_path: Path,
    lie: Callable[[Message], Message],
) -> None:
    scene = make_scene(chain, library, tmp_path)
    scene.peers[9] = lying(library, lie)
    check_same_ledger(scene.join(), chain, HEIGHT)
    assert set(scene.dropped) <= {9}
    assert scene.now_ms < 60_000


def test_a_manifest_with_f_plus_1_signatures_is_refused(
    chain: EpochedChain, library: SnapshotLibrary, tmp_path: Path
) -> None:
    def change(manifest: Manifest) -> Manifest:
        block = manifest.block
        certificate = make_certificate(
            chain.network, block.header, block.state_root, signers=(0, 1)
        )
        return replace(manifest, block=replace(block, certificate=certificate))

    scene = make_scene(chain, library, tmp_path, peers=1)
    scene.peers[0] = lying(library, is_offer(change))
    scene.connect(0)
    scene.run()
    assert "fewer than the quorum" in scene.dropped[0]
    assert scene.given_up
    assert not scene.is_finished


def test_nothing_but_liars_is_given_up(
    chain: EpochedChain, library: SnapshotLibrary, tmp_path: Path
) -> None:
    scene = make_scene(chain, library, tmp_path, peers=0)
    for number, lie in enumerate(LIES):
        scene.peers[number] = lying(library, lie)
    # Those whose lies concern different answers help each other: also then nothing false comes in.
    scene.connect(*scene.peers)
    scene.run()
    if scene.is_finished:
        check_same_ledger(scene.open_ledger(), chain, HEIGHT)
    else:
        assert scene.given_up


def silent(_: Message) -> Message | None:
    return None


def test_peers_that_never_answer_are_passed_over(
    chain: EpochedChain, library: SnapshotLibrary, tmp_path: Path
) -> None:
    def silent_about_chunks(request: Message) -> Message | None:
        return None if isinstance(request, ChunkRequest) else library.answer(request)

    scene = make_scene(chain, library, tmp_path)
    scene.peers[7] = silent
    scene.peers[8] = silent_about_chunks
    check_same_ledger(scene.join(), chain, HEIGHT)
    assert scene.dropped == {}


def test_all_peers_vanish_and_others_come(
    chain: EpochedChain, library: SnapshotLibrary, tmp_path: Path
) -> None:
    scene = make_scene(chain, library, tmp_path)
    scene.connect(0, 1)
    scene.run(until=lambda: scene.stored_chunks > 3)
    scene.disconnect(0)
    scene.disconnect(1)
    before = scene.now_ms
    scene.run(until=lambda: scene.now_ms > before + 30_000)
    scene.connect(2)
    scene.run()
    check_same_ledger(scene.open_ledger(), chain, HEIGHT)


def test_when_all_peers_vanish_for_good_it_gives_up(
    chain: EpochedChain, library: SnapshotLibrary, tmp_path: Path
) -> None:
    scene = make_scene(chain, library, tmp_path)
    scene.connect(0)
    scene.run(until=lambda: scene.stored_chunks > 3)
    scene.disconnect(0)
    scene.run()
    assert "nothing of use came" in scene.given_up
    assert scene.now_ms < LIMITS.stall_ms + 5_000


def test_a_peer_that_comes_and_goes(
    chain: EpochedChain, library: SnapshotLibrary, tmp_path: Path
) -> None:
    scene = make_scene(chain, library, tmp_path, peers=2)
    scene.connect(0, 1)
    for _ in range(8):
        seen = scene.stored_chunks
        scene.run(until=lambda seen=seen: scene.stored_chunks > seen)  # type: ignore[misc]
        scene.disconnect(1)
        scene.connect(1)
    scene.run()
    check_same_ledger(scene.open_ledger(), chain, HEIGHT)


class TestTargetMoves:
    def test_the_newest_is_taken_when_nobody_holds_ours_any_more(
        self, chain: EpochedChain, tmp_path: Path
    ) -> None:
        old = serve(chain, tmp_path / "old", 6)
        new = serve(chain, tmp_path / "new", HEIGHT)
        current = old

        def answer(request: Message) -> Message | None:
            return current.answer(request)

        scene = FetchScene(chain, tmp_path, {0: answer, 1: answer})
        scene.connect(0, 1)
        scene.run(until=lambda: scene.stored_chunks > 3)
        current = new
        scene.run()
        check_same_ledger(scene.open_ledger(), chain, HEIGHT)
        assert scene.dropped == {}

    def test_who_has_moved_on_is_no_liar_and_others_go_on(
        self, chain: EpochedChain, tmp_path: Path
    ) -> None:
        old = serve(chain, tmp_path / "old", 6)
        new = serve(chain, tmp_path / "new", HEIGHT)
        current = old
        scene = FetchScene(
            chain, tmp_path, {0: old.answer, 1: lambda request: current.answer(request)}
        )
        scene.connect(0, 1)
        scene.run(until=lambda: scene.stored_chunks > 3)
        current = new
        scene.run()
        check_same_ledger(scene.open_ledger(), chain, 6)
        assert scene.dropped == {}


class TestOffers:
    def test_a_snapshot_that_is_not_far_enough_ahead_is_of_no_use(
        self, chain: EpochedChain, library: SnapshotLibrary, tmp_path: Path
    ) -> None:
        limits = replace(LIMITS, height_min=HEIGHT + 1)
        scene = make_scene(chain, library, tmp_path, limits=limits)
        scene.connect(*scene.peers)
        scene.run()
        assert "no snapshot of use" in scene.given_up
        assert scene.now_ms < 1_000, "enough peers answered, so nothing is waited for"
        assert not any(isinstance(message, ChunkRequest) for _, message in scene.asked)

    def test_a_state_for_which_there_is_no_room_is_not_begun(
        self, chain: EpochedChain, library: SnapshotLibrary, tmp_path: Path
    ) -> None:
        scene = make_scene(chain, library, tmp_path, limits=replace(LIMITS, bytes_max=100))
        scene.connect(*scene.peers)
        scene.run()
        assert scene.given_up

    def test_nobody_there_is_given_up_in_time(self, chain: EpochedChain, tmp_path: Path) -> None:
        scene = FetchScene(chain, tmp_path, {})
        scene.run()
        assert "in time" in scene.given_up
        assert scene.now_ms <= LIMITS.patience_ms + 10

    def test_what_f_plus_1_offer_goes_before_what_one_offers(
        self, chain: EpochedChain, tmp_path: Path
    ) -> None:
        common = serve(chain, tmp_path / "common", 11)
        alone = serve(chain, tmp_path / "alone", HEIGHT)
        scene = FetchScene(chain, tmp_path, {0: alone.answer, 1: common.answer, 2: common.answer})
        check_same_ledger(scene.join(), chain, 11)

    def test_manifests_with_other_signers_are_the_same_snapshot(
        self, chain: EpochedChain, library: SnapshotLibrary, tmp_path: Path
    ) -> None:
        def change(manifest: Manifest) -> Manifest:
            block = manifest.block
            certificate = make_certificate(
                chain.network, block.header, block.state_root, signers=(1, 2, 3)
            )
            return replace(manifest, block=replace(block, certificate=certificate))

        scene = make_scene(chain, library, tmp_path, peers=1)
        scene.peers[1] = lying(library, is_offer(change))
        check_same_ledger(scene.join(), chain, HEIGHT)
        asked = {peer for peer, message in scene.asked if isinstance(message, ChunkRequest)}
        assert asked == {0, 1}
        assert scene.dropped == {}


class TestAbsent:
    def test_an_erased_payload_is_done_without(self, tmp_path: Path) -> None:
        chain = make_chain()
        chain.create_model()
        erased, kept = chain.contribute(), chain.contribute()
        chain.run_many(2)
        chain.payloads.erase(erased)
        scene = make_scene(chain, serve(chain, tmp_path / "shelf", 4), tmp_path)
        joined = scene.join()
        assert scene.payload_store.read(erased) is None
        assert scene.payload_store.read(kept) == chain.payloads.read(kept)
        assert scene.fetcher.progress.payloads_absent == 1
        assert joined.store.tip().height == 4

    def test_one_that_claims_to_lack_everything_hides_nothing(
        self, chain: EpochedChain, library: SnapshotLibrary, tmp_path: Path
    ) -> None:
        def lacking(request: Message) -> Message | None:
            match request:
                case TensorsRequest(hashes):
                    return Tensors(tuple(TensorItem(each, b"") for each in hashes))
                case PayloadsRequest(ids):
                    return Payloads(tuple(PayloadItem(each, b"", b"", b"") for each in ids))
            return library.answer(request)

        scene = make_scene(chain, library, tmp_path, peers=1)
        scene.peers[5] = lacking
        check_same_ledger(scene.join(), chain, HEIGHT)
        assert scene.fetcher.progress.payloads_absent == 0

    def test_tensors_that_nobody_holds_end_the_snapshot_not_the_fetch(
        self, chain: EpochedChain, tmp_path: Path
    ) -> None:
        old = serve(chain, tmp_path / "old", 6)
        new = serve(chain, tmp_path / "new", HEIGHT)
        current = old

        def answer(request: Message) -> Message | None:
            if isinstance(request, TensorsRequest) and current is old:
                return Tensors(tuple(TensorItem(each, b"") for each in request.hashes))
            return current.answer(request)

        scene = FetchScene(chain, tmp_path, {0: answer, 1: answer})
        scene.connect(0, 1)
        scene.run(until=lambda: any(isinstance(each, TensorsRequest) for _, each in scene.asked))
        scene.run(until=lambda: scene.fetcher.progress.stage.name == "SEEKING")
        current = new
        scene.run()
        check_same_ledger(scene.open_ledger(), chain, HEIGHT)


def test_late_and_unasked_answers_are_ignored(
    chain: EpochedChain, library: SnapshotLibrary, tmp_path: Path
) -> None:
    scene = make_scene(chain, library, tmp_path, peers=1)
    scene.connect(0)
    unasked: list[Message] = [
        Chunk(bytes(32), 0, b"x"),
        Chunk(bytes(32), 0, b""),
        EpochEnds(77, (b"\x00",)),
        Tensors((TensorItem(bytes(32), b"x"),)),
        Tensors(()),
        Payloads((PayloadItem(bytes(32), b"x", b"", b""),)),
        Offer(1, b""),
        OfferRequest(),
        EpochEndsRequest(0),
    ]
    while not scene.is_finished:
        scene.run(until=lambda: True)
        for message in unasked[:-3]:
            scene._perform(scene.fetcher.on_message(0, message, scene.now_ms))
        seen = scene.performed
        scene.run(until=lambda seen=seen: scene.performed > seen)  # type: ignore[misc]
    for message in unasked:
        assert scene.fetcher.on_message(0, message, scene.now_ms) == []
    check_same_ledger(scene.open_ledger(), chain, HEIGHT)
    assert scene.dropped == {}
