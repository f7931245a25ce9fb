"""How an epoch ended is stored, and proves states that only a tail certified."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ledger.errors import PrunedHeightError
from ledger.executed_block import ExecutedBlock
from ledger.parameters import Parameters
from ledger.proof import StateProof, decode_state_proof, verify_state_proof
from ledger.schema import CHAIN_SUPPLY
from ledger.snapshot_keys import BASE_KEY
from primitives.epoch_end import verify_epoch_end
from primitives.errors import InvalidInputError, InvariantViolationError
from primitives.hashing import ZERO_HASH
from primitives.header import BlockHeader
from tests.helpers.ledger import Chain, make_certificate, make_header, make_network

LENGTH = 4
NETWORK = make_network(parameters=Parameters(epoch_length=LENGTH, unfinal_blocks_max=2))
VALIDATORS = NETWORK.genesis.to_validator_set()


def run_to_end(tails: int) -> tuple[Chain, ExecutedBlock, tuple[BlockHeader, ...]]:
    """Run an epoch whose last two blocks become final with the last of some tails."""
    chain = Chain(NETWORK)
    for _ in range(LENGTH - 2):
        chain.run()
    before = chain.execute()
    header = make_header(NETWORK, before.header)
    named = chain.executor.next_validators_hash(LENGTH, before)
    end = chain.executor.execute(replace(header, next_validators_hash=named), [], before)
    headers: list[BlockHeader] = []
    last = end.header
    for _ in range(tails):
        last = make_header(NETWORK, last)
        headers.append(last)
    certificate = make_certificate(NETWORK, last, end.state_root)
    for block in (before, end):
        batch = chain.store.commit_batch(block, certificate, LENGTH, tuple(headers))
        chain.values.write(batch.puts, batch.deletes, sync=True)
        chain.store.advance(block)
    return chain, end, tuple(headers)


@pytest.mark.parametrize("tails", [0, 1, 3])
def test_end_is_stored_and_yields_the_next_validators(tails: int) -> None:
    chain, end, headers = run_to_end(tails)
    stored = chain.store.epoch_end(0)
    assert stored is not None
    assert (stored.header, stored.tails) == (end.header, headers)
    assert verify_epoch_end(stored, VALIDATORS, NETWORK.chain_id) == VALIDATORS
    assert chain.store.epoch_end(1) is None


@pytest.mark.parametrize("tails", [0, 1, 3])
@pytest.mark.parametrize("height", [LENGTH, LENGTH - 1])
def test_state_that_a_tail_certifies_is_proved(tails: int, height: int) -> None:
    chain, _, _ = run_to_end(tails)
    proof = decode_state_proof(chain.store.prove(CHAIN_SUPPLY, height).encode())
    assert len(proof.tails) == (tails + 1 if tails else 0)
    verify_state_proof(proof, VALIDATORS, NETWORK.chain_id)


def refused(proof: StateProof) -> bool:
    try:
        verify_state_proof(proof, VALIDATORS, NETWORK.chain_id)
    except InvalidInputError as error:
        return error.code == "bad_proof"
    return False


def test_forged_tails_prove_nothing() -> None:
    chain, end, _ = run_to_end(2)
    proof = chain.store.prove(CHAIN_SUPPLY, LENGTH)
    ordinary = replace(end.header, next_validators_hash=ZERO_HASH)
    assert refused(replace(proof, tails=(ordinary, *proof.tails[1:])))
    assert refused(replace(proof, tails=proof.tails[1:]))
    assert refused(replace(proof, tails=(proof.tails[0], proof.tails[2])))
    assert refused(replace(proof, tails=proof.tails[:-1]))
    assert refused(replace(proof, tails=()))


def test_ordinary_child_is_no_tail() -> None:
    chain = Chain(NETWORK)
    chain.run()
    child = chain.run()
    proof = chain.store.prove(CHAIN_SUPPLY, 2)
    parent = chain.store.header(1)
    assert refused(replace(proof, tails=(parent, child.header), header=parent))


def test_certificate_that_does_not_link_is_our_own_bug() -> None:
    chain = Chain(NETWORK)
    block = chain.execute()
    stranger = make_header(NETWORK, make_header(NETWORK, block.header))
    certificate = make_certificate(NETWORK, stranger, block.state_root)
    with pytest.raises(InvariantViolationError):
        chain.store.commit_batch(block, certificate, 1, (stranger,))


def test_last_block_that_names_nobody_new_is_our_own_bug() -> None:
    chain = Chain(NETWORK)
    header = replace(make_header(NETWORK, chain.tip_header), next_validators_hash=b"n" * 32)
    block = chain.executor.execute(header, [])
    certificate = make_certificate(NETWORK, header, block.state_root)
    with pytest.raises(InvariantViolationError):
        chain.store.commit_batch(block, certificate)


def test_what_lies_before_a_snapshot_is_gone() -> None:
    chain = Chain(NETWORK)
    for _ in range(3):
        chain.run()
    chain.values.write([(BASE_KEY, (2).to_bytes(8, "big"))], [], sync=True)
    for ask in (
        lambda: chain.store.get(CHAIN_SUPPLY, 1),
        lambda: chain.store.block(2),
        lambda: chain.store.receipts(2),
        lambda: chain.store.receipts(1),
    ):
        with pytest.raises(PrunedHeightError):
            ask()
    assert chain.store.get(CHAIN_SUPPLY, 2) is not None
    assert chain.store.block(3)[0].height == 3


def test_cached_values_can_be_forgotten() -> None:
    chain = Chain(NETWORK)
    chain.run()
    tip = chain.store.tip()
    chain.store.forget_cached()
    assert chain.store.tip() == tip
    assert chain.run().height == 2
