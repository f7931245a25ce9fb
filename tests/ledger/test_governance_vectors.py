"""Frozen bytes and hashes of members, changes, proposals and an invite, for other implementations.

``python -m tests.ledger.test_governance_vectors`` writes the file anew; a change of it is a change
of the protocol.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ledger.changes import (
    AccountRecovery,
    Admission,
    Change,
    ParameterChange,
    Reinstatement,
    Removal,
    RoleChange,
    Rotation,
    SuspensionOrder,
    Upgrade,
    compute_changes_hash,
    possession_message,
)
from ledger.governance_records import Proposal, ProposalStatus
from ledger.invite import Invite, invite_to_text
from ledger.members import Member, NodeAddress, Role
from primitives.codec import encode
from tests.helpers.ledger import make_account, make_key

VECTORS = Path(__file__).parents[1] / "vectors" / "governance.json"
CHAIN_ID = bytes(range(32))


def build_vectors() -> dict[str, Any]:
    account, inviter = make_account("newcomer"), make_account("inviter")
    vote, link, observer = make_key("vote"), make_key("link"), make_key("observer")
    member = Member(
        name="Clinic B",
        account=account.id,
        validator_key=vote.public_key,
        transport_key=link.public_key,
        endpoint="b.example:26656",
        contact="ops@b.example",
        roles=Role.VALIDATOR | Role.CONTRIBUTOR,
        observers=(NodeAddress(observer.public_key),),
        accounts=(inviter.id,),
    )
    message = possession_message(CHAIN_ID, account.id, vote.public_key)
    link_message = possession_message(CHAIN_ID, account.id, link.public_key)
    changes: list[Change] = [
        Admission(member, vote.sign(message), link.sign(link_message)),
        Removal(account.id),
        Rotation(account.id, vote.public_key, vote.sign(message)),
        RoleChange(account.id, Role.READER),
        SuspensionOrder(account.id),
        Reinstatement(account.id),
        AccountRecovery(account.id, vote.public_key, vote.sign(message)),
        ParameterChange("fee_per_byte", 5),
        Upgrade(2, 7),
    ]
    proposal = Proposal(
        number=3,
        proposer=inviter.id,
        title="prices",
        changes=(changes[7],),
        created_height=40,
        expires_height=10_040,
        status=ProposalStatus.PASSED,
        closed_height=44,
        votes=((inviter.id, True), (account.id, False)),
    )
    invite = Invite(
        chain_id=CHAIN_ID,
        chain_name="example",
        peers=(NodeAddress(link.public_key, "a.example:26656"),),
        trusted_height=1000,
        trusted_block_id=bytes(range(32, 64)),
        name="Clinic B",
        roles=Role.VALIDATOR | Role.CONTRIBUTOR,
        expires_ms=1_800_000_000_000,
        invite_id=bytes(range(16)),
        inviter=inviter.id,
        public_key=inviter.key.public_key,
    ).sign(inviter.key)
    return {
        "member": member.encode().hex(),
        "possession_message": message.hex(),
        "changes": [
            {
                "kind": type(change).__name__,
                "bytes": encode(change.to_fields()).hex(),
                "hash_of_it_alone": compute_changes_hash((change,)).hex(),
            }
            for change in changes
        ],
        "proposal": proposal.encode().hex(),
        "invite": {"bytes": invite.encode().hex(), "text": invite_to_text(invite)},
    }


def test_the_bytes_are_those_of_the_frozen_vectors() -> None:
    assert build_vectors() == json.loads(VECTORS.read_text(encoding="utf-8"))


if __name__ == "__main__":
    VECTORS.write_text(json.dumps(build_vectors(), indent=1) + "\n", encoding="utf-8")
