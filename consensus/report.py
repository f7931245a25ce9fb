"""Where consensus stands, as plain values: for status pages, metrics and `diagnosis`.

`build_report` reads the facts of a core and what its watch remembers, and changes neither. Ages
and waits are milliseconds of the monotonic clock, as of the moment the caller names.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from consensus.blocks import Judgement
from consensus.state import State
from consensus.watch import Alarm, PeerMemory, Watch, name_vote
from primitives.certificates import Certificate, VoteKind
from primitives.fields import COUNTER_MAX

__all__ = [
    "ASKED_RECENTLY_MS",
    "PARTICIPATION_VIEWS",
    "RECENT_VIEWS",
    "AwaitedBlock",
    "BlockStage",
    "CatchUpReport",
    "CertificateReport",
    "ConsensusReport",
    "EvidenceReport",
    "ValidatorReport",
    "ViewReport",
    "build_report",
]

ASKED_RECENTLY_MS = 5_000
"""Whoever was asked for blocks within this time is shown as one they are fetched from."""

RECENT_VIEWS = 4
"""Views of which certificates and votes are shown: the current one and those right below it."""

PARTICIPATION_VIEWS = 16
"""Views below the current one in which it is counted who voted."""


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
    peers : indices of the validators asked within `ASKED_RECENTLY_MS`.
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
    recent_prepared_views : how many of the last `PARTICIPATION_VIEWS` have a prepared certificate.
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


def build_report(state: State, watch: Watch, names: Sequence[str], now_ms: int) -> ConsensusReport:
    """Return where consensus stands.

    Parameters
    ----------
    state : of a core that was started; read only.
    watch : that looked on from its start; read only.
    names : of the epoch's validators, by index.
    now_ms : the monotonic clock now, not before the core's last step.
    """
    pacemaker, parameters = state.pacemaker, state.parameters
    final_ms = watch.started_ms if watch.final_ms is None else watch.final_ms
    validators = tuple(_report_validators(state, watch, names, now_ms))
    prepared = _find_prepared(state)
    return ConsensusReport(
        epoch=parameters.epoch,
        view=state.view,
        leader=state.leader,
        epoch_end_height=_find_epoch_end(state),
        own_index=state.own_index,
        quorum=state.validators.quorum,
        final_height=state.tree.final.height,
        final_view=state.log.final_view,
        final_age_ms=_age(final_ms, now_ms) or 0,
        has_finalized=watch.final_ms is not None,
        is_work_known=pacemaker.work_since_ms is not None,
        are_transactions_pending=state.transactions_pending,
        waiting_ms=_age(watch.waiting_since_ms, now_ms),
        heartbeat_in_ms=max(0, pacemaker.idle_until_ms - now_ms),
        idle_limit_ms=parameters.idle_limit_ms,
        timeout_max_ms=parameters.timeout_max_ms,
        timeout_ms=pacemaker.timeout_ms,
        failures=pacemaker.failures,
        views_failed=watch.views_failed,
        unfinal_blocks=len(state.tree),
        unfinal_with_transactions=_count_with_transactions(state, prepared),
        unfinal_blocks_max=parameters.unfinal_blocks_max,
        recent_prepared_views=len(_list_prepared_views(state)),
        views=tuple(_report_view(state, view) for view in _choose_views(state, prepared)),
        validators=validators,
        awaited=_report_awaited(state, prepared),
        catch_up=_report_catch_up(state, watch, validators, now_ms),
        is_on_probation=state.is_on_probation,
        signs_above_view=_find_signing_floor(state, watch),
        halt=watch.halt,
        evidence=tuple(_report_evidence(state, watch, names)),
        evidence_count=watch.evidence_count,
        alarms=tuple(sorted(watch.alarms.items())),
        peer_faults=tuple(sorted(watch.peer_faults.items())),
    )


def _find_epoch_end(state: State) -> int | None:
    height = state.parameters.epoch_end_height
    return None if height == COUNTER_MAX else height


def _age(since_ms: int | None, now_ms: int) -> int | None:
    return None if since_ms is None else max(0, now_ms - since_ms)


def _report_validators(
    state: State, watch: Watch, names: Sequence[str], now_ms: int
) -> Iterator[ValidatorReport]:
    count = state.validators.count
    prepared_views = _list_prepared_views(state)
    for index, key in enumerate(state.validators.public_keys):
        memory = watch.peers.get(key) or PeerMemory()
        heard = memory.heard
        next_turn = state.view + (index - state.view) % count
        yield ValidatorReport(
            index=index,
            name=names[index],
            is_self=index == state.own_index,
            is_connected=memory.connected_ms is not None,
            connected_age_ms=_age(memory.connected_ms, now_ms),
            heard_message=None if heard is None else heard.message,
            heard_view=None if heard is None else heard.view,
            heard_age_ms=None if heard is None else _age(heard.at_ms, now_ms),
            claimed_height=memory.claimed_height,
            clock_offset_ms=memory.clock_offset_ms,
            votes=tuple(
                name_vote(kind.name)
                for kind in VoteKind
                if state.log.has_voted(kind, state.view, index)
            ),
            recent_votes=sum(_has_voted(state, view, index) for view in prepared_views),
            is_skipped=state.leaders.is_skipped(next_turn),
        )


def _list_prepared_views(state: State) -> list[int]:
    """Return the recent views of which it is known that a quorum voted for a block."""
    recent = range(max(1, state.view - PARTICIPATION_VIEWS), state.view)
    return [
        view for view in recent if state.log.get_certificate(VoteKind.PREPARE, view) is not None
    ]


def _has_voted(state: State, view: int, index: int) -> bool:
    return any(state.log.has_voted(kind, view, index) for kind in VoteKind)


def _find_prepared(state: State) -> Certificate | None:
    """Return the certificate of the highest prepared block that is not final."""
    view = state.log.highest_prepared_view
    record = state.log.find(view)
    if record is None or view <= state.log.final_view:
        return None
    return record.block_certificate


def _count_with_transactions(state: State, prepared: Certificate | None) -> int:
    chain = None if prepared is None else state.tree.get_chain(prepared.block_id)
    return 0 if chain is None else state.tree.count_non_empty(chain)


def _choose_views(state: State, prepared: Certificate | None) -> list[int]:
    recent = range(max(1, state.view - RECENT_VIEWS + 1), state.view + 1)
    awaited = [] if prepared is None else [prepared.view]
    return sorted({*recent, *awaited}, reverse=True)


def _report_view(state: State, view: int) -> ViewReport:
    record = state.log.find(view)
    certificates = []
    for kind in VoteKind:
        voters = () if record is None else tuple(sorted(record.votes[kind]))
        certificates.append(
            CertificateReport(
                kind=name_vote(kind.name),
                is_complete=state.log.get_certificate(kind, view) is not None,
                voters=voters,
                lacking=tuple(
                    index for index in range(state.validators.count) if index not in voters
                ),
            )
        )
    return ViewReport(
        view=view,
        leader=state.leaders.leader(view),
        has_proposal=record is not None and record.proposal is not None,
        certificates=tuple(certificates),
    )


def _report_awaited(state: State, prepared: Certificate | None) -> AwaitedBlock | None:
    if prepared is None:
        return None
    entry = state.tree.find(prepared.block_id)
    if entry is None:
        return AwaitedBlock(prepared.view, None, BlockStage.MISSING)
    if state.tree.get_chain(prepared.block_id) is None:
        stage = BlockStage.MISSING
    elif entry.judgement is not Judgement.VALID:
        stage = BlockStage.JUDGING
    elif entry.state_root is None:
        stage = BlockStage.EXECUTING
    else:
        stage = BlockStage.COMMITTING
    return AwaitedBlock(prepared.view, entry.header.height, stage)


def _report_catch_up(
    state: State, watch: Watch, validators: Sequence[ValidatorReport], now_ms: int
) -> CatchUpReport | None:
    if not state.is_behind:
        return None
    height = state.tree.final.height
    claimed = [
        each.claimed_height
        for each in validators
        if each.is_connected and each.claimed_height is not None and each.claimed_height > height
    ]
    return CatchUpReport(
        from_height=height,
        to_height=max(claimed, default=None),
        peers=tuple(
            index
            for index, key in enumerate(state.validators.public_keys)
            if _was_asked(watch.peers.get(key), now_ms)
        ),
    )


def _was_asked(memory: PeerMemory | None, now_ms: int) -> bool:
    asked_ms = None if memory is None else memory.asked_ms
    return asked_ms is not None and now_ms - asked_ms <= ASKED_RECENTLY_MS


def _find_signing_floor(state: State, watch: Watch) -> int | None:
    """Return the view up to which nothing is signed, if it has not been left behind yet."""
    floor_view = state.safety.floor_view
    if state.is_on_probation:
        above = watch.signs_above_view
        return None if above is None else max(above, floor_view)
    return floor_view if floor_view >= state.view else None


def _report_evidence(state: State, watch: Watch, names: Sequence[str]) -> Iterator[EvidenceReport]:
    named = dict(zip(state.validators.public_keys, names, strict=True))
    for seen in reversed(watch.evidence):
        name = named.get(seen.public_key, seen.public_key.hex()[:16])
        yield EvidenceReport(seen.kind, name, seen.epoch, seen.view)
