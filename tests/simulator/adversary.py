"""What a Byzantine validator does: it runs the real core, and this changes what leaves it.

It signs with its own key alone. Every behaviour is a fault of its own, so that a run can be
repeated without it; which of them are on is looked up for every message.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from random import Random

from consensus.messages import (
    BlockResponse,
    BlocksResponse,
    CertificateBatch,
    CertificateMessage,
    Message,
    PrePrepare,
    Status,
    Vote,
    proposal_signing_bytes,
)
from consensus.parameters import VIEW_WINDOW
from primitives.certificates import Certificate, VoteKind, vote_signing_bytes
from primitives.hashing import HASH_BYTES, ZERO_HASH
from primitives.header import BlockHeader
from tests.helpers.consensus import body_root
from tests.simulator.faults import Kind

__all__ = ["Adversary", "Outgoing"]

Outgoing = tuple[Message | bytes, int]
"""What is sent instead, and how many milliseconds late."""

REPLAYED_MAX = 200
FLOOD_VOTES = 8


class Adversary:
    """The conduct of one Byzantine validator.

    Parameters
    ----------
    random : the only source of chance.
    chain_id : of the network.
    faults_max : f.
    timeout_ms : of a view, which late messages are late by.
    note : counts what it does.
    """

    def __init__(
        self,
        random: Random,
        chain_id: bytes,
        faults_max: int,
        timeout_ms: int,
        note: Callable[[str], None],
    ) -> None:
        self._random = random
        self._chain_id = chain_id
        self._faults_max = faults_max
        self._timeout_ms = timeout_ms
        self._note = note
        self._past: deque[Message] = deque(maxlen=REPLAYED_MAX)
        self._twins: dict[bytes, PrePrepare] = {}
        # How often it does each thing, in thousandths.
        self.conduct: dict[Kind, int] = {}
        # With its own key of the epoch that it is in.
        self.sign: Callable[[bytes], bytes] = bytes
        self.own_index: int | None = None
        self.view = 0

    def rewrite(self, message: Message) -> list[Outgoing]:
        """Return what goes to one peer instead of a message of the core."""
        if not self.conduct:
            return [(message, 0)]
        match message:
            case PrePrepare() if message.header.proposer == self.own_index:
                out = self._rewrite_proposal(message)
            case Vote() if message.validator == self.own_index:
                out = self._rewrite_vote(message)
            case Status() if self._does(Kind.HEIGHT_LIES):
                out = [(self._lie(message), 0)]
            case BlocksResponse() if self._does(Kind.BAD_BLOCKS):
                out = [(self._spoil(message), 0)]
            case BlockResponse() if self._does(Kind.BAD_BLOCKS):
                body = self._random.choice((b"\x00" * 2_000_000, message.pre_prepare.body + b"!"))
                out = [(BlockResponse(replace(message.pre_prepare, body=body)), 0)]
            case CertificateMessage() if self._does(Kind.FORGED_CERTIFICATE):
                out = [(message, 0), (CertificateMessage(self._forge(message.certificate)), 0)]
            case _:
                out = [(message, 0)]
        out += self._add_noise(message)
        self._past.append(message)
        return out

    def _does(self, kind: Kind) -> bool:
        often = self.conduct.get(kind, 0)
        if often and self._random.random() * 1000 < often:
            self._note(kind.value)
            return True
        return False

    def _rewrite_proposal(self, proposal: PrePrepare) -> list[Outgoing]:
        if self._does(Kind.WITHHELD_PROPOSAL):
            return []
        late_ms = self._random.randint(self._timeout_ms // 2, 2 * self._timeout_ms)
        delay_ms = late_ms if self._does(Kind.LATE_PROPOSAL) else 0
        out: list[Outgoing] = [(proposal, delay_ms)]
        if self._does(Kind.EQUIVOCATION):
            twin = self._make_twin(proposal)
            choice = self._random.randrange(3)
            if choice == 0:
                out = [(twin, delay_ms)]
            elif choice == 1:
                out.append((twin, delay_ms + self._random.randrange(20)))
        if self._does(Kind.BAD_PROPOSAL):
            out.insert(self._random.randrange(2), (self._make_bad(proposal), delay_ms))
        return out

    def _make_twin(self, proposal: PrePrepare) -> PrePrepare:
        """Return another valid block for the view; for each proposal always the same one."""
        twin = self._twins.get(proposal.block_id)
        if twin is None:
            timestamp_ms = proposal.header.timestamp_ms + 1
            twin = self._sign(proposal, replace(proposal.header, timestamp_ms=timestamp_ms))
            self._twins = {proposal.block_id: twin}
        return twin

    def _make_bad(self, proposal: PrePrepare) -> PrePrepare:
        header = proposal.header
        body = proposal.body + b"\xff\xff\xff\xff" * 2
        bad: list[tuple[BlockHeader, bytes]] = [
            (replace(header, parent_id=self._random.randbytes(HASH_BYTES)), proposal.body),
            (replace(header, height=header.height + 1), proposal.body),
            (replace(header, timestamp_ms=header.timestamp_ms + 3_600_000), proposal.body),
            (replace(header, timestamp_ms=1), proposal.body),
            (replace(header, epoch=header.epoch + 1), proposal.body),
            (replace(header, chain_id=bytes(HASH_BYTES)), proposal.body),
            (replace(header, parent_view=0, parent_id=bytes(HASH_BYTES)), proposal.body),
            (replace(header, body_root=body_root(body)), body),
            (header, proposal.body + b"\x00\x00\x00\x00"),
            (header, b"\x00" * 2_000_000),
            (replace(header, next_validators_hash=b"\x07" * HASH_BYTES), proposal.body),
            (replace(header, view=header.view + 4, proposer=header.proposer), proposal.body),
        ]
        chosen, body = self._random.choice(bad)
        stripped = replace(proposal, body=body)
        if self._random.random() < 0.3:
            stripped = replace(stripped, view_change_certificates=())
        if self._random.random() < 0.2:
            stripped = replace(stripped, parent_certificate=None)
        return self._sign(stripped, chosen)

    def _sign(self, proposal: PrePrepare, header: BlockHeader) -> PrePrepare:
        signature = self.sign(proposal_signing_bytes(header.block_id))
        return replace(proposal, header=header, signature=signature)

    def _rewrite_vote(self, vote: Vote) -> list[Outgoing]:
        if self._does(Kind.WITHHELD_VOTES):
            if self._random.random() < 0.5:
                return []
            return [(vote, self._random.randint(self._timeout_ms // 2, 3 * self._timeout_ms))]
        out: list[Outgoing] = [(vote, 0)]
        if vote.kind is VoteKind.COMMIT and self._does(Kind.WRONG_ROOT):
            out = [(self._vote(vote, VoteKind.COMMIT, vote.block_id, b"\x66" * HASH_BYTES), 0)]
        if self._does(Kind.DOUBLE_VOTE):
            out.append((self._contradict(vote), 0))
        if self._does(Kind.COMMIT_AND_VIEW_CHANGE):
            out.append((self._oppose(vote), 0))
        if self._random.random() < 0.5:
            out.reverse()
        return out

    def _contradict(self, vote: Vote) -> Vote:
        if vote.kind is VoteKind.VIEW_CHANGE:
            return self._vote(vote, VoteKind.PREPARE, self._random.randbytes(HASH_BYTES))
        twin = next(iter(self._twins.values()), None)
        other = self._random.randbytes(HASH_BYTES)
        if twin is not None and twin.header.view == vote.view and twin.block_id != vote.block_id:
            other = twin.block_id
        return self._vote(vote, vote.kind, other, vote.state_root)

    def _oppose(self, vote: Vote) -> Vote:
        if vote.kind is VoteKind.VIEW_CHANGE:
            block_id = self._random.randbytes(HASH_BYTES)
            return self._vote(vote, VoteKind.COMMIT, block_id, b"\x67" * HASH_BYTES)
        return self._vote(vote, VoteKind.VIEW_CHANGE, ZERO_HASH)

    def _vote(
        self, like: Vote, kind: VoteKind, block_id: bytes, state_root: bytes = ZERO_HASH
    ) -> Vote:
        message = vote_signing_bytes(
            self._chain_id, like.epoch, kind, like.view, block_id, state_root
        )
        return replace(
            like,
            kind=kind,
            block_id=block_id,
            state_root=state_root,
            signature=self.sign(message),
        )

    def _lie(self, status: Status) -> Status:
        choice = self._random.randrange(4)
        if choice == 0:
            return replace(status, view=2**40, final_height=2**40)
        if choice == 1:
            return replace(status, view=1, final_height=0, first_uncertified_view=0)
        if choice == 2:
            return replace(status, epoch=status.epoch + self._random.randint(1, 2**20))
        return replace(status, final_height=status.final_height + self._random.randint(1, 99))

    def _spoil(self, response: BlocksResponse) -> BlocksResponse:
        blocks = response.blocks
        choice = self._random.randrange(5)
        if choice == 0 or not blocks:
            return BlocksResponse((), None)
        if choice == 1:
            spoilt = replace(blocks[-1], body=blocks[-1].body + b"\x00\x00\x00\x01")
            return BlocksResponse((*blocks[:-1], spoilt), response.certificate)
        if choice == 2:
            return BlocksResponse(tuple(reversed(blocks)), response.certificate)
        if choice == 3 and response.certificate is not None:
            return BlocksResponse(blocks, self._forge(response.certificate))
        header = replace(blocks[-1].header, timestamp_ms=blocks[-1].header.timestamp_ms + 1)
        return BlocksResponse((*blocks[:-1], replace(blocks[-1], header=header)), None)

    def _forge(self, certificate: Certificate) -> Certificate:
        signers, signatures = certificate.signers, certificate.signatures
        choice = self._random.randrange(4)
        if choice == 0:
            few = self._faults_max + 1
            return replace(certificate, signers=signers[:few], signatures=signatures[:few])
        if choice == 1:
            return replace(certificate, signatures=(signatures[0],) * len(signatures))
        if choice == 2:
            return replace(certificate, view=certificate.view + 1)
        return replace(certificate, epoch=certificate.epoch + 1)

    def _add_noise(self, message: Message) -> list[Outgoing]:
        """Return what it sends besides."""
        out: list[Outgoing] = []
        if self._does(Kind.GARBAGE):
            out.append((self._random.randbytes(self._random.randrange(1, 300)), 0))
        if self._past and self._does(Kind.REPLAY):
            out.append((self._random.choice(self._past), self._random.randrange(2_000)))
        if isinstance(message, Vote) and self._does(Kind.IMPERSONATION):
            out.append((replace(message, validator=(message.validator + 1) % 4), 0))
        if isinstance(message, Status) and self._does(Kind.SEATLESS_VOTE):
            out.append((self._vote_without_seat(message), 0))
        if isinstance(message, CertificateBatch) and self._does(Kind.FORGED_CERTIFICATE):
            forged = tuple(self._forge(each) for each in message.certificates)
            out.append((CertificateBatch(forged), 0))
        if isinstance(message, Vote) and self._does(Kind.FUTURE_FLOOD):
            out += [(self._draw_future(message), 0) for _ in range(FLOOD_VOTES)]
        return out

    def _vote_without_seat(self, status: Status) -> Vote:
        """Return a vote signed with its own key for some seat in this epoch or the one before."""
        epoch = max(status.epoch - self._random.randrange(2), 0)
        like = Vote(
            VoteKind.VIEW_CHANGE,
            epoch,
            status.view,
            ZERO_HASH,
            ZERO_HASH,
            self._random.randrange(4),
            b"",
        )
        return self._vote(like, VoteKind.VIEW_CHANGE, ZERO_HASH)

    def _draw_future(self, like: Vote) -> Vote:
        view = self.view + self._random.randint(1, VIEW_WINDOW + 2)
        kind = self._random.choice(tuple(VoteKind))
        root = b"\x68" * HASH_BYTES if kind is VoteKind.COMMIT else ZERO_HASH
        block_id = ZERO_HASH if kind is VoteKind.VIEW_CHANGE else self._random.randbytes(HASH_BYTES)
        return self._vote(replace(like, view=view), kind, block_id, root)
