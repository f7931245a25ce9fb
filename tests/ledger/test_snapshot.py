"""Snapshots from one ledger into another: what went in comes out, and no lie gets through."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import snapshot as snapshot_module
from ledger.executed_block import ExecutedBlock
from ledger.key_value import KeyValueReader, MemoryKeyValueStore
from ledger.layout import versioned_key
from ledger.payload import Payload
from ledger.reader import LedgerReader
from ledger.schema import ACCOUNT_PREFIX, CHAIN_SUPPLY
from ledger.snapshot import (
    MANIFEST_BYTES_MAX,
    Manifest,
    build_chunks,
    decode_chunk,
    decode_manifest,
    is_snapshot_height,
    verify_manifest,
)
from ledger.snapshot_export import iterate_state
from ledger.snapshot_import import envelope_put, finish_import, import_state, tensor_put
from ledger.transactions.contributions import Judgement
from primitives.codec import encode
from primitives.errors import InvalidInputError, InvariantViolationError, QuorateError
from primitives.hashing import ZERO_HASH
from tests.helpers.ledger import make_certificate, make_salt
from tests.helpers.snapshots import (
    EpochedChain,
    Snapshot,
    import_snapshot,
    make_chain,
    make_epoch_chain,
)


@pytest.fixture(scope="module")
def chain() -> EpochedChain:
    """A chain of three epochs with a model, contributions and a hundred accounts."""
    chain = make_chain(accounts=100)
    chain.create_model()
    chain.contribute()
    chain.run_many(6)
    chain.contribute()
    chain.run_many(3)
    return chain


def dump(values: KeyValueReader, height: int) -> dict[bytes, bytes]:
    """Return a version of the state by the reader's own means."""
    reader = LedgerReader(values)
    return dict(reader.scan(b"", height=height, limit=10_000))


class TestExport:
    @pytest.mark.parametrize("height", [0, 1, 5, 9, 12])
    def test_every_version_is_what_the_reader_reads(self, chain: EpochedChain, height: int) -> None:
        found = list(iterate_state(chain.values, height))
        assert found == sorted(found)
        assert dict(found) == dump(chain.values, height)

    def test_it_stays_the_same_while_the_chain_goes_on(self) -> None:
        chain = make_chain()
        chain.run_many(3)
        before = dump(chain.values, 3)
        pairs = iterate_state(chain.values, 3)
        taken = [next(pairs)]
        chain.run_many(3)
        assert dict([*taken, *pairs]) == before

    @settings(max_examples=60, deadline=None)
    @given(st.integers(0, 2**32), st.integers(0, 60))
    def test_many_versions_and_removals(self, seed: int, height: int) -> None:
        """Long runs of versions are jumped over, on both sides of the height."""
        source = random.Random(seed)
        values = MemoryKeyValueStore()
        expected: dict[bytes, bytes] = {}
        keys = [b"a", b"a\x00", b"a\x00\xff", b"b", b"\x00", b"c"]
        for version in range(60):
            for key in [*source.sample(keys, 3), b"hot"]:
                value = None if source.random() < 0.3 else source.randbytes(3)
                stored = b"\x00" if value is None else b"\x01" + value
                values.write([(versioned_key(key, version), stored)], (), sync=False)
                if version <= height:
                    if value is None:
                        expected.pop(key, None)
                    else:
                        expected[key] = value
        found = list(iterate_state(values, height))
        assert found == sorted(expected.items())


