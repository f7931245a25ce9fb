"""Ed25519 keys and signatures: the one signer and the one verifier of the protocol.

Verifiers of other libraries disagree on crafted points, and a chain that mixes two of them can
split. So libsodium (through PyNaCl) is a rule of consensus, and on top of it everything on which
its releases have differed from others is refused here: non-canonical and small-order public keys
and commitment points R, and scalars S that are not below the group order. What remains is whether
the equation is multiplied by the cofactor 8: it is not, and `check_verifier` makes sure.
Source: RFC 8032 §5.1; docs/spec/encoding.md §5; frozen vectors in tests/vectors/ed25519.json.
"""

from __future__ import annotations

from nacl import bindings
from nacl.exceptions import BadSignatureError

from primitives.errors import InvalidInputError, InvariantViolationError

__all__ = [
    "PUBLIC_KEY_BYTES",
    "SEED_BYTES",
    "SIGNATURE_BYTES",
    "PrivateKey",
    "check_public_key",
    "check_verifier",
    "verify_signature",
]

PUBLIC_KEY_BYTES = 32
SEED_BYTES = 32
SIGNATURE_BYTES = 64

_FIELD_PRIME = 2**255 - 19
_GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493
_COORDINATE_MASK = 2**255 - 1

_ORDER_EIGHT_COORDINATE = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826

# The y coordinates of the eight points whose order divides 8: 1 of the identity, -1 of order 2, 0
# of the two of order 4, and the two above of the four of order 8. The sign bit of x is ignored.
_SMALL_ORDER_COORDINATES = frozenset(
    {
        0,
        1,
        _FIELD_PRIME - 1,
        _ORDER_EIGHT_COORDINATE,
        _FIELD_PRIME - _ORDER_EIGHT_COORDINATE,
    }
)

# A signature whose R has a part of order 8. Verifiers that multiply by the cofactor accept it.
# Source: tests/vectors/ed25519.json, "mixed: key + 0T, commitment + 1T".
_COFACTOR_KEY = bytes.fromhex("b862409fb5c4c4123df2abf7462b88f041ad36dd6864ce872fd5472be363c5b1")
_COFACTOR_MESSAGE = b"mixed"
_COFACTOR_SIGNATURE = bytes.fromhex(
    "5b94d525f09dbb3f8bec71da454b8a76c21f9edc1a6b2c8a2650090c0c6a2bd6"
    "251f393fba338d993a8765bbd6c63a3747487ec5eae0f09afe05333fcafd4606"
)


class PrivateKey:
    """A signing key. Deterministic: the same message always gets the same signature.

    Parameters
    ----------
    seed : 32 secret bytes (RFC 8032 calls them the private key).

    Raises
    ------
    InvalidInputError
        ``malformed`` if the seed is not 32 bytes.
    """

    __slots__ = ("_secret", "public_key")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_BYTES:
            raise InvalidInputError(
                "malformed",
                f"private key seed must have {SEED_BYTES} bytes, found {len(seed)}",
                field="seed",
                limit=SEED_BYTES,
            )
        public_key, secret = bindings.crypto_sign_seed_keypair(seed)
        self._secret = secret
        self.public_key: bytes = public_key

    def sign(self, message: bytes) -> bytes:
        """Return the signature of a message, 64 bytes."""
        return bindings.crypto_sign(message, self._secret)[:SIGNATURE_BYTES]

    def __repr__(self) -> str:
        """Show the public half only, so that no log line holds the secret."""
        return f"PrivateKey(public_key={self.public_key.hex()})"


def verify_signature(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Return whether `signature` is the strict Ed25519 signature of `message`.

    Parameters
    ----------
    public_key : 32 bytes; anything else is answered with False.
    message : the signed bytes.
    signature : 64 bytes, R ‖ S; anything else is answered with False.

    Notes
    -----
    Never raises, whatever the bytes. Releases the interpreter lock while it computes.
    """
    if len(public_key) != PUBLIC_KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    if not _is_usable_point(public_key) or not _is_usable_point(signature[:32]):
        return False
    if int.from_bytes(signature[32:], "little") >= _GROUP_ORDER:
        return False
    try:
        bindings.crypto_sign_open(signature + message, public_key)
    except BadSignatureError:
        return False
    return True


def check_public_key(public_key: bytes, field: str = "public_key") -> None:
    """Check a key that is about to be registered.

    Stricter than `verify_signature`, and slower: the key must be a canonical point of the
    prime-order subgroup, which every honestly made key is.

    Raises
    ------
    InvalidInputError
        ``invalid_public_key`` otherwise.
    """
    if len(public_key) != PUBLIC_KEY_BYTES:
        raise InvalidInputError(
            "invalid_public_key",
            f"{field} must have {PUBLIC_KEY_BYTES} bytes, found {len(public_key)}",
            field=field,
            value=len(public_key),
            limit=PUBLIC_KEY_BYTES,
        )
    if not _is_usable_point(public_key) or not bindings.crypto_core_ed25519_is_valid_point(
        public_key
    ):
        raise InvalidInputError(
            "invalid_public_key",
            f"{field} {public_key.hex()} is not a point of the prime-order group of Ed25519",
            field=field,
            value=public_key.hex(),
        )


def check_verifier() -> None:
    """Check at start-up that the linked libsodium follows the rule without cofactor.

    Both rules satisfy RFC 8032, which leaves the choice open; validators must not differ in it.

    Raises
    ------
    InvariantViolationError
        If it follows the other one. This node could then fork from the others and must not start.
    """
    if verify_signature(_COFACTOR_KEY, _COFACTOR_MESSAGE, _COFACTOR_SIGNATURE):
        raise InvariantViolationError(
            "the linked libsodium verifies Ed25519 with cofactor; use the one bundled with PyNaCl"
        )


def _is_usable_point(encoded: bytes) -> bool:
    """Return whether 32 bytes hold a canonical y coordinate that is not of small order."""
    coordinate = int.from_bytes(encoded, "little") & _COORDINATE_MASK
    return coordinate < _FIELD_PRIME and coordinate not in _SMALL_ORDER_COORDINATES
