"""A validator that contradicts itself before real nodes is suspended with the next epoch."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random
from typing import Any

import pytest

from consensus.messages import encode_message
from ledger.genesis import genesis_from_json
from ledger.parameters import Parameters
from node.local_network import LocalNetwork, ValidatorProcess
from node.storage.keystore import load_private_key, load_seed
from p2p.certificate import make_identity
from p2p.frames import Channel
from p2p.tcp import PeerAddress, PeerCallbacks, PeerNetwork
from primitives.certificates import VoteKind, vote_signing_bytes
from primitives.hashing import ZERO_HASH
from primitives.vote import Vote
from tests.helpers.local_network import get_json, run_network, wait_for

SHORT_EPOCHS = Parameters(epoch_length=10, unfinal_blocks_max=3)
VIEWS_AHEAD = 5


def make_votes(culprit: ValidatorProcess, chain_id: bytes, epoch: int, view: int) -> list[Vote]:
    """Return a COMMIT and a VIEW-CHANGE of the fourth validator in one view."""
    key = load_private_key(culprit.home.validator_key_file)
    votes = []
    for kind, block_id, state_root in (
        (VoteKind.COMMIT, b"b" * 32, b"r" * 32),
        (VoteKind.VIEW_CHANGE, ZERO_HASH, ZERO_HASH),
    ):
        message = vote_signing_bytes(chain_id, epoch, kind, view, block_id, state_root)
        votes.append(Vote(kind, epoch, view, block_id, state_root, 3, key.sign(message)))
    return votes


async def contradict(network: LocalNetwork) -> None:
    """Take the fourth validator's place on the network and say two things to all others."""
    culprit = network.validators[3]
    genesis = genesis_from_json(culprit.home.genesis_file.read_text())
    addresses = [member.endpoint.rpartition(":") for member in genesis.members]
    connected: asyncio.Queue[int] = asyncio.Queue()
    imposter = PeerNetwork(
        identity=make_identity(load_seed(culprit.home.transport_key_file), genesis.chain_id),
        own_index=3,
        peers=[
            PeerAddress(index, genesis.members[index].transport_key, host, int(port))
            for index, (host, _, port) in enumerate(addresses[:3])
        ],
        listen=(addresses[3][0], int(addresses[3][2])),
        chain_id=genesis.chain_id,
        random=Random(1),
    )
    imposter.connect(
        PeerCallbacks(lambda *_: None, connected.put_nowait, lambda _: None),
    )
    await imposter.start()
    try:
        while {await connected.get()} - {0, 1, 2} or len(imposter.connected) < 3:
            pass
        state = await asyncio.to_thread(read_consensus, network.validators[0])
        view = int(state["view"]) + VIEWS_AHEAD
        for vote in make_votes(culprit, genesis.chain_id, int(state["epoch"]), view):
            imposter.broadcast(Channel.CONSENSUS_VOTE, encode_message(vote))
        await asyncio.to_thread(wait_for_suspension, network)
    finally:
        await imposter.stop()


def read_consensus(validator: ValidatorProcess) -> dict[str, Any]:
    return get_json(validator.url, "/api/v1/consensus")


def wait_for_suspension(network: LocalNetwork) -> None:
    for validator in network.validators[:3]:
        wait_for(
            lambda each=validator: len(read_consensus(each)["validators"]) == 3,  # type: ignore[misc]
            "a set without the culprit",
        )


@pytest.mark.slow
def test_validator_that_contradicts_itself_loses_its_seat(tmp_path: Path) -> None:
    with run_network(tmp_path / "net", idle_interval_ms=300, parameters=SHORT_EPOCHS) as network:
        network.validators[3].kill()
        asyncio.run(asyncio.wait_for(contradict(network), 120))
