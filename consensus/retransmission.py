"""Saying things again, and answering those who lag.

Links lose messages, so whoever is stuck repeats its votes and its STATUS; whoever is further
answers a STATUS with the certificates that the other lacks. That is all the recovery that short
gaps need. Source: docs/spec/consensus.md §7.
"""

from __future__ import annotations

from consensus.actions import Broadcast, Send, ServeBlocks
from consensus.blocks import Judgement
from consensus.messages import (
    BlockRequest,
    BlockResponse,
    BlocksRequest,
    CertificateBatch,
    CertificateMessage,
    Message,
    Status,
)
from consensus.parameters import CERTIFICATES_PER_MESSAGE_MAX
from consensus.state import State
from primitives.certificates import Certificate, VoteKind

__all__ = ["Retransmission"]


class Retransmission:
    """Repeats and answers.

    Parameters
    ----------
    state : shared by the parts of the core.
    """

    def __init__(self, state: State) -> None:
        self._state = state

    def run(self) -> bool:
        """Say again what matters if it is time; False, since nothing else follows at once."""
        state = self._state
        if state.now_ms < state.pacemaker.retransmit_at_ms:
            return False
        state.pacemaker.note_retransmission(state.now_ms)
        if state.pacemaker.work_since_ms is not None:
            for message in self.collect():
                state.emit(Broadcast(message))
            self._repeat_proposal()
        state.emit(Broadcast(self.make_status()))
        return False

    def announce(self, peer: int) -> None:
        """Say to a peer that has just connected what it may have missed."""
        state = self._state
        for message in self.collect():
            state.emit(Send(peer, message))
        proposal = state.safety.get_proposal(state.view)
        if proposal is not None:
            state.emit(Send(peer, proposal))
        state.emit(Send(peer, self.make_status()))

    def make_status(self) -> Status:
        """Return how far this node is."""
        state = self._state
        first = state.log.compute_first_uncertified_view(state.view)
        height = min(state.tree.final.height, state.parameters.epoch_end_height)
        return Status(state.parameters.epoch, state.view, height, min(first, state.view))

    def on_status(self, peer: int, status: Status) -> None:
        """Answer a peer that lacks certificates; ask one that has more."""
        state = self._state
        own = self.make_status()
        lacks = (
            status.final_height < own.final_height
            or status.view < own.view
            or status.first_uncertified_view < own.first_uncertified_view
        )
        leads = status.final_height > own.final_height or status.view > own.view
        if not (lacks or leads) or not state.peers.may_answer(peer, state.now_ms):
            return
        if lacks:
            certificates = self._collect_lacking(status)
            if certificates:
                state.emit(Send(peer, CertificateBatch(certificates)))
        if leads:
            state.emit(Send(peer, own))

    def on_block_request(self, peer: int, request: BlockRequest) -> None:
        """Give an unfinal block; if it is final here, say so by certificate."""
        state = self._state
        entry = state.tree.find(request.block_id)
        if entry is not None and entry.judgement is Judgement.VALID:
            state.emit(Send(peer, BlockResponse(entry.pre_prepare)))
        elif entry is None and state.final_certificate is not None:
            state.emit(Send(peer, CertificateBatch((state.final_certificate,))))

    def on_blocks_request(self, peer: int, request: BlocksRequest) -> None:
        """Have final blocks sent, or say that there are none."""
        self._state.emit(ServeBlocks(peer, request.from_height, request.count))

    def collect(self) -> list[Message]:
        """Return own votes that are not history, and the certificates by which we came here."""
        state = self._state
        messages: list[Message] = []
        entered = state.log.find(state.view - 1)
        if entered is not None:
            messages += [CertificateMessage(each) for each in entered.certificates.values()]
        votes = (
            state.safety.find_highest_commit(),
            state.safety.get_vote(VoteKind.PREPARE, state.view),
            state.safety.get_vote(VoteKind.VIEW_CHANGE, state.view),
        )
        messages += [vote for vote in votes if vote is not None]
        return messages

    def _repeat_proposal(self) -> None:
        """Send our proposal again to the validators that have not prepared it."""
        state = self._state
        proposal = state.safety.get_proposal(state.view)
        if proposal is None:
            return
        for validator in range(state.validators.count):
            if validator != state.own_index and not state.log.has_voted(
                VoteKind.PREPARE, state.view, validator
            ):
                state.emit(Send(validator, proposal))

    def _collect_lacking(self, status: Status) -> tuple[Certificate, ...]:
        state = self._state
        certificates: list[Certificate] = []
        if status.final_height < state.tree.final.height and state.final_certificate is not None:
            certificates.append(state.final_certificate)
        first = max(status.first_uncertified_view, state.log.final_view + 1)
        last = min(state.view, first + CERTIFICATES_PER_MESSAGE_MAX - 1)
        for view in range(first, last):
            certificate = self._pick(view)
            if certificate is not None:
                certificates.append(certificate)
        return tuple(certificates)

    def _pick(self, view: int) -> Certificate | None:
        record = self._state.log.find(view)
        if record is None:
            return None
        return record.block_certificate or record.certificates.get(VoteKind.VIEW_CHANGE)
