"""Votes and certificates by view: counting, forming, verifying, and finding contradictions.

Memory: at most one vote per validator, kind and view; votes are kept for `VIEW_WINDOW` views
around the current one, certificates from `VIEW_WINDOW` views below the last final one upwards.
Certificates above the last final view are not bounded by number, because a leader may need each
of them to justify a gap; it takes a quorum and, after the first few, ten seconds to make one.
Source: docs/spec/consensus.md §4.
"""

from __future__ import annotations

from consensus.evidence import Evidence, SignedHeader, find_vote_conflict
from consensus.messages import Vote
from consensus.parameters import VIEW_WINDOW
from primitives.certificates import Certificate, Verifier, VoteKind, verify_certificate
from primitives.validator_set import ValidatorSet

__all__ = ["ViewRecord", "VoteLog"]


class ViewRecord:
    """All that is known of one view.

    Attributes
    ----------
    proposal : the first proposal of the leader that was seen, without its body.
    refused : that proposal can never be prepared.
    votes : by kind, then by validator.
    certificates : by kind.
    reported : (validator, kind of evidence) already reported, at most 4 per validator.
    divergence_reported : an alarm about differing state roots was raised.
    """

    __slots__ = (
        "certificates",
        "divergence_reported",
        "proposal",
        "refused",
        "reported",
        "votes",
    )

    def __init__(self) -> None:
        self.proposal: SignedHeader | None = None
        self.refused = False
        self.votes: dict[VoteKind, dict[int, Vote]] = {kind: {} for kind in VoteKind}
        self.certificates: dict[VoteKind, Certificate] = {}
        self.reported: set[tuple[int, int]] = set()
        self.divergence_reported = False

    @property
    def is_certified(self) -> bool:
        """Whether any certificate allows the next view to be entered."""
        return bool(self.certificates)

    @property
    def block_certificate(self) -> Certificate | None:
        """A certificate that allows the view's block to be built on."""
        certificates = self.certificates
        return certificates.get(VoteKind.PREPARE) or certificates.get(VoteKind.COMMIT)

    def contradicts(self, certificate: Certificate) -> bool:
        """Say whether no correct quorum can have made this certificate beside those held."""
        return any(_are_contradictory(held, certificate) for held in self.certificates.values())


