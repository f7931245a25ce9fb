"""Chains with epochs, models and payloads, of which snapshots are taken in tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from incentives.terms import Terms
from ledger.executed_block import ExecutedBlock
from ledger.key_value import KeyValueStore, MemoryKeyValueStore
from ledger.model_records import ModelDescription
from ledger.parameters import Parameters
from ledger.payload import Payload
from ledger.reader import LedgerReader
from ledger.snapshot import Manifest, build_chunks, build_manifest, hash_chunk
from ledger.snapshot_export import iterate_payload_ids, iterate_state, iterate_tensor_chunks
from ledger.snapshot_import import envelope_put, finish_import, import_state, tensor_put
from ledger.transaction import Transaction
from ledger.transactions.contributions import Contribute
from ledger.transactions.models import CreateModel
from ml_runtime.encoders import ScaleEncoder
from ml_runtime.fixed_point import ONE
from ml_runtime.samples import DenseSamples, encode_batch
from ml_runtime.spec import make_spec
from primitives.epoch_chain import EpochChain
from primitives.epoch_end import EpochEnd
from tests.helpers.ledger import Chain, Network, make_header, make_network, make_salt

EPOCH_LENGTH = 5


@dataclass
class EpochedChain(Chain):
    """A chain whose blocks name their epochs, as those of a real network do."""

    def execute(
        self,
        transactions: Sequence[Transaction] = (),
        parent: ExecutedBlock | None = None,
        *,
        view: int | None = None,
        proposer: int = 0,
        timestamp_ms: int | None = None,
    ) -> ExecutedBlock:
        header = make_header(
            self.network,
            self.tip_header if parent is None else parent.header,
            transactions,
            view=view,
            proposer=proposer,
            timestamp_ms=timestamp_ms,
        )
        parameters = self.store.parameters()
        epoch = parameters.epoch_of(header.height)
        header = replace(header, epoch=epoch)
        if header.height == parameters.epoch_end(epoch):
            digest = self.executor.next_validators_hash(header.height, parent)
            header = replace(header, next_validators_hash=digest)
        for transaction in transactions:
            if transaction.payload is not None:
                self.payloads.add(transaction.transaction_id, transaction.payload)
        return self.executor.execute(header, transactions, parent)

    def run_many(self, count: int) -> None:
        """Run blocks with one transfer each."""
        sender, recipient = self.network.accounts[:2]
        for _ in range(count):
            self.run([self.transfer(sender, recipient.id, 1)])

    def create_model(self, name: str = "shared", features: int = 2, classes: int = 2) -> None:
        description = ModelDescription(
            name=name,
            description="",
            spec=make_spec("nearest_centroid", "dense", features, classes),
            class_names=tuple(str(number) for number in range(classes)),
            encoder=ScaleEncoder(),
            terms=Terms("deposit_refund_take", 10, 5_000, 10_000, 20_000),
            licence="CC0-1.0",
            guidelines="",
        )
        block = self.submit(
            self.network.accounts[0], "create_model", CreateModel(description).to_fields()
        )
        assert block.receipts[0].code == "ok"

    def contribute(self, name: str = "shared", features: int = 2) -> bytes:
        """Teach a model one sample; return the id of the transaction."""
        samples = DenseSamples(np.full((1, features), ONE, dtype=np.int64))
        data = encode_batch(samples, np.zeros(1, dtype=np.int64))
        body = Contribute(name, 10**9, 1).to_fields()
        payload = Payload(make_salt(self.store.tip().height), data)
        block = self.submit(self.network.accounts[1], "contribute", body, payload)
        assert block.receipts[0].code == "ok"
        return block.transactions[0].transaction_id

    def take_snapshot(self, height: int) -> Snapshot:
        """Return a snapshot of the state after a block, in memory."""
        built = list(build_chunks(iterate_state(self.values, height)))
        listed = [(hash_chunk(chunk), len(chunk)) for chunk, _ in built]
        manifest = build_manifest(
            LedgerReader(self.values), height, listed, sum(count for _, count in built)
        )
        return Snapshot(manifest, [chunk for chunk, _ in built])

    def list_epoch_ends(self, below: int) -> list[EpochEnd]:
        ends = [self.store.epoch_end(epoch) for epoch in range(below)]
        return [end for end in ends if end is not None]


@dataclass
class Snapshot:
    """A snapshot in memory."""

    manifest: Manifest
    chunks: list[bytes]


def make_chain(
    network: Network | None = None, epoch_length: int = EPOCH_LENGTH, accounts: int = 4
) -> EpochedChain:
    parameters = Parameters(epoch_length=epoch_length)
    return EpochedChain(network or make_network(parameters=parameters, accounts=accounts))


def make_epoch_chain(chain: EpochedChain, epoch: int) -> EpochChain:
    """Return the epochs up to one, verified from the genesis."""
    genesis = chain.network.genesis
    verified = EpochChain(genesis.chain_id, 0, genesis.to_validator_set())
    for end in chain.list_epoch_ends(epoch):
        verified.extend(end)
    return verified


def import_snapshot(chain: EpochedChain, snapshot: Snapshot) -> EpochedChain:
    """Return another node's ledger, made of a snapshot of a chain's and what that refers to."""
    target: KeyValueStore = MemoryKeyValueStore()
    manifest = snapshot.manifest
    import_state(manifest, snapshot.chunks, target, MemoryKeyValueStore())
    puts = []
    for chunk_hash in iterate_tensor_chunks(target, manifest.height):
        data = chain.values.get(b"k/" + chunk_hash)
        assert data is not None
        puts.append(tensor_put(chunk_hash, data))
    carried = {}
    for transaction_id in iterate_payload_ids(target, manifest.height):
        found = chain.store.find_transaction(transaction_id)
        payload = chain.payloads.read(transaction_id)
        assert found is not None
        if payload is not None:
            puts.append(envelope_put(transaction_id, found.transaction.raw, payload))
            carried[transaction_id] = payload
    target.write(puts, (), sync=True)
    finish_import(manifest, chain.list_epoch_ends(manifest.epoch), chain.network.genesis, target)
    joined = EpochedChain(chain.network, target)
    for transaction_id, payload in carried.items():
        joined.payloads.add(transaction_id, payload)
    return joined
