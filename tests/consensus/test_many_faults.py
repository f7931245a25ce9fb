"""More than f faults: agreement is lost, and who broke it is known.

Two halves of the correct validators cannot hear each other; f + 1 colluding validators talk to both
and bring each half to another final block. When late messages arrive after all, every correct
validator holds evidence against at least f + 1 of the colluding ones and against nobody else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import pytest

from consensus.actions import (
    Action,
    Broadcast,
    ExecuteBlock,
    FinalizeBlocks,
    RaiseAlarm,
    ReportEvidence,
    ValidateBlock,
)
from consensus.events import BlockExecuted, BlockValidated, MessageReceived, Ticked, Verdict
from consensus.evidence import Evidence, EvidenceKind, verify_evidence
from consensus.messages import Block, Message, PrePrepare
from primitives.certificates import Certificate, VoteKind
from tests.helpers.consensus import (
    CHAIN_ID,
    GENESIS,
    Bench,
    certify,
    execute,
    make_header,
    make_pre_prepare,
    make_validators,
    make_vote,
    verify,
)

GENESIS_ROOT = b"genesis root".ljust(32)
COUNTS = [4, 7]


class Correct:
    """A core whose driver answers at once."""

    def __init__(self, index: int, count: int) -> None:
        self.index = index
        self.bench = Bench(index, count)
        self.validators = make_validators(count)
        self.roots = {GENESIS.block_id: GENESIS_ROOT}
        self.outbox: deque[Message] = deque()
        self.said: list[Message] = []
        self.final: list[Block] = []
        self.evidence: list[Evidence] = []
        self.alarms: list[str] = []

    def hear(self, peer: int, message: Message) -> None:
        self.perform(self.bench.step(MessageReceived(peer, message)))

    def wait(self, milliseconds: int) -> None:
        self.perform(self.bench.step(Ticked(), after_ms=milliseconds))

    def perform(self, actions: Sequence[Action]) -> None:
        for action in actions:
            match action:
                case ValidateBlock(block):
                    event = BlockValidated(block.block_id, Verdict.VALID)
                    self.perform(self.bench.step(event))
                case ExecuteBlock(block):
                    root = execute(self.roots[block.header.parent_id], block.block_id)
                    self.roots[block.block_id] = root
                    self.perform(self.bench.step(BlockExecuted(block.block_id, root)))
                case Broadcast(message):
                    self.outbox.append(message)
                case FinalizeBlocks(blocks):
                    self.final.extend(blocks)
                case ReportEvidence(evidence):
                    verify_evidence(evidence, self.validators, CHAIN_ID, verify)
                    self.evidence.append(evidence)
                case RaiseAlarm(code):
                    self.alarms.append(code)

    @property
    def named(self) -> set[int]:
        return {each.validator for each in self.evidence}

    @property
    def kinds(self) -> set[EvidenceKind]:
        return {each.kind for each in self.evidence}


class Conspiracy:
    """Validators 1 to f + 1 collude; the leaders of the first views are among them."""

    def __init__(self, count: int, *, colluding: int | None = None) -> None:
        self.count = count
        self.faults_max = (count - 1) // 3
        self.colluding = tuple(range(1, 1 + (colluding or self.faults_max + 1)))
        correct = [each for each in range(count) if each not in self.colluding]
        middle = len(correct) // 2
        self.left = [Correct(each, count) for each in correct[:middle]]
        self.right = [Correct(each, count) for each in correct[middle:]]

    @property
    def correct(self) -> list[Correct]:
        return self.left + self.right

    def propose(
        self, side: list[Correct], view: int, body: bytes, gap: tuple[Certificate, ...] = ()
    ) -> PrePrepare:
        """Show a half a block on genesis, and prepare it."""
        header = make_header(GENESIS, view, body, self.count)
        pre_prepare = make_pre_prepare(header, body, None, gap)
        self.tell(side, pre_prepare)
        self.vote(side, VoteKind.PREPARE, view, pre_prepare)
        return pre_prepare

    def commit(self, side: list[Correct], pre_prepare: PrePrepare) -> None:
        self.vote(side, VoteKind.COMMIT, pre_prepare.header.view, pre_prepare)

    def vote(
        self, side: list[Correct], kind: VoteKind, view: int, block: PrePrepare | None = None
    ) -> None:
        """Let all colluding validators cast a vote before one half."""
        block_id = bytes(32) if block is None else block.block_id
        is_commit = kind is VoteKind.COMMIT
        root = execute(GENESIS_ROOT, block_id) if is_commit else bytes(32)
        for each in self.colluding:
            self.tell(side, make_vote(kind, view, block_id, root, validator=each), peer=each)

    def tell(self, side: list[Correct], message: Message, peer: int | None = None) -> None:
        if isinstance(message, PrePrepare):
            peer = message.header.proposer
        for each in side:
            each.hear(self.colluding[0] if peer is None else peer, message)
        self.talk(side)

    def talk(self, side: list[Correct]) -> None:
        """Deliver what the correct validators of a half say, to that half."""
        while any(each.outbox for each in side):
            for speaker in side:
                while speaker.outbox:
                    message = speaker.outbox.popleft()
                    speaker.said.append(message)
                    for listener in side:
                        if listener is not speaker:
                            listener.hear(speaker.index, message)

    def meet(self) -> None:
        """Let what was said in each half arrive in the other after all."""
        said = [(speaker, message) for speaker in self.correct for message in speaker.said]
        for speaker, message in said:
            for listener in self.right if speaker in self.left else self.left:
                listener.hear(speaker.index, message)
        self.talk(self.correct)

    def check_fork(self) -> None:
        """Check that the halves have made different blocks final."""
        for side in (self.left, self.right):
            assert len({each.final[0].block_id for each in side}) == 1
        assert self.left[0].final[0].block_id != self.right[0].final[0].block_id

    def check_culprits(self) -> None:
        """Check that every correct validator knows of more than f culprits and accuses no other."""
        for each in self.correct:
            assert each.named <= set(self.colluding)
            assert len(each.named) > self.faults_max
            assert each.alarms
            assert not each.bench.core.state.safety.is_on


@pytest.mark.parametrize("count", COUNTS)
def test_two_halves_that_prepare_and_commit_different_blocks_name_the_culprits(count: int) -> None:
    conspiracy = Conspiracy(count)
    for side, body in ((conspiracy.left, b"left"), (conspiracy.right, b"right")):
        conspiracy.commit(side, conspiracy.propose(side, 1, body))
    conspiracy.check_fork()
    assert not any(each.evidence for each in conspiracy.correct)
    conspiracy.meet()
    conspiracy.check_culprits()
    for each in conspiracy.correct:
        assert {EvidenceKind.DOUBLE_PREPARE, EvidenceKind.DOUBLE_COMMIT} & each.kinds


@pytest.mark.parametrize("count", COUNTS)
def test_a_view_that_one_half_commits_and_the_other_gives_up_names_the_culprits(
    count: int,
) -> None:
    conspiracy = Conspiracy(count)
    conspiracy.commit(conspiracy.left, conspiracy.propose(conspiracy.left, 1, b"left"))
    for each in conspiracy.right:
        each.wait(20_000)
    conspiracy.vote(conspiracy.right, VoteKind.VIEW_CHANGE, 1)
    assert {each.bench.core.state.view for each in conspiracy.right} == {2}
    gap = (certify(VoteKind.VIEW_CHANGE, 1, signers=quorum_of(conspiracy)),)
    conspiracy.commit(conspiracy.right, conspiracy.propose(conspiracy.right, 2, b"right", gap))
    conspiracy.check_fork()
    assert not any(each.evidence for each in conspiracy.correct)
    conspiracy.meet()
    conspiracy.check_culprits()
    for each in conspiracy.correct:
        assert EvidenceKind.COMMIT_AND_VIEW_CHANGE in each.kinds


@pytest.mark.parametrize("count", COUNTS)
def test_two_proposals_before_everyone_are_evidence_at_once_and_the_fork_names_the_rest(
    count: int,
) -> None:
    conspiracy = Conspiracy(count)
    left = conspiracy.propose(conspiracy.left, 1, b"left")
    right = conspiracy.propose(conspiracy.right, 1, b"right")
    for side, other in ((conspiracy.left, right), (conspiracy.right, left)):
        conspiracy.tell(side, other)
    for each in conspiracy.correct:
        assert each.named == {1}
        assert each.kinds == {EvidenceKind.DOUBLE_PROPOSAL}
    conspiracy.commit(conspiracy.left, left)
    conspiracy.commit(conspiracy.right, right)
    conspiracy.check_fork()
    conspiracy.meet()
    conspiracy.check_culprits()


@pytest.mark.parametrize("count", COUNTS)
def test_f_colluding_validators_bring_about_no_fork_and_nobody_else_is_named(count: int) -> None:
    conspiracy = Conspiracy(count, colluding=(count - 1) // 3)
    for side, body in ((conspiracy.left, b"left"), (conspiracy.right, b"right")):
        conspiracy.commit(side, conspiracy.propose(side, 1, body))
    conspiracy.meet()
    assert len({each.final[0].block_id for each in conspiracy.correct if each.final}) <= 1
    for each in conspiracy.correct:
        assert each.named <= set(conspiracy.colluding)
        assert not each.alarms


def quorum_of(conspiracy: Conspiracy) -> list[int]:
    right = [each.index for each in conspiracy.right]
    return sorted([*conspiracy.colluding, *right])
