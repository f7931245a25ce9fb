"""The genesis file: what it says decides the chain id, how it is written does not."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ledger.genesis import GENESIS_BYTES_MAX, genesis_from_json
from ledger.members import decode_member, member_key
from ledger.parameters import Parameters, decode_parameters
from ledger.schema import (
    CHAIN_PARAMETERS,
    CHAIN_SUPPLY,
    CHAIN_VALIDATORS,
    decode_supply,
    decode_validators,
)
from primitives.accounts import account_to_text
from primitives.errors import InvalidInputError
from tests.helpers.ledger import INITIAL_BALANCE, Chain, make_network

NETWORK = make_network(parameters=Parameters(fee_per_byte=2))
GENESIS = NETWORK.genesis

Change = Callable[[dict[str, Any]], object]


def text_with(change: Change) -> str:
    document = json.loads(GENESIS.to_json())
    change(document)
    return json.dumps(document)


def test_the_file_reads_back() -> None:
    again = genesis_from_json(GENESIS.to_json())
    assert again == GENESIS
    assert again.chain_id == GENESIS.chain_id


def test_spacing_and_order_of_keys_do_not_matter() -> None:
    document = json.loads(GENESIS.to_json())
    reordered = json.dumps(dict(reversed(list(document.items()))), separators=(",", ":"))
    assert genesis_from_json(reordered).chain_id == GENESIS.chain_id


def test_everything_that_is_said_enters_the_chain_id() -> None:
    first, second, *others = GENESIS.members
    variants = [
        GENESIS,
        replace(GENESIS, chain_name="other"),
        replace(GENESIS, timestamp_ms=1),
        replace(GENESIS, members=(second, first, *others)),
        replace(GENESIS, members=(replace(first, endpoint="h:1"), second, *others)),
        replace(GENESIS, allocations={}),
        replace(GENESIS, parameters=Parameters()),
    ]
    assert len({variant.chain_id for variant in variants}) == len(variants)


def test_the_genesis_block_holds_what_the_file_says() -> None:
    store = Chain(NETWORK).store
    supply = store.read(CHAIN_SUPPLY, decode_supply)
    validators = store.read(CHAIN_VALIDATORS, decode_validators)
    assert supply is not None
    assert (supply.total, supply.held) == (4 * INITIAL_BALANCE, 0)
    assert validators is not None
    assert validators.to_validator_set() == GENESIS.to_validator_set()
    assert store.read(CHAIN_PARAMETERS, decode_parameters) == GENESIS.parameters
    for member in GENESIS.members:
        assert store.read(member_key(member.account), decode_member) == member


def set_in(*path: str | int, to: object) -> Change:
    def change(document: Any) -> None:
        for step in path[:-1]:
            document = document[step]
        document[path[-1]] = to

    return change


def drop(*path: str | int) -> Change:
    def change(document: Any) -> None:
        for step in path[:-1]:
            document = document[step]
        del document[path[-1]]

    return change


SOMEBODY = account_to_text(NETWORK.accounts[0].id)


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        (drop("members"), "malformed", "genesis"),
        (set_in("extra", to=1), "malformed", "genesis"),
        (set_in("format", to="quorate-genesis/2"), "malformed", "genesis.format"),
        (set_in("chain_name", to="Bad Name"), "malformed", "genesis.chain_name"),
        (set_in("chain_name", to=3), "malformed", "genesis.chain_name"),
        (set_in("timestamp_ms", to=-1), "out_of_range", "genesis.timestamp_ms"),
        (set_in("timestamp_ms", to=1.5), "malformed", "genesis.timestamp_ms"),
        (set_in("timestamp_ms", to=True), "malformed", "genesis.timestamp_ms"),
        (set_in("members", to=[]), "malformed", "genesis.members"),
        (set_in("members", to={}), "malformed", "genesis.members"),
        (set_in("members", 0, to=7), "malformed", "genesis.members[0]"),
        (drop("members", 1, "name"), "malformed", "genesis.members[1]"),
        (set_in("members", 0, "name", to=""), "malformed", "genesis.members[0].name"),
        (set_in("members", 0, "account", to="qr1x"), "malformed", "genesis.members[0].account"),
        (set_in("members", 0, "account", to=None), "malformed", "genesis.members[0].account"),
        (
            set_in("members", 0, "validator_key", to="ab"),
            "malformed",
            "genesis.members[0].validator_key",
        ),
        (
            set_in("members", 0, "transport_key", to=5),
            "malformed",
            "genesis.members[0].transport_key",
        ),
        (
            set_in("members", 0, "endpoint", to="nowhere"),
            "malformed",
            "genesis.members[0].endpoint",
        ),
        (set_in("allocations", to=[]), "malformed", "genesis.allocations"),
        (set_in("allocations", "nobody", to=1), "malformed", "genesis.allocations"),
        (
            set_in("allocations", SOMEBODY, to="1"),
            "malformed",
            f"genesis.allocations.{SOMEBODY}",
        ),
        (set_in("allocations", SOMEBODY, to=2**63 - 1), "out_of_range", "genesis.allocations"),
        (set_in("allocations", SOMEBODY.upper(), to=1), "duplicate", "genesis.allocations"),
        (set_in("parameters", to=[]), "malformed", "genesis.parameters"),
        (set_in("parameters", "fee", to=1), "malformed", "parameters.fee"),
    ],
)
def test_a_bad_file_is_refused_with_the_path_of_the_field(
    change: Change, code: str, field: str
) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        genesis_from_json(text_with(change))
    assert (refusal.value.code, refusal.value.field) == (code, field)


@pytest.mark.parametrize("name", ["name", "account", "validator_key", "transport_key"])
def test_members_do_not_share_what_identifies_them(name: str) -> None:
    def change(document: Any) -> None:
        document["members"][2][name] = document["members"][0][name]

    with pytest.raises(InvalidInputError) as refusal:
        genesis_from_json(text_with(change))
    assert (refusal.value.code, refusal.value.field) == ("duplicate", f"genesis.members[2].{name}")


def test_a_key_that_verifies_everything_is_refused() -> None:
    weak = (1).to_bytes(32, "little").hex()
    with pytest.raises(InvalidInputError) as refusal:
        genesis_from_json(text_with(set_in("members", 0, "validator_key", to=weak)))
    assert refusal.value.field == "genesis.members[0].validator_key"


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "null", '{"a": 1, "a": 2}', "[" * 100_000])
def test_what_is_not_an_object_of_json_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        genesis_from_json(text)
    assert (refusal.value.code, refusal.value.field) == ("malformed", "genesis")


def test_a_file_above_the_limit_is_refused_unread() -> None:
    with pytest.raises(InvalidInputError) as refusal:
        genesis_from_json(" " * (GENESIS_BYTES_MAX + 1))
    assert refusal.value.code == "too_large"
