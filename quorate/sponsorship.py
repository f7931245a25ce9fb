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
from collections.abc import Callable, Mapping
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
from primitives.codec import Encodable, Value, decode, encode
from primitives.errors import InvalidInputError
from primitives.fields import FieldReader
from primitives.keys import PrivateKey, verify_signature
from quorate import bodies
from quorate.records import Transaction as FinalTransaction
from quorate.sender import Sender

__all__ = ["SponsorRequest", "Sponsorship"]

FORMAT: Final = "quorate-sponsor-request"
VERSION: Final = 1
BODY_BYTES_MAX: Final = 1024 * 1024
BODY_FIELDS_MAX: Final = 32


Contribution = tuple[list[Encodable], bytes]
"""Body and payload of a contribution."""


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

    def verify(self) -> None:
        """Check that the key in the request has signed it; whose key it is, the node knows.

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

    def complete(self, private_key: PrivateKey) -> Transaction:
        """Return the transaction with the sponsor's signature; raises as :meth:`verify`."""
        self.verify()
        message = compute_signing_hash(self.content, self.payload)
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


class Sponsorship:
    """Asks for sponsors, and is one; made by :class:`quorate.Client`.

    Parameters
    ----------
    get_sender : returns who signs; raises without a key.
    make_contribution : returns body and payload, as :meth:`quorate.Client.contribute` sends them.
    wait : returns a transaction once it is final, by its id.
    """

    def __init__(
        self,
        get_sender: Callable[[], Sender],
        make_contribution: Callable[..., Contribution],
        wait: Callable[[str], FinalTransaction],
    ) -> None:
        self._get_sender = get_sender
        self._make_contribution = make_contribution
        self._wait = wait

    def ask(
        self,
        sponsor: str,
        model: str,
        features: Any,
        labels: Any = None,
        *,
        groups: Any = None,
        max_deposit: int | None = None,
        karma: int = 0,
    ) -> SponsorRequest:
        """Return a signed contribution for somebody else to pay for; sends nothing.

        The request holds this account's next nonce. Send nothing else from this account until the
        sponsor has sent it, or you have given up on it: another transaction takes that nonce, and
        the request is worth nothing from then on. It also ends by itself, at half of the network's
        ``expiry_window_max`` blocks from now.

        Parameters
        ----------
        sponsor : ``qr1…`` of who is to pay fee and deposit, and gets refunds; karma is yours.
        model, features, labels, groups, max_deposit, karma : as for
            :meth:`quorate.Client.contribute`. The samples are in the request: the sponsor sees
            them.

        Raises
        ------
        InvalidInputError
            What :meth:`quorate.Client.contribute` raises; ``wrong_sponsor`` for one's own account.
        """
        sender = self._get_sender()
        account = account_from_text(sponsor)
        if account == sender.account_id:
            raise InvalidInputError(
                "wrong_sponsor", f"{sponsor} cannot sponsor itself", field="sponsor", value=sponsor
            )
        body, data = self._make_contribution(
            model, features, labels, groups=groups, max_deposit=max_deposit, karma=karma
        )
        return sender.draft(
            bodies.CONTRIBUTE, body, data, sponsor=account, complete=_sign_as_sender
        )

    def sign(self, request: SponsorRequest) -> FinalTransaction:
        """Pay for a request: sign it as it stands, submit it, and return it once it is final.

        Shows nothing and asks nothing: look at ``request.content`` before. It pays the fee, at most
        ``content.fee_limit``, and the deposit, at most what the body says, from this account.

        Raises
        ------
        InvalidInputError
            ``wrong_chain``, ``wrong_sponsor`` if somebody else is asked to pay, ``bad_signature``
            if the request is not as its sender signed it: nothing was sent.
        RefusedError, TransactionFailedError
            As for every transaction; ``nonce_used`` if the sender sent something else meanwhile.
        """
        sender = self._get_sender()
        chain_id = sender.read_chain_id()
        if request.content.chain_id != chain_id:
            raise InvalidInputError(
                "wrong_chain",
                f"the request is for the chain {request.content.chain_id.hex()}, this node is of"
                f" {chain_id.hex()}",
                field="chain_id",
                value=request.content.chain_id.hex(),
                limit=chain_id.hex(),
            )
        if request.sponsor != sender.account_id:
            asked = account_to_text(request.sponsor)
            raise InvalidInputError(
                "wrong_sponsor",
                f"the request asks {asked} to pay, this account is {sender.account}",
                field="sponsor",
                value=asked,
                limit=sender.account,
            )
        return self._wait(sender.submit_for(request.complete))


def _sign_as_sender(
    content: TransactionContent, payload: Payload | None, private_key: PrivateKey
) -> SponsorRequest:
    message = compute_signing_hash(content, payload)
    return SponsorRequest(
        content, payload, Signature(private_key.public_key, private_key.sign(message))
    )


def _read_body(text: str) -> Value:
    return decode(base64.b64decode(text, validate=True), bytes_max=BODY_BYTES_MAX)


def _to_text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _malformed(what: str) -> InvalidInputError:
    return InvalidInputError("malformed", f"the sponsor request {what}", field="request")
