"""Where consensus stands, as plain values: for status pages, metrics and `diagnosis`.

`report_builder` makes one. Ages and waits are milliseconds as of the moment of the report.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from consensus.watch import Alarm, name_vote
from primitives.certificates import VoteKind

__all__ = [
    "AwaitedBlock",
    "BlockStage",
    "CatchUpReport",
    "CertificateReport",
    "ConsensusReport",
    "EvidenceReport",
    "ValidatorReport",
    "ViewReport",
]


class BlockStage(Enum):
    """What the highest prepared block lacks to become final."""

    MISSING = "missing"
    """It, or an ancestor, is not here; peers are asked for it."""

    JUDGING = "judging"
    """It is here and not judged yet; a payload may be under way."""

    EXECUTING = "executing"
    """It was found valid and its state root is not known yet."""

    COMMITTING = "committing"
    """It is executed; COMMITs are missing."""


@dataclass(frozen=True, slots=True)
class ValidatorReport:
    """One validator as this node sees it.

    Parameters
    ----------
    index, name : in the epoch's set.
    is_self : it is this node.
    is_connected : a connection stands now.
    connected_age_ms : for how long; None if it is not connected.
    heard_message, heard_view, heard_age_ms : the last message from it; None if there was none.
    claimed_height : final height that it last claimed.
    clock_offset_ms : how far its clock seemed ahead of ours, less the way of the message.
    votes : kinds of its votes in the current view that are known here.
    recent_votes : in how many of the report's `recent_prepared_views` a vote of it is known.
    is_skipped : it let its last turn pass, so nobody waits for its next one.
    """

    index: int
    name: str
    is_self: bool
    is_connected: bool
    connected_age_ms: int | None
    heard_message: str | None
    heard_view: int | None
    heard_age_ms: int | None
    claimed_height: int | None
    clock_offset_ms: int | None
    votes: tuple[str, ...]
    recent_votes: int
    is_skipped: bool


@dataclass(frozen=True, slots=True)
class CertificateReport:
    """One certificate of a view: there, or the votes that it lacks.

    Parameters
    ----------
    kind : PREPARE, COMMIT or VIEW-CHANGE.
    is_complete : it is held here.
    voters : validators whose votes are known, by index.
    lacking : validators whose votes are not, by index.
    """

    kind: str
    is_complete: bool
    voters: tuple[int, ...]
    lacking: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ViewReport:
    """One view: who leads it, whether that one proposed, and its certificates of each kind."""

    view: int
    leader: int
    has_proposal: bool
    certificates: tuple[CertificateReport, ...]

    def certificate(self, kind: VoteKind) -> CertificateReport:
        """Return the certificate of a kind."""
        return next(each for each in self.certificates if each.kind == name_vote(kind.name))


@dataclass(frozen=True, slots=True)
class AwaitedBlock:
    """The highest prepared block that is not final; its height is None while it is missing."""

    view: int
    height: int | None
    stage: BlockStage


@dataclass(frozen=True, slots=True)
class CatchUpReport:
    """What is being fetched.

    Parameters
    ----------
    from_height : the last final block here.
    to_height : highest final height that a connected validator claims; None if none claims more.
    peers : indices of the validators asked within the last seconds.
    """

    from_height: int
    to_height: int | None
    peers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class EvidenceReport:
    """Who broke which vote rule; the name is that of this epoch, or the start of the key."""

    kind: str
    name: str
    epoch: int
    view: int


@dataclass(frozen=True, slots=True)
class ConsensusReport:
    """Everything that is shown of consensus.

    Parameters
    ----------
    epoch, view, leader : where it is; the leader by index.
    epoch_end_height : height of the epoch's last block; None if it goes on for ever.
    own_index : index of this validator; None for an observer.
    quorum : votes that decide.
    final_height, final_view : of the last final block.
    final_age_ms : since the last block became final here, or since the start if none has yet.
    has_finalized : a block became final since the start.
    is_work_known : there is a reason for the view to end in a block.
    are_transactions_pending : transactions wait that no unfinal block holds.
    waiting_ms : for how long there has been work without a block becoming final; None without.
    heartbeat_in_ms : until an idle network makes its next block; not negative.
    idle_limit_ms, timeout_max_ms : two of the node's waits, by which a standstill is told.
    timeout_ms : the timeout of the current view.
    failures : views without progress since the last final block.
    views_failed : the same since the start of the process.
    unfinal_blocks : held here, all branches.
    unfinal_with_transactions : of those below the highest prepared block, its own included.
    unfinal_blocks_max : K, the bound of that number.
    recent_prepared_views : views among the last 16 that have a prepared certificate.
    views : the current view, those right below it, and the one of the awaited block; descending.
    validators : by index.
    awaited : the highest prepared block, if it is not final.
    catch_up : what is being fetched while blocks are missing here; None otherwise.
    is_on_probation : records were lost, nothing is signed.
    signs_above_view : it signs again once this view is left behind; None while that is not known,
        and when nothing keeps it from signing.
    halt : why nothing is signed any more.
    evidence : seen last, newest first; `evidence_count` counts all since the start.
    alarms, peer_faults : how often since the start, by code, ascending.
    """

    epoch: int
    view: int
    leader: int
    epoch_end_height: int | None
    own_index: int | None
    quorum: int
    final_height: int
    final_view: int
    final_age_ms: int
    has_finalized: bool
    is_work_known: bool
    are_transactions_pending: bool
    waiting_ms: int | None
    heartbeat_in_ms: int
    idle_limit_ms: int
    timeout_max_ms: int
    timeout_ms: int
    failures: int
    views_failed: int
    unfinal_blocks: int
    unfinal_with_transactions: int
    unfinal_blocks_max: int
    recent_prepared_views: int
    views: tuple[ViewReport, ...]
    validators: tuple[ValidatorReport, ...]
    awaited: AwaitedBlock | None
    catch_up: CatchUpReport | None
    is_on_probation: bool
    signs_above_view: int | None
    halt: Alarm | None
    evidence: tuple[EvidenceReport, ...]
    evidence_count: int
    alarms: tuple[tuple[str, int], ...]
    peer_faults: tuple[tuple[str, int], ...]

    @property
    def is_observing(self) -> bool:
        """Whether this validator does not vote now because its records were lost."""
        return self.is_on_probation or self.signs_above_view is not None
