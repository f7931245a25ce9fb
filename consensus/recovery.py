"""What a validator knows when it starts, and reading it out of the write-ahead log.

Nothing in the log is verified again: it was before it was written, and the log has checksums.
Source: docs/spec/consensus.md §7.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from consensus.errors import ContradictoryRecordsError
from consensus.messages import PrePrepare, Vote
from consensus.records import decode_record
from primitives.certificates import Certificate, VoteKind
from primitives.errors import CorruptStateError, InvalidInputError
from primitives.header import BlockHeader

__all__ = ["History", "Recovered", "read_history"]


@dataclass(frozen=True, slots=True)
class Recovered:
    """What the driver found on its disk.

    Parameters
    ----------
    final_header : of the last final block; genesis on the first start.
    final_certificate : commit certificate of that block; None for genesis.
    records : of the write-ahead log, in the order in which they were persisted.
    records_lost : the log is missing although this key may have signed before. The validator then
        only observes until it cannot contradict anything that it may have signed.
    sign_floor_view : nothing is signed for a view up to this one, whatever the last final block:
        records of those may be gone. Views go on over epochs, so it holds in all of them.
    lost_votes_accepted : the operator lets this validator vote although records were lost.
    """

    final_header: BlockHeader
    final_certificate: Certificate | None
    records: Sequence[bytes] = ()
    records_lost: bool = False
    sign_floor_view: int = 0
    lost_votes_accepted: bool = False


@dataclass(frozen=True, slots=True)
class History:
    """The part of the records that still matters: views above the last final block's."""

    votes: tuple[Vote, ...]
    certificates: tuple[Certificate, ...]
    pre_prepares: tuple[PrePrepare, ...]

    def compute_view(self, own_index: int | None, final_view: int) -> int:
        """Return the view this validator was in: no lower than any that it can prove or voted in.

        Parameters
        ----------
        own_index : of this validator.
        final_view : view of the last final block.
        """
        entered = [final_view + 1]
        entered += [certificate.view + 1 for certificate in self.certificates]
        entered += [
            vote.view + 1 if vote.kind is VoteKind.COMMIT else vote.view for vote in self.votes
        ]
        entered += [
            pre_prepare.header.view
            for pre_prepare in self.pre_prepares
            if pre_prepare.header.proposer == own_index
        ]
        return max(entered)


def read_history(recovered: Recovered, own_index: int | None, epoch: int) -> History:
    """Return what the records say about views above the last final block's.

    Parameters
    ----------
    recovered : from the disk.
    own_index : of this validator in the epoch.
    epoch : the current one. Records of earlier ones are history: other keys, other indices.

    Raises
    ------
    CorruptStateError
        If a record does not read back.
    ContradictoryRecordsError
        If a record holds a vote of another validator.
    """
    floor = recovered.final_header.view
    votes: list[Vote] = []
    certificates: dict[tuple[int, int], Certificate] = {}
    pre_prepares: dict[bytes, PrePrepare] = {}
    for position, data in enumerate(recovered.records):
        try:
            record = decode_record(data)
        except InvalidInputError as error:
            raise CorruptStateError(
                f"record {position} of the write-ahead log does not read back: {error}"
            ) from error
        if record.vote is not None and record.vote.epoch == epoch:
            if record.vote.validator != own_index:
                raise ContradictoryRecordsError(
                    f"record {position} holds a vote of validator {record.vote.validator}, "
                    f"this is {own_index}"
                )
            votes.append(record.vote)
        for pre_prepare in record.pre_prepares:
            if pre_prepare.header.epoch != epoch:
                continue
            pre_prepares[pre_prepare.block_id] = pre_prepare
            for certificate in _carried(pre_prepare):
                certificates[certificate.kind, certificate.view] = certificate
        for certificate in record.certificates:
            if certificate.epoch != epoch:
                continue
            certificates[certificate.kind, certificate.view] = certificate
    return History(
        tuple(vote for vote in votes if vote.view > floor),
        tuple(each for _, each in sorted(certificates.items()) if each.view > floor),
        tuple(each for each in pre_prepares.values() if each.header.view > floor),
    )


def _carried(pre_prepare: PrePrepare) -> list[Certificate]:
    carried = list(pre_prepare.view_change_certificates)
    if pre_prepare.parent_certificate is not None:
        carried.append(pre_prepare.parent_certificate)
    return carried
