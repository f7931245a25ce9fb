"""Taking votes and certificates into the log, and what follows from each at once.

What follows: evidence, a certificate that a vote completes, passing a new certificate on once, an
alarm when two certificates contradict each other. Source: docs/spec/consensus.md §4.
"""

from __future__ import annotations

from consensus.actions import Broadcast, Persist, RaiseAlarm, ReportEvidence, ReportPeer
from consensus.evidence import Evidence
from consensus.messages import CertificateMessage, Vote
from consensus.probation import Probation
from consensus.state import State
from primitives.certificates import Certificate, VoteKind
from primitives.errors import InvalidInputError

__all__ = ["Tally"]


class Tally:
    """Counts votes.

    Parameters
    ----------
    state : shared by the parts of the core.
    probation : looks for votes of our own that we do not know.
    """

    def __init__(self, state: State, probation: Probation) -> None:
        self._state = state
        self._probation = probation

    def cast(self, signed: tuple[Vote, Persist]) -> None:
        """Persist, send and count a vote of our own."""
        vote, record = signed
        self._state.emit(record)
        self._state.emit(Broadcast(vote))
        self.count(vote)

    def count(self, vote: Vote) -> None:
        """Count a genuine vote."""
        state = self._state
        evidence, certificate = state.log.add_vote(vote)
        self._report(evidence)
        state.leaders.clear(vote.validator, vote.view)
        if vote.kind is VoteKind.COMMIT:
            self.compare_roots(vote.view, vote.block_id)
        if certificate is not None:
            self._keep(certificate, relay=True)

    def learn(self, certificate: Certificate, peer: int, *, relay: bool) -> bool:
        """Take a certificate from a peer.

        Parameters
        ----------
        certificate : not verified yet.
        peer : who sent it.
        relay : pass it on if it is new.

        Returns
        -------
        bool
            False if it is not a certificate of this epoch.
        """
        state = self._state
        if certificate.epoch != state.parameters.epoch:
            state.emit(ReportPeer(peer, "wrong_epoch"))
            return False
        log = state.log
        if certificate.view <= log.oldest_view or log.holds_certificate(certificate):
            return True
        try:
            log.check_certificate(certificate)
        except InvalidInputError as error:
            state.emit(ReportPeer(peer, error.code))
            return False
        self._probation.on_certificate(certificate)
        self._keep(certificate, relay=relay)
        return True

    def restore(self, certificate: Certificate) -> None:
        """Take back a certificate out of our own records."""
        self._keep(certificate, relay=False)

    def compare_roots(self, view: int, block_id: bytes) -> None:
        """Raise an alarm if a correct validator reached another state root than we did."""
        state = self._state
        entry = state.tree.find(block_id)
        record = state.log.find(view)
        if entry is None or entry.state_root is None or record is None:
            return
        differing = [
            vote.validator
            for vote in record.votes[VoteKind.COMMIT].values()
            if vote.block_id == block_id and vote.state_root != entry.state_root
        ]
        if record.divergence_reported or len(differing) <= state.validators.faults_max:
            return
        record.divergence_reported = True
        state.emit(
            RaiseAlarm(
                "state_root_differs",
                f"validators {sorted(differing)} executed block {block_id.hex()} of view {view} "
                f"to another state root than {entry.state_root.hex()}",
            )
        )

    def _keep(self, certificate: Certificate, *, relay: bool) -> None:
        state = self._state
        contradicts = state.log.record(certificate.view).contradicts(certificate)
        self._report(state.log.add_certificate(certificate))
        if contradicts:
            self._report_contradiction(certificate)
        if certificate.kind is not VoteKind.VIEW_CHANGE:
            state.tree.mark_certified(certificate.block_id)
        if relay and not contradicts:
            state.emit(Broadcast(CertificateMessage(certificate)))

    def _report_contradiction(self, certificate: Certificate) -> None:
        """Stop, and show both sides to the others, who may have seen one: that names culprits."""
        state = self._state
        if not state.is_halted:
            held = state.log.record(certificate.view).certificates.values()
            for each in (*held, certificate):
                state.emit(Broadcast(CertificateMessage(each)))
        state.halt(
            "contradicting_certificates",
            f"certificates for view {certificate.view} contradict each other: "
            "more validators are faulty than can be tolerated",
        )

    def _report(self, evidence: list[Evidence]) -> None:
        for each in evidence:
            self._state.emit(ReportEvidence(each))
