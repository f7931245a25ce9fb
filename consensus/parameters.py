"""The numbers of the protocol: waits, and a named bound for every buffer.

Two kinds live here. What all validators must agree on (``protocol_version``, ``chain_id``,
``epoch``, ``epoch_end_height``, ``unfinal_blocks_max``, ``body_bytes_max``,
``empty_body_root``) and what each operator may choose (everything else).
Source: docs/spec/consensus.md §2.
"""

from __future__ import annotations

from dataclasses import dataclass

from primitives.errors import InvalidInputError
from primitives.fields import COUNTER_MAX
from primitives.hashing import HASH_BYTES
from primitives.header import PROTOCOL_VERSION

__all__ = [
    "BLOCKS_PER_RESPONSE_MAX",
    "BODY_BYTES_MAX",
    "CERTIFICATES_PER_MESSAGE_MAX",
    "GAP_CERTIFICATES_MAX",
    "MESSAGE_BYTES_MAX",
    "PEERS_MAX",
    "VIEW_WINDOW",
    "Parameters",
]

VIEW_WINDOW = 64
"""Votes are taken for views up to the current one plus this, and kept as far back."""

GAP_CERTIFICATES_MAX = 64
"""View-change certificates that one PRE-PREPARE may carry."""

CERTIFICATES_PER_MESSAGE_MAX = 65
"""Certificates in one answer to a laggard: a commit certificate and a window of views."""

BLOCKS_PER_RESPONSE_MAX = 64
"""Blocks in one BlocksResponse."""

BODY_BYTES_MAX = 4 * 1024 * 1024
"""Upper end of what the governed parameter ``body_bytes_max`` may be."""

MESSAGE_BYTES_MAX = 8 * 1024 * 1024
"""Longest encoded message, and longest record, that is looked at."""

PEERS_MAX = 256
"""Peers of which something is remembered; the ones heard of longest ago are forgotten first."""

_TIMEOUT_GROWTH_STEPS_MAX = 64


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a core is started with, besides keys and history.

    Parameters
    ----------
    chain_id : the genesis hash, 32 bytes.
    empty_body_root : the body root of a block without transactions, 32 bytes; it is how the core,
        to which bodies are opaque, tells empty blocks.
    epoch : which validator set decides.
    epoch_end_height : height of the epoch's last block; whatever is proposed above it is a tail:
        empty, no part of the chain, made only so that the last block becomes final as an ancestor.
    protocol_version : the one version of headers that is accepted.
    view_timeout_ms : how long a leader may stay silent while work is known, before growth; > 0.
    timeout_max_ms : cap of the grown timeout, ≥ `view_timeout_ms`.
    idle_limit_ms : an idle network makes a block this long after the last one; > 0.
    retransmit_ms, retransmit_max_ms : first and longest wait between retransmissions in a view.
    status_interval_ms : wait between STATUS messages while there is nothing to do.
    answer_interval_ms : a laggard is answered at most once in this time.
    validate_retry_ms : wait before a block judged RETRY is looked at again.
    fetch_delay_ms : how long a block that a certificate names may still be under way.
    request_timeout_ms : wait before a request is put to another peer.
    timestamp_precision_ms : how far a header's time may be ahead of the wall clock.
    unfinal_blocks_max : K; with so many unfinal non-empty ancestors only an empty block is valid.
    held_blocks_max : non-empty unfinal blocks that this validator prepares on all branches.
    body_bytes_max : longest block body.

    Raises
    ------
    InvalidInputError
        ``out_of_range`` if a number or a length is not as said.
    """

    chain_id: bytes
    empty_body_root: bytes
    epoch: int = 0
    epoch_end_height: int = COUNTER_MAX
    protocol_version: int = PROTOCOL_VERSION
    view_timeout_ms: int = 1_000
    timeout_max_ms: int = 10_000
    idle_limit_ms: int = 10_000
    retransmit_ms: int = 250
    retransmit_max_ms: int = 1_000
    status_interval_ms: int = 2_000
    answer_interval_ms: int = 100
    validate_retry_ms: int = 100
    fetch_delay_ms: int = 100
    request_timeout_ms: int = 1_000
    timestamp_precision_ms: int = 500
    unfinal_blocks_max: int = 8
    held_blocks_max: int = 64
    body_bytes_max: int = 1024 * 1024

    def __post_init__(self) -> None:
        for name in ("chain_id", "empty_body_root"):
            _check(name, len(getattr(self, name)), HASH_BYTES, HASH_BYTES)
        for name in (
            "view_timeout_ms",
            "idle_limit_ms",
            "retransmit_ms",
            "status_interval_ms",
            "answer_interval_ms",
            "validate_retry_ms",
            "fetch_delay_ms",
            "request_timeout_ms",
            "unfinal_blocks_max",
            "held_blocks_max",
        ):
            _check(name, getattr(self, name), 1, 2**31)
        _check("epoch", self.epoch, 0, 2**31)
        _check("epoch_end_height", self.epoch_end_height, 1, COUNTER_MAX)
        _check("timestamp_precision_ms", self.timestamp_precision_ms, 0, 2**31)
        _check("timeout_max_ms", self.timeout_max_ms, self.view_timeout_ms, 2**31)
        _check("retransmit_max_ms", self.retransmit_max_ms, self.retransmit_ms, 2**31)
        _check("body_bytes_max", self.body_bytes_max, 1, BODY_BYTES_MAX)

    def is_epoch_end(self, height: int) -> bool:
        """Say whether the block at a height is the last one of the epoch."""
        return height == self.epoch_end_height

    def compute_timeout_ms(self, failures: int) -> int:
        """Return the timeout of a view after so many views without progress (×1.5, capped)."""
        timeout = self.view_timeout_ms
        for _ in range(min(failures, _TIMEOUT_GROWTH_STEPS_MAX)):
            if timeout >= self.timeout_max_ms:
                break
            timeout += timeout // 2 + 1
        return min(timeout, self.timeout_max_ms)


def _check(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise InvalidInputError(
            "out_of_range",
            f"parameter {name} must lie in [{low}, {high}], found {value}",
            field=name,
            value=value,
            limit=high if value > high else low,
        )
