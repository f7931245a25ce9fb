"""Everything that can be proposed, voted on and certified in the first views, numbered.

Validators below ``byzantine`` are the Byzantine ones. A Byzantine leader may propose two blocks on
every earlier block and on genesis; a correct leader one, and which one is up to its core. A
*subject* is what a vote or certificate speaks of; an *event* is what can happen to a correct core:
it learns the certificate of a subject, is shown a block, gives its view up, or dies and comes back
with its records. Sets of subjects and events are integers, one bit each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256

from consensus.messages import PrePrepare
from primitives.certificates import Certificate, VoteKind
from primitives.hashing import ZERO_HASH
from primitives.header import BlockHeader
from tests.helpers.consensus import CHAIN_ID, GENESIS, body_root, make_validators

__all__ = ["GENESIS_NUMBER", "Subject", "Universe", "iterate_bits"]

GENESIS_NUMBER = -1
GENESIS_ROOT = bytes(31) + b"g"
VALIDATORS = make_validators(4)
SIGNATURES = tuple(bytes([index + 1]) * 64 for index in range(4))


@dataclass(frozen=True, slots=True)
class Subject:
    """What a vote is for.

    Parameters
    ----------
    kind, view : of the vote.
    block : number of the block; `GENESIS_NUMBER` in a VIEW-CHANGE.
    """

    kind: VoteKind
    view: int
    block: int


class Universe:
    """The numbers of blocks, subjects and events.

    Parameters
    ----------
    leaders : of views 1, 2, …
    byzantine : how many of the four validators are Byzantine.
    """

    def __init__(self, leaders: tuple[int, ...], byzantine: int) -> None:
        self.leaders = leaders
        self.byzantine = byzantine
        self.views = len(leaders)
        self.blocks: list[PrePrepare] = []
        self.parents: list[int] = []
        self._roots: list[bytes] = []
        self.rivals: dict[int, int] = {}
        for view in range(1, self.views + 1):
            for parent in range(GENESIS_NUMBER, len(self.blocks)):
                if parent == GENESIS_NUMBER or self.blocks[parent].header.view < view:
                    self._add_blocks(view, parent)
        self.numbers = {block.block_id: number for number, block in enumerate(self.blocks)}
        self.subjects = [
            Subject(VoteKind.VIEW_CHANGE, view, -1) for view in range(1, 1 + len(leaders))
        ]
        for number, block in enumerate(self.blocks):
            self.subjects.append(Subject(VoteKind.PREPARE, block.header.view, number))
            self.subjects.append(Subject(VoteKind.COMMIT, block.header.view, number))
        self.positions = {subject: bit for bit, subject in enumerate(self.subjects)}
        self.subjects_mask = (1 << len(self.subjects)) - 1
        self.timeout = len(self.subjects) + len(self.blocks)
        self.timeout_mask = 1 << self.timeout
        self.restart = self.timeout + 1
        # Blocks that their leader can show at any time.
        self.always = self.timeout_mask | 1 << self.restart
        for number, block in enumerate(self.blocks):
            if block.header.proposer < byzantine:
                self.always |= 1 << self.position_of_block(number)

    def position_of_block(self, number: int) -> int:
        """Return the event in which a core is shown a block."""
        return len(self.subjects) + number

    def is_ancestor(self, ancestor: int, number: int) -> bool:
        """Say whether a block is another or descends from it."""
        while number != GENESIS_NUMBER and number != ancestor:
            number = self.parents[number]
        return number == ancestor

    def root(self, number: int) -> bytes:
        """Return the state root after a block."""
        return GENESIS_ROOT if number == GENESIS_NUMBER else self._roots[number]

    def make_certificate(self, position: int, signers: tuple[int, ...]) -> Certificate:
        """Return the certificate of a subject."""
        subject = self.subjects[position]
        block_id = root = ZERO_HASH
        if subject.kind is not VoteKind.VIEW_CHANGE:
            block_id = self.blocks[subject.block].block_id
        if subject.kind is VoteKind.COMMIT:
            root = self.root(subject.block)
        signatures = tuple(SIGNATURES[signer] for signer in signers)
        return Certificate(subject.kind, 0, subject.view, block_id, root, signers, signatures)

    def describe(self, position: int) -> str:
        """Say in short what an event is."""
        if position == self.timeout:
            return "times out"
        if position == self.restart:
            return "restarts"
        if position >= len(self.subjects):
            return f"sees block {self.name(position - len(self.subjects))}"
        subject = self.subjects[position]
        block = "" if subject.block == GENESIS_NUMBER else f" {self.name(subject.block)}"
        return f"learns {subject.kind.name}({subject.view}){block}"

    def name(self, number: int) -> str:
        """Name a block by its view, its body and its parent's name."""
        if number == GENESIS_NUMBER:
            return "genesis"
        block = self.blocks[number]
        return f"{block.header.view}{block.body.decode()}<{self.name(self.parents[number])}"

    def _add_blocks(self, view: int, parent: int) -> None:
        leader = self.leaders[view - 1]
        bodies = (b"a", b"b") if leader < self.byzantine else (b"a",)
        header = GENESIS if parent == GENESIS_NUMBER else self.blocks[parent].header
        first = len(self.blocks)
        for body in bodies:
            block = _make_block(header, view, body, leader)
            self._roots.append(sha256(self.root(parent) + block.block_id).digest())
            self.blocks.append(block)
            self.parents.append(parent)
        if len(bodies) == 2:
            self.rivals[first + 1] = first


def iterate_bits(mask: int) -> Iterator[int]:
    """Iterate over the positions of the bits that are set."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def _make_block(parent: BlockHeader, view: int, body: bytes, leader: int) -> PrePrepare:
    header = BlockHeader(
        protocol_version=1,
        chain_id=CHAIN_ID,
        epoch=0,
        height=parent.height + 1,
        view=view,
        parent_id=parent.block_id,
        parent_view=parent.view,
        timestamp_ms=parent.timestamp_ms + 1,
        proposer=leader,
        body_root=body_root(body),
    )
    return PrePrepare(header, body, None, (), SIGNATURES[leader])
