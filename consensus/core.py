"""The core of consensus: one event in, a list of actions out.

Theory of operation
-------------------
Validators go through views. The leader of a view proposes one block (PRE-PREPARE); validators that
find it valid say so (PREPARE) and start to execute it; a quorum of PREPAREs is a prepared
certificate and opens the next view at once. A validator that holds one, has executed the block and
has not given the view up says so together with the state root it reached (COMMIT); a quorum of
COMMITs makes the block and all its ancestors final. A validator that sees no progress gives the
view up (VIEW-CHANGE); a quorum of those also opens the next view. A leader builds on the highest
prepared block such that every later view has a view-change certificate, and ships those.

That is the protocol of Chan and Pass ("Simplex Consensus", TCC 2023) with the phase names of PBFT
and a state root in the last vote. It is safe because

I1  two prepared certificates of one view name one block: two quorums share a correct validator,
    and it prepares once per view;
I2  a view with a commit certificate never has a view-change certificate: a correct validator in
    both quorums would have sent both COMMIT and VIEW-CHANGE;
I3  every block prepared in a view above that of a committed block descends from it: its proposal
    needed view-change certificates for all the views that it skips, and by I2 there is none;
I4  a commit certificate names the state root that a quorum computed; a node whose own root differs
    finalizes nothing and raises an alarm;
I5  whatever was signed is on disk, with all it relied on, before it leaves; after a restart the
    same bytes are sent again and nothing that contradicts them;
I6  the final chain only grows, and grows by descendants;
I7  every buffer has a bound that is named where the buffer is;
I8  nothing that was signed in one epoch counts in another: every vote names its epoch, and the
    next epoch begins on a block that is final.

How the code does it
--------------------
An event is first turned into facts (`Intake`, `Finality`, `Proposals`, `CatchUp`). Then rules are
applied until none finds anything more to do. A rule looks at the facts alone, so the order in which
messages arrive does not matter and applying a rule twice does nothing. The parts share one `State`;
only `safety` signs.

A core belongs to one epoch, that is, to one validator set. When the epoch's last block is final the
core is over: it answers laggards and does nothing else, and the driver starts the next epoch's.

Sans-IO: no clock, socket, file, thread or randomness. The same object runs in the node and in the
simulator. Source: docs/spec/consensus.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

from consensus.actions import Action, Broadcast
from consensus.blocks import BlockEntry, BlockTree, Judgement
from consensus.catch_up import CatchUp
from consensus.epochs import OtherEpochs
from consensus.events import (
    BlockBuilt,
    BlockExecuted,
    BlockValidated,
    ClockReading,
    Event,
    MessageReceived,
    PeerConnected,
    PeerDisconnected,
    Ticked,
    WorkChanged,
)
from consensus.finality import Finality
from consensus.intake import Intake
from consensus.leader import LeaderSchedule
from consensus.messages import (
    BlockRequest,
    BlockResponse,
    BlocksRequest,
    BlocksResponse,
    CertificateBatch,
    CertificateMessage,
    Message,
    PrePrepare,
    Status,
    Vote,
)
from consensus.pacemaker import Pacemaker
from consensus.parameters import Parameters
from consensus.peers import PeerTable
from consensus.probation import Probation
from consensus.proposals import Proposals
from consensus.recovery import History, Recovered, read_history
from consensus.retransmission import Retransmission
from consensus.safety import SafetyGuard, Signer
from consensus.state import State
from consensus.tally import Tally
from consensus.views import Views
from consensus.votes import VoteLog
from primitives.certificates import Verifier, VoteKind
from primitives.errors import InvariantViolationError
from primitives.keys import verify_signature
from primitives.validator_set import ValidatorSet

__all__ = ["Core"]

RULE_PASSES_MAX = 256
"""Passes over the rules in one step. Each pass settles something; a handful is usual."""


class Core:
    """One validator's, or observer's, part in consensus.

    Parameters
    ----------
    parameters : waits, bounds and the chain.
    validators : who votes, by index.
    own_index : index of this validator; None for an observer.
    signer : signs with the validator key; None for an observer.
    recovered : what the driver found on its disk.
    verify : the signature check.

    Raises
    ------
    CorruptStateError
        If the records do not read back or contradict each other.
    """

    def __init__(
        self,
        parameters: Parameters,
        validators: ValidatorSet,
        own_index: int | None,
        signer: Signer | None,
        recovered: Recovered,
        verify: Verifier = verify_signature,
    ) -> None:
        history = read_history(recovered, own_index, parameters.epoch)
        final = recovered.final_header
        certificate = recovered.final_certificate
        if certificate is not None and certificate.epoch != parameters.epoch:
            # It belongs to the epoch before; whoever is in this one does not need it.
            certificate = None
        self._state = State(
            parameters=parameters,
            validators=validators,
            own_index=own_index,
            log=VoteLog(validators, parameters.chain_id, verify, final.view),
            tree=BlockTree(final, parameters.empty_body_root),
            safety=SafetyGuard(
                parameters.chain_id,
                parameters.epoch,
                own_index,
                signer,
                max(final.view, recovered.sign_floor_view),
            ),
            pacemaker=Pacemaker(parameters, history.compute_view(own_index, final.view)),
            leaders=LeaderSchedule(validators.count),
            peers=PeerTable(parameters.answer_interval_ms),
            final_certificate=certificate,
        )
        state = self._state
        self._probation = Probation(
            state,
            records_lost=recovered.records_lost,
            lost_votes_accepted=recovered.lost_votes_accepted,
        )
        self._tally = Tally(state, self._probation)
        self._views = Views(state, self._tally)
        self._catch_up = CatchUp(state, self._tally)
        self._proposals = Proposals(state, self._tally)
        self._finality = Finality(state, self._tally, self._proposals, self._catch_up)
        self._intake = Intake(
            state, self._tally, self._views, self._catch_up, self._probation, verify
        )
        self._retransmission = Retransmission(state)
        self._other_epochs = OtherEpochs(state, self._retransmission)
        self._is_started = False
        self._rules: tuple[Callable[[], bool], ...] = (
            self._catch_up.update,
            self._views.enter,
            self._finality.judge,
            self._proposals.judge,
            self._proposals.prepare,
            self._finality.execute,
            self._finality.commit,
            self._finality.finalize,
            self._lead_or_give_up,
        )
        self._restore(history)

    @property
    def state(self) -> State:
        """The facts, for status pages, metrics and checkers; to be read only."""
        return self._state

    @property
    def probation(self) -> Probation:
        """What a loss of records means here, and whether it reaches into the next epoch."""
        return self._probation

    def start(self, clock: ClockReading) -> list[Action]:
        """Begin: send again what was said before a restart, and start the waits."""
        if self._is_started:
            raise InvariantViolationError("a core is started once")
        self._is_started = True
        state = self._state
        state.clock = clock
        state.pacemaker.start(clock.monotonic_ms)
        proposal = state.safety.get_proposal(state.view)
        if proposal is not None:
            state.emit(Broadcast(proposal))
        for message in self._retransmission.collect():
            state.emit(Broadcast(message))
        state.emit(Broadcast(self._retransmission.make_status()))
        return self._settle()

    def step(self, event: Event, clock: ClockReading) -> list[Action]:
        """Take one event and return what to do, in order.

        Parameters
        ----------
        event : what happened.
        clock : both clocks now; the monotonic one never goes back.

        Raises
        ------
        InvariantViolationError
            If the driver breaks its side (not started; a full block where an empty one was asked
            for). Never because of anything that a peer sent.
        """
        if not self._is_started:
            raise InvariantViolationError("a core is started before it takes events")
        self._state.clock = clock
        match event:
            case MessageReceived():
                self._state.peers.note(event.peer)
                self._take_message(event.peer, event.message)
            case Ticked():
                pass
            case BlockValidated():
                self._finality.on_validated(event)
            case BlockExecuted():
                self._finality.on_executed(event)
            case BlockBuilt():
                self._proposals.on_built(event)
            case WorkChanged():
                self._proposals.on_work_changed(event)
            case PeerConnected():
                self._state.peers.note(event.peer)
                self._retransmission.announce(event.peer)
            case PeerDisconnected():
                self._state.peers.forget(event.peer)
            case _:
                assert_never(event)
        return self._settle()

    def next_deadline(self) -> int | None:
        """Return the monotonic time in milliseconds at which `Ticked` is due.

        Waits that are over already are those that something else holds up; an event will tell.
        """
        state = self._state
        if state.is_epoch_over:
            return None
        waits = [
            state.pacemaker.retransmit_at_ms,
            self._views.compute_deadline_ms(),
            self._proposals.compute_deadline_ms(),
            self._proposals.timely_at_ms,
            self._catch_up.deadline_ms,
        ]
        waits += [entry.retry_at_ms for entry in state.tree.unsettled.values()]
        future = [wait for wait in waits if wait is not None and wait > state.now_ms]
        return min(future) if future else None

    def _settle(self) -> list[Action]:
        """Apply the rules until nothing changes, and hand out the actions."""
        for _ in range(RULE_PASSES_MAX):
            if self._state.is_epoch_over or not self._apply_rules():
                break
        if not self._state.is_epoch_over:
            self._probation.update()
            self._retransmission.run()
        actions, self._state.actions = self._state.actions, []
        return actions

    def _apply_rules(self) -> bool:
        """Apply every rule once; say whether any found something to do."""
        changed = False
        for rule in self._rules:
            changed |= rule()
        return changed

    def _lead_or_give_up(self) -> bool:
        self._views.update_work()
        return self._proposals.propose() or self._views.give_up()

    def _take_message(self, peer: int, message: Message) -> None:
        epoch = _epoch_of(message)
        if epoch is not None and self._other_epochs.meet(peer, epoch):
            return
        match message:
            case Vote():
                self._intake.on_vote(peer, message)
            case PrePrepare():
                self._intake.on_pre_prepare(peer, message)
            case CertificateMessage():
                self._intake.on_certificate(peer, message.certificate)
            case CertificateBatch():
                self._intake.on_batch(peer, message)
            case Status():
                self._probation.note(peer, message.view)
                self._state.peers.note_height(peer, message.final_height)
                self._retransmission.on_status(peer, message)
            case _:
                self._take_transfer(peer, message)

    def _take_transfer(
        self, peer: int, message: BlockRequest | BlockResponse | BlocksRequest | BlocksResponse
    ) -> None:
        match message:
            case BlockRequest():
                self._retransmission.on_block_request(peer, message)
            case BlockResponse():
                self._catch_up.on_block_response(peer, message.pre_prepare)
            case BlocksRequest():
                self._retransmission.on_blocks_request(peer, message)
            case BlocksResponse():
                self._catch_up.on_blocks_response(peer, message)
            case _:
                assert_never(message)

    def _restore(self, history: History) -> None:
        """Take back what the records say. All of it was verified and judged then."""
        state = self._state
        prepared = {vote.block_id for vote in history.votes if vote.kind is VoteKind.PREPARE}
        for pre_prepare in history.pre_prepares:
            entry = BlockEntry(
                pre_prepare,
                judgement=Judgement.VALID,
                durable=True,
                prepared_here=pre_prepare.block_id in prepared,
            )
            state.tree.insert(entry)
            if pre_prepare.header.proposer == state.own_index:
                state.safety.restore_proposal(pre_prepare)
                self._proposals.adopt(pre_prepare)
        if state.final_certificate is not None:
            state.log.add_certificate(state.final_certificate)
        for certificate in history.certificates:
            self._tally.restore(certificate)
        for vote in history.votes:
            state.safety.restore(vote)
            self._tally.count(vote)
        # What a restored vote or certificate would have made us send was sent before.
        state.actions = [each for each in state.actions if not isinstance(each, Broadcast)]


def _epoch_of(message: Message) -> int | None:
    """Return the epoch that a message speaks of; None if it does not say.

    Blocks that were asked for are not screened: their ids were.
    """
    match message:
        case Vote() | Status():
            return message.epoch
        case PrePrepare():
            return message.header.epoch
        case CertificateMessage():
            return message.certificate.epoch
        case CertificateBatch():
            return message.certificates[0].epoch if message.certificates else None
        case _:
            return None
