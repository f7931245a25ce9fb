"""Bugs planted one at a time, each of which the simulator must find; how long it takes.

``python -m tests.simulator --bugs`` prints the table.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from consensus.actions import FinalizeBlocks
from consensus.epochs import OtherEpochs
from consensus.intake import Intake
from consensus.messages import Block, PrePrepare, Vote
from consensus.probation import Probation
from consensus.proposals import Proposals
from consensus.retransmission import Retransmission
from consensus.safety import SafetyGuard
from consensus.tally import Tally
from node.storage.wal import WriteAheadLog
from primitives.certificates import Certificate, VoteKind
from primitives.validator_set import ValidatorSet
from tests.simulator.minimiser import Failure, run_seed
from tests.simulator.node import NotedLog

__all__ = ["BUGS", "Found", "PlantedBug", "find", "planted", "print_bugs"]

SEEDS_MAX = 2_000


@dataclass(frozen=True, slots=True)
class PlantedBug:
    """A mistake that somebody could make.

    Parameters
    ----------
    name : of it, for the table.
    plant : makes it, until it is left.
    profile : whose runs can show it; None for the usual mix.
    """

    name: str
    plant: Callable[[ExitStack], None]
    profile: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """The first seed that a planted bug broke."""

    seeds: int
    seconds: float
    failure: Failure


def find(bug: PlantedBug, seeds_max: int = SEEDS_MAX) -> Found | None:
    """Run seeds with a bug planted until one breaks; None if none does."""
    started = time.monotonic()
    with planted(bug):
        for seed in range(seeds_max):
            outcome = run_seed(seed, bug.profile)
            if isinstance(outcome, Failure):
                return Found(seed + 1, time.monotonic() - started, outcome)
    return None


@contextmanager
def planted(bug: PlantedBug) -> Iterator[None]:
    """Plant a bug for a while."""
    with ExitStack() as stack:
        bug.plant(stack)
        yield


def print_bugs() -> int:
    """Find every bug and print the table; return 1 if one is not found."""
    missed = 0
    print(f"{'bug':<46}{'seed':>6}{'seconds':>9}  what was said")
    for bug in BUGS:
        found = find(bug)
        if found is None:
            missed += 1
            print(f"{bug.name:<46}{'-':>6}{'-':>9}  NOT FOUND in {SEEDS_MAX} seeds")
        else:
            print(
                f"{bug.name:<46}{found.failure.seed:>6}{found.seconds:>9.1f}"
                f"  {found.failure.what[:90]}",
                flush=True,
            )
    return 1 if missed else 0


def _prepare_twice(stack: ExitStack) -> None:
    take = Intake._on_proposal
    sign = SafetyGuard._sign

    def forget_first(intake: Intake, peer: int, pre_prepare: PrePrepare) -> None:
        header = pre_prepare.header
        record = intake._state.log.find(header.view)
        if record is not None and record.proposal is not None and header.view == intake._state.view:
            record.proposal = None
        take(intake, peer, pre_prepare)

    def sign_again(guard: SafetyGuard, kind: VoteKind, view: int, *rest: Any) -> Any:
        if kind is VoteKind.PREPARE:
            guard._votes[kind].pop(view, None)
        return sign(guard, kind, view, *rest)

    stack.enter_context(patch.object(Intake, "_on_proposal", forget_first))
    stack.enter_context(patch.object(SafetyGuard, "_sign", sign_again))


def _commit_beside_view_change(stack: ExitStack) -> None:
    stack.enter_context(patch("consensus.safety._OPPOSITES", {}))


def _ignore_skipped_views(stack: ExitStack) -> None:
    choose = Proposals._choose_branch

    def is_justified(proposals: Proposals, header: Any, chain: Any) -> bool:
        log = proposals._state.log
        return not chain or (
            log.get_block_certificate(header.parent_view, header.parent_id) is not None
        )

    def choose_any(proposals: Proposals) -> Any:
        chain = choose(proposals)
        return [] if chain is None else chain

    stack.enter_context(patch.object(Proposals, "_is_justified", is_justified))
    stack.enter_context(patch.object(Proposals, "_choose_branch", choose_any))


def _count_too_few(stack: ExitStack) -> None:
    few = property(lambda validators: validators.faults_max + 1)
    stack.enter_context(patch.object(ValidatorSet, "quorum", few))


def _send_before_sync(stack: ExitStack) -> None:
    def put_off(log: NotedLog) -> None:
        del log

    stack.enter_context(patch.object(NotedLog, "sync", put_off))


def _sync_nothing(stack: ExitStack) -> None:
    def pretend(log: WriteAheadLog) -> None:
        del log

    stack.enter_context(patch.object(WriteAheadLog, "sync", pretend))


def _commit_out_of_order(stack: ExitStack) -> None:
    def reverse(blocks: tuple[Block, ...], certificate: Certificate) -> FinalizeBlocks:
        return FinalizeBlocks(tuple(reversed(blocks)), certificate)

    stack.enter_context(patch("consensus.finality.FinalizeBlocks", reverse))


def _accept_other_epochs(stack: ExitStack) -> None:
    learn = Tally.learn

    def learn_any(tally: Tally, certificate: Certificate, peer: int, *, relay: bool) -> bool:
        parameters = tally._state.parameters
        epoch = parameters.epoch
        object.__setattr__(parameters, "epoch", certificate.epoch)
        try:
            return learn(tally, certificate, peer, relay=relay)
        finally:
            object.__setattr__(parameters, "epoch", epoch)

    def meet_nobody(other: OtherEpochs, peer: int, epoch: int) -> bool:
        del other, peer, epoch
        return False

    stack.enter_context(patch.object(Tally, "learn", learn_any))
    stack.enter_context(patch.object(OtherEpochs, "meet", meet_nobody))


def _forget_in_restarts(stack: ExitStack) -> None:
    def forget(guard: SafetyGuard, said: Vote | PrePrepare) -> None:
        del guard, said

    stack.enter_context(patch.object(SafetyGuard, "restore", forget))
    stack.enter_context(patch.object(SafetyGuard, "restore_proposal", forget))


def _sign_without_records(stack: ExitStack) -> None:
    begin = Probation.__init__

    def skip(probation: Probation, state: Any, **_: bool) -> None:
        begin(probation, state, records_lost=False)
        probation._is_waived = True

    stack.enter_context(patch.object(Probation, "__init__", skip))


def _say_nothing_again(stack: ExitStack) -> None:
    def keep_silent(retransmission: Retransmission) -> bool:
        state = retransmission._state
        if state.now_ms >= state.pacemaker.retransmit_at_ms:
            state.pacemaker.note_retransmission(state.now_ms)
        return False

    stack.enter_context(patch.object(Retransmission, "run", keep_silent))


BUGS = (
    PlantedBug("a second PREPARE in a view", _prepare_twice),
    PlantedBug("COMMIT after VIEW-CHANGE", _commit_beside_view_change),
    PlantedBug("a skipped view needs no certificate", _ignore_skipped_views),
    PlantedBug("f + 1 votes make a certificate", _count_too_few),
    PlantedBug("a vote leaves before the sync", _send_before_sync),
    PlantedBug("the log's sync syncs nothing", _sync_nothing),
    PlantedBug("several ancestors become final out of order", _commit_out_of_order),
    PlantedBug("a certificate of another epoch counts", _accept_other_epochs),
    PlantedBug("votes are forgotten in a restart", _forget_in_restarts),
    PlantedBug("a node without its records signs at once", _sign_without_records),
    PlantedBug("nothing is said again", _say_nothing_again),
)
