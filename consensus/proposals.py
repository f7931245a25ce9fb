"""The leader's side: building and proposing; the others': checking a proposal and preparing it.

Source: docs/spec/consensus.md §5.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from consensus.actions import Broadcast, BuildBlock, ValidateBlock
from consensus.blocks import BlockEntry, Judgement
from consensus.events import BlockBuilt, WorkChanged
from consensus.evidence import SignedHeader
from consensus.messages import PrePrepare
from consensus.parameters import GAP_CERTIFICATES_MAX
from consensus.state import State
from consensus.tally import Tally
from primitives.certificates import Certificate, VoteKind
from primitives.errors import InvariantViolationError
from primitives.hashing import ZERO_HASH
from primitives.header import BlockHeader

__all__ = ["Proposals"]


class _Check(Enum):
    """What the rules say of a proposal that the driver has not judged yet."""

    ACCEPT = "accept"
    HOLD = "hold"
    """It may become acceptable: something is missing here, or its time has not come."""
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class _Building:
    """The one ``BuildBlock`` that is not answered yet."""

    view: int
    parent: BlockHeader
    must_be_empty: bool


class Proposals:
    """Makes proposals and prepares those of others.

    Parameters
    ----------
    state, tally : parts of the core.

    Attributes
    ----------
    timely_at_ms : when a held proposal's time will have come; None if none waits for that.
    """

    def __init__(self, state: State, tally: Tally) -> None:
        self._state = state
        self._tally = tally
        self._building: _Building | None = None
        # View for which a block was built that was empty without a reason to propose it.
        self._unneeded_view: int | None = None
        self.timely_at_ms: int | None = None

    def judge(self) -> bool:
        """Check the current proposal and hand it to the driver, once; say whether that was done."""
        entry = self._find_current()
        self.timely_at_ms = None
        if entry is None or entry.judgement is not Judgement.UNKNOWN or entry.certified:
            return False
        if self._state.now_ms < entry.retry_at_ms or not self._state.safety.is_on:
            return False
        check = self._check(entry.header)
        if check is _Check.ACCEPT:
            entry.judgement = Judgement.ASKED
            self._state.emit(ValidateBlock(entry.pre_prepare.block, certified=False))
            return True
        if check is _Check.REFUSE:
            self.refuse(entry)
            return True
        return False

    def refuse(self, entry: BlockEntry) -> None:
        """Note that a proposal can never be prepared here."""
        record = self._state.log.record(entry.header.view)
        record.refused = True
        self._state.tree.remove(entry.header.block_id)

    def prepare(self) -> bool:
        """Send a PREPARE for the current proposal if it is valid; say whether it was sent."""
        state = self._state
        entry = self._find_current()
        if entry is None or entry.judgement is not Judgement.VALID or entry.prepared_here:
            return False
        chain = state.tree.get_chain(entry.header.block_id)
        if chain is None or any(each.judgement is not Judgement.VALID for each in chain):
            # An own proposal out of a log that lacks its parent, which has to be fetched first.
            return False
        blocks = [each for each in chain if not each.durable]
        signed = state.safety.sign_prepare(entry.pre_prepare, [each.pre_prepare for each in blocks])
        if signed is None:
            return False
        for each in blocks:
            each.durable = True
        entry.prepared_here = True
        self._tally.cast(signed)
        return True

    def propose(self) -> bool:
        """Ask the driver for a block if this validator is to lead now; say whether it was asked."""
        state = self._state
        deadline_ms = self.compute_deadline_ms()
        if deadline_ms is None or state.now_ms < deadline_ms:
            return False
        chain = self._choose_branch()
        if chain is None:
            return False
        parent = chain[-1].header if chain else state.tree.final
        building = _Building(state.view, parent, self._must_be_empty(chain))
        self._building = building
        state.emit(BuildBlock(building.view, parent, building.must_be_empty))
        return True

    def compute_deadline_ms(self) -> int | None:
        """Return when this validator is to propose; None if it is not its turn or it has done so.

        Beyond K unfinal blocks the pace is that of timeouts, whatever is pending.
        """
        state = self._state
        if (
            state.leader != state.own_index
            or not state.safety.is_on
            or state.safety.get_proposal(state.view) is not None
            or (self._building is not None and self._building.view == state.view)
        ):
            return None
        urgent = (
            state.transactions_pending and self._unneeded_view != state.view and self._has_room()
        )
        return state.pacemaker.compute_proposal_ms(transactions_pending=urgent)

    def on_work_changed(self, event: WorkChanged) -> None:
        """Note whether transactions are pending; new ones are reason to ask for a block again."""
        self._state.transactions_pending = event.pending
        if event.pending:
            self.reconsider()

    def reconsider(self) -> None:
        """Note that a block built now may hold what the last one could not."""
        self._unneeded_view = None

    def on_built(self, event: BlockBuilt) -> None:
        """Propose the block that the driver has built, if it is still wanted."""
        state = self._state
        building = self._building
        if (
            building is None
            or building.view != event.view
            or building.parent.block_id != event.parent_id
        ):
            return
        self._building = None
        if event.view != state.view:
            return
        is_empty = event.body_root == state.parameters.empty_body_root
        if building.must_be_empty and not is_empty:
            raise InvariantViolationError("the driver put transactions into a block without room")
        names_next_set = event.next_validators_hash != ZERO_HASH
        if names_next_set != state.parameters.is_epoch_end(building.parent.height + 1):
            raise InvariantViolationError("the last block of an epoch, and no other, names a set")
        if is_empty and state.now_ms < state.pacemaker.grace_until_ms:
            self._unneeded_view = event.view
            return
        chain = state.tree.get_chain(building.parent.block_id)
        if chain is not None:
            self._make_proposal(building.parent, chain, event)

    def _make_proposal(
        self, parent: BlockHeader, chain: list[BlockEntry], event: BlockBuilt
    ) -> None:
        state = self._state
        header = BlockHeader(
            protocol_version=state.parameters.protocol_version,
            chain_id=state.parameters.chain_id,
            epoch=state.parameters.epoch,
            height=parent.height + 1,
            view=event.view,
            parent_id=parent.block_id,
            parent_view=parent.view,
            timestamp_ms=max(event.timestamp_ms, parent.timestamp_ms + 1),
            proposer=state.leader,
            body_root=event.body_root,
            next_validators_hash=event.next_validators_hash,
        )
        blocks = [each for each in chain if not each.durable]
        signed = state.safety.sign_proposal(
            header,
            event.body,
            self._parent_certificate(parent),
            self._collect_gap(parent.view),
            [each.pre_prepare for each in blocks],
        )
        if signed is None:
            return
        for each in blocks:
            each.durable = True
        pre_prepare, record = signed
        state.emit(record)
        state.emit(Broadcast(pre_prepare))
        self.adopt(pre_prepare)

    def adopt(self, pre_prepare: PrePrepare) -> None:
        """Take our own proposal, which is valid and in a record, as the one of its view."""
        state = self._state
        header = pre_prepare.header
        state.log.record(header.view).proposal = SignedHeader(header, pre_prepare.signature)
        if header.view == state.view:
            state.pacemaker.proposal_seen = True
        if state.tree.find(header.block_id) is None:
            state.tree.insert(BlockEntry(pre_prepare, judgement=Judgement.VALID, durable=True))

    def _find_current(self) -> BlockEntry | None:
        record = self._state.log.find(self._state.view)
        if record is None or record.proposal is None or record.refused:
            return None
        return self._state.tree.find(record.proposal.header.block_id)

    def _check(self, header: BlockHeader) -> _Check:
        state = self._state
        parent = state.tree.find_header(header.parent_id)
        if parent is None:
            return _Check.HOLD
        if not _is_child(header, parent):
            return _Check.REFUSE
        chain = state.tree.get_chain(parent.block_id)
        if chain is None or not self._is_justified(header, chain):
            return _Check.HOLD
        if not state.tree.is_empty(header) and self._must_be_empty(chain):
            # Others may know of finality that we have yet to hear of.
            return _Check.HOLD
        early_ms = (
            header.timestamp_ms - state.clock.wall_ms - state.parameters.timestamp_precision_ms
        )
        if early_ms > 0:
            self.timely_at_ms = state.now_ms + early_ms
            return _Check.HOLD
        return _Check.ACCEPT

    def _is_justified(self, header: BlockHeader, chain: list[BlockEntry]) -> bool:
        """Check that the parent is prepared and valid and every view in between given up."""
        log = self._state.log
        if chain and (
            chain[-1].judgement is not Judgement.VALID
            or log.get_block_certificate(header.parent_view, header.parent_id) is None
        ):
            return False
        return all(
            log.get_certificate(VoteKind.VIEW_CHANGE, view) is not None
            for view in range(header.parent_view + 1, header.view)
        )

    def _must_be_empty(self, chain: list[BlockEntry]) -> bool:
        state = self._state
        height = chain[-1].header.height if chain else state.tree.final.height
        return (
            height >= state.parameters.epoch_end_height
            or state.tree.count_non_empty(chain) >= state.parameters.unfinal_blocks_max
            or state.tree.count_held() >= state.parameters.held_blocks_max
        )

    def _has_room(self) -> bool:
        """Say whether the next block may hold transactions."""
        chain = self._choose_branch()
        return chain is not None and not self._must_be_empty(chain)

    def _choose_branch(self) -> list[BlockEntry] | None:
        """Return the blocks above the final tip up to the one to build on; None if unknown.

        That is the highest prepared block such that every later view was given up.
        """
        state = self._state
        for view in range(state.view - 1, state.log.final_view, -1):
            record = state.log.find(view)
            if record is None:
                return None
            certificate = record.block_certificate
            if certificate is not None:
                chain = state.tree.get_chain(certificate.block_id)
                if chain is not None and chain[-1].judgement is Judgement.VALID:
                    return chain
            if VoteKind.VIEW_CHANGE not in record.certificates:
                return None
        return []

    def _parent_certificate(self, parent: BlockHeader) -> Certificate | None:
        certificate = self._state.log.get_block_certificate(parent.view, parent.block_id)
        if certificate is None and self._state.tree.is_final_tip(parent.block_id):
            return self._state.final_certificate
        return certificate

    def _collect_gap(self, parent_view: int) -> tuple[Certificate, ...]:
        state = self._state
        first = max(parent_view + 1, state.view - GAP_CERTIFICATES_MAX)
        certificates = (
            state.log.get_certificate(VoteKind.VIEW_CHANGE, view)
            for view in range(first, state.view)
        )
        return tuple(certificate for certificate in certificates if certificate is not None)


def _is_child(header: BlockHeader, parent: BlockHeader) -> bool:
    """Check the fields of a header that its parent determines."""
    return (
        header.height == parent.height + 1
        and header.parent_view == parent.view
        and header.timestamp_ms > parent.timestamp_ms
    )
