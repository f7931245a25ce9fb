"""Let somebody else pay: a newcomer signs and asks, a sponsor looks, signs as well and sends.

The request is a file or a text between the two. It holds the whole transaction but for the
sponsor's signature, samples included, so whoever pays sees what for. The sponsor signs the same
bytes as the sender: fee limit, deposit and samples cannot be changed by either afterwards.

>>> request = newcomer.sponsorship.ask("qr1…", "digits", features, labels)   # doctest: +SKIP
>>> sponsor.sponsorship.sign(SponsorRequest.from_json(request.to_json()))    # doctest: +SKIP
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from ledger.payload import SALT_BYTES, Payload
from ledger.transaction import (
    Signature,
    Transaction,
    TransactionContent,
    assemble_transaction,
    compute_signing_hash,
)
from primitives.accounts import AccountId, account_from_text, account_to_text
from primitives.codec import Value, decode, encode
from primitives.errors import InvalidInputError
from primitives.fields import FieldReader
from primitives.keys import PrivateKey, verify_signature

__all__ = ["SponsorRequest"]

FORMAT: Final = "quorate-sponsor-request"
VERSION: Final = 1
BODY_BYTES_MAX: Final = 1024 * 1024
BODY_FIELDS_MAX: Final = 32


@dataclass(frozen=True, slots=True)
class SponsorRequest:
    """A transaction that lacks the signature of who is to pay for it.

    Parameters
    ----------
    content : what is to happen; names the sponsor.
    payload : the samples, say.
    signature : of the sender.
    """

    content: TransactionContent
    payload: Payload | None
    signature: Signature

    @property
    def sponsor(self) -> AccountId:
        """Account that is asked to pay."""
        if self.content.sponsor is None:
            raise InvalidInputError("malformed", "a request names its sponsor", field="sponsor")
        return self.content.sponsor

    def complete(self, private_key: PrivateKey) -> Transaction:
        """Return the transaction with the sponsor's signature.

        Raises
        ------
        InvalidInputError
            ``bad_signature``: the sender did not sign this.
        """
        message = compute_signing_hash(self.content, self.payload)
        if not verify_signature(self.signature.public_key, message, self.signature.signature):
            raise InvalidInputError(
                "bad_signature", "the request is not signed by its sender as it stands"
            )
        own = Signature(private_key.public_key, private_key.sign(message))
        return assemble_transaction(self.content, [self.signature, own], self.payload)

    def to_json(self) -> dict[str, Any]:
        """Return what goes into a file or a message."""
        content, payload = self.content, self.payload
        return {
            "format": FORMAT,
            "version": VERSION,
            "chain_id": content.chain_id.hex(),
            "sender": account_to_text(content.sender),
            "sponsor": account_to_text(self.sponsor),
            "nonce": content.nonce,
            "valid_until_height": content.valid_until_height,
            "fee_limit": str(content.fee_limit),
            "kind": content.kind,
            "body": _to_text(encode(list(content.body))),
            "salt": None if payload is None else _to_text(payload.salt),
            "payload": None if payload is None else _to_text(payload.data),
            "public_key": self.signature.public_key.hex(),
            "signature": self.signature.signature.hex(),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Return the request that somebody sent.

        Raises
        ------
        InvalidInputError
            ``malformed``: it is none.
        """
        try:
            if (value["format"], value["version"]) != (FORMAT, VERSION):
                raise _malformed(f"is not of the form {FORMAT} {VERSION}")
            body = FieldReader([_read_body(value["body"])], "request", 1)
            content = TransactionContent(
                chain_id=bytes.fromhex(value["chain_id"]),
                sender=account_from_text(value["sender"]),
                nonce=int(value["nonce"]),
                valid_until_height=int(value["valid_until_height"]),
                fee_limit=int(value["fee_limit"]),
                sponsor=account_from_text(value["sponsor"]),
                kind=int(value["kind"]),
                body=body.array("body", BODY_FIELDS_MAX),
            )
            payload = None
            if value["payload"] is not None:
                salt = base64.b64decode(value["salt"], validate=True)
                if len(salt) != SALT_BYTES:
                    raise _malformed(f"has a salt of {len(salt)} bytes, not {SALT_BYTES}")
                payload = Payload(salt, base64.b64decode(value["payload"], validate=True))
            keys = (bytes.fromhex(value["public_key"]), bytes.fromhex(value["signature"]))
            return cls(content, payload, Signature(*keys))
        except (KeyError, TypeError, ValueError, binascii.Error) as error:
            raise _malformed(f"cannot be read: {error!r}") from error


def _read_body(text: str) -> Value:
    return decode(base64.b64decode(text, validate=True), bytes_max=BODY_BYTES_MAX)


def _to_text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _malformed(what: str) -> InvalidInputError:
    return InvalidInputError("malformed", f"the sponsor request {what}", field="request")
