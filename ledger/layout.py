"""Where the ledger's data is in the key-value store.

::

    m/tip                                   Tip
    m/genesis                               genesis file, UTF-8
    h/ height                               StoredBlock: header, roots, certificate
    i/ block id                             height
    e/ height                               packed envelopes
    r/ height                               packed receipts
    t/ transaction id                       height, u32 index in the block
    v/ escaped state key, inverted height   01 value, or 00 if the key was removed
    n/ tree node key                        tree node (the node key starts with its version)
    o/ height                               keys of the tree nodes that this version made stale
    k/ chunk hash                           chunk of a tensor
    c/ chunk hash                           u32, how many versions refer to the chunk
    g/ height, name, 0, version             parameters that may go, and since when

Heights are u64 in big-endian order. State keys are escaped so that no key is a prefix of another,
and the versions of one key lie together, newest first.
Source: docs/spec/ledger.md §11.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from primitives.errors import CorruptStateError

__all__ = [
    "GENESIS_KEY",
    "TIP_KEY",
    "block_id_key",
    "block_key",
    "chunk_count_key",
    "chunk_key",
    "envelopes_key",
    "epoch_end_key",
    "node_key",
    "pack_items",
    "receipts_key",
    "release_key",
    "release_range",
    "split_release_key",
    "split_transaction_place",
    "split_versioned_key",
    "stale_nodes_key",
    "transaction_key",
    "transaction_place",
    "unpack_item",
    "unpack_items",
    "versioned_key",
    "versioned_prefix_range",
    "versioned_range",
]

HEIGHT_BYTES: Final = 8
_HEIGHT_MAX: Final = 2**64 - 1
_INDEX_BYTES: Final = 4

TIP_KEY: Final = b"m/tip"
GENESIS_KEY: Final = b"m/genesis"

_VERSIONED: Final = b"v/"
_ESCAPED_ZERO: Final = b"\x00\xff"
_END_OF_KEY: Final = b"\x00\x01"
_AFTER_KEY: Final = b"\x00\x02"


def block_key(height: int) -> bytes:
    """Return where a block's header, roots and certificate are."""
    return b"h/" + height.to_bytes(HEIGHT_BYTES, "big")


def block_id_key(block_id: bytes) -> bytes:
    """Return where the height of a block is."""
    return b"i/" + block_id


def envelopes_key(height: int) -> bytes:
    """Return where a block's envelopes are."""
    return b"e/" + height.to_bytes(HEIGHT_BYTES, "big")


def epoch_end_key(epoch: int) -> bytes:
    """Return where the proof is of how an epoch ended."""
    return b"x/" + epoch.to_bytes(HEIGHT_BYTES, "big")


def receipts_key(height: int) -> bytes:
    """Return where a block's receipts are."""
    return b"r/" + height.to_bytes(HEIGHT_BYTES, "big")


def transaction_key(transaction_id: bytes) -> bytes:
    """Return where a transaction's place in the chain is."""
    return b"t/" + transaction_id


def node_key(key: bytes) -> bytes:
    """Return where a node of the state tree is."""
    return b"n/" + key


def stale_nodes_key(height: int) -> bytes:
    """Return where the keys of nodes are that a version no longer uses."""
    return b"o/" + height.to_bytes(HEIGHT_BYTES, "big")


def chunk_key(chunk_hash: bytes) -> bytes:
    """Return where a chunk of a tensor is."""
    return b"k/" + chunk_hash


def chunk_count_key(chunk_hash: bytes) -> bytes:
    """Return where it is how many versions refer to a chunk."""
    return b"c/" + chunk_hash


def release_key(height: int, name: str, version: int) -> bytes:
    """Return the note that the parameters of a version may go, some time after a height."""
    parts = (height.to_bytes(HEIGHT_BYTES, "big"), name.encode(), b"\x00")
    return b"g/" + b"".join(parts) + version.to_bytes(HEIGHT_BYTES, "big")


def release_range(height: int) -> tuple[bytes, bytes]:
    """Return the range of such notes up to a height; empty for a negative one."""
    return b"g/", b"g/" + max(height + 1, 0).to_bytes(HEIGHT_BYTES, "big")


def split_release_key(key: bytes) -> tuple[str, int]:
    """Return model and version of such a note."""
    name = key[2 + HEIGHT_BYTES : -HEIGHT_BYTES - 1]
    return name.decode(), int.from_bytes(key[-HEIGHT_BYTES:], "big")


def transaction_place(height: int, index: int) -> bytes:
    """Return the stored form of a transaction's place."""
    return height.to_bytes(HEIGHT_BYTES, "big") + index.to_bytes(_INDEX_BYTES, "big")


def split_transaction_place(place: bytes) -> tuple[int, int]:
    """Return height and index of a stored place."""
    return int.from_bytes(place[:HEIGHT_BYTES], "big"), int.from_bytes(place[HEIGHT_BYTES:], "big")


def versioned_key(key: bytes, height: int) -> bytes:
    """Return where the value is that a state key got at a height."""
    inverted = (_HEIGHT_MAX - height).to_bytes(HEIGHT_BYTES, "big")
    return _VERSIONED + _escape(key) + _END_OF_KEY + inverted


def versioned_range(key: bytes, height: int | None = None) -> tuple[bytes, bytes]:
    """Return the range of the values that a state key had at a height or before, newest first."""
    start = versioned_key(key, _HEIGHT_MAX if height is None else height)
    return start, _VERSIONED + _escape(key) + _AFTER_KEY


def versioned_prefix_range(prefix: bytes) -> tuple[bytes, bytes]:
    """Return the range of the values of all state keys that start with a prefix."""
    start = _VERSIONED + _escape(prefix)
    kept = start.rstrip(b"\xff")
    return start, kept[:-1] + bytes([kept[-1] + 1])


def split_versioned_key(stored: bytes) -> tuple[bytes, int]:
    """Return the state key and the height of a stored key."""
    escaped = stored[len(_VERSIONED) : -HEIGHT_BYTES - len(_END_OF_KEY)]
    height = _HEIGHT_MAX - int.from_bytes(stored[-HEIGHT_BYTES:], "big")
    return escaped.replace(_ESCAPED_ZERO, b"\x00"), height


def pack_items(items: Sequence[bytes]) -> bytes:
    """Return byte strings in one, so that each can be read without decoding the others.

    u32 count ‖ u32 end of each, counted from the first ‖ the items.
    """
    end = 0
    table = [len(items).to_bytes(_INDEX_BYTES, "big")]
    for item in items:
        end += len(item)
        table.append(end.to_bytes(_INDEX_BYTES, "big"))
    return b"".join(table) + b"".join(items)


def unpack_item(packed: bytes, index: int) -> bytes:
    """Return one of the packed items.

    Raises
    ------
    CorruptStateError
        If there is no such item.
    """
    count = _read_index(packed, 0)
    if not 0 <= index < count:
        raise CorruptStateError(f"item {index} of {count} packed items is missing")
    first = _INDEX_BYTES * (1 + count)
    start = _read_index(packed, index) if index else 0
    return packed[first + start : first + _read_index(packed, index + 1)]


def unpack_items(packed: bytes) -> list[bytes]:
    """Return all packed items."""
    return [unpack_item(packed, index) for index in range(_read_index(packed, 0))]


def _escape(key: bytes) -> bytes:
    return key.replace(b"\x00", _ESCAPED_ZERO)


def _read_index(packed: bytes, position: int) -> int:
    start = position * _INDEX_BYTES
    return int.from_bytes(packed[start : start + _INDEX_BYTES], "big")
