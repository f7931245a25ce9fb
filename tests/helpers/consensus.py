"""Keys, blocks, votes and certificates for tests of consensus, with a signature that costs little.

>>> votes = [make_vote(VoteKind.VIEW_CHANGE, 1, validator=index) for index in range(3)]
>>> make_certificate(votes).signers
(0, 1, 2)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import TypeVar

from consensus.actions import Action
from consensus.core import Core
from consensus.events import ClockReading, Event
from consensus.messages import PrePrepare, Vote, proposal_signing_bytes
from consensus.parameters import Parameters
from consensus.recovery import Recovered
from primitives.certificates import Certificate, VoteKind, vote_signing_bytes
from primitives.hashing import ZERO_HASH
from primitives.header import BlockHeader
from primitives.validator_set import ValidatorSet

ActionT = TypeVar("ActionT")

CHAIN_ID = sha256(b"test chain").digest()
EMPTY_BODY_ROOT = sha256(b"").digest()
WALL_START_MS = 1_700_000_000_000
GENESIS = BlockHeader(
    protocol_version=1,
    chain_id=CHAIN_ID,
    epoch=0,
    height=0,
    view=0,
    parent_id=ZERO_HASH,
    parent_view=0,
    timestamp_ms=WALL_START_MS - 1_000,
    proposer=0,
    body_root=EMPTY_BODY_ROOT,
)


def make_public_key(index: int) -> bytes:
    return sha256(b"validator" + bytes([index])).digest()


def make_validators(count: int = 4) -> ValidatorSet:
    return ValidatorSet(tuple(make_public_key(index) for index in range(count)))


def make_signer(index: int) -> Callable[[bytes], bytes]:
    key = make_public_key(index)
    return lambda message: sign(key, message)


def sign(public_key: bytes, message: bytes) -> bytes:
    """A stand-in that anyone can forge, for tests in which no one tries to."""
    half = sha256(public_key + message).digest()
    return half + half


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    return signature == sign(public_key, message)


def make_parameters(**changes: int) -> Parameters:
    settings = {"idle_limit_ms": 10_000, "view_timeout_ms": 1_000, **changes}
    return Parameters(CHAIN_ID, EMPTY_BODY_ROOT, **settings)


def body_root(body: bytes) -> bytes:
    return sha256(body).digest()


def make_header(parent: BlockHeader, view: int, body: bytes = b"", count: int = 4) -> BlockHeader:
    return BlockHeader(
        protocol_version=1,
        chain_id=CHAIN_ID,
        epoch=0,
        height=parent.height + 1,
        view=view,
        parent_id=parent.block_id,
        parent_view=parent.view,
        timestamp_ms=parent.timestamp_ms + 1,
        proposer=view % count,
        body_root=body_root(body),
    )


def make_pre_prepare(
    header: BlockHeader,
    body: bytes = b"",
    parent_certificate: Certificate | None = None,
    gap: Sequence[Certificate] = (),
) -> PrePrepare:
    signature = make_signer(header.proposer)(proposal_signing_bytes(header.block_id))
    return PrePrepare(header, body, parent_certificate, tuple(gap), signature)


def make_vote(
    kind: VoteKind,
    view: int,
    block_id: bytes = ZERO_HASH,
    state_root: bytes = ZERO_HASH,
    *,
    validator: int,
) -> Vote:
    message = vote_signing_bytes(CHAIN_ID, 0, kind, view, block_id, state_root)
    return Vote(kind, 0, view, block_id, state_root, validator, make_signer(validator)(message))


def make_certificate(votes: Sequence[Vote]) -> Certificate:
    ordered = sorted(votes, key=lambda vote: vote.validator)
    first = ordered[0]
    return Certificate(
        first.kind,
        first.epoch,
        first.view,
        first.block_id,
        first.state_root,
        tuple(vote.validator for vote in ordered),
        tuple(vote.signature for vote in ordered),
    )


def certify(
    kind: VoteKind,
    view: int,
    block_id: bytes = ZERO_HASH,
    state_root: bytes = ZERO_HASH,
    signers: Sequence[int] = (1, 2, 3),
) -> Certificate:
    return make_certificate(
        [make_vote(kind, view, block_id, state_root, validator=index) for index in signers]
    )


def execute(parent_root: bytes, block_id: bytes) -> bytes:
    """The state transition of these tests: every block changes the root."""
    return sha256(parent_root + block_id).digest()


class Bench:
    """One core under test, with a clock that tests move by hand.

    Nothing is answered by itself: a test sees each action and says what came of it.
    """

    def __init__(
        self,
        own_index: int | None = 0,
        count: int = 4,
        recovered: Recovered | None = None,
        *,
        start: bool = True,
        **changes: int,
    ) -> None:
        self.parameters = make_parameters(**changes)
        self.now_ms = 1_000
        self.wall_ms = WALL_START_MS
        self.core = Core(
            self.parameters,
            make_validators(count),
            own_index,
            None if own_index is None else make_signer(own_index),
            recovered or Recovered(GENESIS, None),
            verify,
        )
        self.started = self.core.start(self.clock) if start else []

    @property
    def clock(self) -> ClockReading:
        return ClockReading(self.now_ms, self.wall_ms)

    def step(self, event: Event, after_ms: int = 0) -> list[Action]:
        self.now_ms += after_ms
        self.wall_ms += after_ms
        return self.core.step(event, self.clock)


def of_kind(actions: Sequence[Action], kind: type[ActionT]) -> list[ActionT]:
    """Return the actions of one kind."""
    return [action for action in actions if isinstance(action, kind)]
