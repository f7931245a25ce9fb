"""A validator that contradicts itself before real nodes loses its seat and of its stake."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random
from typing import Any

import pytest

from consensus.messages import encode_message
from ledger.genesis import genesis_from_json
from ledger.parameters import Parameters
from ledger.reader import LedgerReader
from ledger.schema import ACCOUNT_PREFIX, CHAIN_SUPPLY, decode_account, decode_supply
from ledger.stake_reader import list_delegations
from ledger.stake_records import decode_stake_pool, stake_key
from ledger.transactions.evidence import EVIDENCE_PREFIX, decode_evidence_record
from ledger.transactions.staking import Stake
from node.local_network import LocalNetwork, ValidatorProcess
from node.network_files import MEMBER_ALLOCATION
from node.storage.keystore import load_private_key, load_seed
from node.storage.leveldb import LevelKeyValueStore
from p2p.certificate import make_identity
from p2p.frames import Channel
from p2p.tcp import PeerAddress, PeerCallbacks, PeerNetwork
from primitives.accounts import account_id_from_public_key
from primitives.certificates import VoteKind, vote_signing_bytes
from primitives.hashing import ZERO_HASH
from primitives.vote import Vote
from quorate.bodies import STAKE
from quorate.connection import Connection
from quorate.sender import Sender
from tests.helpers.local_network import get_json, run_network, wait_for

SHORT_EPOCHS = Parameters(epoch_length=10, unfinal_blocks_max=3)
VIEWS_AHEAD = 5
BOND, DELEGATION = 7_000, 3_001
TAKEN, PAID = 1_000, 100
"""A tenth of both together, and a tenth of that, rounded down."""


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


def stake(network: LocalNetwork) -> None:
    """Let the fourth validator bond, and somebody else delegate to it."""
    door, culprit = network.validators[0], network.validators[3]
    account_key = load_private_key(culprit.home.account_key_file)
    alice_key = load_private_key(culprit.home.root.parent / "accounts" / "alice.json")
    owner, alice = (Sender(Connection(door.url), key) for key in (account_key, alice_key))
    for sender, amount in ((owner, BOND), (alice, DELEGATION)):
        body = Stake(owner.account_id, amount).to_fields()
        path = f"/api/v1/transactions/{sender.submit(STAKE, body)}"
        wait_for(
            lambda path=path: get_json(door.url, path)["status"] == "ok",  # type: ignore[misc]
            "a final stake",
        )


def check_slash(validator: ValidatorProcess) -> None:
    """Look at what a validator that was stopped has on disk."""
    genesis = genesis_from_json(validator.home.genesis_file.read_text())
    culprit = genesis.members[3].account
    values = LevelKeyValueStore(validator.home.ledger_folder)
    try:
        reader = LedgerReader(values)
        (evidence,) = reader.scan(EVIDENCE_PREFIX, limit=9)
        assert decode_evidence_record(evidence[1]).culprit == culprit
        pool = reader.read(stake_key(culprit), decode_stake_pool)
        assert pool is not None
        assert (pool.is_tombstoned, pool.slashed) == (True, TAKEN)
        assert pool.pool.tokens == BOND + DELEGATION - TAKEN
        alice_key = load_private_key(validator.home.root.parent / "accounts" / "alice.json")
        alice = account_id_from_public_key(alice_key.public_key)
        (delegation,) = list_delegations(reader, alice, limit=9)
        assert (delegation.shares, delegation.tokens) == (DELEGATION, 2_700)
        balances = {
            key[len(ACCOUNT_PREFIX) :]: decode_account(value).balance
            for key, value in reader.scan(ACCOUNT_PREFIX, limit=1_000)
        }
        honest = sorted(balances[member.account] for member in genesis.members[:3])
        assert honest == [MEMBER_ALLOCATION, MEMBER_ALLOCATION, MEMBER_ALLOCATION + PAID]
        supply = reader.read(CHAIN_SUPPLY, decode_supply)
        assert supply is not None
        assert (supply.held, supply.burnt) == (pool.pool.tokens, TAKEN - PAID)
        assert sum(balances.values()) + supply.held + supply.burnt == genesis.supply
    finally:
        values.close()


@pytest.mark.slow
def test_validator_that_contradicts_itself_loses_its_seat_and_of_its_stake(tmp_path: Path) -> None:
    with run_network(tmp_path / "net", idle_interval_ms=300, parameters=SHORT_EPOCHS) as network:
        stake(network)
        network.validators[3].kill()
        asyncio.run(asyncio.wait_for(contradict(network), 120))
        left = network.validators[:3]
    for validator in left:
        check_slash(validator)
