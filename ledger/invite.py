"""Invites: one string with which an organisation joins a network.

An invite names the chain, where to reach it, a certified point of its history, what the newcomer
is invited to be, and how long; a member with a vote signs it. It holds no secret: who finds it can
read the network's ledger as a guest until it expires or somebody uses it, and can ask to be
admitted; whether that happens is for the validators to vote.

Pure: whether it has expired is for the caller, who knows a time. Source: docs/spec/ledger.md §15.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final

from ledger.members import (
    ENDPOINT_BYTES_MAX,
    MEMBER_NAME_PATTERN,
    NAME_BYTES_MAX,
    ROLES_MAX,
    NodeAddress,
    Role,
    check_endpoint,
)
from primitives.accounts import ACCOUNT_ID_BYTES, AccountId
from primitives.codec import Encodable, Value, decode, encode
from primitives.errors import InvalidInputError
from primitives.fields import FieldReader
from primitives.hashing import HASH_BYTES, Tag, tagged_hash
from primitives.keys import (
    PUBLIC_KEY_BYTES,
    SIGNATURE_BYTES,
    PrivateKey,
    check_public_key,
    verify_signature,
)

__all__ = [
    "INVITE_BYTES_MAX",
    "INVITE_ID_BYTES",
    "INVITE_PREFIX",
    "Invite",
    "decode_invite",
    "invite_from_text",
    "invite_to_text",
]

INVITE_PREFIX: Final = "qinvite1"
INVITE_BYTES_MAX: Final = 1_800
INVITE_ID_BYTES: Final = 16
INVITE_PEERS_MAX: Final = 8

_FORMAT: Final = 1
_CHECKSUM_BYTES: Final = 4
_FIELDS: Final = 12


@dataclass(frozen=True, slots=True)
class Invite:
    """An invitation to join a network.

    Parameters
    ----------
    chain_id : the genesis hash, 32 bytes.
    chain_name : for people.
    peers : nodes to call at first, 1 to 8, each with an endpoint.
    trusted_height : of a final block that the inviter vouches for: the last one of an epoch, or 0.
    trusted_block_id : its id; the genesis block's if the height is 0.
    name : of the invited organisation.
    roles : that it may ask for.
    expires_ms : milliseconds since 1970 after which it is void.
    invite_id : 16 random bytes; an invite is used once.
    inviter : account of the member that signs.
    public_key : of that account at present.
    signature : over all the fields before it.
    """

    chain_id: bytes
    chain_name: str
    peers: tuple[NodeAddress, ...]
    trusted_height: int
    trusted_block_id: bytes
    name: str
    roles: Role
    expires_ms: int
    invite_id: bytes
    inviter: AccountId
    public_key: bytes
    signature: bytes = b""

    def sign(self, key: PrivateKey) -> Invite:
        """Return the invite signed with the inviter's account key."""
        return replace(self, signature=key.sign(self._signed_hash()))

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode([*self._signed_fields(), self.signature])

    def check(self) -> None:
        """Check signature and texts, all that can be said without a ledger.

        Raises
        ------
        InvalidInputError
            ``bad_signature``, ``malformed`` or ``bad_public_key``.
        """
        for peer in self.peers:
            check_public_key(peer.transport_key, "invite.peers")
            check_endpoint(peer.endpoint, "invite.peers")
        if MEMBER_NAME_PATTERN.fullmatch(self.name) is None:
            raise _malformed(f"invite.name has unprintable characters: {self.name!r}")
        check_public_key(self.public_key, "invite.public_key")
        if not verify_signature(self.public_key, self._signed_hash(), self.signature):
            raise InvalidInputError(
                "bad_signature",
                "the invite's signature is not its inviter's: it was forged or altered; ask for a"
                " new one",
                field="invite.signature",
            )

    def check_time(self, now_ms: int) -> None:
        """Check that it has not expired; raises `InvalidInputError`, ``invite_expired``."""
        if now_ms > self.expires_ms:
            raise InvalidInputError(
                "invite_expired",
                f"the invite has expired {(now_ms - self.expires_ms) // 60_000} minutes ago; ask"
                " for a new one",
                field="invite.expires_ms",
                value=now_ms,
                limit=self.expires_ms,
            )

    def _signed_hash(self) -> bytes:
        return tagged_hash(Tag.INVITE, encode(self._signed_fields()))

    def _signed_fields(self) -> list[Encodable]:
        return [
            _FORMAT,
            self.chain_id,
            self.chain_name,
            [[peer.transport_key, peer.endpoint] for peer in self.peers],
            [self.trusted_height, self.trusted_block_id],
            self.name,
            int(self.roles),
            self.expires_ms,
            self.invite_id,
            self.inviter,
            self.public_key,
        ]


