"""Getting blocks that others have and we lack, and switching back by itself.

Two ways. A block that a prepared certificate names is fetched by its id, and then its parent, up
to the last final block. When a commit certificate names a block that does not hang from our last
final one, we are behind: final blocks are fetched by height, many at a time, each batch proven by
one commit certificate, and nothing is signed until the gap is closed.

What peers claim about their height is never acted upon; only certificates are.
Source: docs/spec/consensus.md §7.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from consensus.actions import Broadcast, RaiseAlarm, ReportPeer, Send
from consensus.blocks import BlockEntry
from consensus.messages import (
    Block,
    BlockRequest,
    BlocksRequest,
    BlocksResponse,
    CertificateMessage,
    PrePrepare,
)
from consensus.parameters import BLOCKS_PER_RESPONSE_MAX
from consensus.state import State
from consensus.tally import Tally
from primitives.certificates import Certificate, VoteKind
from primitives.errors import InvalidInputError
from primitives.header import BlockHeader
from primitives.keys import SIGNATURE_BYTES

__all__ = ["STAGED_BLOCKS_MAX", "CatchUp"]

STAGED_BLOCKS_MAX = 256
"""Blocks received by height and not proven final yet. Their bytes have the bound below."""

STAGED_BYTES_MAX = 64 * 1024 * 1024

_NO_SIGNATURE = bytes(SIGNATURE_BYTES)


@dataclass(slots=True)
class _Request:
    """What is being asked for, and whom we asked last.

    Parameters
    ----------
    block_id : of the block that is missing.
    due_ms : when to ask (the next peer).
    peer : asked and not heard from yet; None if there is no such peer.
    from_height : height of the first block asked for, if blocks are asked for by height.
    """

    block_id: bytes
    due_ms: int
    peer: int | None = None
    from_height: int = 0


class CatchUp:
    """Fetches blocks.

    Parameters
    ----------
    state, tally : parts of the core.
    """

    def __init__(self, state: State, tally: Tally) -> None:
        self._state = state
        self._tally = tally
        self._fetch: _Request | None = None
        self._range: _Request | None = None
        self._staged: list[Block] = []
        # The last block taken from a proven batch.
        self._synced: BlockHeader | None = None
        # The certified block whose body the driver refused last, and from how many peers.
        self._refused_id = b""
        self._refusals = 0

    @property
    def deadline_ms(self) -> int | None:
        """When a request is due; None if nothing is missing."""
        due = [request.due_ms for request in (self._fetch, self._range) if request is not None]
        return min(due) if due else None

    def update(self) -> bool:
        """Find out what is missing and ask for it; False, since nothing else follows at once."""
        state = self._state
        target = self._find_target()
        if self._synced is not None and not self._is_executing(self._synced):
            self._synced = None
        state.is_behind = target is not None or self._synced is not None
        state.update_signing()
        if target is None:
            self._range = None
            self._staged.clear()
            self._ask_for_block(None if state.is_behind else self._find_wanted())
        else:
            self._fetch = None
            self._ask_for_range(target)
        return False

    def on_block(self, peer: int, pre_prepare: PrePrepare) -> None:
        """Take a block whose id is certified, directly or as an ancestor."""
        self._state.tree.insert(BlockEntry(pre_prepare, source=peer, certified=True))

    def on_block_response(self, peer: int, pre_prepare: PrePrepare) -> None:
        """Take the block that we asked for."""
        state = self._state
        header = pre_prepare.header
        if self._fetch is None or header.block_id != self._fetch.block_id:
            return
        if len(pre_prepare.body) > state.parameters.body_bytes_max:
            state.emit(ReportPeer(peer, "too_large"))
            return
        self.on_block(peer, pre_prepare)
        certificate = pre_prepare.parent_certificate
        if certificate is not None and certificate.block_id == header.parent_id:
            self._tally.learn(certificate, peer, relay=False)

    def on_blocks_response(self, peer: int, response: BlocksResponse) -> None:
        """Take a batch that we asked this peer for."""
        request = self._range
        if request is None or request.peer != peer:
            return
        if response.blocks and response.blocks[0].header.height != request.from_height:
            # A late answer to an earlier question; the answer to this one may still come.
            return
        request.peer = None
        request.due_ms = self._state.now_ms
        if not response.blocks:
            self._staged.clear()
            request.due_ms += self._state.parameters.fetch_delay_ms
        elif request.from_height != self._next_height():
            # Blocks became final meanwhile by themselves, so the question has changed.
            self._staged.clear()
        elif not self._stage(response.blocks):
            if self._proves_fork(response):
                self._report_fork(response.blocks[-1].block_id)
            self._refuse_batch(peer, "unlinked_blocks")
        elif response.certificate is not None:
            self._prove(peer, response.certificate)

    def on_refused(self, entry: BlockEntry) -> None:
        """Drop the body that does not belong to a certified header, and try another peer."""
        state = self._state
        block_id = entry.header.block_id
        if entry.source is not None:
            state.emit(ReportPeer(entry.source, "wrong_body"))
        state.tree.remove(block_id)
        self._refusals = self._refusals + 1 if block_id == self._refused_id else 1
        self._refused_id = block_id
        if self._refusals == state.validators.faults_max + 1:
            state.emit(
                RaiseAlarm(
                    "certified_block_refused",
                    f"block {block_id.hex()} is certified but its bodies from {self._refusals} "
                    "peers were refused here",
                )
            )

    def _find_target(self) -> Certificate | None:
        """Return the highest commit certificate whose block does not hang from our final one."""
        state = self._state
        views = state.log.committed_views
        if not views or state.is_halted:
            return None
        certificate = state.log.get_certificate(VoteKind.COMMIT, max(views))
        if certificate is None or state.tree.get_chain(certificate.block_id) is not None:
            return None
        if state.tree.find_missing(certificate.block_id) is None:
            self._report_fork(certificate.block_id)
            return None
        return certificate

    def _report_fork(self, block_id: bytes) -> None:
        """Stop, and show the others what was final here: next to what they have it is evidence."""
        state = self._state
        if state.final_certificate is not None and not state.is_halted:
            state.emit(Broadcast(CertificateMessage(state.final_certificate)))
        state.halt(
            "fork",
            f"block {block_id.hex()} is committed but does not descend from our final block "
            f"{state.tree.final.block_id.hex()}",
        )

    def _proves_fork(self, response: BlocksResponse) -> bool:
        """Say whether a batch shows a committed chain that passes our final block by.

        The block above our final one names another parent, and a commit certificate that verifies
        stands at the end of what links up from there.
        """
        certificate = response.certificate
        first, last = response.blocks[0].header, response.blocks[-1].header
        if (
            certificate is None
            or certificate.kind is not VoteKind.COMMIT
            or certificate.block_id != last.block_id
            or certificate.epoch != self._state.parameters.epoch
            or first.height != self._state.tree.final.height + 1
            or first.parent_id == self._state.tree.final.block_id
            or not _are_linked(response.blocks)
        ):
            return False
        try:
            self._state.log.check_certificate(certificate)
        except InvalidInputError:
            return False
        return True

    def _find_wanted(self) -> bytes | None:
        """Return the block that is missing below the highest prepared one."""
        state = self._state
        view = state.log.highest_prepared_view
        record = state.log.find(view)
        certificate = None if record is None else record.block_certificate
        if view <= state.log.final_view or certificate is None:
            return None
        return state.tree.find_missing(certificate.block_id)

    def _ask_for_block(self, block_id: bytes | None) -> None:
        state = self._state
        if block_id is None:
            self._fetch = None
            return
        if self._fetch is None or self._fetch.block_id != block_id:
            # The first one may still be under way; the ancestors of a fetched one are not.
            wait = state.parameters.fetch_delay_ms if self._fetch is None else 0
            self._fetch = _Request(block_id, state.now_ms + wait)
        if state.now_ms >= self._fetch.due_ms:
            self._fetch.due_ms = state.now_ms + state.parameters.request_timeout_ms
            peer = state.peers.choose()
            if peer is not None:
                state.emit(Send(peer, BlockRequest(block_id)))

    def _ask_for_range(self, target: Certificate) -> None:
        state = self._state
        if self._range is None:
            wait = 0 if self._synced is not None else state.parameters.fetch_delay_ms
            self._range = _Request(target.block_id, state.now_ms + wait)
        ahead = self._base().height - state.tree.final.height
        request = self._range
        if state.now_ms < request.due_ms or ahead > BLOCKS_PER_RESPONSE_MAX:
            return
        if request.peer is not None:
            # The peer asked last did not answer; what it gave before is not to be trusted more.
            self._staged.clear()
        request.due_ms = state.now_ms + state.parameters.request_timeout_ms
        request.peer = state.peers.choose()
        if request.peer is not None:
            request.from_height = self._next_height()
            wanted = BlocksRequest(request.from_height, BLOCKS_PER_RESPONSE_MAX)
            state.emit(Send(request.peer, wanted))

    def _base(self) -> BlockHeader:
        """Return the header of the last block that is proven and here."""
        return self._state.tree.final if self._synced is None else self._synced

    def _next_height(self) -> int:
        previous = self._staged[-1].header if self._staged else self._base()
        return previous.height + 1

    def _is_executing(self, header: BlockHeader) -> bool:
        """Say whether a block of a proven batch is on its way to finality: not there, not lost."""
        return bool(self._state.tree.get_chain(header.block_id))

    def _stage(self, blocks: tuple[Block, ...]) -> bool:
        previous = self._staged[-1].header if self._staged else self._base()
        size = sum(len(block.body) for block in self._staged)
        for block in blocks:
            header = block.header
            if header.parent_id != previous.block_id or header.height != previous.height + 1:
                return False
            size += len(block.body)
            self._staged.append(block)
            previous = header
        return len(self._staged) <= STAGED_BLOCKS_MAX and size <= STAGED_BYTES_MAX

    def _prove(self, peer: int, certificate: Certificate) -> None:
        state = self._state
        last = self._staged[-1].header
        if (
            certificate.kind is not VoteKind.COMMIT
            or certificate.view != last.view
            or certificate.block_id != last.block_id
            or last.view <= state.log.final_view
            or not self._tally.learn(certificate, peer, relay=False)
        ):
            self._refuse_batch(peer, "unproven_blocks")
            return
        for block in self._staged:
            if state.tree.find(block.block_id) is None:
                pre_prepare = PrePrepare(block.header, block.body, None, (), _NO_SIGNATURE)
                state.tree.insert(BlockEntry(pre_prepare, source=peer))
        state.tree.mark_certified(last.block_id)
        self._staged.clear()
        self._range = None
        self._synced = last

    def _refuse_batch(self, peer: int, code: str) -> None:
        self._staged.clear()
        self._state.emit(ReportPeer(peer, code))


def _are_linked(blocks: tuple[Block, ...]) -> bool:
    return all(
        child.header.parent_id == parent.block_id
        and child.header.height == parent.header.height + 1
        for parent, child in pairwise(blocks)
    )
