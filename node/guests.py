"""Who may read along without being listed: newcomers with an invite.

The network asks here for every stranger that shows an invitation, and again from time to time. An
invite counts until it expires or somebody uses it; from then on it counts for the one that used it,
as long as its request is open. Source: docs/spec/ledger.md §15, docs/spec/p2p.md.
"""

from __future__ import annotations

from collections.abc import Callable

from ledger.changes import Admission
from ledger.errors import TransactionFailedError
from ledger.governance_records import (
    Proposal,
    ProposalStatus,
    decode_proposal,
    decode_used_invite,
    proposal_key,
    used_invite_key,
)
from ledger.invite import decode_invite
from ledger.schema import StateReader
from ledger.transactions.membership import check_invite
from primitives.errors import InvalidInputError

__all__ = ["GuestDoor"]


class GuestDoor:
    """Decides which strangers may read along.

    Parameters
    ----------
    chain_id
        Of our chain.
    state
        The final state.
    read_wall_ms
        The wall clock.
    """

    def __init__(
        self, chain_id: bytes, state: StateReader, read_wall_ms: Callable[[], int]
    ) -> None:
        self._chain_id = chain_id
        self._state = state
        self._read_wall_ms = read_wall_ms

    def admit(self, transport_key: bytes, invitation: bytes) -> None:
        """Let a stranger in, or refuse it.

        Parameters
        ----------
        transport_key
            That it has proven.
        invitation
            Bytes of an invite.

        Raises
        ------
        InvalidInputError
            The invite is malformed or forged, is to another chain, has expired, was used by
            somebody else, or its inviter is no validator any more.
        """
        invite = decode_invite(invitation)
        if invite.chain_id != self._chain_id:
            raise InvalidInputError(
                "wrong_chain",
                f"the invite is to chain {invite.chain_id.hex()}",
                field="hello.invitation",
                value=invite.chain_id.hex(),
                limit=self._chain_id.hex(),
            )
        invite.check()
        used = self._state.get(used_invite_key(invite.invite_id), decode_used_invite)
        if used is not None:
            proposal = self._state.get(proposal_key(used.proposal), decode_proposal)
            if proposal is not None and _is_of(proposal, transport_key):
                return
        try:
            check_invite(self._state, invite, self._read_wall_ms())
        except TransactionFailedError as error:
            raise InvalidInputError(error.code, error.message, field="hello.invitation") from error


def _is_of(proposal: Proposal, transport_key: bytes) -> bool:
    """Say whether a request that is not refused yet is for the node with a key."""
    if proposal.status not in (ProposalStatus.OPEN, ProposalStatus.PASSED):
        return False
    return any(
        isinstance(change, Admission) and change.member.transport_key == transport_key
        for change in proposal.changes
    )
