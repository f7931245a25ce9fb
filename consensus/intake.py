"""What peers say: screening, verifying, remembering.

Cheap checks come first, duplicates are dropped before a signature is looked at, and nothing here
raises on anything a peer sends. Source: docs/spec/consensus.md §3 and §4.
"""

from __future__ import annotations

from consensus.actions import ReportEvidence, ReportPeer
from consensus.blocks import BlockEntry
from consensus.catch_up import CatchUp
from consensus.evidence import Evidence, EvidenceKind, SignedHeader
from consensus.messages import CertificateBatch, PrePrepare, Vote, proposal_signing_bytes
from consensus.parameters import VIEW_WINDOW
from consensus.probation import Probation
from consensus.state import State
from consensus.tally import Tally
from consensus.views import Views
from primitives.certificates import Certificate, Verifier, VoteKind
from primitives.hashing import ZERO_HASH
from primitives.header import BlockHeader

__all__ = ["Intake"]


class Intake:
    """Takes in proposals, votes and certificates.

    Parameters
    ----------
    state, tally, views, catch_up, probation : parts of the core.
    verify : the signature check, for proposals.
    """

    def __init__(
        self,
        state: State,
        tally: Tally,
        views: Views,
        catch_up: CatchUp,
        probation: Probation,
        verify: Verifier,
    ) -> None:
        self._state = state
        self._tally = tally
        self._views = views
        self._catch_up = catch_up
        self._probation = probation
        self._verify = verify

    def on_vote(self, peer: int, vote: Vote) -> None:
        """Take in one vote."""
        state = self._state
        if vote.validator >= state.validators.count:
            state.emit(ReportPeer(peer, "unknown_validator"))
            return
        oldest = max(state.log.oldest_view, state.view - VIEW_WINDOW)
        if not oldest < vote.view <= state.view + VIEW_WINDOW or state.log.holds_vote(vote):
            return
        if not state.log.is_genuine_vote(vote):
            state.emit(ReportPeer(peer, "bad_signature"))
            return
        self._probation.on_vote(vote)
        self._tally.count(vote)

    def on_certificate(self, peer: int, certificate: Certificate) -> None:
        """Take in a certificate that a peer has just learnt."""
        self._tally.learn(certificate, peer, relay=True)

    def on_batch(self, peer: int, batch: CertificateBatch) -> None:
        """Take in certificates that we lacked; all of the network has them, so no relay."""
        for certificate in batch.certificates:
            if not self._tally.learn(certificate, peer, relay=False):
                return

    def on_pre_prepare(self, peer: int, pre_prepare: PrePrepare) -> None:
        """Take in a proposal, or a block that a certificate names."""
        state = self._state
        header = pre_prepare.header
        if state.is_halted:
            # Nothing becomes final here any more, so nothing would ever be dropped again.
            return
        if not self._is_acceptable(pre_prepare):
            state.emit(ReportPeer(peer, "unacceptable_proposal"))
            return
        if not state.log.final_view < header.view <= state.view + VIEW_WINDOW:
            return
        if state.tree.find(header.block_id) is not None:
            return
        if state.log.get_block_certificate(header.view, header.block_id) is not None:
            # The quorum has judged it: a late body is as good from anyone.
            self._look_for_rival(pre_prepare)
            self._catch_up.on_block(peer, pre_prepare)
        elif peer == header.proposer:
            self._on_proposal(peer, pre_prepare)

    def _look_for_rival(self, pre_prepare: PrePrepare) -> None:
        """Report a leader who had shown us another block before the one that was prepared."""
        known = self._state.log.find(pre_prepare.header.view)
        first = None if known is None else known.proposal
        if first is None or first.header.block_id == pre_prepare.block_id:
            return
        public_key = self._state.validators.public_key(pre_prepare.header.proposer)
        message = proposal_signing_bytes(pre_prepare.block_id)
        if self._verify(public_key, message, pre_prepare.signature):
            second = SignedHeader(pre_prepare.header, pre_prepare.signature)
            self._report_double_proposal(first, second)

    def _on_proposal(self, peer: int, pre_prepare: PrePrepare) -> None:
        state = self._state
        header = pre_prepare.header
        known = state.log.find(header.view)
        first = None if known is None else known.proposal
        if first is not None and first.header.block_id == header.block_id:
            return
        public_key = state.validators.public_key(header.proposer)
        message = proposal_signing_bytes(header.block_id)
        if not self._verify(public_key, message, pre_prepare.signature):
            state.emit(ReportPeer(peer, "bad_signature"))
            return
        signed = SignedHeader(header, pre_prepare.signature)
        if first is not None:
            self._report_double_proposal(first, signed)
            return
        if not self._learn_justification(peer, pre_prepare):
            return
        self._views.enter()
        if header.view == state.view and header.view > state.log.final_view:
            state.log.record(header.view).proposal = signed
            state.pacemaker.proposal_seen = True
            state.leaders.clear(header.proposer, header.view)
            state.tree.insert(BlockEntry(pre_prepare, source=peer))

    def _learn_justification(self, peer: int, pre_prepare: PrePrepare) -> bool:
        parent = pre_prepare.parent_certificate
        if parent is not None and not self._tally.learn(parent, peer, relay=False):
            return False
        return all(
            self._tally.learn(certificate, peer, relay=False)
            for certificate in pre_prepare.view_change_certificates
        )

    def _report_double_proposal(self, first: SignedHeader, second: SignedHeader) -> None:
        header = first.header
        record = self._state.log.record(header.view)
        key = (header.proposer, int(EvidenceKind.DOUBLE_PROPOSAL))
        if key not in record.reported:
            record.reported.add(key)
            evidence = Evidence(
                EvidenceKind.DOUBLE_PROPOSAL,
                header.proposer,
                header.epoch,
                header.view,
                first,
                second,
            )
            self._state.emit(ReportEvidence(evidence))

    def _is_acceptable(self, pre_prepare: PrePrepare) -> bool:
        """Check what needs neither signatures nor other blocks."""
        state = self._state
        header = pre_prepare.header
        return (
            _is_of_this_chain(header, state)
            and header.proposer == state.leaders.leader(header.view)
            and _is_fit_for_epoch(header, state)
            and header.parent_view < header.view
            and len(pre_prepare.body) <= state.parameters.body_bytes_max
            and _is_justification(pre_prepare)
        )


def _is_of_this_chain(header: BlockHeader, state: State) -> bool:
    parameters = state.parameters
    return (
        header.chain_id == parameters.chain_id
        and header.protocol_version == parameters.protocol_version
    )


def _is_fit_for_epoch(header: BlockHeader, state: State) -> bool:
    """Check that the last block of the epoch, and no other, names the next set; tails are empty."""
    names_next_set = header.next_validators_hash != ZERO_HASH
    return names_next_set == state.parameters.is_epoch_end(header.height) and (
        header.height <= state.parameters.epoch_end_height or state.tree.is_empty(header)
    )


def _is_justification(pre_prepare: PrePrepare) -> bool:
    """Check that the certificates are of the kinds and views that a justification has."""
    header = pre_prepare.header
    parent = pre_prepare.parent_certificate
    if parent is not None and (
        parent.kind is VoteKind.VIEW_CHANGE
        or parent.view != header.parent_view
        or parent.block_id != header.parent_id
    ):
        return False
    previous = header.parent_view
    for certificate in pre_prepare.view_change_certificates:
        if certificate.kind is not VoteKind.VIEW_CHANGE or certificate.view <= previous:
            return False
        previous = certificate.view
    return previous < header.view
