"""What must hold in every run, checked while it goes on; a violation ends it.

Agreement (one block at each height), equal state roots, valid certificates, no correct validator
ever contradicts itself in what leaves it, across restarts and epochs too, nothing leaves before its
record is on disk, a recovered core knows every vote that left, final heights only grow, evidence
names no correct validator, no correct node raises an alarm, buffers keep their bounds.
"""

from __future__ import annotations

from collections import Counter

from consensus.core import Core
from consensus.messages import PrePrepare, Vote
from consensus.parameters import PEERS_MAX, VIEW_WINDOW
from primitives.certificates import Certificate, Verifier, VoteKind, verify_certificate
from primitives.evidence import Evidence, find_vote_conflict, verify_evidence
from primitives.header import BlockHeader
from tests.simulator.epoch_plan import EpochPlan
from tests.simulator.ledgers import FinalBlock, SimulatedLedger

__all__ = ["Checkers", "InvariantBrokenError"]

STAGED_BLOCKS_MAX = 1_024
"""More than block sync may hold at a time."""


class InvariantBrokenError(AssertionError):
    """A run broke what must always hold."""


class Checkers:
    """The global view of one run.

    Parameters
    ----------
    byzantine : nodes of which nothing is demanded.
    plan : who votes when.
    chain_id : that votes are for.
    verify : the signature check.
    forks_allowed : more nodes are Byzantine than can be tolerated; then agreement is not demanded,
        but that evidence names nobody else.
    """

    def __init__(
        self,
        byzantine: frozenset[int],
        plan: EpochPlan,
        chain_id: bytes,
        verify: Verifier,
        *,
        forks_allowed: bool = False,
    ) -> None:
        self._byzantine = byzantine
        self._plan = plan
        self._chain_id = chain_id
        self._verify = verify
        self._forks_allowed = forks_allowed
        self._chain: list[tuple[bytes, bytes]] = []
        self._certificates: dict[int, Certificate] = {}
        self._votes: dict[tuple[int, int, int], dict[VoteKind, Vote]] = {}
        self._proposals: dict[tuple[int, int, int], bytes] = {}
        self._heights: dict[int, int] = {}
        # Nodes that may have forgotten without anyone noticing, and so may contradict themselves.
        self.forgetful: set[int] = set()
        # Nodes whose ledger went another way: it is right that they say so.
        self.diverged: set[int] = set()
        self.has_forked = False
        self.culprits: set[int] = set()
        self.coverage: Counter[str] = Counter()

    @property
    def final_height(self) -> int:
        """Height of the highest block that any correct node made final."""
        return len(self._chain)

    def on_final(self, node: int, height: int, final: FinalBlock) -> None:
        """Hold a final block against what every other node has there."""
        if node in self._byzantine:
            return
        if height <= self._heights.get(node, 0):
            raise InvariantBrokenError(f"node {node} made height {height} final a second time")
        self._heights[node] = height
        if final.certificate is not None:
            self._check_certificate(node, height, final, final.certificate)
        found = (final.block.block_id, final.state_root)
        if height > len(self._chain) + 1:
            raise InvariantBrokenError(f"node {node} made height {height} final out of order")
        if height == len(self._chain) + 1:
            self._check_link(node, height, final)
            self._chain.append(found)
        elif self._chain[height - 1][0] != found[0]:
            self.has_forked = True
            if not self._forks_allowed:
                raise InvariantBrokenError(
                    f"fork: node {node} has another block at height {height}"
                )
        elif self._chain[height - 1] != found:
            raise InvariantBrokenError(f"node {node} has another state root at height {height}")

    def on_started(self, node: int, ledger: SimulatedLedger, *, blocks_lost: bool) -> None:
        """Hold the height at which a node starts against the one at which it was."""
        before, height = self._heights.get(node, 0), ledger.height
        if not blocks_lost and height < before:
            raise InvariantBrokenError(
                f"node {node} was at height {before}, after a restart at {height}"
            )
        for each in range(before + 1, height + 1):
            # It died before it could tell.
            self.on_final(node, each, ledger.read_final(each))
        self._heights[node] = height

    def on_recovered(self, node: int, core: Core) -> None:
        """Hold what a recovered core knows against what the node ever said in this epoch."""
        state = core.state
        if node in self._byzantine or node in self.forgetful or state.own_index is None:
            return
        floor, epoch = state.safety.floor_view, state.parameters.epoch
        for (speaker, spoken_epoch, view), said in self._votes.items():
            if speaker != node or spoken_epoch != epoch or view <= floor:
                continue
            for kind, vote in said.items():
                if state.safety.get_vote(kind, view) != vote:
                    raise InvariantBrokenError(
                        f"node {node} forgot its {kind.name} of view {view} in a restart"
                    )

    def on_sent(self, node: int, vote: Vote, durable: set[Vote]) -> None:
        """Hold a vote of its own that leaves a node against everything that it ever said."""
        if node in self._byzantine or node in self.forgetful:
            return
        said = self._votes.setdefault((node, vote.epoch, vote.view), {})
        if said.get(vote.kind) == vote:
            return
        for earlier in said.values():
            conflict = find_vote_conflict(earlier, vote)
            if conflict is not None:
                raise InvariantBrokenError(
                    f"node {node} signed {conflict.name} in view {vote.view}"
                )
        said[vote.kind] = vote
        if vote not in durable:
            raise InvariantBrokenError(
                f"a {vote.kind.name} of node {node} left before its record was on disk"
            )

    def on_proposed(self, node: int, proposal: PrePrepare) -> None:
        """Hold an own proposal that leaves a node against its others."""
        if node in self._byzantine or node in self.forgetful:
            return
        key = (node, proposal.header.epoch, proposal.header.view)
        if self._proposals.setdefault(key, proposal.block_id) != proposal.block_id:
            raise InvariantBrokenError(f"node {node} proposed twice in view {key[2]}")

    def is_refusal_right(self, node: int, header: BlockHeader) -> bool:
        """Say whether a node may refuse a proposal: no correct one refuses that of another."""
        leader = self._plan.members(header.epoch)[header.proposer]
        return bool({node, leader} & (self._byzantine | self.forgetful))

    def on_evidence(self, node: int, evidence: Evidence) -> None:
        """Hold evidence of a correct node to be genuine and to name culprits only."""
        if node in self._byzantine:
            return
        verify_evidence(
            evidence, self._plan.validators(evidence.epoch), self._chain_id, self._verify
        )
        self.coverage[f"evidence {evidence.kind.name}"] += 1
        culprit = self._plan.members(evidence.epoch)[evidence.validator]
        if culprit not in self._byzantine and culprit not in self.forgetful:
            raise InvariantBrokenError(f"evidence names {culprit}, which is correct")
        self.culprits.add(culprit)

    def on_alarm(self, node: int, code: str, text: str) -> None:
        """No other fault than divergence may alarm a correct node."""
        self.coverage[f"alarm {code}"] += 1
        expected = self._byzantine | self.diverged | self.forgetful
        if node not in expected and not self._forks_allowed:
            raise InvariantBrokenError(f"node {node} raised {code}: {text}")

    def check_bounds(self, node: int, core: Core) -> None:
        """Sample what a core holds: the sizes of what grows with messages, and only its epoch."""
        state = core.state
        views = max(state.view, state.log.highest_certified_view) - state.log.final_view
        bounds = {
            "unfinal blocks": (len(state.tree), 2 * views + 2 * VIEW_WINDOW + STAGED_BLOCKS_MAX),
            "views": (state.log.record_count, views + 2 * VIEW_WINDOW + 2),
            "own votes": (state.safety.vote_count, 3 * (views + 2)),
            "prepared views": (len(state.log.prepared_views), views + 1),
            "peers": (len(state.peers), PEERS_MAX),
        }
        strangers = [
            certificate.view
            for record in state.log._records.values()
            for certificate in record.certificates.values()
            if certificate.epoch != state.parameters.epoch
        ]
        if strangers:
            raise InvariantBrokenError(
                f"node {node} counts certificates of another epoch for views {strangers}"
            )
        for name, (found, most) in bounds.items():
            if found > most:
                raise InvariantBrokenError(f"node {node} holds {found} {name}, at most {most}")

    def check_evidence(self, faults_max: int) -> None:
        """After a fork, demand that evidence names enough culprits."""
        if self.has_forked and len(self.culprits) <= faults_max:
            raise InvariantBrokenError(
                f"a fork, and evidence names only {sorted(self.culprits)}, not {faults_max + 1}"
            )

    def _check_certificate(
        self, node: int, height: int, final: FinalBlock, certificate: Certificate
    ) -> None:
        known = self._certificates.get(height)
        if known == certificate:
            return
        self._certificates[height] = certificate
        header = final.block.header
        verify_certificate(
            certificate, self._plan.validators(header.epoch), self._chain_id, self._verify
        )
        names = (certificate.kind, certificate.block_id, certificate.state_root)
        if names != (VoteKind.COMMIT, header.block_id, final.state_root):
            raise InvariantBrokenError(
                f"node {node} holds a certificate for something else at height {height}"
            )
        if certificate.epoch != self._plan.epoch_of(height):
            raise InvariantBrokenError(f"height {height} was certified in a wrong epoch")

    def _check_link(self, node: int, height: int, final: FinalBlock) -> None:
        if not self._chain or final.block.header.parent_id == self._chain[-1][0]:
            return
        self.has_forked = True
        if not self._forks_allowed:
            raise InvariantBrokenError(f"node {node}: height {height} hangs from another chain")
