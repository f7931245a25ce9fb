"""Reading the write-ahead log back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.errors import ContradictoryRecordsError
from consensus.records import Record, decode_record, encode_record, find_highest_epoch
from consensus.recovery import Recovered, read_history
from primitives.certificates import CERTIFICATE_BYTES_MAX, VoteKind
from primitives.codec import Encodable, encode
from primitives.errors import CorruptStateError, InvalidInputError
from tests.helpers.consensus import (
    GENESIS,
    certify,
    make_header,
    make_pre_prepare,
    make_vote,
)

FIRST = make_pre_prepare(make_header(GENESIS, 1))
PREPARED = certify(VoteKind.PREPARE, 1, FIRST.block_id)
GAP = certify(VoteKind.VIEW_CHANGE, 2)
THIRD = make_pre_prepare(make_header(FIRST.header, 3), parent_certificate=PREPARED, gap=[GAP])
PREPARE = make_vote(VoteKind.PREPARE, 3, THIRD.block_id, validator=0)
COMMIT = make_vote(VoteKind.COMMIT, 1, FIRST.block_id, b"r" * 32, validator=0)
RECORDS = [
    encode_record(COMMIT, [PREPARED], [FIRST]),
    encode_record(PREPARE, [], [THIRD]),
]


def test_a_record_is_read_as_it_was_written() -> None:
    assert decode_record(RECORDS[0]) == Record(COMMIT, (PREPARED,), (FIRST,))
    assert decode_record(encode_record(None, (), [FIRST])) == Record(None, (), (FIRST,))


@pytest.mark.parametrize(
    "value",
    [
        1,
        [1, None, []],
        [2, None, [], []],
        [1, 5, [], []],
        [1, None, 5, []],
        [1, None, [5], []],
        [1, None, [bytes(CERTIFICATE_BYTES_MAX + 1)], []],
        [1, None, [], [b""]],
    ],
)
def test_an_ill_formed_record_is_refused(value: Encodable) -> None:
    with pytest.raises(InvalidInputError):
        decode_record(encode(value))


@given(st.binary(max_size=64))
def test_a_record_that_does_not_read_back_is_corrupt_state(data: bytes) -> None:
    with pytest.raises(CorruptStateError):
        read_history(Recovered(GENESIS, None, [data]), 0, 0)


def test_history_holds_votes_blocks_and_the_certificates_they_came_with() -> None:
    history = read_history(Recovered(GENESIS, None, RECORDS), 0, 0)
    assert history.votes == (COMMIT, PREPARE)
    assert history.pre_prepares == (FIRST, THIRD)
    assert set(history.certificates) == {PREPARED, GAP}


def test_what_is_final_is_left_out() -> None:
    history = read_history(Recovered(FIRST.header, None, RECORDS), 0, 0)
    assert history.votes == (PREPARE,)
    assert history.pre_prepares == (THIRD,)
    assert history.certificates == (GAP,)


def test_a_vote_of_another_validator_in_our_log_is_found() -> None:
    with pytest.raises(ContradictoryRecordsError):
        read_history(Recovered(GENESIS, None, RECORDS), 1, 0)


@pytest.mark.parametrize(
    ("records", "own_index", "view"),
    [
        ([], 0, 1),
        (RECORDS[:1], 0, 2),
        (RECORDS, 0, 3),
        ([encode_record(make_vote(VoteKind.VIEW_CHANGE, 7, validator=0), [], [])], 0, 7),
        ([encode_record(None, [certify(VoteKind.VIEW_CHANGE, 8)], [])], 0, 9),
        ([encode_record(None, [], [replace(THIRD, view_change_certificates=())])], 3, 3),
        ([encode_record(None, [], [replace(THIRD, view_change_certificates=())])], 0, 2),
    ],
)
def test_the_view_is_no_lower_than_any_that_was_entered(
    records: list[bytes], own_index: int, view: int
) -> None:
    history = read_history(Recovered(GENESIS, None, records), own_index, 0)
    assert history.compute_view(own_index, GENESIS.view) == view


def test_highest_epoch_of_records_is_that_of_a_vote_or_a_proposal() -> None:
    vote = make_vote(VoteKind.VIEW_CHANGE, 3, validator=0)
    records = [encode_record(vote, (), ()), encode_record(None, (), (FIRST,))]
    assert find_highest_epoch([]) == 0
    assert find_highest_epoch(records) == 0
    later = replace(FIRST, header=replace(FIRST.header, epoch=4))
    records.append(encode_record(replace(vote, epoch=2), (), ()))
    assert find_highest_epoch(records) == 2
    assert find_highest_epoch([*records, encode_record(None, (), (later,))]) == 4
