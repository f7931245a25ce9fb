"""The validators of one epoch, in the order that gives them their indices.

Source: docs/spec/encoding.md §8; n = 3f + 1 and q = n − f as in docs/spec/consensus.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from primitives.codec import encode
from primitives.errors import InvalidInputError
from primitives.hashing import Tag, tagged_hash
from primitives.keys import PUBLIC_KEY_BYTES

__all__ = ["VALIDATORS_MAX", "ValidatorSet", "quorum_size"]

VALIDATORS_MAX = 100


@dataclass(frozen=True)
class ValidatorSet:
    """The public keys that may vote, by validator index.

    Parameters
    ----------
    public_keys : 1 to `VALIDATORS_MAX` distinct Ed25519 keys of 32 bytes. Whether they are good
        points is checked where a key is registered (`primitives.keys.check_public_key`).

    Raises
    ------
    InvalidInputError
        ``invalid_validator_set`` for a wrong count, a wrong length or a repeated key.
    """

    public_keys: tuple[bytes, ...]

    def __post_init__(self) -> None:
        count = len(self.public_keys)
        if not 1 <= count <= VALIDATORS_MAX:
            raise _refusal(f"must have 1 to {VALIDATORS_MAX} keys, found {count}", count)
        for key in self.public_keys:
            if len(key) != PUBLIC_KEY_BYTES:
                raise _refusal(f"needs keys of {PUBLIC_KEY_BYTES} bytes, found {len(key)}", count)
        if len(set(self.public_keys)) != count:
            raise _refusal("holds the same key twice", count)

    @property
    def count(self) -> int:
        """How many validators there are: n."""
        return len(self.public_keys)

    @property
    def faults_max(self) -> int:
        """How many may be faulty: f = ⌊(n − 1) / 3⌋."""
        return (len(self.public_keys) - 1) // 3

    @property
    def quorum(self) -> int:
        """How many votes decide: q = n − f. Two quorums share an honest validator."""
        return quorum_size(len(self.public_keys))

    @cached_property
    def hash(self) -> bytes:
        """Identify the set and its order, 32 bytes."""
        return tagged_hash(Tag.VALIDATOR_SET, encode(self.public_keys))

    def public_key(self, index: int) -> bytes:
        """Return the key of the validator at `index`.

        Raises
        ------
        InvalidInputError
            ``unknown_validator`` if there is none.
        """
        if not 0 <= index < len(self.public_keys):
            raise InvalidInputError(
                "unknown_validator",
                f"validator index {index} is not below {len(self.public_keys)}",
                field="validator",
                value=index,
                limit=len(self.public_keys) - 1,
            )
        return self.public_keys[index]


def quorum_size(count: int) -> int:
    """Return how many of `count` validators decide: all but the third that may be faulty."""
    return count - (count - 1) // 3


def _refusal(reason: str, count: int) -> InvalidInputError:
    return InvalidInputError(
        "invalid_validator_set",
        f"validator set {reason}",
        field="validators",
        value=count,
        limit=VALIDATORS_MAX,
    )