class TestChunks:
    def test_the_same_pairs_give_the_same_chunks_of_bounded_size(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(snapshot_module, "CHUNK_BYTES", 500)
        pairs = [(b"%05d" % number, b"v" * (number % 90)) for number in range(200)]
        chunks = list(build_chunks(pairs))
        assert chunks == list(build_chunks(iter(pairs)))
        assert len(chunks) > 10
        assert all(len(chunk) <= 510 for chunk, _ in chunks)
        last, found = None, []
        for chunk, count in chunks:
            part = decode_chunk(chunk, last)
            assert len(part) == count
            last = part[-1][0]
            found += part
        assert found == pairs

    def test_no_pairs_are_no_chunks(self) -> None:
        assert list(build_chunks([])) == []

    def test_a_value_that_fits_no_chunk_is_our_own_fault(self) -> None:
        with pytest.raises(InvariantViolationError, match="too large"):
            list(build_chunks([(b"k", bytes(snapshot_module.CHUNK_BYTES_MAX))]))

    @pytest.mark.parametrize(
        "chunk",
        [
            b"",
            encode([]),
            encode([b"k"]),
            encode([b"k", 1]),
            encode(["k", b"v"]),
            encode([b"k", [b"v"]]),
            encode([b"b", b"", b"a", b""]),
            encode([b"a", b"", b"a", b""]),
            encode(b"k"),
            encode([b"k", b"v"]) + b"\x00",
            bytes(snapshot_module.CHUNK_BYTES_MAX + 1),
        ],
    )
    def test_what_is_no_chunk_is_refused(self, chunk: bytes) -> None:
        with pytest.raises(InvalidInputError):
            decode_chunk(chunk, None)

    def test_chunks_ascend_across_their_border(self) -> None:
        chunk = encode([b"m", b""])
        assert decode_chunk(chunk, b"l")
        for after in (b"m", b"n"):
            with pytest.raises(InvalidInputError, match="ascend"):
                decode_chunk(chunk, after)


class TestManifest:
    @pytest.mark.parametrize("height", [1, 4, 5, 6, 10, 11])
    def test_it_comes_back_and_proves_itself(self, chain: EpochedChain, height: int) -> None:
        manifest = chain.take_snapshot(height).manifest
        assert decode_manifest(manifest.encode()) == manifest
        assert manifest.height == height
        assert manifest.epoch == height // 5
        verify_manifest(manifest, make_epoch_chain(chain, manifest.epoch))

    def test_heights_that_fit(self, chain: EpochedChain) -> None:
        tip = chain.store.tip().height
        fitting = [each for each in range(-1, tip + 3) if is_snapshot_height(chain.store, each)]
        assert fitting == list(range(1, tip))

    def test_a_block_that_became_final_with_its_child_does_not_fit(self) -> None:
        chain = make_chain()
        parent = chain.execute()
        chain.finalize(chain.execute((), parent))
        chain.run()
        assert not is_snapshot_height(chain.store, 1)
        assert is_snapshot_height(chain.store, 2)

    def test_the_height_that_a_joined_ledger_begins_with_does_not_fit(self) -> None:
        """Its transactions are not there, so their number could not be proved."""
        chain = make_chain()
        chain.run_many(6)
        joined = import_snapshot(chain, chain.take_snapshot(3))
        for height in (4, 5):
            replay(chain, joined, height)
        fitting = [each for each in range(7) if is_snapshot_height(joined.store, each)]
        assert fitting == [4]

    def test_epochs_must_be_known(self, chain: EpochedChain) -> None:
        manifest = chain.take_snapshot(10).manifest
        with pytest.raises(InvalidInputError) as refusal:
            verify_manifest(manifest, make_epoch_chain(chain, 1))
        assert refusal.value.code == "unknown_epoch"

    @settings(max_examples=300, deadline=None)
    @given(st.data())
    def test_no_byte_can_be_changed(self, chain: EpochedChain, data: st.DataObject) -> None:
        """What still decodes and verifies differs at most in what the chunks themselves prove."""
        manifest = chain.take_snapshot(6).manifest
        encoded = bytearray(manifest.encode())
        at = data.draw(st.integers(0, len(encoded) - 1))
        encoded[at] ^= data.draw(st.integers(1, 255))
        try:
            changed = decode_manifest(bytes(encoded))
            verify_manifest(changed, make_epoch_chain(chain, 1))
        except InvalidInputError:
            return
        assert changed.block == manifest.block
        assert changed.transaction_ids == manifest.transaction_ids

    def test_too_large_is_refused_unread(self) -> None:
        with pytest.raises(InvalidInputError) as refusal:
            decode_manifest(bytes(MANIFEST_BYTES_MAX + 1))
        assert refusal.value.code == "too_large"


def swap_block(chain: EpochedChain, manifest: Manifest, **changes: object) -> Manifest:
    return replace(manifest, block=replace(manifest.block, **changes))  # type: ignore[arg-type]


def certified_by(chain: EpochedChain, manifest: Manifest, *signers: int) -> Manifest:
    block = manifest.block
    certificate = make_certificate(chain.network, block.header, block.state_root, signers=signers)
    return swap_block(chain, manifest, certificate=certificate)


def with_state_root(chain: EpochedChain, manifest: Manifest) -> Manifest:
    return swap_block(chain, manifest, state_root=b"\x01" * 32)


def with_state_root_and_f_plus_1(chain: EpochedChain, manifest: Manifest) -> Manifest:
    return certified_by(chain, with_state_root(chain, manifest), 0, 1)


def with_receipts_root(chain: EpochedChain, manifest: Manifest) -> Manifest:
    return swap_block(chain, manifest, receipts_root=b"\x01" * 32)


def without_certificate(chain: EpochedChain, manifest: Manifest) -> Manifest:
    return swap_block(chain, manifest, certificate=None)


def with_f_plus_1_signers(chain: EpochedChain, manifest: Manifest) -> Manifest:
    return certified_by(chain, manifest, 0, 1)


def with_a_descendants_certificate(chain: EpochedChain, manifest: Manifest) -> Manifest:
    above = chain.store.stored_block(manifest.height + 1)
    return swap_block(
        chain, manifest, certificate=above.certificate, certified_height=manifest.height + 1
    )


def with_another_height(chain: EpochedChain, manifest: Manifest) -> Manifest:
    return swap_block(chain, manifest, header=replace(manifest.block.header, height=10**6))


def of_another_chain(chain: EpochedChain, manifest: Manifest) -> Manifest:
    return swap_block(chain, manifest, header=replace(manifest.block.header, chain_id=bytes(32)))


def with_another_count(chain: EpochedChain, manifest: Manifest) -> Manifest:
    return swap_block(chain, manifest, transaction_count=7)


def with_another_transaction(chain: EpochedChain, manifest: Manifest) -> Manifest:
    return replace(manifest, transaction_ids=(b"\x01" * 32,))


def with_the_proof_of_another_key(chain: EpochedChain, manifest: Manifest) -> Manifest:
    proof = chain.store.prove(CHAIN_SUPPLY, manifest.height + 1)
    return replace(manifest, receipts_proof=proof)


def with_the_proof_of_another_block(chain: EpochedChain, manifest: Manifest) -> Manifest:
    other = chain.take_snapshot(manifest.height + 1).manifest
    return replace(manifest, receipts_proof=other.receipts_proof)


def with_a_certificate_for_another_root(chain: EpochedChain, manifest: Manifest) -> Manifest:
    """A quorum certified something else than what the child's state says of the block."""
    certificate = make_certificate(chain.network, manifest.block.header, b"\x01" * 32)
    return swap_block(chain, manifest, certificate=certificate)


def certified_at_another_height(chain: EpochedChain, manifest: Manifest) -> Manifest:
    return swap_block(chain, manifest, certified_height=manifest.height + 1)


def with_a_stale_epoch(chain: EpochedChain, manifest: Manifest) -> Manifest:
    """The same validators sign, but for an epoch in which the block does not lie."""
    header = replace(manifest.block.header, epoch=0)
    certificate = make_certificate(chain.network, header, manifest.block.state_root)
    return swap_block(chain, manifest, certificate=certificate)


LIES: list[Callable[[EpochedChain, Manifest], Manifest]] = [
    with_state_root,
    with_state_root_and_f_plus_1,
    with_receipts_root,
    without_certificate,
    with_f_plus_1_signers,
    with_a_descendants_certificate,
    with_another_height,
    of_another_chain,
    with_another_count,
    with_another_transaction,
    with_the_proof_of_another_key,
    with_the_proof_of_another_block,
    with_a_certificate_for_another_root,
    certified_at_another_height,
    with_a_stale_epoch,
]


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.__name__)
def test_a_lie_in_the_manifest_is_found(
    chain: EpochedChain, lie: Callable[[EpochedChain, Manifest], Manifest]
) -> None:
    manifest = lie(chain, chain.take_snapshot(6).manifest)
    with pytest.raises(InvalidInputError):
        verify_manifest(manifest, make_epoch_chain(chain, 2))


