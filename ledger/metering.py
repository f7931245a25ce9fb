"""What a transaction costs: compute units, and the fee they and its bytes amount to.

One unit is about a nanosecond of a validator: one multiply-add of a training kernel. Every kind
pays for its envelope, payload bytes and signatures alike; what its body costs on top, the kind
says. Source: docs/spec/ledger.md §8.
"""

from __future__ import annotations

from typing import Final

from ledger.parameters import Parameters
from ledger.schema import StateReader
from ledger.transaction import Transaction
from ledger.transactions.registry import body_of, kind_of

__all__ = ["UNITS_PER_BYTE", "UNITS_PER_SIGNATURE", "compute_fee", "compute_units"]

UNITS_PER_SIGNATURE: Final = 50_000
"""One Ed25519 verification, measured at about 55 µs."""

UNITS_PER_BYTE: Final = 10
"""Decoding, hashing and storing one byte."""


def compute_units(state: StateReader, transaction: Transaction) -> int:
    """Return the compute units of a transaction at its turn.

    Parameters
    ----------
    state : what the kind may look up, the model of a contribution say.
    transaction : of a known kind with a body that decodes.
    """
    size = len(transaction.raw) + transaction.payload_bytes
    intrinsic = size * UNITS_PER_BYTE + len(transaction.signatures) * UNITS_PER_SIGNATURE
    return intrinsic + kind_of(transaction).cost(state, transaction, body_of(transaction))


def compute_fee(parameters: Parameters, transaction: Transaction, units: int) -> int:
    """Return the fee of a transaction in the smallest unit of money."""
    size = len(transaction.raw) + transaction.payload_bytes
    return size * parameters.fee_per_byte + units * parameters.fee_per_compute_unit
