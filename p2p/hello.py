"""The first frame on a connection: which chain, which protocol, who speaks.

TLS has proven the transport key by then (p2p/certificate.py). The hello makes sure that both ends
mean the same network before any other byte is looked at. Source: docs/spec/p2p.md §2.
"""

from __future__ import annotations

from dataclasses import dataclass

from primitives.codec import decode, encode
from primitives.errors import InvalidInputError
from primitives.fields import COUNTER_MAX, FieldReader
from primitives.hashing import HASH_BYTES

__all__ = [
    "HELLO_BYTES_MAX",
    "PROTOCOL_VERSION",
    "UNKNOWN_INDEX",
    "Hello",
    "check_hello",
    "decode_hello",
]

PROTOCOL_VERSION = 1
HELLO_BYTES_MAX = 256

UNKNOWN_INDEX = COUNTER_MAX
"""What a node says that has yet to read its own admission on the chain. Its key identifies it."""


@dataclass(frozen=True, slots=True)
class Hello:
    """What a node says of itself.

    Parameters
    ----------
    chain_id
        The genesis hash.
    index
        Its number among the members, or ``UNKNOWN_INDEX``.
    """

    chain_id: bytes
    index: int

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode((PROTOCOL_VERSION, self.chain_id, self.index))


def decode_hello(data: bytes) -> Hello:
    """Return the hello whose canonical bytes are ``data``.

    Raises
    ------
    InvalidInputError
        ``malformed``, ``out_of_range`` (another protocol version) and the codec's.
    """
    reader = FieldReader(decode(data, bytes_max=HELLO_BYTES_MAX), "hello", 3)
    reader.integer("version", PROTOCOL_VERSION, PROTOCOL_VERSION)
    hello = Hello(
        reader.bytes("chain_id", length=HASH_BYTES), reader.integer("index", 0, COUNTER_MAX)
    )
    reader.end()
    return hello


def check_hello(hello: Hello, *, chain_id: bytes, index: int) -> None:
    """Check that a peer means our network and is the member that its key says.

    Raises
    ------
    InvalidInputError
        ``wrong_chain`` or ``unknown_peer``.
    """
    if hello.chain_id != chain_id:
        raise InvalidInputError(
            "wrong_chain",
            f"hello.chain_id is {hello.chain_id.hex()}, ours is {chain_id.hex()}",
            field="hello.chain_id",
            value=hello.chain_id.hex(),
            limit=chain_id.hex(),
        )
    if hello.index not in (index, UNKNOWN_INDEX):
        raise InvalidInputError(
            "unknown_peer",
            f"hello.index is {hello.index}, the registry lists the peer's key as {index}",
            field="hello.index",
            value=hello.index,
            limit=index,
        )
