"""Fetching final blocks by height, in several ranges from several peers at once.

Theory of operation
-------------------
When a commit certificate names a block that does not hang from our last final one, final blocks are
missing. The heights above the last block that we have are cut into ranges, and up to
`RANGES_IN_FLIGHT_MAX` of them are asked for at the same time, each from another peer. A peer ends
its answer with a block that has a commit certificate of its own. An answer whose blocks link up and
whose certificate verifies is *proven* by itself, whatever came before it and whoever sent it, so
answers may come in any order; they join the tree in the order of heights and are executed while the
next ones are under way.

An answer without certificate (so many blocks became final together that none of them has one) is
*staged* at the front of the queue until the same peer sends the block that proves it.

Invariants:

B1  nothing is handed on for execution that is not proven;
B2  what peers claim about their height decides only whom to ask and how far ahead;
B3  a peer that sends what is wrong, or nothing in time, is avoided for a while; while one correct
    peer can be reached, the range at the front costs at most one request timeout for each other;
B4  bounds: `RANGES_IN_FLIGHT_MAX` ranges, `HELD_BYTES_MAX` in answers that wait and as much, and
    one answer more, in blocks that are being executed; `STAGED_BLOCKS_MAX` staged blocks; blocks in
    the tree at most so far above the final one as the ranges reach.

Source: docs/spec/consensus.md §7.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

from consensus.actions import ReportPeer, Send
from consensus.blocks import BlockEntry
from consensus.messages import Block, BlocksRequest, BlocksResponse, PrePrepare
from consensus.parameters import BLOCKS_PER_RESPONSE_MAX
from consensus.state import State
from consensus.tally import Tally
from primitives.certificates import Certificate, VoteKind
from primitives.header import BlockHeader
from primitives.keys import SIGNATURE_BYTES

__all__ = ["RANGES_IN_FLIGHT_MAX", "STAGED_BLOCKS_MAX", "BlockSync", "are_linked"]

RANGES_IN_FLIGHT_MAX = 4
"""Ranges that are asked for, or answered and not joined yet."""

STAGED_BLOCKS_MAX = 8192
"""Blocks without a certificate of their own before one that proves them; tails among them."""

HELD_BYTES_MAX = 64 * 1024 * 1024

HEDGE_DIVISOR = 4
"""The front is asked of a second peer after this part of the timeout, if all else has come."""

_NO_SIGNATURE = bytes(SIGNATURE_BYTES)


@dataclass(slots=True)
class _Range:
    """Heights that are asked for.

    Parameters
    ----------
    first, last : of the heights, inclusive.
    start_ms : when to ask for it first.
    due_ms : when to ask (somebody else).
    hedge_ms : when to ask one more peer, if this one alone is missing.
    asked : peers that were asked and have not answered.
    blocks : the proven answer; empty until it is here.
    source : who gave it.
    """

    first: int
    last: int
    start_ms: int
    due_ms: int
    hedge_ms: int = 0
    asked: set[int] = field(default_factory=set)
    blocks: tuple[Block, ...] = ()
    source: int = -1


class BlockSync:
    """Fetches final blocks up to a target.

    Parameters
    ----------
    state, tally : parts of the core.
    """

    def __init__(self, state: State, tally: Tally) -> None:
        self._state = state
        self._tally = tally
        self._ranges: list[_Range] = []
        self._staged: list[Block] = []
        # The last block that is proven and was handed on, as long as it is not final.
        self._joined: BlockHeader | None = None

    @property
    def deadline_ms(self) -> int | None:
        """When a request is due; None if nothing is missing."""
        now_ms = self._state.now_ms
        # What is due already waits for a peer, and any event may bring one.
        dues = [each.due_ms for each in self._ranges if not each.blocks and each.due_ms > now_ms]
        hedge = self._find_hedge()
        if hedge is not None:
            dues.append(hedge.hedge_ms)
        return min(dues) if dues else None

    @property
    def is_joining(self) -> bool:
        """Whether blocks that were handed on are on their way to finality."""
        if self._joined is not None and not self._is_executing(self._joined):
            self._joined = None
        return self._joined is not None

    def stop(self) -> None:
        """Ask for nothing any more: nothing is missing."""
        self._ranges.clear()
        self._staged.clear()

    def ask(self) -> None:
        """Ask for what is missing and not asked for yet."""
        self._drop_overtaken()
        self._plan()
        now_ms = self._state.now_ms
        for wanted in self._ranges:
            if not wanted.blocks and now_ms >= wanted.due_ms:
                self._ask_next(wanted)
        hedge = self._find_hedge()
        if hedge is not None and now_ms >= hedge.hedge_ms:
            peer = self._state.peers.choose_free(now_ms, self._busy())
            if peer is not None:
                self._send(hedge, peer)

    def on_response(self, peer: int, response: BlocksResponse) -> Block | None:
        """Take an answer.

        Returns
        -------
        Block or None
            The last block of a chain that is proven and passes our final block by: a fork.
        """
        self._drop_overtaken()
        wanted = self._find_asked(peer, response.blocks)
        if wanted is None:
            return None
        wanted.asked.discard(peer)
        if not response.blocks:
            self._on_nothing(peer, wanted)
        elif not self._is_within(wanted, response.blocks) or not are_linked(response.blocks):
            self._refuse(peer, wanted, "unlinked_blocks")
        elif response.certificate is None:
            self._stage(peer, wanted, response.blocks)
        else:
            self._prove(peer, wanted, response.blocks, response.certificate)
        return self._join()

    def _base(self) -> BlockHeader:
        """Return the header of the last block that is proven and here."""
        return self._state.tree.final if self._joined is None else self._joined

    def _next_height(self) -> int:
        previous = self._staged[-1].header if self._staged else self._base()
        return previous.height + 1

    def _is_executing(self, header: BlockHeader) -> bool:
        """Say whether a block is on its way to finality: not there, not lost."""
        return bool(self._state.tree.get_chain(header.block_id))

    def _drop_overtaken(self) -> None:
        """Begin anew if blocks became final meanwhile by themselves, so the question changed."""
        if self._ranges and self._ranges[0].first != self._next_height():
            self.stop()

    def _plan(self) -> None:
        """Cut what is missing into ranges."""
        state = self._state
        end = state.parameters.epoch_end_height
        reach = state.tree.final.height + RANGES_IN_FLIGHT_MAX * BLOCKS_PER_RESPONSE_MAX
        if self._count_joined_bytes() > HELD_BYTES_MAX:
            # Execution has enough to do; there is no use in holding more.
            return
        while len(self._ranges) < RANGES_IN_FLIGHT_MAX:
            first = self._ranges[-1].last + 1 if self._ranges else self._next_height()
            is_front = not self._ranges
            if first > reach or (not is_front and first > min(end, state.peers.highest)):
                return
            due_ms = state.now_ms
            if is_front and self._is_fresh():
                due_ms += state.parameters.fetch_delay_ms
            elif not is_front:
                # All of them begin together with the first one.
                due_ms = max(due_ms, self._ranges[0].start_ms)
            last = first + BLOCKS_PER_RESPONSE_MAX - 1
            self._ranges.append(_Range(first, last, due_ms, due_ms))

    def _count_joined_bytes(self) -> int:
        """Return how much was handed on and is not final yet."""
        chain = [] if self._joined is None else self._state.tree.get_chain(self._joined.block_id)
        return sum(len(entry.pre_prepare.body) for entry in chain or ())

    def _is_fresh(self) -> bool:
        """Say whether what is missing may still come by itself."""
        return self._joined is None and not self._staged

    def _ask_next(self, wanted: _Range) -> None:
        """Ask a peer for a range; whoever was asked before and did not answer is avoided."""
        state = self._state
        for silent in wanted.asked:
            state.peers.avoid(silent, state.now_ms + state.parameters.request_timeout_ms)
        if wanted.asked and wanted is self._ranges[0]:
            # What the silent peer gave before is not to be trusted more.
            self._begin_front_again(wanted)
        wanted.asked.clear()
        peer = state.peers.choose_free(state.now_ms, self._busy())
        if peer is None and wanted is self._ranges[0]:
            peer = state.peers.choose(state.now_ms)
        if peer is not None:
            self._send(wanted, peer)

    def _send(self, wanted: _Range, peer: int) -> None:
        state = self._state
        wanted.due_ms = state.now_ms + state.parameters.request_timeout_ms
        wanted.hedge_ms = state.now_ms + state.parameters.request_timeout_ms // HEDGE_DIVISOR
        wanted.asked.add(peer)
        count = wanted.last - wanted.first + 1
        state.emit(Send(peer, BlocksRequest(wanted.first, count)))

    def _busy(self) -> frozenset[int]:
        """Return the peers that owe an answer."""
        return frozenset(peer for each in self._ranges for peer in each.asked)

    def _find_hedge(self) -> _Range | None:
        """Return the front if it alone is missing although more was asked for, and asked once."""
        if len(self._ranges) < 2 or len(self._ranges[0].asked) != 1:
            return None
        front, *others = self._ranges
        return front if not front.blocks and all(each.blocks for each in others) else None

    def _find_asked(self, peer: int, blocks: tuple[Block, ...]) -> _Range | None:
        """Return the range that an answer is for; a late answer to an earlier one is for none."""
        for each in self._ranges:
            if peer in each.asked and (not blocks or blocks[0].header.height == each.first):
                return each
        return None

    def _on_nothing(self, peer: int, wanted: _Range) -> None:
        """Take note that a peer has nothing there."""
        state = self._state
        state.peers.note_height(peer, wanted.first - 1)
        state.peers.avoid(peer, state.now_ms + state.parameters.fetch_delay_ms)
        if wanted is self._ranges[0]:
            self._begin_front_again(wanted)
            wanted.due_ms = state.now_ms + state.parameters.fetch_delay_ms
        else:
            del self._ranges[self._ranges.index(wanted) :]

    def _is_within(self, wanted: _Range, blocks: tuple[Block, ...]) -> bool:
        """Check that an answer holds no more than was asked for, but for tails."""
        end = self._state.parameters.epoch_end_height
        held = sum(len(block.body) for each in self._ranges for block in each.blocks)
        size = sum(len(block.body) for block in (*blocks, *self._staged))
        last = sum(block.header.height <= end for block in blocks) + wanted.first - 1
        return last <= wanted.last and held + size <= HELD_BYTES_MAX

    def _stage(self, peer: int, wanted: _Range, blocks: tuple[Block, ...]) -> None:
        """Keep blocks that nothing proves yet, and ask the same peer for what follows."""
        state = self._state
        previous = self._staged[-1].header if self._staged else self._base()
        if (
            wanted is not self._ranges[0]
            or blocks[0].header.parent_id != previous.block_id
            or len(self._staged) + len(blocks) > STAGED_BLOCKS_MAX
        ):
            self._refuse(peer, wanted, "unproven_blocks")
            return
        self._staged += blocks
        first = self._next_height()
        last = first + BLOCKS_PER_RESPONSE_MAX - 1
        due_ms = state.now_ms + state.parameters.request_timeout_ms
        self._ranges = [_Range(first, last, state.now_ms, due_ms)]
        self._send(self._ranges[0], peer)

    def _prove(
        self, peer: int, wanted: _Range, blocks: tuple[Block, ...], certificate: Certificate
    ) -> None:
        """Take an answer whose last block has a commit certificate that verifies."""
        state = self._state
        chain = (*self._staged, *blocks) if wanted is self._ranges[0] else blocks
        last = blocks[-1].header
        if (
            not are_linked(chain)
            or certificate.kind is not VoteKind.COMMIT
            or certificate.view != last.view
            or certificate.block_id != last.block_id
            or last.view <= state.log.final_view
            or not self._tally.learn(certificate, peer, relay=False)
        ):
            self._refuse(peer, wanted, "unproven_blocks")
            return
        if wanted is self._ranges[0]:
            self._staged.clear()
        wanted.blocks, wanted.source = chain, peer
        wanted.first = chain[0].header.height
        if last.height < wanted.last and last.height < state.parameters.epoch_end_height:
            # As much as fitted into a message; the rest is a range of its own.
            at = self._ranges.index(wanted)
            rest = _Range(last.height + 1, wanted.last, state.now_ms, state.now_ms)
            self._ranges.insert(at + 1, rest)
        wanted.last = last.height

    def _refuse(self, peer: int, wanted: _Range, code: str) -> None:
        """Drop a wrong answer, avoid who gave it, and ask somebody else at once."""
        state = self._state
        state.emit(ReportPeer(peer, code))
        state.peers.avoid(peer, state.now_ms + 2 * state.parameters.request_timeout_ms)
        if wanted is self._ranges[0]:
            self._begin_front_again(wanted)
        wanted.due_ms = state.now_ms

    def _begin_front_again(self, front: _Range) -> None:
        """Drop what was staged, and let the front begin where it did."""
        if self._staged:
            self._staged.clear()
            front.first = self._next_height()
            front.last = front.first + BLOCKS_PER_RESPONSE_MAX - 1

    def _join(self) -> Block | None:
        """Hand on every proven answer at the front; return the end of a fork if that is one."""
        state = self._state
        while self._ranges and self._ranges[0].blocks:
            front = self._ranges[0]
            first, last = front.blocks[0].header, front.blocks[-1]
            if first.parent_id != self._base().block_id:
                self.stop()
                return last
            for block in front.blocks:
                if state.tree.find(block.block_id) is None:
                    pre_prepare = PrePrepare(block.header, block.body, None, (), _NO_SIGNATURE)
                    state.tree.insert(BlockEntry(pre_prepare, source=front.source))
            state.tree.mark_certified(last.block_id)
            self._joined = last.header
            del self._ranges[0]
        return None


def are_linked(blocks: tuple[Block, ...]) -> bool:
    """Say whether each block names the one before it as its parent, one height below."""
    return all(
        child.header.parent_id == parent.block_id
        and child.header.height == parent.header.height + 1
        for parent, child in pairwise(blocks)
    )