def replay(chain: EpochedChain, joined: EpochedChain, height: int) -> ExecutedBlock:
    """Execute a block of a chain's in another ledger, and make it final there."""
    header, transactions = chain.store.block(height)
    for each in transactions:
        payload = chain.payloads.read(each.transaction_id)
        if payload is not None:
            joined.payloads.add(each.transaction_id, payload)
    return joined.finalize(joined.executor.execute(header, transactions, None))


class TestImport:
    @pytest.mark.parametrize("height", [1, 5, 6, 9])
    def test_the_chain_goes_on_with_the_same_roots(self, height: int) -> None:
        chain = make_chain()
        chain.create_model()
        chain.contribute()
        chain.run_many(8)
        joined = import_snapshot(chain, chain.take_snapshot(height))
        assert joined.store.tip() == replace_tip(chain, height)
        for above in range(height + 1, chain.store.tip().height + 1):
            block = replay(chain, joined, above)
            expected = chain.store.stored_block(above)
            assert block.state_root == expected.state_root
            assert block.receipts_root == expected.receipts_root
        assert joined.store.tip() == chain.store.tip()

    def test_payloads_and_parameters_of_models_are_there_for_later_blocks(self) -> None:
        chain = make_chain()
        chain.create_model()
        chain.contribute()
        chain.run_many(2)
        joined = import_snapshot(chain, chain.take_snapshot(3))
        refund = Judgement("shared", 0, ()).to_fields()
        late = chain.tip_header.timestamp_ms + 50_000
        replay(chain, joined, 4)
        for each in (chain, joined):
            block = each.submit(each.network.accounts[1], "refund", refund, timestamp_ms=late)
            assert block.receipts[0].code == "ok"
        assert chain.store.tip() == joined.store.tip()

    def test_a_joined_ledger_gives_the_same_snapshots_and_proofs(self) -> None:
        chain = make_chain()
        chain.create_model()
        chain.contribute()
        chain.run_many(5)
        joined = import_snapshot(chain, chain.take_snapshot(4))
        for height in range(5, chain.store.tip().height + 1):
            replay(chain, joined, height)
        mine, theirs = joined.take_snapshot(6), chain.take_snapshot(6)
        assert mine.manifest == theirs.manifest
        assert mine.chunks == theirs.chunks
        key = next(iter(iterate_state(chain.values, 4, ACCOUNT_PREFIX)))[0]
        assert joined.store.prove(key, 4).encode() != b""
        assert joined.store.prove(key, 6) == chain.store.prove(key, 6)

    def test_nothing_takes_an_unfinished_import_for_a_ledger(self, chain: EpochedChain) -> None:
        snapshot = chain.take_snapshot(6)
        target = MemoryKeyValueStore()
        import_state(snapshot.manifest, snapshot.chunks, target, MemoryKeyValueStore())
        assert target.get(b"m/tip") is None
        other = chain.take_snapshot(7).manifest
        with pytest.raises(InvariantViolationError):
            finish_import(other, (), chain.network.genesis, target)
        assert target.get(b"m/tip") is None

    def test_a_tree_node_of_every_kind_is_proved_afterwards(self, chain: EpochedChain) -> None:
        joined = import_snapshot(chain, chain.take_snapshot(11))
        for key, value in iterate_state(chain.values, 11):
            assert joined.store.prove(key, 11).value == value
        assert joined.store.prove(b"account/nobody", 11).value is None


