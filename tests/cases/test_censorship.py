"""A leader that proposes empty blocks for ever holds nobody up for longer than its own views."""

from __future__ import annotations

from dataclasses import replace

from consensus.messages import Message, PrePrepare
from primitives.evidence import proposal_signing_bytes
from tests.helpers.consensus import EMPTY_BODY_ROOT, make_signer
from tests.helpers.consensus_network import Network, Node

CENSOR = 1


def empty_its_proposals(network: Network) -> None:
    """Let the censor send an empty block instead of whatever it would propose."""

    def tap(source: Node, target: Node, message: Message) -> bool:
        if (
            source.index != CENSOR
            or not isinstance(message, PrePrepare)
            or message.header.proposer != CENSOR
            or not message.body
        ):
            return False
        header = replace(message.header, body_root=EMPTY_BODY_ROOT)
        signature = make_signer(CENSOR)(proposal_signing_bytes(header.block_id))
        empty = replace(message, header=header, body=b"", signature=signature)
        network.deliver(source, target, empty)
        return True

    network.tap = tap


def test_others_take_up_what_a_leader_leaves_out() -> None:
    network = Network(seed=3)
    network.start()
    empty_its_proposals(network)
    for number in range(1, 13):
        network.submit(number)
        others = [node for node in network.nodes if node.index != CENSOR]
        assert network.run_until(
            lambda number=number, others=others: all(  # type: ignore[misc]
                number in node.transactions_in(node.disk.blocks) for node in others
            ),
            10_000,
        )
