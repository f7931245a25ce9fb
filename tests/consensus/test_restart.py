"""After a restart: the same bytes, nothing that contradicts them, and on from there."""

from __future__ import annotations

import pytest

from consensus.actions import (
    Action,
    Broadcast,
    BuildBlock,
    ExecuteBlock,
    Persist,
    RaiseAlarm,
    ValidateBlock,
)
from consensus.errors import ContradictoryRecordsError
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
from consensus.messages import CertificateMessage, Message, PrePrepare, Status, Vote
from consensus.records import encode_record
from consensus.recovery import Recovered
from primitives.certificates import VoteKind
from tests.helpers.consensus import (
    EMPTY_BODY_ROOT,
    GENESIS,
    Bench,
    body_root,
    certify,
    make_header,
    make_pre_prepare,
    make_vote,
    of_kind,
)
from tests.helpers.consensus_network import Network

ROOT = b"r" * 32
FIRST = make_pre_prepare(make_header(GENESIS, 1, b"one"), b"one")
RIVAL = make_pre_prepare(make_header(GENESIS, 1, b"rival"), b"rival")
PREPARED = certify(VoteKind.PREPARE, 1, FIRST.block_id)


class Log:
    """Collects what a core persisted."""

    def __init__(self, own_index: int | None = 0) -> None:
        self.own_index = own_index
        self.records: list[bytes] = []
        self.bench = Bench(own_index=own_index)

    def step(self, event: Event, after_ms: int = 0) -> list[Action]:
        actions = self.bench.step(event, after_ms)
        self.records += [each.record for each in of_kind(actions, Persist)]
        return actions

    def restart(self) -> Bench:
        return Bench(self.own_index, recovered=Recovered(GENESIS, None, self.records))


def said(actions: list[Action]) -> list[Message]:
    return [each.message for each in of_kind(actions, Broadcast)]


def votes(actions: list[Action]) -> list[Vote]:
    return [message for message in said(actions) if isinstance(message, Vote)]


def test_a_prepare_is_said_again_and_its_block_executed_again() -> None:
    log = Log()
    log.step(MessageReceived(1, FIRST))
    log.step(BlockValidated(FIRST.block_id, Verdict.VALID))
    bench = log.restart()
    assert bench.started == [
        Broadcast(make_vote(VoteKind.PREPARE, 1, FIRST.block_id, validator=0)),
        Broadcast(Status(0, 1, 0, 1)),
        ExecuteBlock(FIRST.block),
    ]


def test_after_a_restart_another_block_of_the_view_is_not_prepared() -> None:
    log = Log()
    log.step(MessageReceived(1, FIRST))
    log.step(BlockValidated(FIRST.block_id, Verdict.VALID))
    bench = log.restart()
    bench.step(MessageReceived(1, RIVAL))
    assert votes(bench.step(BlockValidated(RIVAL.block_id, Verdict.VALID))) == []
    assert bench.core.state.safety.get_vote(VoteKind.PREPARE, 1) == make_vote(
        VoteKind.PREPARE, 1, FIRST.block_id, validator=0
    )


def test_after_a_restart_a_prepared_block_is_committed() -> None:
    log = Log()
    log.step(MessageReceived(1, FIRST))
    log.step(BlockValidated(FIRST.block_id, Verdict.VALID))
    bench = log.restart()
    bench.step(MessageReceived(2, CertificateMessage(PREPARED)))
    assert votes(bench.step(BlockExecuted(FIRST.block_id, ROOT))) == [
        make_vote(VoteKind.COMMIT, 1, FIRST.block_id, ROOT, validator=0)
    ]


def test_a_commit_is_said_again_and_its_view_never_given_up() -> None:
    log = Log()
    log.step(MessageReceived(1, FIRST))
    log.step(BlockValidated(FIRST.block_id, Verdict.VALID))
    log.step(MessageReceived(2, CertificateMessage(PREPARED)))
    log.step(BlockExecuted(FIRST.block_id, ROOT))
    bench = log.restart()
    commit = make_vote(VoteKind.COMMIT, 1, FIRST.block_id, ROOT, validator=0)
    assert said(bench.started)[:2] == [CertificateMessage(PREPARED), commit]
    assert bench.core.state.view == 2
    assert bench.core.state.safety.sign_view_change(1, ()) is None


def test_a_view_change_is_said_again_and_its_view_never_committed() -> None:
    log = Log()
    log.step(WorkChanged(True))
    log.step(Ticked(), after_ms=1_000)
    bench = log.restart()
    assert votes(bench.started) == [make_vote(VoteKind.VIEW_CHANGE, 1, validator=0)]
    bench.step(MessageReceived(1, FIRST))
    bench.step(MessageReceived(2, CertificateMessage(PREPARED)))
    bench.step(BlockValidated(FIRST.block_id, Verdict.VALID))
    assert votes(bench.step(BlockExecuted(FIRST.block_id, ROOT))) == []


def test_a_leader_says_the_same_proposal_again_and_makes_no_other() -> None:
    log = Log(own_index=1)
    log.step(WorkChanged(True))
    wall = log.bench.wall_ms
    actions = log.step(BlockBuilt(1, GENESIS.block_id, b"one", body_root(b"one"), wall))
    proposal = said(actions)[0]
    bench = log.restart()
    assert said(bench.started)[0] == proposal
    assert of_kind(bench.step(WorkChanged(True)), BuildBlock) == []


