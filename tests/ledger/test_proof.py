"""State proofs: good ones pass at every height, and nothing changed in one passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import UnknownHeightError
from ledger.proof import StateProof, decode_state_proof, verify_state_proof
from ledger.schema import CHAIN_PARENT, account_key, decode_account
from primitives.certificates import VoteKind
from primitives.errors import InvalidInputError
from primitives.validator_set import ValidatorSet
from tests.helpers.ledger import (
    INITIAL_BALANCE,
    Chain,
    make_account,
    make_certificate,
    make_key,
    make_network,
)

NETWORK = make_network()
ALICE, BOB = NETWORK.accounts[:2]
VALIDATORS = NETWORK.genesis.to_validator_set()
BOB_KEY = account_key(BOB.id)
NOBODY_KEY = account_key(make_account("nobody").id)


def verify(proof: StateProof) -> None:
    verify_state_proof(proof, VALIDATORS, NETWORK.chain_id)


def grow() -> Chain:
    """Return a chain in which heights 2 and 3 became final with height 4."""
    chain = Chain(NETWORK)
    chain.run([chain.transfer(ALICE, BOB.id, 1)])
    block = None
    for nonce in (1, 2, 3):
        block = chain.execute([chain.transfer(ALICE, BOB.id, 1, nonce=nonce)], block)
    assert block is not None
    chain.finalize(block)
    return chain


CHAIN = grow()


@pytest.mark.parametrize(("height", "links"), [(0, 1), (1, 0), (2, 2), (3, 1), (4, 0)])
def test_every_height_is_proved(height: int, links: int) -> None:
    proof = CHAIN.store.prove(BOB_KEY, height)
    assert len(proof.links) == links
    assert decode_state_proof(proof.encode()) == proof
    verify(proof)
    assert proof.value is not None
    assert decode_account(proof.value).balance == INITIAL_BALANCE + height
    assert proof.header.height == height


@pytest.mark.parametrize("height", range(5))
def test_absence_is_proved(height: int) -> None:
    proof = CHAIN.store.prove(NOBODY_KEY, height)
    assert proof.value is None
    assert decode_state_proof(proof.encode()) == proof
    verify(proof)


def test_a_genesis_alone_is_not_certified() -> None:
    with pytest.raises(UnknownHeightError):
        Chain(NETWORK).store.prove(BOB_KEY, 0)


GOOD = CHAIN.store.prove(BOB_KEY, 2)
OTHER = CHAIN.store.prove(BOB_KEY, 3)


def with_kind(proof: StateProof, kind: VoteKind) -> StateProof:
    header = CHAIN.store.header(4)
    certificate = make_certificate(NETWORK, header, CHAIN.store.tip().state_root, kind=kind)
    return replace(proof, certificate=certificate)


FORGERIES: dict[str, Callable[[], StateProof]] = {
    "another value": lambda: replace(GOOD, value=OTHER.value),
    "no value": lambda: replace(GOOD, value=None),
    "a value for an absent key": lambda: replace(
        CHAIN.store.prove(NOBODY_KEY, 2), value=GOOD.value
    ),
    "another key": lambda: replace(GOOD, key=account_key(ALICE.id)),
    "another header": lambda: replace(GOOD, header=OTHER.header),
    "another path": lambda: replace(GOOD, path=OTHER.path),
    "a link left out": lambda: replace(GOOD, links=GOOD.links[1:]),
    "the last link left out": lambda: replace(GOOD, links=GOOD.links[:-1]),
    "a link twice": lambda: replace(GOOD, links=(GOOD.links[0], *GOOD.links)),
    "links swapped": lambda: replace(GOOD, links=GOOD.links[::-1]),
    "a link's value changed": lambda: replace(
        GOOD, links=(replace(GOOD.links[0], value=GOOD.links[1].value), GOOD.links[1])
    ),
    "the certificate of another block": lambda: replace(
        GOOD, certificate=CHAIN.store.prove(BOB_KEY, 1).certificate
    ),
    "a prepared certificate": lambda: with_kind(GOOD, VoteKind.PREPARE),
    "another state root": lambda: replace(
        GOOD,
        certificate=replace(GOOD.certificate, state_root=b"\x01" * 32),
    ),
    "too few signers": lambda: replace(
        GOOD,
        certificate=replace(
            GOOD.certificate,
            signers=GOOD.certificate.signers[:2],
            signatures=GOOD.certificate.signatures[:2],
        ),
    ),
}


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES.keys())
def test_a_forgery_is_refused(forgery: Callable[[], StateProof]) -> None:
    verify(GOOD)
    with pytest.raises(InvalidInputError):
        verify(forgery())


def test_another_chain_or_validator_set_is_refused() -> None:
    with pytest.raises(InvalidInputError):
        verify_state_proof(GOOD, VALIDATORS, bytes(32))
    strangers = ValidatorSet(tuple(make_key(f"stranger {n}").public_key for n in range(4)))
    with pytest.raises(InvalidInputError):
        verify_state_proof(GOOD, strangers, NETWORK.chain_id)


@given(st.binary(max_size=200))
def test_no_bytes_make_the_decoder_fail_otherwise(data: bytes) -> None:
    with pytest.raises(InvalidInputError):
        decode_state_proof(data)


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_no_flipped_byte_passes(place: int, flip: int) -> None:
    raw = bytearray(GOOD.encode())
    raw[place % len(raw)] ^= flip
    with pytest.raises(InvalidInputError):
        verify(decode_state_proof(bytes(raw)))


def test_the_parent_record_itself_is_proved() -> None:
    verify(CHAIN.store.prove(CHAIN_PARENT, 4))
