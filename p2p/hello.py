"""The first frame on a connection: which chain, which protocol, who speaks.

TLS has proven the transport key by then (p2p/certificate.py). The hello makes sure that both ends
mean the same network before any other byte is looked at. Source: docs/spec/p2p.md §2.
"""

from __future__ import annotations

from dataclasses import dataclass

from p2p.frames import Channel, encode_frame
from p2p.peer_book import OWN_INDEX_UNKNOWN
from primitives.codec import decode, encode
from primitives.errors import InvalidInputError
from primitives.fields import COUNTER_MAX, FieldReader
from primitives.hashing import HASH_BYTES

__all__ = [
    "HELLO_BYTES_MAX",
    "INVITATION_BYTES_MAX",
    "PROTOCOL_VERSION",
    "PROVISIONAL_INDEX_FIRST",
    "UNKNOWN_INDEX",
    "Hello",
    "check_hello",
    "decode_hello",
    "make_hello_frame",
]

PROTOCOL_VERSION = 2
HELLO_BYTES_MAX = 4096
INVITATION_BYTES_MAX = 2048

PROVISIONAL_INDEX_FIRST = 2**30
"""From here on are numbers that we gave a peer ourselves; its own word on its number is not held
against them."""

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
    invitation
        Why a node should be let in that no registry lists; at most `INVITATION_BYTES_MAX` bytes.
    """

    chain_id: bytes
    index: int
    invitation: bytes = b""

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode((PROTOCOL_VERSION, self.chain_id, self.index, self.invitation))


def make_hello_frame(chain_id: bytes, own_index: int, invitation: bytes) -> bytes:
    """Return our first frame; who knows its number shows no invitation."""
    if own_index < OWN_INDEX_UNKNOWN:
        return encode_frame(Channel.HELLO, Hello(chain_id, own_index).encode())
    return encode_frame(Channel.HELLO, Hello(chain_id, UNKNOWN_INDEX, invitation).encode())


def decode_hello(data: bytes) -> Hello:
    """Return the hello whose canonical bytes are ``data``.

    Raises
    ------
    InvalidInputError
        ``malformed``, ``out_of_range`` (another protocol version) and the codec's.
    """
    reader = FieldReader(decode(data, bytes_max=HELLO_BYTES_MAX), "hello", 4)
    reader.integer("version", PROTOCOL_VERSION, PROTOCOL_VERSION)
    hello = Hello(
        reader.bytes("chain_id", length=HASH_BYTES),
        reader.integer("index", 0, COUNTER_MAX),
        reader.bytes("invitation", bytes_max=INVITATION_BYTES_MAX),
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
    is_provisional = PROVISIONAL_INDEX_FIRST <= index < UNKNOWN_INDEX
    if not is_provisional and hello.index not in (index, UNKNOWN_INDEX):
        raise InvalidInputError(
            "unknown_peer",
            f"hello.index is {hello.index}, the registry lists the peer's key as {index}",
            field="hello.index",
            value=hello.index,
            limit=index,
        )