def replace_tip(chain: EpochedChain, height: int) -> object:
    block = chain.store.stored_block(height)
    return replace(
        chain.store.tip(),
        height=height,
        block_id=block.header.block_id,
        state_root=block.state_root,
        receipts_root=block.receipts_root,
        timestamp_ms=block.header.timestamp_ms,
    )


def rewrite(snapshot: Snapshot, edit: Callable[[list[tuple[bytes, bytes]]], None]) -> Snapshot:
    """Return a snapshot of other pairs, whose manifest fits them but for the certified root."""
    pairs = [pair for chunk in snapshot.chunks for pair in decode_chunk(chunk, None)]
    edit(pairs)
    built = list(build_chunks(pairs))
    manifest = replace(
        snapshot.manifest,
        key_count=len(pairs),
        chunk_hashes=tuple(snapshot_module.hash_chunk(chunk) for chunk, _ in built),
    )
    return Snapshot(manifest, [chunk for chunk, _ in built])


class TestLyingChunks:
    @pytest.mark.parametrize(
        "edit",
        [
            lambda pairs: pairs.pop(),
            lambda pairs: pairs.append((b"zzz", b"more")),
            lambda pairs: pairs.__setitem__(3, (pairs[3][0], pairs[3][1] + b"\x00")),
            lambda pairs: pairs.clear(),
        ],
        ids=["one less", "one more", "another value", "nothing"],
    )
    def test_another_state_has_another_root(
        self, chain: EpochedChain, edit: Callable[[list[tuple[bytes, bytes]]], None]
    ) -> None:
        lie = rewrite(chain.take_snapshot(6), edit)
        target = MemoryKeyValueStore()
        with pytest.raises(InvalidInputError) as refusal:
            import_state(lie.manifest, lie.chunks, target, MemoryKeyValueStore())
        assert refusal.value.code == "bad_snapshot"
        assert target.get(b"m/imported") is None

    def test_a_wrong_count_of_keys_is_found(self, chain: EpochedChain) -> None:
        snapshot = chain.take_snapshot(6)
        lie = replace(snapshot.manifest, key_count=snapshot.manifest.key_count + 1)
        with pytest.raises(InvalidInputError, match="keys"):
            import_state(lie, snapshot.chunks, MemoryKeyValueStore(), MemoryKeyValueStore())

    def test_the_right_pairs_cut_otherwise_are_not_the_chunks_of_the_manifest(
        self, chain: EpochedChain, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        snapshot = chain.take_snapshot(6)
        monkeypatch.setattr(snapshot_module, "CHUNK_BYTES", 600)
        chunks = chain.take_snapshot(6).chunks
        with pytest.raises(InvalidInputError) as refusal:
            import_state(snapshot.manifest, chunks, MemoryKeyValueStore(), MemoryKeyValueStore())
        assert refusal.value.code == "bad_chunk"

    @pytest.mark.parametrize("damage", ["flip", "missing", "more", "order"])
    def test_damaged_chunks_are_found(
        self, chain: EpochedChain, damage: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(snapshot_module, "CHUNK_BYTES", 600)
        snapshot = chain.take_snapshot(6)
        chunks = list(snapshot.chunks)
        assert len(chunks) > 5
        if damage == "flip":
            chunks[2] = chunks[2][:-1] + bytes([chunks[2][-1] ^ 1])
        elif damage == "missing":
            chunks.pop()
        elif damage == "more":
            chunks.append(chunks[0])
        else:
            chunks[1], chunks[2] = chunks[2], chunks[1]
        with pytest.raises(InvalidInputError):
            import_state(snapshot.manifest, chunks, MemoryKeyValueStore(), MemoryKeyValueStore())


class TestContent:
    def test_a_wrong_tensor_is_refused(self) -> None:
        with pytest.raises(InvalidInputError) as refusal:
            tensor_put(ZERO_HASH, b"no such chunk")
        assert refusal.value.code == "bad_chunk"

    @pytest.mark.parametrize("lie", ["payload", "salt", "envelope", "another", "garbage"])
    def test_a_wrong_payload_is_refused(self, lie: str) -> None:
        chain = make_chain()
        chain.create_model()
        first, second = chain.contribute(), chain.contribute()
        found, other = chain.store.find_transaction(first), chain.store.find_transaction(second)
        payload = chain.payloads.read(first)
        assert found is not None and other is not None and payload is not None
        envelope = found.transaction.raw
        assert envelope_put(first, envelope, payload) == (b"s/" + first, envelope)
        if lie == "payload":
            payload = Payload(payload.salt, payload.data + b"\x00")
        elif lie == "salt":
            payload = Payload(make_salt(99), payload.data)
        elif lie == "another":
            # The envelope and the payload fit each other.
            envelope, payload = other.transaction.raw, chain.payloads.read(second) or payload
        else:
            envelope = other.transaction.raw if lie == "envelope" else b"\x00"
        with pytest.raises(QuorateError):
            envelope_put(first, envelope, payload)


def test_one_giant_model_is_all_there() -> None:
    """Many features for many classes: its parameters are many chunks, the state is small."""
    chain = make_chain()
    chain.create_model("giant", features=1 << 14, classes=40)
    chain.run_many(2)
    snapshot = chain.take_snapshot(2)
    joined = import_snapshot(chain, snapshot)
    mine, theirs = (each.store.load_model_state("giant") for each in (joined, chain))
    assert mine is not None and theirs is not None
    assert mine.keys() == theirs.keys()
    assert all((mine[name] == theirs[name]).all() for name in mine)
    assert sum(array.nbytes for array in mine.values()) > 5 * 2**20


def test_erased_payloads_stay_away() -> None:
    chain = make_chain()
    chain.create_model()
    erased, kept = chain.contribute(), chain.contribute()
    chain.run_many(2)
    chain.payloads.erase(erased)
    joined = import_snapshot(chain, chain.take_snapshot(4))
    assert joined.payloads.read(erased) is None
    assert joined.values.get(b"s/" + erased) is None
    assert joined.payloads.read(kept) == chain.payloads.read(kept)
    assert joined.values.get(b"s/" + kept) is not None
