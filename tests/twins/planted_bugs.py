"""Bugs to plant into the core, each the loss of one rule, to show that a search would find it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any
from unittest.mock import PropertyMock, patch

from consensus import safety
from consensus.blocks import BlockEntry, Judgement
from consensus.evidence import SignedHeader
from consensus.intake import Intake
from consensus.messages import PrePrepare, Vote
from consensus.proposals import Proposals
from consensus.safety import SafetyGuard
from primitives.certificates import VoteKind
from primitives.header import BlockHeader
from primitives.validator_set import ValidatorSet

__all__ = ["PLANTED_BUGS"]


def commit_after_view_change() -> AbstractContextManager[Any]:
    """Rule S4 is gone: one validator says both COMMIT and VIEW-CHANGE."""
    return patch.object(safety, "_OPPOSITES", {})


def skipped_gap() -> AbstractContextManager[Any]:
    """Half of rule P5 is gone: views between a block and its parent need no certificates."""
    stack = ExitStack()

    def is_justified(self: Proposals, header: BlockHeader, chain: list[BlockEntry]) -> bool:
        log = self._state.log
        parent = log.get_block_certificate(header.parent_view, header.parent_id)
        return not chain or parent is not None

    def choose_branch(self: Proposals) -> list[BlockEntry]:
        state = self._state
        for view in range(state.view - 1, state.log.final_view, -1):
            record = state.log.find(view)
            certificate = None if record is None else record.block_certificate
            chain = None if certificate is None else state.tree.get_chain(certificate.block_id)
            if chain and chain[-1].judgement is Judgement.VALID:
                return chain
        return []

    stack.enter_context(patch.object(Proposals, "_is_justified", is_justified))
    stack.enter_context(patch.object(Proposals, "_choose_branch", choose_branch))
    return stack


def small_certificates() -> AbstractContextManager[Any]:
    """A quorum is f + 1."""
    quorum = PropertyMock(side_effect=lambda: 2)
    return patch.object(ValidatorSet, "quorum", quorum)


def double_prepare() -> AbstractContextManager[Any]:
    """Rules S2 and P3 are gone: every proposal of the view is prepared."""
    stack = ExitStack()
    sign_prepare = SafetyGuard.sign_prepare
    on_proposal = Intake._on_proposal

    def forgetful_sign(self: SafetyGuard, pre_prepare: PrePrepare, blocks: Any) -> Any:
        self._votes[VoteKind.PREPARE].pop(pre_prepare.header.view, None)
        return sign_prepare(self, pre_prepare, blocks)

    def take_any(self: Intake, peer: int, pre_prepare: PrePrepare) -> None:
        on_proposal(self, peer, pre_prepare)
        header, state = pre_prepare.header, self._state
        if header.view == state.view and state.tree.find(header.block_id) is None:
            state.log.record(header.view).proposal = SignedHeader(header, pre_prepare.signature)
            state.tree.insert(BlockEntry(pre_prepare, source=peer))

    stack.enter_context(patch.object(SafetyGuard, "sign_prepare", forgetful_sign))
    stack.enter_context(patch.object(Intake, "_on_proposal", take_any))
    return stack


def forgotten_votes() -> AbstractContextManager[Any]:
    """A restart restores no votes, so that they can be cast again, differently."""

    def restore(self: SafetyGuard, vote: Vote) -> None:
        return

    return patch.object(SafetyGuard, "restore", restore)


PLANTED_BUGS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "COMMIT after VIEW-CHANGE": commit_after_view_change,
    "a skipped gap": skipped_gap,
    "f+1 certificates": small_certificates,
    "double PREPARE": double_prepare,
    "votes forgotten at a restart": forgotten_votes,
}