def decode_invite(data: bytes) -> Invite:
    """Return the invite whose canonical bytes are `data`, its signature not checked.

    Raises
    ------
    InvalidInputError
        ``malformed``, ``out_of_range``, ``too_large`` or ``not_canonical``.
    """
    reader = FieldReader(decode(data, bytes_max=INVITE_BYTES_MAX), "invite", _FIELDS)
    reader.integer("format", _FORMAT, _FORMAT)
    chain_id = reader.bytes("chain_id", HASH_BYTES)
    chain_name = reader.text("chain_name", NAME_BYTES_MAX)
    peers = tuple(_read_peer(item) for item in reader.array("peers", INVITE_PEERS_MAX))
    if not peers:
        raise _malformed("invite.peers must name at least one node")
    trusted = FieldReader(reader.value(), "invite.trusted", 2)
    invite = Invite(
        chain_id=chain_id,
        chain_name=chain_name,
        peers=peers,
        trusted_height=trusted.counter("height"),
        trusted_block_id=trusted.bytes("block_id", HASH_BYTES),
        name=reader.text("name", NAME_BYTES_MAX),
        roles=Role(reader.integer("roles", 1, ROLES_MAX)),
        expires_ms=reader.counter("expires_ms"),
        invite_id=reader.bytes("invite_id", INVITE_ID_BYTES),
        inviter=AccountId(reader.bytes("inviter", ACCOUNT_ID_BYTES)),
        public_key=reader.bytes("public_key", PUBLIC_KEY_BYTES),
        signature=reader.bytes("signature", SIGNATURE_BYTES),
    )
    reader.end()
    return invite


def invite_to_text(invite: Invite) -> str:
    """Return the string that people paste."""
    data = invite.encode()
    packed = base64.urlsafe_b64encode(data + _checksum(data)).decode("ascii").rstrip("=")
    return INVITE_PREFIX + packed


def invite_from_text(text: str) -> Invite:
    """Return the invite that was pasted; spaces and line breaks do not matter.

    Raises
    ------
    InvalidInputError
        ``malformed``: not an invite, or a character is missing or wrong; else as `decode_invite`
        and `Invite.check`.
    """
    joined = "".join(text.split())
    if not joined.startswith(INVITE_PREFIX):
        raise _malformed(f"an invite begins with {INVITE_PREFIX}; this begins with {joined[:12]!r}")
    packed = joined.removeprefix(INVITE_PREFIX)
    try:
        data = base64.b64decode(packed + "=" * (-len(packed) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise _malformed("the invite holds characters that no invite has; copy it whole") from error
    data, checksum = data[:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES:]
    if _checksum(data) != checksum:
        raise _malformed("the invite is not whole: a character is missing or wrong; copy it again")
    invite = decode_invite(data)
    invite.check()
    return invite


def _checksum(data: bytes) -> bytes:
    return sha256(data).digest()[:_CHECKSUM_BYTES]


def _read_peer(value: Value) -> NodeAddress:
    reader = FieldReader(value, "invite.peer", 2)
    return NodeAddress(
        reader.bytes("transport_key", PUBLIC_KEY_BYTES),
        reader.text("endpoint", ENDPOINT_BYTES_MAX),
    )


def _malformed(message: str) -> InvalidInputError:
    return InvalidInputError("malformed", message, field="invite")
