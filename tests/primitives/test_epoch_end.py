"""An epoch's end proves the next validator set, and every forgery of one is refused."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from primitives.certificates import VoteKind
from primitives.epoch_end import EpochEnd, decode_epoch_end, find_link_fault, verify_epoch_end
from primitives.errors import InvalidInputError
from primitives.hashing import ZERO_HASH
from primitives.header import BlockHeader
from tests.helpers.consensus import (
    CHAIN_ID,
    GENESIS,
    make_certificate,
    make_header,
    make_public_key,
    make_validators,
    make_vote,
    verify,
)

ROOT = bytes(31) + b"\x07"
FOLLOWING = make_validators(5)


def make_end(tails: int = 0, signers: int = 3) -> EpochEnd:
    header = replace(make_header(GENESIS, 4), next_validators_hash=FOLLOWING.hash)
    headers: list[BlockHeader] = []
    last = header
    for view in range(5, 5 + tails):
        last = make_header(last, view)
        headers.append(last)
    votes = [
        make_vote(VoteKind.COMMIT, last.view, last.block_id, ROOT, validator=index)
        for index in range(signers)
    ]
    return EpochEnd(header, tuple(headers), make_certificate(votes), FOLLOWING.public_keys)


def check(end: EpochEnd) -> None:
    verify_epoch_end(end, make_validators(), CHAIN_ID, verify)


@pytest.mark.parametrize("tails", [0, 1, 3])
def test_end_comes_back_and_proves_the_next_set(tails: int) -> None:
    end = decode_epoch_end(make_end(tails).encode())
    assert end == make_end(tails)
    assert verify_epoch_end(end, make_validators(), CHAIN_ID, verify) == FOLLOWING


def swap_key(end: EpochEnd) -> EpochEnd:
    return replace(end, next_keys=(make_public_key(9), *end.next_keys[1:]))


def drop_tail(end: EpochEnd) -> EpochEnd:
    return replace(end, tails=end.tails[1:])


def drop_last_tail(end: EpochEnd) -> EpochEnd:
    return replace(end, tails=end.tails[:-1])


def prepare_only(end: EpochEnd) -> EpochEnd:
    last = end.tails[-1]
    votes = [
        make_vote(VoteKind.PREPARE, last.view, last.block_id, validator=index) for index in range(3)
    ]
    return replace(end, certificate=make_certificate(votes))


def name_no_set(end: EpochEnd) -> EpochEnd:
    header = replace(end.header, next_validators_hash=ZERO_HASH)
    return replace(end, header=header)


def other_chain(end: EpochEnd) -> EpochEnd:
    return replace(end, header=replace(end.header, chain_id=ROOT))


@pytest.mark.parametrize(
    "forge", [swap_key, drop_tail, drop_last_tail, prepare_only, name_no_set, other_chain]
)
def test_forged_end_is_refused(forge: Callable[[EpochEnd], EpochEnd]) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        check(forge(make_end(2)))
    assert refusal.value.code == "not_an_epoch_end"


def test_too_few_signers_are_refused() -> None:
    with pytest.raises(InvalidInputError) as refusal:
        check(make_end(1, signers=2))
    assert refusal.value.code == "too_few_signers"


def test_another_set_does_not_verify_it() -> None:
    end = make_end()
    with pytest.raises(InvalidInputError) as refusal:
        verify_epoch_end(end, make_validators(7), CHAIN_ID, verify)
    assert refusal.value.code == "too_few_signers"


def test_tail_of_another_epoch_is_no_link() -> None:
    end = make_end(1)
    tail = replace(end.tails[0], epoch=1)
    assert find_link_fault(end.header, (tail,), end.certificate) is not None


def test_something_else_than_bytes_in_a_list_is_refused() -> None:
    from primitives.codec import encode

    end = make_end()
    for tails, keys in (([1], [b""]), ([], [1])):
        data = encode((end.header.encode(), tails, end.certificate.encode(), keys))
        with pytest.raises(InvalidInputError):
            decode_epoch_end(data)
