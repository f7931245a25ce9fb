"""What must hold in every run, checked while it goes on; a violation ends it.

Agreement (one block at each height), equal state roots, no correct validator ever contradicts
itself in what leaves it, across restarts too, nothing leaves before its record is on disk, final
heights only grow, evidence names no correct validator, no correct node raises an alarm, buffers
keep their bounds.
"""

from __future__ import annotations

from consensus.core import Core
from consensus.evidence import Evidence, find_vote_conflict
from consensus.messages import Message, PrePrepare, Vote
from consensus.parameters import VIEW_WINDOW
from consensus.records import decode_record
from primitives.certificates import VoteKind
from tests.simulator.disk import SimulatedDisk, StoredBlock

__all__ = ["Checkers", "InvariantBrokenError"]

BLOCKS_HELD_MAX = 1_000


class InvariantBrokenError(AssertionError):
    """A run broke what must always hold."""


class Checkers:
    """The global view of one run.

    Parameters
    ----------
    byzantine
        Nodes of which nothing is demanded.
    """

    def __init__(self, byzantine: frozenset[int]) -> None:
        self._byzantine = byzantine
        self._chain: list[tuple[bytes, bytes]] = []
        self._votes: dict[tuple[int, int], list[Vote]] = {}
        self._proposals: dict[tuple[int, int], bytes] = {}

    @property
    def final_height(self) -> int:
        """Height of the highest block that any correct node made final."""
        return len(self._chain)

    def on_final(self, node: int, height: int, stored: StoredBlock) -> None:
        """Hold a final block against what every other node has there."""
        if node in self._byzantine:
            return
        found = (stored.block.block_id, stored.state_root)
        if height > len(self._chain) + 1:
            raise InvariantBrokenError(f"node {node} made height {height} final out of order")
        if height == len(self._chain) + 1:
            self._chain.append(found)
        elif self._chain[height - 1][0] != found[0]:
            raise InvariantBrokenError(f"fork: node {node} has another block at height {height}")
        elif self._chain[height - 1] != found:
            raise InvariantBrokenError(f"node {node} has another state root at height {height}")

    def on_sent(self, node: int, message: Message, disk: SimulatedDisk) -> None:
        """Hold a message that leaves a node against everything that it ever said."""
        if node in self._byzantine:
            return
        if isinstance(message, Vote) and message.validator == node:
            self._check_vote(node, message, disk)
        if isinstance(message, PrePrepare) and message.header.proposer == node:
            key = (node, message.header.view)
            if self._proposals.setdefault(key, message.block_id) != message.block_id:
                raise InvariantBrokenError(f"node {node} proposed twice in view {key[1]}")

    def on_evidence(self, evidence: Evidence) -> None:
        """Hold evidence to name culprits only."""
        if evidence.validator not in self._byzantine:
            raise InvariantBrokenError(f"evidence names {evidence.validator}, which is correct")

    def on_alarm(self, node: int, code: str, text: str) -> None:
        """No fault that is simulated may alarm a correct node."""
        if node not in self._byzantine:
            raise InvariantBrokenError(f"node {node} raised {code}: {text}")

    def check_bounds(self, node: int, core: Core) -> None:
        """Sample the sizes of what grows with messages."""
        state = core.state
        views = len(state.log.prepared_views)
        blocks = len(state.tree.unsettled)
        if blocks > BLOCKS_HELD_MAX or views > BLOCKS_HELD_MAX + VIEW_WINDOW:
            raise InvariantBrokenError(f"node {node} holds {blocks} blocks, {views} views")

    def _check_vote(self, node: int, vote: Vote, disk: SimulatedDisk) -> None:
        said = self._votes.setdefault((node, vote.view), [])
        for earlier in said:
            conflict = find_vote_conflict(earlier, vote)
            if conflict is not None:
                raise InvariantBrokenError(
                    f"node {node} signed {conflict.name} in view {vote.view}"
                )
        if vote in said:
            return
        said.append(vote)
        if vote.kind in (VoteKind.PREPARE, VoteKind.COMMIT, VoteKind.VIEW_CHANGE) and not any(
            decode_record(record).vote == vote for record in disk.records
        ):
            raise InvariantBrokenError(
                f"a {vote.kind.name} of node {node} left before its record was on disk"
            )
