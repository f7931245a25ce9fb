"""The one place that may allow a signature.

Every rule is checked against what this validator has signed before, which survives restarts
because each permission comes with the record to persist before the signature leaves:

S1  at most one proposal per view;
S2  at most one PREPARE per view;
S3  at most one COMMIT per view, and only upon a prepared certificate;
S4  never both a COMMIT and a VIEW-CHANGE in a view;
S5  nothing for a view at or below the last final block's: records of those may be gone;
S6  nothing while switched off (behind, diverged, memory lost, or not a validator).

To say again what was said is not signing: `get_vote` and `get_proposal` return the same bytes.
Source: docs/spec/consensus.md §7.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from consensus.actions import Persist
from consensus.errors import ContradictoryRecordsError
from consensus.messages import PrePrepare, Vote, proposal_signing_bytes
from consensus.records import encode_record
from primitives.certificates import Certificate, VoteKind, vote_signing_bytes
from primitives.errors import InvariantViolationError
from primitives.hashing import ZERO_HASH
from primitives.header import BlockHeader

__all__ = ["SafetyGuard", "Signer"]

Signer = Callable[[bytes], bytes]
"""Signs 32 bytes with the validator key; deterministic, so it may be called again in a replay."""


class SafetyGuard:
    """What this validator has signed, and what it still may sign.

    Parameters
    ----------
    chain_id : the genesis hash.
    epoch : goes into every vote.
    own_index : index of this validator; None for an observer.
    signer : of the validator key; None for an observer.
    floor_view : view of the last final block.

    Notes
    -----
    Memory: one proposal and three votes per view above the floor that this validator took part in.
    """

    def __init__(
        self,
        chain_id: bytes,
        epoch: int,
        own_index: int | None,
        signer: Signer | None,
        floor_view: int,
    ) -> None:
        if (own_index is None) != (signer is None):
            raise InvariantViolationError("a validator needs a signer, an observer has none")
        self._chain_id = chain_id
        self._epoch = epoch
        self._own_index = own_index
        self._signer = signer
        self._floor_view = floor_view
        self._votes: dict[VoteKind, dict[int, Vote]] = {kind: {} for kind in VoteKind}
        self._proposals: dict[int, PrePrepare] = {}
        self.is_on = signer is not None

    @property
    def floor_view(self) -> int:
        """Highest view for which nothing is signed any more."""
        return self._floor_view

    @property
    def vote_count(self) -> int:
        """How many own votes are remembered."""
        return sum(len(votes) for votes in self._votes.values())

    def switch(self, *, on: bool) -> None:
        """Allow or stop signing (S6); an observer stays off."""
        self.is_on = on and self._signer is not None

    def restore(self, vote: Vote) -> None:
        """Take back a vote out of a record.

        Raises
        ------
        ContradictoryRecordsError
            If another record contradicts it: two processes shared the key or the log.
        """
        held = self.get_vote(vote.kind, vote.view)
        opposite = _OPPOSITES.get(vote.kind)
        if (held is not None and held != vote) or (
            opposite is not None and vote.view in self._votes[opposite]
        ):
            raise ContradictoryRecordsError(f"records hold contradicting votes in view {vote.view}")
        if vote.view > self._floor_view:
            self._votes[vote.kind][vote.view] = vote

    def restore_proposal(self, pre_prepare: PrePrepare) -> None:
        """Take back an own proposal out of a record; raises as `restore` does."""
        view = pre_prepare.header.view
        held = self._proposals.get(view)
        if held is not None and held.block_id != pre_prepare.block_id:
            raise ContradictoryRecordsError(f"records hold two own proposals for view {view}")
        if view > self._floor_view:
            self._proposals[view] = pre_prepare

    def raise_floor(self, view: int) -> None:
        """Stop signing for views up to this one for good (S5)."""
        if view <= self._floor_view:
            return
        self._floor_view = view
        for votes in self._votes.values():
            for old in [each for each in votes if each <= view]:
                del votes[old]
        for old in [each for each in self._proposals if each <= view]:
            del self._proposals[old]

    def get_vote(self, kind: VoteKind, view: int) -> Vote | None:
        """Return the vote that was cast, to be sent again."""
        return self._votes[kind].get(view)

    def get_proposal(self, view: int) -> PrePrepare | None:
        """Return the proposal that was made, to be sent again."""
        return self._proposals.get(view)

    def find_highest_commit(self) -> Vote | None:
        """Return the COMMIT of the highest view above the floor."""
        commits = self._votes[VoteKind.COMMIT]
        return commits[max(commits)] if commits else None

    def sign_proposal(
        self,
        header: BlockHeader,
        body: bytes,
        parent_certificate: Certificate | None,
        view_change_certificates: tuple[Certificate, ...],
        ancestors: Sequence[PrePrepare] = (),
    ) -> tuple[PrePrepare, Persist] | None:
        """Sign a proposal, unless a rule forbids it.

        Parameters
        ----------
        header, body : the block.
        parent_certificate, view_change_certificates : what justifies it.
        ancestors : proposals that no record holds yet, ascending.

        Returns
        -------
        proposal, record
            The record goes to disk before the proposal leaves. None if it was refused.
        """
        view = header.view
        if self._signer is None or not self._may_sign(view) or view in self._proposals:
            return None
        if header.proposer != self._own_index:
            raise InvariantViolationError("a proposal names another proposer than its signer")
        signature = self._signer(proposal_signing_bytes(header.block_id))
        pre_prepare = PrePrepare(
            header, body, parent_certificate, view_change_certificates, signature
        )
        self._proposals[view] = pre_prepare
        return pre_prepare, Persist(encode_record(None, (), (*ancestors, pre_prepare)), view)

    def sign_prepare(
        self, pre_prepare: PrePrepare, blocks: Sequence[PrePrepare]
    ) -> tuple[Vote, Persist] | None:
        """Sign a PREPARE for a valid proposal.

        Parameters
        ----------
        pre_prepare : what to prepare.
        blocks : proposals that no record holds yet: ancestors, ascending, and this one.

        Returns
        -------
        vote, record
            The record goes to disk before the vote leaves. None if a rule forbids the vote.
        """
        view = pre_prepare.header.view
        return self._sign(VoteKind.PREPARE, view, pre_prepare.block_id, ZERO_HASH, (), blocks)

    def sign_commit(
        self, prepared: Certificate, state_root: bytes, blocks: Sequence[PrePrepare]
    ) -> tuple[Vote, Persist] | None:
        """Sign a COMMIT for a prepared block.

        Parameters
        ----------
        prepared : its prepared certificate, which says view and block.
        state_root : the root after executing it here, 32 bytes.
        blocks : as in `sign_prepare`.
        """
        if prepared.kind is not VoteKind.PREPARE:
            raise InvariantViolationError("a COMMIT rests on a prepared certificate")
        return self._sign(
            VoteKind.COMMIT, prepared.view, prepared.block_id, state_root, (prepared,), blocks
        )

    def sign_view_change(
        self, view: int, certificates: Sequence[Certificate]
    ) -> tuple[Vote, Persist] | None:
        """Sign a VIEW-CHANGE.

        Parameters
        ----------
        view : the view to give up.
        certificates : those that let this validator enter it.
        """
        return self._sign(VoteKind.VIEW_CHANGE, view, ZERO_HASH, ZERO_HASH, certificates, ())

    def _sign(
        self,
        kind: VoteKind,
        view: int,
        block_id: bytes,
        state_root: bytes,
        certificates: Sequence[Certificate],
        blocks: Sequence[PrePrepare],
    ) -> tuple[Vote, Persist] | None:
        opposite = _OPPOSITES.get(kind)
        if (
            self._signer is None
            or self._own_index is None
            or not self._may_sign(view)
            or view in self._votes[kind]
            or (opposite is not None and view in self._votes[opposite])
        ):
            return None
        message = vote_signing_bytes(self._chain_id, self._epoch, kind, view, block_id, state_root)
        vote = Vote(
            kind, self._epoch, view, block_id, state_root, self._own_index, self._signer(message)
        )
        self._votes[kind][view] = vote
        return vote, Persist(encode_record(vote, certificates, blocks), view)

    def _may_sign(self, view: int) -> bool:
        return self.is_on and view > self._floor_view


_OPPOSITES = {VoteKind.COMMIT: VoteKind.VIEW_CHANGE, VoteKind.VIEW_CHANGE: VoteKind.COMMIT}
