"""Turns of consensus: what happens in which order, over a change of epoch too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from consensus.actions import Action, FinalizeBlocks, ValidateBlock
from consensus.core import Core
from consensus.events import (
    BlockExecuted,
    BlockValidated,
    ClockReading,
    MessageReceived,
    PeerConnected,
    Verdict,
)
from consensus.messages import CertificateMessage, Message, Status, encode_message
from consensus.recovery import Recovered
from node.seats import Seats
from node.turns import EVENTS_WAITING_MAX, ConsensusTurns, EpochCore, TurnCallbacks
from primitives.certificates import VoteKind
from primitives.evidence import Evidence
from primitives.header import BlockHeader
from tests.helpers.consensus import (
    GENESIS,
    WALL_START_MS,
    certify,
    make_header,
    make_parameters,
    make_pre_prepare,
    make_signer,
    make_validators,
    make_vote,
    verify,
)

ROOT = b"r" * 32
NEXT_SET = make_validators().hash
END = make_pre_prepare(replace(make_header(GENESIS, 1), next_validators_hash=NEXT_SET))
# The validator with index i is the member with this number.
NUMBERS = (8, 5, 6, 7)


@dataclass
class Stage:
    """Everything around the turns, noting what is done to it in order."""

    done: list[tuple[Any, ...]] = field(default_factory=list)
    now_ms: int = 1_000
    epoch: int = 0
    work: bool = False
    later: list[Callable[[], None]] = field(default_factory=list)
    evidence: list[Evidence] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    wakes: int = 0

    def __post_init__(self) -> None:
        callbacks = TurnCallbacks(self.wake, self.evidence.append, self.alarms.append)
        self.turns = ConsensusTurns(self.begin, self, self, self, self.read_clocks, callbacks)

    def begin(self) -> EpochCore:
        parameters = replace(make_parameters(), epoch=self.epoch, epoch_end_height=self.epoch + 1)
        final = GENESIS if self.epoch == 0 else END.header
        core = Core(
            parameters, make_validators(), 0, make_signer(0), Recovered(final, None), verify
        )
        numbers = NUMBERS if self.epoch == 0 else tuple(reversed(NUMBERS))
        self.epoch += 1
        return EpochCore(core, Seats(numbers))

    def read_clocks(self) -> ClockReading:
        return ClockReading(self.now_ms, WALL_START_MS + self.now_ms)

    def wake(self) -> None:
        self.wakes += 1

    def append(self, record: bytes, tag: int) -> None:
        self.done.append(("append", tag))

    def sync(self) -> None:
        self.done.append(("sync",))

    def prune(self, below_tag: int) -> None:
        self.done.append(("prune", below_tag))

    def connected(self) -> list[int]:
        return [5, 9]

    def send(self, number: int, message: Message) -> None:
        self.done.append(("send", number, type(message).__name__))

    def broadcast(self, message: Message) -> None:
        self.done.append(("broadcast", type(message).__name__))

    def note(self, action: Action) -> None:
        self.done.append((type(action).__name__, getattr(action, "peer", None)))

    validate = execute = build = discard = serve = serve_epoch_end = note

    def finalize(self, action: FinalizeBlocks) -> None:
        self.done.append(("finalize", len(action.blocks)))

    def has_work(self, _is_live: Callable[[BlockHeader], bool]) -> bool:
        return self.work

    def after_finality(self, call: Callable[[], None]) -> None:
        self.later.append(call)

    def hear(self, number: int, message: Message) -> None:
        """Let a member say something, and take the turn."""
        self.turns.post_bytes(number, encode_message(message))
        self.turns.take_turn()

    def names(self) -> list[str]:
        return [str(each[0]) for each in self.done]

    def finish_epoch(self) -> None:
        """Bring the last block of the epoch to its commit certificate."""
        self.hear(5, END)
        self.turns.post(BlockValidated(END.block_id, Verdict.VALID))
        self.turns.post(BlockExecuted(END.block_id, ROOT))
        self.turns.take_turn()
        self.hear(6, CertificateMessage(certify(VoteKind.COMMIT, 1, END.block_id, ROOT)))


def start() -> Stage:
    stage = Stage()
    stage.turns.start()
    stage.done.clear()
    return stage


def test_peers_are_met_at_the_start_by_number() -> None:
    stage = Stage()
    stage.turns.start()
    assert {each[1] for each in stage.done if each[0] == "send"} == {5, 9}


def test_record_is_synced_once_before_anything_leaves() -> None:
    stage = start()
    stage.hear(5, END)
    stage.turns.post(BlockValidated(END.block_id, Verdict.VALID))
    stage.turns.take_turn()
    names = stage.names()
    assert names.count("sync") == 1
    assert names.index("append") < names.index("sync") < names.index("broadcast")


def test_message_of_a_member_is_that_of_its_validator() -> None:
    stage = start()
    stage.hear(7, END)
    assert "ValidateBlock" not in stage.names(), "number 7 has index 3, which does not lead"
    stage.hear(5, END)
    assert ("ValidateBlock", None) in stage.done


def test_answer_goes_to_the_number_behind_the_index() -> None:
    stage = start()
    stage.now_ms += 1_000
    stage.hear(9, Status(0, 9, 7, 9))
    assert ("send", 9, "Status") in stage.done


def test_late_peer_is_served_by_number() -> None:
    stage = start()
    stage.finish_epoch()
    stage.later.pop()()
    stage.done.clear()
    stage.now_ms += 1_000
    stage.hear(6, Status(0, 1, 0, 1))
    assert ("ServeEpochEnd", 6) in stage.done


def test_next_epoch_begins_only_when_the_last_block_is_durable() -> None:
    stage = start()
    stage.finish_epoch()
    assert ("finalize", 1) in stage.done
    before = list(stage.done)
    stage.turns.post(PeerConnected(8))
    stage.turns.take_turn()
    assert stage.done == before, "nothing is taken from the queue meanwhile"
    assert stage.turns.compute_wait_ms() is None
    assert stage.turns.core.state.parameters.epoch == 0
    stage.later.pop()()
    assert stage.turns.core.state.parameters.epoch == 1
    assert stage.turns.seats.index_of(8) == 3
    assert stage.turns.compute_wait_ms() == 0
    stage.turns.take_turn()


def test_records_are_pruned_when_the_block_is_durable() -> None:
    stage = start()
    stage.finish_epoch()
    for call in stage.later[:-1]:
        call()
    assert ("prune", 2) in stage.done


def test_contradiction_is_reported() -> None:
    stage = start()
    stage.hear(6, make_vote(VoteKind.VIEW_CHANGE, 1, validator=2))
    stage.hear(6, make_vote(VoteKind.COMMIT, 1, b"b" * 32, ROOT, validator=2))
    assert [each.validator for each in stage.evidence] == [2]
    assert stage.turns.counters["evidence"] == 1


def test_alarm_is_passed_on() -> None:
    stage = start()
    for block_id in (b"a" * 32, b"b" * 32):
        stage.hear(6, CertificateMessage(certify(VoteKind.PREPARE, 1, block_id)))
    assert stage.alarms == ["contradicting_certificates"]


def test_garbage_and_floods_are_counted_and_dropped() -> None:
    stage = start()
    stage.turns.post_bytes(5, b"\xc1")
    assert stage.turns.counters["messages_malformed"] == 1
    message = encode_message(Status(0, 1, 0, 1))
    for _ in range(EVENTS_WAITING_MAX + 3):
        stage.turns.post_bytes(5, message)
    assert stage.turns.counters["messages_dropped"] == 3


def test_suspended_turns_do_nothing_any_more() -> None:
    stage = start()
    stage.turns.suspend()
    stage.hear(5, END)
    assert stage.done == []
    assert stage.turns.compute_wait_ms() is None


def test_new_core_can_take_over_in_the_same_epoch() -> None:
    stage = start()
    old = stage.turns.core
    stage.turns.post(MessageReceived(5, END))
    stage.epoch = 0
    stage.turns.begin_again()
    stage.turns.take_turn()
    assert ValidateBlock.__name__ not in stage.names()
    stage.later.pop()()
    assert stage.turns.core is not old
    stage.turns.take_turn()
    assert ValidateBlock.__name__ not in stage.names(), "what waited was for the old one"
