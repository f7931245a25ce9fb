"""A chain of epoch ends leads to the validators of the present, and no forged one does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from primitives.certificates import Certificate, VoteKind, vote_signing_bytes
from primitives.epoch_chain import EpochChain
from primitives.epoch_end import EpochEnd
from primitives.errors import InvalidInputError
from primitives.header import BlockHeader
from tests.helpers.consensus import (
    CHAIN_ID,
    GENESIS,
    make_header,
    make_signer,
    make_validators,
    verify,
)

ROOT = bytes(31) + b"\x07"
SETS = [make_validators(count) for count in (4, 7, 10, 10)]
EPOCHS = len(SETS) - 1


def certify(header: BlockHeader, epoch: int, signers: int) -> Certificate:
    subject = (CHAIN_ID, epoch, VoteKind.COMMIT, header.view, header.block_id, ROOT)
    message = vote_signing_bytes(*subject)
    return Certificate(
        VoteKind.COMMIT,
        epoch,
        header.view,
        header.block_id,
        ROOT,
        tuple(range(signers)),
        tuple(make_signer(index)(message) for index in range(signers)),
    )


def make_end(parent: BlockHeader, epoch: int, signers: int | None = None) -> EpochEnd:
    header = replace(
        make_header(parent, parent.view + 4),
        epoch=epoch,
        next_validators_hash=SETS[epoch + 1].hash,
    )
    count = SETS[epoch].quorum if signers is None else signers
    return EpochEnd(header, (), certify(header, epoch, count), SETS[epoch + 1].public_keys)


def make_ends() -> list[EpochEnd]:
    ends: list[EpochEnd] = []
    parent = GENESIS
    for epoch in range(EPOCHS):
        ends.append(make_end(parent, epoch))
        parent = ends[-1].header
    return ends


def begin() -> EpochChain:
    return EpochChain(CHAIN_ID, 0, SETS[0], verify)


def test_every_set_follows_from_the_first() -> None:
    chain, ends = begin(), make_ends()
    for end in ends:
        chain.extend(end)
    assert chain.epoch == EPOCHS
    assert [chain.validator_set(epoch) for epoch in range(EPOCHS + 1)] == SETS
    assert chain.ends == tuple(ends)
    assert [chain.end(epoch) for epoch in (-1, 0, EPOCHS)] == [None, ends[0], None]


def test_it_can_begin_at_a_later_trusted_epoch() -> None:
    chain = EpochChain(CHAIN_ID, 1, SETS[1], verify)
    chain.extend(make_ends()[1])
    assert (chain.epoch, chain.validator_set(2)) == (2, SETS[2])
    assert chain.end(0) is None
    assert chain.end(1) == make_ends()[1]


@pytest.mark.parametrize("epoch", [-1, 0, 3])
def test_unknown_epochs_are_refused(epoch: int) -> None:
    chain = EpochChain(CHAIN_ID, 1, SETS[1], verify)
    chain.extend(make_ends()[1])
    with pytest.raises(InvalidInputError) as refusal:
        chain.validator_set(epoch)
    assert refusal.value.code == "unknown_epoch"


def with_f_plus_1(ends: list[EpochEnd]) -> EpochEnd:
    return replace(ends[1], certificate=certify(ends[1].header, 1, SETS[1].faults_max + 1))


def with_the_keys_of_the_liar(ends: list[EpochEnd]) -> EpochEnd:
    return replace(ends[1], next_keys=make_validators(13).public_keys)


def with_a_header_of_the_liar(ends: list[EpochEnd]) -> EpochEnd:
    keys = make_validators(13)
    header = replace(ends[1].header, next_validators_hash=keys.hash)
    return replace(ends[1], header=header, next_keys=keys.public_keys)


def signed_by_the_epoch_before(ends: list[EpochEnd]) -> EpochEnd:
    """The validators of epoch 0 go on deciding, as if their time were not over."""
    return replace(ends[1], certificate=certify(ends[1].header, 1, SETS[0].quorum))


def with_a_certificate_of_the_epoch_before(ends: list[EpochEnd]) -> EpochEnd:
    return replace(ends[1], certificate=certify(ends[1].header, 0, SETS[1].quorum))


def of_the_epoch_before(ends: list[EpochEnd]) -> EpochEnd:
    return ends[0]


def of_the_epoch_after(ends: list[EpochEnd]) -> EpochEnd:
    return ends[2]


def at_a_height_of_the_past(ends: list[EpochEnd]) -> EpochEnd:
    header = replace(ends[1].header, height=ends[0].header.height)
    return replace(ends[1], header=header, certificate=certify(header, 1, SETS[1].quorum))


def of_another_chain(ends: list[EpochEnd]) -> EpochEnd:
    header = replace(ends[1].header, chain_id=bytes(32))
    return replace(ends[1], header=header, certificate=certify(header, 1, SETS[1].quorum))


LIES: list[Callable[[list[EpochEnd]], EpochEnd]] = [
    with_f_plus_1,
    with_the_keys_of_the_liar,
    with_a_header_of_the_liar,
    signed_by_the_epoch_before,
    with_a_certificate_of_the_epoch_before,
    of_the_epoch_before,
    of_the_epoch_after,
    at_a_height_of_the_past,
    of_another_chain,
]


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.__name__)
def test_a_forged_end_is_refused_and_changes_nothing(
    lie: Callable[[list[EpochEnd]], EpochEnd],
) -> None:
    chain, ends = begin(), make_ends()
    chain.extend(ends[0])
    with pytest.raises(InvalidInputError):
        chain.extend(lie(ends))
    assert chain.epoch == 1
    chain.extend(ends[1])
    assert chain.validator_set(2) == SETS[2]
