"""From a certified block to a final one: judging, executing, committing, finalizing.

Source: docs/spec/consensus.md §5.
"""

from __future__ import annotations

from consensus.actions import (
    DiscardBlocks,
    ExecuteBlock,
    FinalizeBlocks,
    PruneRecords,
    ValidateBlock,
)
from consensus.blocks import BlockEntry, Judgement
from consensus.catch_up import CatchUp
from consensus.events import BlockExecuted, BlockValidated, Verdict
from consensus.proposals import Proposals
from consensus.state import State
from consensus.tally import Tally
from primitives.certificates import Certificate, VoteKind

__all__ = ["Finality"]


class Finality:
    """Brings blocks to an end.

    Parameters
    ----------
    state, tally, proposals, catch_up : parts of the core.
    """

    def __init__(self, state: State, tally: Tally, proposals: Proposals, catch_up: CatchUp) -> None:
        self._state = state
        self._tally = tally
        self._proposals = proposals
        self._catch_up = catch_up

    def judge(self) -> bool:
        """Hand certified blocks to the driver, parents first; say whether any was."""
        state = self._state
        asked = False
        for entry in state.tree.unsettled.values():
            if (
                entry.certified
                and entry.judgement is Judgement.UNKNOWN
                and state.now_ms >= entry.retry_at_ms
                and self._is_parent(entry, Judgement.VALID)
            ):
                entry.judgement = Judgement.ASKED
                state.emit(ValidateBlock(entry.pre_prepare.block, certified=True))
                asked = True
        return asked

    def on_validated(self, event: BlockValidated) -> None:
        """Take the driver's verdict on a block."""
        state = self._state
        entry = state.tree.find(event.block_id)
        if entry is None or entry.judgement is not Judgement.ASKED:
            return
        if event.verdict is Verdict.VALID:
            entry.judgement = Judgement.VALID
            return
        entry.judgement = Judgement.UNKNOWN
        if event.verdict is Verdict.RETRY:
            entry.retry_at_ms = state.now_ms + state.parameters.validate_retry_ms
        elif entry.certified:
            self._catch_up.on_refused(entry)
        else:
            self._proposals.refuse(entry)

    def execute(self) -> bool:
        """Have blocks executed that are prepared here or certified; say whether any was."""
        tree = self._state.tree
        ready: list[BlockEntry] = []
        for block_id, entry in list(tree.unsettled.items()):
            if (
                entry.judgement is Judgement.VALID
                and (entry.prepared_here or entry.certified)
                and self._is_parent_executing(entry)
            ):
                entry.execution_requested = True
                del tree.unsettled[block_id]
                ready.append(entry)
        for entry in ready:
            self._state.emit(ExecuteBlock(entry.pre_prepare.block))
        return bool(ready)

    def on_executed(self, event: BlockExecuted) -> None:
        """Take the state root of a block."""
        entry = self._state.tree.find(event.block_id)
        if entry is not None and entry.execution_requested and entry.state_root is None:
            entry.state_root = event.state_root
            self._tally.compare_roots(entry.header.view, event.block_id)

    def commit(self) -> bool:
        """Send COMMITs for prepared and executed blocks; say whether any was sent."""
        state = self._state
        if not state.safety.is_on:
            return False
        sent = False
        for view in tuple(state.log.prepared_views):
            certificate = state.log.get_certificate(VoteKind.PREPARE, view)
            entry = None if certificate is None else state.tree.find(certificate.block_id)
            if certificate is not None and entry is not None and entry.state_root is not None:
                sent |= self._send_commit(certificate, entry, entry.state_root)
        return sent

    def finalize(self) -> bool:
        """Make the highest block final that can be; say whether any was."""
        state = self._state
        if state.is_halted:
            return False
        for view in sorted(state.log.committed_views, reverse=True):
            certificate = state.log.get_certificate(VoteKind.COMMIT, view)
            chain = None if certificate is None else state.tree.get_chain(certificate.block_id)
            if certificate is None or not chain or chain[-1].state_root is None:
                continue
            if chain[-1].state_root != certificate.state_root:
                self._report_divergence(certificate, chain[-1].state_root)
                return False
            self._finalize_chain(chain, certificate)
            return True
        return False

    def _finalize_chain(self, chain: list[BlockEntry], certificate: Certificate) -> None:
        state = self._state
        discarded = state.tree.finalize(chain)
        state.final_certificate = certificate
        state.log.set_final(certificate.view)
        state.safety.raise_floor(certificate.view)
        state.pacemaker.note_progress()
        self._proposals.reconsider()
        if state.tree.final.height >= state.parameters.epoch_end_height:
            state.is_epoch_over = True
            state.update_signing()
        state.emit(FinalizeBlocks(tuple(each.pre_prepare.block for each in chain), certificate))
        if discarded:
            state.emit(DiscardBlocks(discarded))
        state.emit(PruneRecords(certificate.view + 1))

    def _report_divergence(self, certificate: Certificate, state_root: bytes) -> None:
        self._state.halt(
            "diverged",
            f"a quorum executed block {certificate.block_id.hex()} of view {certificate.view} to "
            f"state root {certificate.state_root.hex()}, this node to {state_root.hex()}",
        )

    def _send_commit(self, certificate: Certificate, entry: BlockEntry, state_root: bytes) -> bool:
        state = self._state
        if state.safety.get_vote(VoteKind.COMMIT, certificate.view) is not None:
            return False
        blocks = [
            each for each in state.tree.get_chain(entry.header.block_id) or () if not each.durable
        ]
        signed = state.safety.sign_commit(
            certificate, state_root, [each.pre_prepare for each in blocks]
        )
        if signed is None:
            return False
        for each in blocks:
            each.durable = True
        self._tally.cast(signed)
        return True

    def _is_parent(self, entry: BlockEntry, judgement: Judgement) -> bool:
        parent_id = entry.header.parent_id
        if self._state.tree.is_final_tip(parent_id):
            return True
        parent = self._state.tree.find(parent_id)
        return parent is not None and parent.judgement is judgement

    def _is_parent_executing(self, entry: BlockEntry) -> bool:
        parent_id = entry.header.parent_id
        if self._state.tree.is_final_tip(parent_id):
            return True
        parent = self._state.tree.find(parent_id)
        return parent is not None and parent.execution_requested
