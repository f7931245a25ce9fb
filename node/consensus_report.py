"""What the node process tells its API process of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from consensus.report_builder import build_report
from consensus.state import State
from consensus.watch import Watch
from node.api.feed_frames import NodeStatus
from node.mempool import Mempool
from node.version import read_version

__all__ = ["NodeFacts", "build_node_status"]

KEY_DIGITS_SHOWN = 16


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What is told of a node besides its consensus.

    Parameters
    ----------
    name
        Of this node.
    validator_names
        Of all members, by validator key; a validator without a name is shown by its key.
    final_height
        Of the last block that is durable here.
    mempool
        Of which the size is told.
    counters
        Counts of messages and connections, by name; ``peers_connected`` and ``peers_expected``
        are among them.
    """

    name: str
    validator_names: Mapping[bytes, str]
    final_height: int
    mempool: Mempool
    counters: Mapping[str, int]


def build_node_status(facts: NodeFacts, state: State, watch: Watch, now_ms: int) -> NodeStatus:
    """Return what the node knows of itself now.

    Parameters
    ----------
    facts
        Besides consensus.
    state, watch
        Of its core.
    now_ms
        The monotonic clock.
    """
    names = [
        facts.validator_names.get(key) or key.hex()[:KEY_DIGITS_SHOWN]
        for key in state.validators.public_keys
    ]
    return NodeStatus(
        name=facts.name,
        validator_index=state.own_index,
        final_height=facts.final_height,
        view=state.view,
        peers_connected=facts.counters["peers_connected"],
        peers_expected=facts.counters["peers_expected"],
        mempool_transactions=len(facts.mempool),
        mempool_bytes=facts.mempool.size_bytes,
        is_catching_up=state.is_behind,
        version=read_version(),
        counters=tuple(sorted(facts.counters.items())),
        consensus=build_report(state, watch, names, now_ms),
    )
