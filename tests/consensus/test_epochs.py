"""Epochs: how one ends in the core, how late peers are helped, how the next one begins."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consensus.actions import (
    Broadcast,
    BuildBlock,
    ExecuteBlock,
    FinalizeBlocks,
    Persist,
    ReportPeer,
    Send,
    ServeBlocks,
    ServeEpochEnd,
)
from consensus.events import (
    BlockBuilt,
    BlockExecuted,
    BlockValidated,
    Event,
    MessageReceived,
    Ticked,
    Verdict,
    WorkChanged,
)
from consensus.messages import (
    BlocksRequest,
    CertificateBatch,
    CertificateMessage,
    PrePrepare,
    Status,
    Vote,
)
from consensus.records import encode_record
from consensus.recovery import Recovered
from primitives.certificates import VoteKind
from primitives.errors import InvariantViolationError
from primitives.hashing import ZERO_HASH
from tests.helpers.consensus import (
    GENESIS,
    Bench,
    certify,
    make_header,
    make_pre_prepare,
    make_validators,
    make_vote,
    of_kind,
)

NEXT_SET = make_validators(5).hash
ROOT = b"r" * 32
END = make_pre_prepare(
    replace(make_header(GENESIS, 1, b"end"), next_validators_hash=NEXT_SET), b"end"
)
END_PREPARED = certify(VoteKind.PREPARE, 1, END.block_id)
TAIL = make_pre_prepare(make_header(END.header, 2), b"", END_PREPARED)


def bench_at_end(own_index: int | None = 0) -> Bench:
    """A core whose epoch ends with the first block, which is executed and prepared."""
    bench = Bench(own_index, epoch_end_height=1)
    bench.step(MessageReceived(1, END))
    bench.step(BlockValidated(END.block_id, Verdict.VALID))
    bench.step(MessageReceived(2, CertificateMessage(END_PREPARED)))
    bench.step(BlockExecuted(END.block_id, ROOT))
    return bench


def commit(pre_prepare: PrePrepare) -> CertificateMessage:
    view, block_id = pre_prepare.header.view, pre_prepare.block_id
    return CertificateMessage(certify(VoteKind.COMMIT, view, block_id, ROOT))


def test_last_block_ends_the_epoch() -> None:
    bench = bench_at_end()
    actions = bench.step(MessageReceived(2, commit(END)))
    assert [each.block_id for each in of_kind(actions, FinalizeBlocks)[0].blocks] == [END.block_id]
    assert bench.core.state.is_epoch_over
    assert bench.core.next_deadline() is None
    assert not of_kind(bench.step(Ticked(), after_ms=60_000), Broadcast)


def test_nothing_is_signed_when_the_epoch_is_over() -> None:
    bench = bench_at_end()
    bench.step(MessageReceived(2, commit(END)))
    bench.step(WorkChanged(pending=True))
    later: list[Event] = [MessageReceived(2, TAIL), Ticked(), Ticked()]
    for event in later:
        assert not of_kind(bench.step(event, after_ms=20_000), Persist)


def test_last_block_becomes_final_through_a_tail() -> None:
    bench = bench_at_end()
    actions = bench.step(MessageReceived(2, TAIL))
    actions += bench.step(BlockValidated(TAIL.block_id, Verdict.VALID))
    assert [each.block.block_id for each in of_kind(actions, ExecuteBlock)] == [TAIL.block_id]
    bench.step(BlockExecuted(TAIL.block_id, ROOT))
    actions = bench.step(MessageReceived(3, commit(TAIL)))
    final = of_kind(actions, FinalizeBlocks)[0]
    assert [each.block_id for each in final.blocks] == [END.block_id, TAIL.block_id]
    assert bench.core.state.is_epoch_over


def test_late_peer_of_the_same_epoch_is_still_answered() -> None:
    bench = bench_at_end()
    bench.step(MessageReceived(2, commit(END)))
    actions = bench.step(MessageReceived(3, Status(0, 2, 0, 2)), after_ms=1_000)
    assert of_kind(actions, Send)[0].message == CertificateBatch((commit(END).certificate,))
    actions = bench.step(MessageReceived(3, BlocksRequest(1, 8)))
    assert actions == [ServeBlocks(3, 1, 8)]


def test_height_that_is_told_is_one_of_the_chain() -> None:
    bench = bench_at_end()
    bench.step(MessageReceived(2, TAIL))
    bench.step(BlockValidated(TAIL.block_id, Verdict.VALID))
    bench.step(BlockExecuted(TAIL.block_id, ROOT))
    bench.step(MessageReceived(3, commit(TAIL)))
    actions = bench.step(MessageReceived(3, Status(0, 9, 1, 9)), after_ms=1_000)
    statuses = [each.message for each in of_kind(actions, Send)]
    assert [each.final_height for each in statuses if isinstance(each, Status)] == [1]


@pytest.mark.parametrize(
    "header",
    [
        replace(END.header, next_validators_hash=ZERO_HASH),
        replace(TAIL.header, next_validators_hash=NEXT_SET),
    ],
)
def test_set_named_in_the_wrong_block_is_refused(header: object) -> None:
    bench = Bench(epoch_end_height=1)
    wrong = make_pre_prepare(header, b"")  # type: ignore[arg-type]
    peer = wrong.header.proposer
    actions = bench.step(MessageReceived(peer, wrong))
    assert of_kind(actions, ReportPeer) == [ReportPeer(peer, "unacceptable_proposal")]


def test_tail_with_transactions_is_refused() -> None:
    bench = bench_at_end()
    full = make_pre_prepare(make_header(END.header, 2, b"more"), b"more", END_PREPARED)
    actions = bench.step(MessageReceived(2, full))
    assert of_kind(actions, ReportPeer) == [ReportPeer(2, "unacceptable_proposal")]


def test_leader_above_the_last_block_builds_an_empty_one() -> None:
    bench = bench_at_end(own_index=2)
    bench.step(WorkChanged(pending=True))
    actions = bench.step(Ticked(), after_ms=5_000)
    built = of_kind(actions, BuildBlock)
    assert [(each.view, each.must_be_empty) for each in built] == [(2, True)]


def build(bench: Bench, next_validators_hash: bytes) -> list[PrePrepare]:
    request = of_kind(bench.step(WorkChanged(pending=True)), BuildBlock)[0]
    actions = bench.step(
        BlockBuilt(
            request.view,
            request.parent.block_id,
            b"body",
            b"b" * 32,
            request.parent.timestamp_ms + 1,
            next_validators_hash,
        )
    )
    sent = [each.message for each in of_kind(actions, Broadcast)]
    return [each for each in sent if isinstance(each, PrePrepare)]


def test_leader_names_the_next_set_in_the_last_block() -> None:
    proposals = build(Bench(own_index=1, epoch_end_height=1), NEXT_SET)
    assert [each.header.next_validators_hash for each in proposals] == [NEXT_SET]


@pytest.mark.parametrize(("end", "named"), [(1, ZERO_HASH), (2, NEXT_SET)])
def test_driver_that_names_the_set_in_the_wrong_block_is_stopped(end: int, named: bytes) -> None:
    with pytest.raises(InvariantViolationError):
        build(Bench(own_index=1, epoch_end_height=end), named)


def of_epoch(vote: Vote, epoch: int) -> Vote:
    return replace(vote, epoch=epoch)


VOTE = make_vote(VoteKind.VIEW_CHANGE, 2, validator=3)


def bench_in_second_epoch(**changes: int) -> Bench:
    settings = {"epoch": 1, "epoch_end_height": 9, **changes}
    recovered = Recovered(END.header, commit(END).certificate)
    return Bench(recovered=recovered, **settings)


@pytest.mark.parametrize(
    "message",
    [
        VOTE,
        commit(TAIL),
        CertificateBatch((commit(TAIL).certificate,)),
        TAIL,
        Status(0, 5, 0, 5),
    ],
)
def test_peer_in_an_earlier_epoch_is_sent_the_end_of_it(message: object) -> None:
    bench = bench_in_second_epoch()
    received = MessageReceived(3, message)  # type: ignore[arg-type]
    assert bench.step(received, after_ms=10) == [ServeEpochEnd(3, 0)]
    assert bench.step(received) == [], "and not again at once"


def test_peer_in_a_later_epoch_is_told_how_far_we_are() -> None:
    bench = Bench(epoch_end_height=9)
    actions = bench.step(MessageReceived(3, of_epoch(VOTE, 1)), after_ms=10)
    assert actions == [Send(3, Status(0, 1, 0, 1))]


def test_empty_batch_is_of_no_epoch() -> None:
    assert bench_in_second_epoch().step(MessageReceived(3, CertificateBatch(()))) == []


def test_next_epoch_begins_above_the_view_of_the_last_block() -> None:
    bench = bench_in_second_epoch()
    assert bench.core.state.view == END.header.view + 1
    assert bench.core.state.final_certificate is None


def test_records_of_the_epoch_before_are_history() -> None:
    records = [
        action.record
        for action in (
            *bench_at_end().step(Ticked(), after_ms=60_000),
            *bench_at_end().step(MessageReceived(2, TAIL)),
        )
        if isinstance(action, Persist)
    ]
    records.append(encode_record(None, (END_PREPARED,), (END,)))
    assert len(records) > 1
    recovered = Recovered(END.header, commit(END).certificate, records)
    bench = Bench(recovered=recovered, epoch=1, epoch_end_height=9, own_index=3)
    assert bench.core.state.view == END.header.view + 1


def test_certificate_of_another_epoch_inside_a_proposal_is_a_fault() -> None:
    bench = bench_in_second_epoch()
    header = replace(make_header(END.header, 2), epoch=1)
    stale = make_pre_prepare(header, b"", certify(VoteKind.COMMIT, 1, END.block_id, ROOT))
    actions = bench.step(MessageReceived(2, stale))
    assert ReportPeer(2, "wrong_epoch") in actions
