"""Getting blocks that others have and we lack, and switching back by itself.

Two ways. A block that a prepared certificate names is fetched by its id, and then its parent, up
to the last final block. When a commit certificate names a block that does not hang from our last
final one, we are behind: final blocks are fetched by height (`consensus.block_sync`), and nothing
is signed until the gap is closed.

What peers claim about their height is never acted upon; only certificates are.
Source: docs/spec/consensus.md §7.
"""

from __future__ import annotations

from dataclasses import dataclass

from consensus.actions import Broadcast, RaiseAlarm, ReportPeer, Send
from consensus.block_sync import BlockSync
from consensus.blocks import BlockEntry
from consensus.messages import (
    BlockRequest,
    BlocksResponse,
    CertificateMessage,
    PrePrepare,
)
from consensus.state import State
from consensus.tally import Tally
from primitives.certificates import Certificate, VoteKind

__all__ = ["CatchUp"]


@dataclass(slots=True)
class _Request:
    """A block that is missing, and when to ask (the next peer) for it."""

    block_id: bytes
    due_ms: int


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
        self._sync = BlockSync(state, tally)
        # The certified block whose body the driver refused last, and from whom it came.
        self._refused_id = b""
        self._refused_from: set[int | None] = set()

    @property
    def deadline_ms(self) -> int | None:
        """When a request is due; None if nothing is missing."""
        dues = [None if self._fetch is None else self._fetch.due_ms, self._sync.deadline_ms]
        known = [due for due in dues if due is not None]
        return min(known) if known else None

    def update(self) -> bool:
        """Find out what is missing and ask for it; False, since nothing else follows at once."""
        state = self._state
        target = self._find_target()
        state.is_behind = self._sync.is_joining or target is not None
        state.update_signing()
        if target is None:
            self._sync.stop()
            self._ask_for_block(None if state.is_behind else self._find_wanted())
        else:
            self._fetch = None
            self._sync.ask()
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
        """Take final blocks that we asked this peer for."""
        passed_by = self._sync.on_response(peer, response)
        if passed_by is not None:
            self._report_fork(passed_by.block_id)

    def on_refused(self, entry: BlockEntry) -> None:
        """Drop the body that does not belong to a certified header, and try another peer."""
        state = self._state
        block_id = entry.header.block_id
        if entry.source is not None:
            state.emit(ReportPeer(entry.source, "wrong_body"))
        state.tree.remove(block_id)
        if block_id != self._refused_id:
            self._refused_id = block_id
            self._refused_from = set()
        # One peer may send its wrong body as often as it likes.
        is_new = entry.source not in self._refused_from
        self._refused_from.add(entry.source)
        if is_new and len(self._refused_from) == state.validators.faults_max + 1:
            state.emit(
                RaiseAlarm(
                    "certified_block_refused",
                    f"block {block_id.hex()} is certified but its bodies from "
                    f"{len(self._refused_from)} peers were refused here",
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
            peer = state.peers.choose(state.now_ms)
            if peer is not None:
                state.emit(Send(peer, BlockRequest(block_id)))
