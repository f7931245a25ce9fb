"""Planted lies: what is found, who is named, and that nothing ever raises."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from consensus.actions import Action, RaiseAlarm, ReportEvidence
from consensus.events import (
    BlockExecuted,
    BlockValidated,
    MessageReceived,
    Ticked,
    Verdict,
)
from consensus.evidence import EvidenceKind
from consensus.messages import (
    Block,
    BlockRequest,
    BlockResponse,
    BlocksRequest,
    BlocksResponse,
    CertificateBatch,
    CertificateMessage,
    Message,
    PrePrepare,
    Status,
    Vote,
)
from consensus.parameters import VIEW_WINDOW
from primitives.certificates import Certificate, VoteKind
from tests.helpers.consensus import (
    GENESIS,
    Bench,
    certify,
    make_header,
    make_pre_prepare,
    make_vote,
    of_kind,
)
from tests.helpers.consensus_network import Network, Node, encode_transactions

ROOT, OTHER_ROOT = b"r" * 32, b"s" * 32
FIRST = make_pre_prepare(make_header(GENESIS, 1, b"one"), b"one")
RIVAL = make_pre_prepare(make_header(GENESIS, 1, b"rival"), b"rival")


def evidence_of(actions: list[Action]) -> list[tuple[EvidenceKind, int]]:
    reports = of_kind(actions, ReportEvidence)
    return [(each.evidence.kind, each.evidence.validator) for each in reports]


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [
        (
            make_vote(VoteKind.PREPARE, 1, FIRST.block_id, validator=3),
            make_vote(VoteKind.PREPARE, 1, RIVAL.block_id, validator=3),
            EvidenceKind.DOUBLE_PREPARE,
        ),
        (
            make_vote(VoteKind.COMMIT, 1, FIRST.block_id, ROOT, validator=3),
            make_vote(VoteKind.COMMIT, 1, FIRST.block_id, OTHER_ROOT, validator=3),
            EvidenceKind.DOUBLE_COMMIT,
        ),
        (
            make_vote(VoteKind.COMMIT, 1, FIRST.block_id, ROOT, validator=3),
            make_vote(VoteKind.VIEW_CHANGE, 1, validator=3),
            EvidenceKind.COMMIT_AND_VIEW_CHANGE,
        ),
    ],
)
def test_contradicting_votes_are_evidence_in_either_order(
    first: Vote, second: Vote, kind: EvidenceKind
) -> None:
    for pair in ((first, second), (second, first)):
        bench = Bench()
        assert evidence_of(bench.step(MessageReceived(3, pair[0]))) == []
        assert evidence_of(bench.step(MessageReceived(3, pair[1]))) == [(kind, 3)]
        assert evidence_of(bench.step(MessageReceived(3, pair[1]))) == []


def test_a_vote_under_anothers_name_convicts_no_one() -> None:
    bench = Bench()
    bench.step(MessageReceived(2, make_vote(VoteKind.PREPARE, 1, FIRST.block_id, validator=2)))
    forged = replace(make_vote(VoteKind.PREPARE, 1, RIVAL.block_id, validator=3), validator=2)
    assert evidence_of(bench.step(MessageReceived(3, forged))) == []


def test_votes_are_taken_from_whoever_brings_them() -> None:
    bench = Bench()
    bench.step(MessageReceived(3, make_vote(VoteKind.PREPARE, 1, FIRST.block_id, validator=2)))
    assert bench.core.state.log.count_votes(VoteKind.PREPARE, 1) == 1


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (certify(VoteKind.COMMIT, 1, FIRST.block_id, ROOT), certify(VoteKind.VIEW_CHANGE, 1)),
        (
            certify(VoteKind.PREPARE, 1, FIRST.block_id),
            certify(VoteKind.PREPARE, 1, RIVAL.block_id, signers=(1, 2, 3)),
        ),
    ],
)
def test_contradicting_certificates_stop_the_node_and_name_more_than_f_culprits(
    first: Certificate, second: Certificate
) -> None:
    bench = Bench()
    bench.step(MessageReceived(2, CertificateMessage(first)))
    actions = bench.step(MessageReceived(2, CertificateMessage(second)))
    assert [alarm.code for alarm in of_kind(actions, RaiseAlarm)] == ["contradicting_certificates"]
    culprits = {validator for _, validator in evidence_of(actions)}
    assert culprits == set(first.signers) & set(second.signers)
    assert len(culprits) >= 2
    assert not bench.core.state.safety.is_on
    assert not bench.step(MessageReceived(2, CertificateMessage(first)))


def run_to_execution(bench: Bench, root: bytes) -> list[Action]:
    bench.step(MessageReceived(1, FIRST))
    bench.step(BlockValidated(FIRST.block_id, Verdict.VALID))
    bench.step(MessageReceived(2, CertificateMessage(certify(VoteKind.PREPARE, 1, FIRST.block_id))))
    return bench.step(BlockExecuted(FIRST.block_id, root))


def test_a_node_with_another_root_than_the_quorum_raises_an_alarm_and_finalizes_nothing() -> None:
    bench = Bench()
    run_to_execution(bench, OTHER_ROOT)
    final = certify(VoteKind.COMMIT, 1, FIRST.block_id, ROOT, signers=(1, 2, 3))
    actions = bench.step(MessageReceived(2, CertificateMessage(final)))
    assert "diverged" in [alarm.code for alarm in of_kind(actions, RaiseAlarm)]
    assert bench.core.state.tree.final == GENESIS
    assert not bench.core.state.safety.is_on
    assert not of_kind(bench.step(Ticked(), after_ms=60_000), RaiseAlarm)


def test_roots_of_more_than_f_others_that_differ_raise_an_alarm_once() -> None:
    bench = Bench()
    run_to_execution(bench, OTHER_ROOT)
    alarms = []
    for validator in (1, 2):
        vote = make_vote(VoteKind.COMMIT, 1, FIRST.block_id, ROOT, validator=validator)
        alarms.append(len(of_kind(bench.step(MessageReceived(validator, vote)), RaiseAlarm)))
    assert alarms == [0, 1]


def test_roots_that_came_before_ours_are_compared_too() -> None:
    bench = Bench()
    for validator in (1, 2):
        vote = make_vote(VoteKind.COMMIT, 1, FIRST.block_id, ROOT, validator=validator)
        bench.step(MessageReceived(validator, vote))
    alarms = of_kind(run_to_execution(bench, OTHER_ROOT), RaiseAlarm)
    assert [alarm.code for alarm in alarms] == ["state_root_differs"]


def test_a_diverging_validator_is_a_missing_vote_and_an_alarm_and_never_a_fork() -> None:
    network = Network(seed=6).start()
    network.nodes[3].wrong_root = True
    network.submit(*range(20))
    network.run(5_000)
    assert min(network.nodes[index].height for index in range(3)) >= 4
    assert network.nodes[3].height == 0
    assert network.nodes[3].alarms


def test_without_a_quorum_for_any_root_blocks_stay_unfinal_and_their_number_paced() -> None:
    network = Network(seed=7).start()
    for index in (2, 3):
        network.nodes[index].wrong_root = True
    network.submit(*range(200))
    network.run(60_000)
    assert network.heights() == [0, 0, 0, 0]
    state = network.nodes[0].core.state
    entries = list(state.tree._entries.values())
    assert state.tree.count_non_empty(entries) <= network.parameters.unfinal_blocks_max
    assert len(entries) < 60
    assert all(node.alarms for node in network.nodes)


def test_a_leader_that_equivocates_cannot_split_the_others_and_is_named() -> None:
    network = Network(seed=8, twins=(1,)).start()
    sides = {1: {0, 2}, 4: {3}}

    def is_cut(source: int, target: int) -> bool:
        for twin, side in sides.items():
            if twin in (source, target):
                return bool({source, target} - {twin} - side)
        return False

    network.faults.is_cut = is_cut
    # The twins choose different transactions.
    network.nodes[4].choose = lambda parent_id: encode_transactions([999])
    network.submit(*range(50))
    network.run(20_000)
    assert min(network.heights()) > 5
    named = {each.validator for node in network.honest for each in node.evidence}
    assert named == {1}


def test_f_plus_one_equivocators_may_fork_the_others_but_are_named() -> None:
    """With two of four corrupt, safety is gone; what remains is proof of who did it."""
    network = Network(seed=9, twins=(1, 2))
    network.chain_checks = False
    network.start()
    left = {0, 1, 2}
    network.faults.is_cut = lambda source, target: (source in left) != (target in left)
    for index in (3, 4, 5):
        network.nodes[index].choose = lambda parent_id: encode_transactions([999])
    network.submit(*range(10))
    network.run(5_000)
    honest_ids = [node.disk.blocks[0].block_id for node in network.honest]
    assert len(set(honest_ids)) == 2
    network.faults.is_cut = lambda source, target: False
    network.submit(11)
    network.run(20_000)
    named = {each.validator for node in network.honest for each in node.evidence}
    assert named == {1, 2}
    assert all(node.alarms for node in network.honest)


class Liar:
    """Says anything that a key holder can say, and much that it cannot."""

    def __init__(self, random: Random, node: Node) -> None:
        self.random = random
        self.node = node

    def make_message(self) -> Message:
        return self.random.choice(
            [
                self.make_vote,
                self.make_vote,
                self.make_proposal,
                lambda: CertificateMessage(self.make_certificate()),
                lambda: CertificateBatch((self.make_certificate(), self.make_certificate())),
                lambda: Status(0, self.make_view(), self.random.choice([0, 3, 10**12]), 0),
                lambda: BlockRequest(self.pick_id()),
                lambda: BlockResponse(self.make_proposal()),
                lambda: BlocksRequest(self.random.randint(1, 50), self.random.randint(1, 64)),
                self.make_blocks,
            ]
        )()

    def make_view(self) -> int:
        current = self.node.core.state.view if self.node.core is not None else 1
        near = current + self.random.randint(-3, 3)
        return max(0, self.random.choice([near, near, near, current + VIEW_WINDOW, 10**15]))

    def pick_id(self) -> bytes:
        known = list(self.node.bodies) or [GENESIS.block_id]
        return self.random.choice([*known[-3:], self.random.randbytes(32)])

    def make_vote(self) -> Vote:
        kind = self.random.choice(list(VoteKind))
        block_id = bytes(32) if kind is VoteKind.VIEW_CHANGE else self.pick_id()
        root = self.random.choice([ROOT, OTHER_ROOT]) if kind is VoteKind.COMMIT else bytes(32)
        vote = make_vote(kind, self.make_view(), block_id, root, validator=3)
        return replace(vote, validator=self.random.choice([3, 3, 3, 0, 77]))

    def make_certificate(self) -> Certificate:
        kind = self.random.choice(list(VoteKind))
        block_id = bytes(32) if kind is VoteKind.VIEW_CHANGE else self.pick_id()
        root = ROOT if kind is VoteKind.COMMIT else bytes(32)
        held = self.pick_certificate()
        if held is not None and self.random.random() < 0.5:
            return self.random.choice(
                [held, replace(held, view=self.make_view()), replace(held, signers=(0, 1, 3))]
            )
        forged = certify(kind, self.make_view(), block_id, root, signers=(3,))
        return replace(forged, signers=(0, 1, 3), signatures=forged.signatures * 3)

    def pick_certificate(self) -> Certificate | None:
        if self.node.core is None:
            return None
        log = self.node.core.state.log
        record = log.find(log.highest_certified_view)
        return None if record is None else next(iter(record.certificates.values()), None)

    def make_proposal(self) -> PrePrepare:
        view = self.random.choice([self.make_view() // 4 * 4 + 3, self.make_view()])
        tip = self.node.disk.blocks[-1].header if self.node.disk.blocks else GENESIS
        body = self.random.choice([b"", self.random.randbytes(8)])
        header = make_header(tip, view, body)
        header = replace(
            header,
            height=self.random.choice([header.height, header.height, 5]),
            parent_view=self.random.choice([header.parent_view, 0]),
            timestamp_ms=self.random.choice([header.timestamp_ms, 0, 2**60]),
            parent_id=self.random.choice([header.parent_id, self.pick_id()]),
        )
        sent = self.random.choice([body, b"junk"])
        return make_pre_prepare(header, sent, self.random.choice([None, self.make_certificate()]))

    def make_blocks(self) -> BlocksResponse:
        blocks = [Block(self.make_proposal().header, b"") for _ in range(self.random.randint(0, 3))]
        return BlocksResponse(tuple(blocks), self.random.choice([None, self.make_certificate()]))


@pytest.mark.parametrize("seed", range(12))
def test_a_validator_that_says_anything_neither_stops_nor_splits_nor_frames_the_others(
    seed: int,
) -> None:
    network = Network(seed=seed)
    network.byzantine = {3}
    liar = Liar(network.random, network.nodes[3])
    network.tap = lambda source, target, message: _corrupt(network, liar, source, target, message)
    network.start()
    network.submit(*range(30))
    used = network.transactions

    def is_done() -> bool:
        return all(node.transactions_in(node.disk.blocks) >= used for node in network.honest)

    assert network.run_until(is_done, 60_000)
    for node in network.honest:
        assert not node.alarms
        assert {each.validator for each in node.evidence} <= {3}
        assert {each.peer for each in node.peer_faults} <= {3}
        assert node.core is not None
        assert node.core.state.log.record_count <= 4 * VIEW_WINDOW


def _corrupt(network: Network, liar: Liar, source: Node, target: Node, message: Message) -> bool:
    if source.identity != 3:
        return False
    for _ in range(3):
        network.deliver(source, target, liar.make_message())
    return network.random.random() < 0.5
