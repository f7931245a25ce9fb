"""Real validators change their set: one joins, one gets another key, one leaves."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ledger.changes import Admission, Change, Removal, possession_message
from ledger.genesis import Genesis, genesis_from_json
from ledger.members import Member
from ledger.parameters import Parameters
from ledger.transactions.membership import RotateValidatorKey
from node.home import NodeHome
from node.local_network import LocalNetwork, ValidatorProcess, find_free_ports
from node.network_files import make_seed
from node.storage.keystore import load_private_key, save_seed
from node.storage.sign_guard import GuardState, create_guard, guard_path
from primitives.accounts import account_id_from_public_key
from primitives.keys import PrivateKey
from quorate.bodies import ROTATE_VALIDATOR_KEY
from quorate.client import Client
from quorate.connection import Connection
from quorate.sender import Sender
from tests.helpers.local_network import (
    HOST,
    get_height,
    get_json,
    get_roots,
    run_network,
    wait_for,
    wait_for_height,
)

EPOCH_LENGTH = 8
SHORT_EPOCHS = Parameters(epoch_length=EPOCH_LENGTH, unfinal_blocks_max=3)


def read_genesis(network: LocalNetwork) -> Genesis:
    return genesis_from_json(network.validators[0].home.genesis_file.read_text())


def make_newcomer(network: LocalNetwork, folder: Path) -> tuple[ValidatorProcess, Admission]:
    """Lay out the home of a validator that the genesis does not know, and its admission."""
    first = network.validators[0]
    home = NodeHome(folder)
    shutil.copytree(first.home.root / "config", folder / "config")
    p2p_port, api_port = find_free_ports(HOST, 2)
    keys = []
    for path in (home.validator_key_file, home.transport_key_file, home.account_key_file):
        seed = make_seed()
        save_seed(path, seed, description="newcomer")
        keys.append(PrivateKey(seed))
    home.config_file.write_text(
        f'validator = "newcomer"\n[p2p]\nlisten_port = {p2p_port}\n'
        f"[api]\nport = {api_port}\n[consensus]\nidle_interval_ms = 300\n"
    )
    validator_key, transport_key, account_key = keys
    account = account_id_from_public_key(account_key.public_key)
    chain_id = read_genesis(network).chain_id
    create_guard(guard_path(home.validator_key_file), GuardState(chain_id))
    member = Member(
        "newcomer",
        account,
        validator_key.public_key,
        transport_key.public_key,
        f"{HOST}:{p2p_port}",
    )
    process = ValidatorProcess("newcomer", home, f"http://{HOST}:{api_port}")
    proofs = [
        key.sign(possession_message(chain_id, account, key.public_key))
        for key in (validator_key, transport_key)
    ]
    return process, Admission(member, *proofs)


def approve(network: LocalNetwork, count: int, *changes: Change) -> None:
    """Let the first validator propose and others agree, each through its own node."""
    clients = [
        Client(validator.url, load_private_key(validator.home.account_key_file))
        for validator in network.validators[:count]
    ]
    number = int(clients[0].governance.propose("a change", *changes).result["number"])
    for client in clients[1:]:
        wait_for(lambda: is_known(client, number), "the proposal")  # noqa: B023
        client.governance.vote(client.governance.proposal(number), yes=True)


def is_known(client: Client, number: int) -> bool:
    return any(each.number == number for each in client.governance.proposals())


def wait_for_receipt(validator: ValidatorProcess, transaction_id: str) -> None:
    """Wait until a transaction is final; it must have taken effect."""
    path = f"/api/v1/transactions/{transaction_id}"
    wait_for(lambda: get_json(validator.url, path)["status"] != "pending", "a receipt")
    found = get_json(validator.url, path)
    assert found["status"] == "ok", found


def get_signers(validator: ValidatorProcess) -> list[int]:
    """Return who signed the last commit certificate that a node shows."""
    block = get_json(validator.url, f"/api/v1/blocks/{get_height(validator)}")
    return list(block["certificate"]["signers"])


def assert_equal_roots(validators: list[ValidatorProcess], up_to: int) -> None:
    roots = [get_roots(validator, up_to) for validator in validators]
    assert all(each == roots[0] for each in roots)


@pytest.mark.slow
def test_epochs_pass_and_a_validator_that_missed_some_comes_back(tmp_path: Path) -> None:
    with run_network(tmp_path / "net", idle_interval_ms=200, parameters=SHORT_EPOCHS) as network:
        first, *others = network.validators
        wait_for_height(first, EPOCH_LENGTH // 2)
        first.kill()
        wait_for_height(others[0], 3 * EPOCH_LENGTH + 1)
        first.start()
        wait_for_height(first, 4 * EPOCH_LENGTH)
        wait_for(lambda: 0 in get_signers(others[0]), "the vote of the one that was away")
        assert_equal_roots(network.validators, 4 * EPOCH_LENGTH)


@pytest.mark.slow
def test_validator_joins_another_changes_its_key_and_one_leaves(tmp_path: Path) -> None:
    with run_network(tmp_path / "net", idle_interval_ms=200, parameters=SHORT_EPOCHS) as network:
        first = network.validators[0]
        newcomer, admission = make_newcomer(network, tmp_path / "newcomer")
        approve(network, 3, admission)
        newcomer.start()
        network.validators.append(newcomer)
        wait_for(lambda: 4 in get_signers(first), "the newcomer's vote")
        wait_for(newcomer.is_ready, "the newcomer's API")

        old = load_private_key(newcomer.home.validator_key_file)
        rotate_key(network, newcomer)
        newcomer.home.validator_key_file.unlink()
        height = get_height(first)
        wait_for_height(first, height + 3 * EPOCH_LENGTH)
        wait_for(lambda: 4 in get_signers(first), "a vote of the newcomer's next key")
        assert old.public_key.hex() not in str(get_json(first.url, "/api/v1/status"))

        last = network.validators[3]
        account = account_id_from_public_key(
            load_private_key(last.home.account_key_file).public_key
        )
        approve(network, 4, Removal(account))
        wait_for(lambda: len(get_signers(first)) <= 4 and has_four(first), "a set of four")
        height = get_height(first)
        left = [each for each in network.validators if each is not last]
        for validator in left:
            wait_for_height(validator, height + EPOCH_LENGTH)
        assert_equal_roots(left, height)


def rotate_key(network: LocalNetwork, validator: ValidatorProcess) -> None:
    """Lay the next key beside the present one, and announce it."""
    seed = make_seed()
    key = PrivateKey(seed)
    path = validator.home.validator_key_file.with_name("validator-next.json")
    save_seed(path, seed, description="next")
    chain_id = read_genesis(network).chain_id
    account_key = load_private_key(validator.home.account_key_file)
    account = account_id_from_public_key(account_key.public_key)
    body = RotateValidatorKey(
        key.public_key, key.sign(possession_message(chain_id, account, key.public_key))
    )
    sender = Sender(Connection(validator.url), account_key)
    wait_for_receipt(validator, sender.submit(ROTATE_VALIDATOR_KEY, body.to_fields()))


def has_four(validator: ValidatorProcess) -> bool:
    return len(get_json(validator.url, "/api/v1/consensus")["validators"]) == 4