def test_a_leader_that_crashed_before_its_prepare_prepares_its_proposal() -> None:
    log = Log(own_index=1)
    log.step(WorkChanged(True))
    wall = log.bench.wall_ms
    log.step(BlockBuilt(1, GENESIS.block_id, b"one", body_root(b"one"), wall))
    log.records = log.records[:1]
    bench = log.restart()
    proposal = said(bench.started)[0]
    assert isinstance(proposal, PrePrepare)
    assert votes(bench.started) == [make_vote(VoteKind.PREPARE, 1, proposal.block_id, validator=1)]


def test_an_own_proposal_is_recorded_with_the_ancestors_that_no_record_holds() -> None:
    log = Log(own_index=2)
    certificate = certify(VoteKind.PREPARE, 1, FIRST.block_id, signers=(0, 1, 3))
    log.step(MessageReceived(1, CertificateMessage(certificate)))
    log.step(MessageReceived(1, FIRST))
    log.step(BlockValidated(FIRST.block_id, Verdict.VALID))
    log.step(WorkChanged(True))
    log.step(BlockBuilt(2, FIRST.block_id, b"two", body_root(b"two"), log.bench.wall_ms))
    log.records = log.records[:1]
    bench = log.restart()
    executed = [each.block.header.height for each in of_kind(bench.started, ExecuteBlock)]
    assert executed == [1, 2]
    assert [vote.view for vote in votes(bench.started)] == [2]


def test_an_own_proposal_without_its_parent_waits_for_it() -> None:
    child = make_pre_prepare(make_header(FIRST.header, 2, b"two"), b"two", PREPARED)
    records = [encode_record(None, (), [child])]
    bench = Bench(own_index=2, recovered=Recovered(GENESIS, None, records))
    assert votes(bench.started) == []
    bench.step(MessageReceived(1, FIRST))
    actions = bench.step(BlockValidated(FIRST.block_id, Verdict.VALID))
    assert [vote.view for vote in votes(actions)] == [2]


def test_fetched_blocks_under_a_commit_survive_a_restart() -> None:
    log = Log()
    second = make_pre_prepare(make_header(FIRST.header, 2, b""), b"", PREPARED)
    prepared = certify(VoteKind.PREPARE, 2, second.block_id)
    log.step(MessageReceived(2, CertificateMessage(PREPARED)))
    log.step(MessageReceived(2, CertificateMessage(prepared)))
    log.step(MessageReceived(3, FIRST))
    log.step(MessageReceived(3, second))
    for proposal in (FIRST, second):
        log.step(BlockValidated(proposal.block_id, Verdict.VALID))
    for proposal in (FIRST, second):
        log.step(BlockExecuted(proposal.block_id, ROOT))
    bench = log.restart()
    executed = [each.block for each in of_kind(bench.started, ExecuteBlock)]
    assert executed == [FIRST.block, second.block]
    assert not of_kind(bench.started, ValidateBlock)


def test_an_observer_restarts_without_a_word() -> None:
    bench = Bench(own_index=None, recovered=Recovered(GENESIS, None, ()))
    assert bench.started == [Broadcast(Status(0, 1, 0, 1))]


def test_the_final_certificate_is_known_again() -> None:
    final = certify(VoteKind.COMMIT, 1, FIRST.block_id, ROOT)
    bench = Bench(own_index=2, recovered=Recovered(FIRST.header, final))
    assert bench.core.state.view == 2
    building = of_kind(bench.step(WorkChanged(True)), BuildBlock)
    assert building == [BuildBlock(2, FIRST.header, must_be_empty=False)]
    built = BlockBuilt(2, FIRST.block_id, b"b", body_root(b"b"), bench.wall_ms)
    proposal = said(bench.step(built))[0]
    assert isinstance(proposal, PrePrepare)
    assert proposal.parent_certificate == final


def test_contradicting_records_stop_the_start() -> None:
    records = [
        encode_record(make_vote(VoteKind.PREPARE, 1, block_id, validator=0), (), ())
        for block_id in (FIRST.block_id, RIVAL.block_id)
    ]
    with pytest.raises(ContradictoryRecordsError):
        Bench(recovered=Recovered(GENESIS, None, records))


def test_an_alarm_out_of_the_records_is_raised_at_the_start() -> None:
    final = certify(VoteKind.COMMIT, 1, FIRST.block_id, ROOT)
    rival = certify(VoteKind.PREPARE, 1, RIVAL.block_id)
    records = [encode_record(None, [PREPARED, certify(VoteKind.PREPARE, 2, FIRST.block_id)], ())]
    second = certify(VoteKind.COMMIT, 2, RIVAL.block_id, ROOT)
    records.append(encode_record(None, [rival, second], ()))
    bench = Bench(recovered=Recovered(FIRST.header, final, records))
    assert [alarm.code for alarm in of_kind(bench.started, RaiseAlarm)] == [
        "contradicting_certificates"
    ]


def test_all_validators_killed_at_once_go_on_without_loss_or_double_vote() -> None:
    network = Network(seed=5).start()
    network.submit(*range(60))
    for _ in range(12):
        network.run(37)
        for node in network.nodes:
            node.crash()
        for node in network.nodes:
            node.start()
            node.schedule_tick()
    network.submit(1_000)
    everything = network.transactions

    def is_done() -> bool:
        return all(node.transactions_in(node.disk.blocks) >= everything for node in network.nodes)

    assert network.run_until(is_done, 20_000)


def test_an_empty_body_has_the_empty_root() -> None:
    assert body_root(b"") == EMPTY_BODY_ROOT
