"""Evidence that a validator of a test network broke a vote rule, and its way into the ledger."""

from __future__ import annotations

from ledger.transactions.evidence import ReportEvidence
from primitives.certificates import VoteKind, vote_signing_bytes
from primitives.evidence import Evidence, EvidenceKind, SignedHeader, proposal_signing_bytes
from primitives.hashing import ZERO_HASH
from primitives.vote import Vote
from tests.helpers.governance import MEMBERS
from tests.helpers.ledger import Chain, TestAccount, make_header


def make_vote(chain: Chain, validator: int, kind: VoteKind, block: bytes, epoch: int = 0) -> Vote:
    block_id = ZERO_HASH if kind is VoteKind.VIEW_CHANGE else block
    root = b"r" * 32 if kind is VoteKind.COMMIT else ZERO_HASH
    message = vote_signing_bytes(chain.network.chain_id, epoch, kind, 7, block_id, root)
    signature = chain.network.validators[validator].sign(message)
    return Vote(kind, epoch, 7, block_id, root, validator, signature)


def make_evidence(
    chain: Chain, kind: EvidenceKind = EvidenceKind.COMMIT_AND_VIEW_CHANGE, epoch: int = 0
) -> Evidence:
    """Return evidence against the fourth validator."""
    if kind is EvidenceKind.DOUBLE_PROPOSAL:
        headers = [
            make_header(chain.network, chain.tip_header, view=7, proposer=3, timestamp_ms=time)
            for time in (chain.tip_header.timestamp_ms + 1, chain.tip_header.timestamp_ms + 2)
        ]
        key = chain.network.validators[3]
        sides = [
            SignedHeader(each, key.sign(proposal_signing_bytes(each.block_id))) for each in headers
        ]
        return Evidence(kind, 3, 0, 7, sides[0], sides[1])
    kinds = {
        EvidenceKind.DOUBLE_PREPARE: (VoteKind.PREPARE, VoteKind.PREPARE),
        EvidenceKind.DOUBLE_COMMIT: (VoteKind.COMMIT, VoteKind.COMMIT),
    }.get(kind, (VoteKind.COMMIT, VoteKind.VIEW_CHANGE))
    votes = [
        make_vote(chain, 3, each, block * 32, epoch)
        for each, block in zip(kinds, (b"a", b"b"), strict=True)
    ]
    return Evidence(kind, 3, epoch, 7, votes[0], votes[1])


def report(chain: Chain, evidence: Evidence, sender: TestAccount = MEMBERS[0]) -> str:
    body = ReportEvidence(evidence).to_fields()
    return chain.submit(sender, "report_evidence", body).receipts[0].code
