"""Frozen bytes, hashes and roots of a small chain, for other implementations.

``python -m tests.ledger.test_ledger_vectors`` writes the file anew; a change of it is a change of
the protocol.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ledger.executed_block import ExecutedBlock
from ledger.parameters import Parameters
from ledger.payload import Payload
from ledger.transaction import Transaction
from tests.helpers.ledger import (
    Chain,
    make_account,
    make_network,
    make_salt,
    make_transaction,
    make_transfer,
)

VECTORS = Path(__file__).parents[1] / "vectors" / "ledger.json"


def describe_transaction(transaction: Transaction) -> dict[str, Any]:
    return {
        "envelope": transaction.raw.hex(),
        "signing_hash": transaction.signing_hash.hex(),
        "transaction_id": transaction.transaction_id.hex(),
    }


def describe_block(block: ExecutedBlock) -> dict[str, Any]:
    return {
        "header": block.header.encode().hex(),
        "block_id": block.block_id.hex(),
        "transactions": [describe_transaction(item) for item in block.transactions],
        "receipts": [receipt.encode().hex() for receipt in block.receipts],
        "receipts_root": block.receipts_root.hex(),
        "writes": {
            key.hex(): None if value is None else value.hex() for key, value in block.writes.items()
        },
        "state_root": block.state_root.hex(),
    }


def build_vectors() -> dict[str, Any]:
    network = make_network(accounts=2, parameters=Parameters(fee_per_byte=1))
    chain = Chain(network)
    alice, bob = network.accounts
    stranger = make_account("stranger")
    payload = Payload(make_salt(1), b"payload")

    def pay(nonce: int, amount: int, **options: Any) -> Transaction:
        recipient = options.pop("recipient", bob.id)
        return make_transfer(
            network, alice, recipient, amount, nonce=nonce, fee_limit=1_000, **options
        )

    first = chain.run([pay(0, 5, recipient=stranger.id), pay(0, 6), pay(1, 2_000_000)])
    second = chain.run([pay(2, 7, sponsor=bob)], proposer=1)
    proofs = {
        name: chain.store.prove(key, 1).encode().hex()
        for name, key in (
            ("present", b"account/" + bob.id),
            ("absent", b"account/" + bytes(20)),
        )
    }
    laden = make_transaction(network, alice, 3, [], payload=payload)
    return {
        "genesis": {
            "file": json.loads(network.genesis.to_json()),
            "chain_id": network.chain_id.hex(),
        },
        "payload": {
            "salt": payload.salt.hex(),
            "data": payload.data.hex(),
            "commitment": payload.commitment.hex(),
            **describe_transaction(laden),
        },
        "blocks": [describe_block(first), describe_block(second)],
        "state_proofs_at_height_1": proofs,
    }


def test_the_bytes_are_those_of_the_frozen_vectors() -> None:
    assert build_vectors() == json.loads(VECTORS.read_text(encoding="utf-8"))


if __name__ == "__main__":
    VECTORS.write_text(json.dumps(build_vectors(), indent=1) + "\n", encoding="utf-8")
