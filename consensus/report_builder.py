"""Puts together what a report says, from the facts of a core and from what its watch remembers.

Neither is changed. Ages and waits are milliseconds of the monotonic clock, as of the moment that
the caller names.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from consensus.blocks import Judgement
from consensus.report import (
    AwaitedBlock,
    BlockStage,
    CatchUpReport,
    CertificateReport,
    ConsensusReport,
    EvidenceReport,
    ValidatorReport,
    ViewReport,
)
from consensus.state import State
from consensus.watch import PeerMemory, Watch, name_vote
from primitives.certificates import Certificate, VoteKind
from primitives.fields import COUNTER_MAX

__all__ = ["ASKED_RECENTLY_MS", "PARTICIPATION_VIEWS", "RECENT_VIEWS", "build_report"]

ASKED_RECENTLY_MS = 5_000
"""Whoever was asked for blocks within this time is shown as one they are fetched from."""

RECENT_VIEWS = 4
"""Views of which certificates and votes are shown: the current one and those right below it."""

PARTICIPATION_VIEWS = 16
"""Views below the current one in which it is counted who voted."""


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