class VoteLog:
    """The views around the current one.

    Parameters
    ----------
    validators : who may vote.
    chain_id : the genesis hash.
    verify : the signature check.
    final_view : view of the last final block.
    """

    def __init__(
        self, validators: ValidatorSet, chain_id: bytes, verify: Verifier, final_view: int
    ) -> None:
        self._validators = validators
        self._chain_id = chain_id
        self._verify = verify
        self._records: dict[int, ViewRecord] = {}
        self._index_by_key = {key: index for index, key in enumerate(validators.public_keys)}
        self._votes_floor = final_view - VIEW_WINDOW
        self._first_uncertified = final_view + 1
        self.final_view = final_view
        self.highest_certified_view = final_view
        self.highest_prepared_view = final_view
        # Views above the final one, in the order in which their certificates came.
        self.prepared_views: dict[int, None] = {}
        self.committed_views: dict[int, None] = {}

    @property
    def oldest_view(self) -> int:
        """Lowest view of which anything is still taken."""
        return self.final_view - VIEW_WINDOW

    @property
    def record_count(self) -> int:
        """How many views are remembered."""
        return len(self._records)

    def find(self, view: int) -> ViewRecord | None:
        """Return what is known of a view, if anything is."""
        return self._records.get(view)

    def record(self, view: int) -> ViewRecord:
        """Return what is known of a view, beginning to remember it if need be."""
        record = self._records.get(view)
        if record is None:
            record = self._records[view] = ViewRecord()
        return record

    def get_certificate(self, kind: VoteKind, view: int) -> Certificate | None:
        """Return the certificate of a kind for a view, if it is held."""
        record = self._records.get(view)
        return None if record is None else record.certificates.get(kind)

    def get_block_certificate(self, view: int, block_id: bytes) -> Certificate | None:
        """Return a prepared or commit certificate of a block, if one is held."""
        record = self._records.get(view)
        certificate = None if record is None else record.block_certificate
        return certificate if certificate is not None and certificate.block_id == block_id else None

    def count_votes(self, kind: VoteKind, view: int) -> int:
        """Return how many validators are known to have cast a kind of vote in a view."""
        record = self._records.get(view)
        return 0 if record is None else len(record.votes[kind])

    def has_voted(self, kind: VoteKind, view: int, validator: int) -> bool:
        """Say whether a validator is known to have cast a kind of vote in a view."""
        record = self._records.get(view)
        return record is not None and validator in record.votes[kind]

    def holds_vote(self, vote: Vote) -> bool:
        """Say whether the same vote is here, so that it need not be verified again."""
        record = self._records.get(vote.view)
        held = None if record is None else record.votes[vote.kind].get(vote.validator)
        return (
            held is not None
            and held.block_id == vote.block_id
            and held.state_root == vote.state_root
        )

    def holds_certificate(self, certificate: Certificate) -> bool:
        """Say whether a certificate for the same thing is here."""
        held = self.get_certificate(certificate.kind, certificate.view)
        return (
            held is not None
            and held.block_id == certificate.block_id
            and held.state_root == certificate.state_root
        )

    def is_genuine_vote(self, vote: Vote) -> bool:
        """Check the signature of a vote whose validator index is in range."""
        public_key = self._validators.public_key(vote.validator)
        return self._verify(public_key, vote.signing_bytes(self._chain_id), vote.signature)

    def check_certificate(self, certificate: Certificate) -> None:
        """Verify a certificate; signatures already verified in votes are not verified again.

        Raises
        ------
        InvalidInputError
            As `primitives.certificates.verify_certificate`.
        """
        record = self._records.get(certificate.view)
        votes = {} if record is None else record.votes[certificate.kind]

        def verify_unseen(public_key: bytes, message: bytes, signature: bytes) -> bool:
            held = votes.get(self._index_by_key[public_key])
            if (
                held is not None
                and held.signature == signature
                and held.block_id == certificate.block_id
                and held.state_root == certificate.state_root
            ):
                return True
            return self._verify(public_key, message, signature)

        verify_certificate(certificate, self._validators, self._chain_id, verify_unseen)

    def add_vote(self, vote: Vote) -> tuple[list[Evidence], Certificate | None]:
        """Count a genuine vote.

        Returns
        -------
        evidence, certificate
            Contradictions with the same validator's other votes, each reported once, and the
            certificate if this vote completed one.
        """
        record = self.record(vote.view)
        evidence = self._find_evidence(record, vote)
        votes = record.votes[vote.kind]
        if vote.validator in votes:
            return evidence, None
        votes[vote.validator] = vote
        if vote.kind in record.certificates or len(votes) < self._validators.quorum:
            return evidence, None
        return evidence, self._form_certificate(vote, votes)

    def add_certificate(self, certificate: Certificate) -> list[Evidence]:
        """Keep a verified certificate and the votes in it.

        Returns
        -------
        list of Evidence
            Contradictions between the votes in it and those seen before.
        """
        evidence: list[Evidence] = []
        for validator, signature in zip(certificate.signers, certificate.signatures, strict=True):
            vote = Vote(
                certificate.kind,
                certificate.epoch,
                certificate.view,
                certificate.block_id,
                certificate.state_root,
                validator,
                signature,
            )
            found, _ = self.add_vote(vote)
            evidence.extend(found)
        self.record(certificate.view).certificates.setdefault(certificate.kind, certificate)
        self._note_certificate(certificate)
        return evidence

    def compute_first_uncertified_view(self, current_view: int) -> int:
        """Return the lowest view, above the highest prepared one, without any certificate."""
        view = max(self._first_uncertified, self.highest_prepared_view + 1)
        while view < current_view and self._is_certified(view):
            view += 1
        self._first_uncertified = view
        return view

    def set_final(self, view: int) -> None:
        """Move the last final view up and forget what lies too far below it."""
        self.final_view = view
        self.highest_certified_view = max(self.highest_certified_view, view)
        self.highest_prepared_view = max(self.highest_prepared_view, view)
        for views in (self.prepared_views, self.committed_views):
            for old in [each for each in views if each <= view]:
                del views[old]
        for old in [each for each in self._records if each <= self.oldest_view]:
            del self._records[old]

    def forget_votes(self, current_view: int) -> None:
        """Forget votes, not certificates, of views too far below the current one."""
        floor = current_view - VIEW_WINDOW
        if floor <= self._votes_floor:
            return
        for view, record in self._records.items():
            if self._votes_floor <= view < floor:
                record.votes = {kind: {} for kind in VoteKind}
        self._votes_floor = floor

    def _is_certified(self, view: int) -> bool:
        record = self._records.get(view)
        return record is not None and record.is_certified

    def _note_certificate(self, certificate: Certificate) -> None:
        view = certificate.view
        if view <= self.final_view:
            return
        self.highest_certified_view = max(self.highest_certified_view, view)
        if certificate.kind is VoteKind.VIEW_CHANGE:
            return
        self.highest_prepared_view = max(self.highest_prepared_view, view)
        if certificate.kind is VoteKind.PREPARE:
            self.prepared_views[view] = None
        else:
            self.committed_views[view] = None

    def _form_certificate(self, vote: Vote, votes: dict[int, Vote]) -> Certificate | None:
        agreeing = sorted(
            (
                each
                for each in votes.values()
                if each.block_id == vote.block_id and each.state_root == vote.state_root
            ),
            key=lambda each: each.validator,
        )
        if len(agreeing) < self._validators.quorum:
            return None
        return Certificate(
            vote.kind,
            vote.epoch,
            vote.view,
            vote.block_id,
            vote.state_root,
            tuple(each.validator for each in agreeing),
            tuple(each.signature for each in agreeing),
        )

    def _find_evidence(self, record: ViewRecord, vote: Vote) -> list[Evidence]:
        found: list[Evidence] = []
        for votes in record.votes.values():
            held = votes.get(vote.validator)
            kind = None if held is None else find_vote_conflict(held, vote)
            if held is None or kind is None or (vote.validator, kind) in record.reported:
                continue
            record.reported.add((vote.validator, kind))
            found.append(Evidence(kind, vote.validator, vote.epoch, vote.view, held, vote))
        return found


def _are_contradictory(first: Certificate, second: Certificate) -> bool:
    kinds = (first.kind, second.kind)
    if VoteKind.VIEW_CHANGE in kinds:
        return VoteKind.COMMIT in kinds
    if first.block_id != second.block_id:
        return True
    return first.kind is second.kind and first.state_root != second.state_root
