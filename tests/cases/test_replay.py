"""What was signed for one chain, epoch or kind counts for no other."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consensus.events import MessageReceived
from consensus.messages import CertificateMessage, Message
from primitives.certificates import VoteKind, vote_signing_bytes
from tests.helpers.consensus import (
    CHAIN_ID,
    GENESIS,
    Bench,
    certify,
    make_header,
    make_pre_prepare,
    make_signer,
    make_vote,
)

BLOCK = make_pre_prepare(make_header(GENESIS, 1, b"one"), b"one")
COMMIT = make_vote(VoteKind.COMMIT, 1, BLOCK.block_id, b"r" * 32, validator=2)
OTHER_CHAIN = vote_signing_bytes(
    b"another chain".ljust(32), 0, VoteKind.COMMIT, 1, BLOCK.block_id, b"r" * 32
)
OTHER_EPOCH = vote_signing_bytes(CHAIN_ID, 1, VoteKind.COMMIT, 1, BLOCK.block_id, b"r" * 32)
CERTIFICATE = certify(VoteKind.PREPARE, 1, BLOCK.block_id)


@pytest.mark.parametrize(
    "message",
    [
        replace(COMMIT, signature=make_signer(2)(OTHER_CHAIN)),
        replace(COMMIT, signature=make_signer(2)(OTHER_EPOCH)),
        replace(COMMIT, epoch=1),
        replace(COMMIT, view=2),
        replace(COMMIT, validator=1),
        replace(COMMIT, state_root=b"s" * 32),
        CertificateMessage(replace(CERTIFICATE, kind=VoteKind.COMMIT, state_root=b"r" * 32)),
        CertificateMessage(replace(CERTIFICATE, view=2)),
        CertificateMessage(replace(CERTIFICATE, epoch=1)),
        CertificateMessage(replace(CERTIFICATE, signers=(0, 2, 3))),
        CertificateMessage(
            replace(CERTIFICATE, signers=(1, 1, 2), signatures=CERTIFICATE.signatures)
        ),
        CertificateMessage(
            replace(CERTIFICATE, signers=(1, 2), signatures=CERTIFICATE.signatures[:2])
        ),
    ],
)
def test_signature_counts_only_for_what_was_signed(message: Message) -> None:
    bench = Bench()
    bench.step(MessageReceived(2, message), after_ms=10)
    state = bench.core.state
    for view in (1, 2):
        record = state.log.find(view)
        assert record is None or not (record.certificates or any(record.votes.values()))
    assert state.view == 1


def test_the_same_where_it_belongs_does_count() -> None:
    bench = Bench()
    bench.step(MessageReceived(2, COMMIT))
    bench.step(MessageReceived(2, CertificateMessage(CERTIFICATE)))
    assert bench.core.state.view == 2
    assert bench.core.state.log.has_voted(VoteKind.COMMIT, 1, 2)
