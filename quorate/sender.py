"""Signs and submits the transactions of one account, one nonce after another.

The next nonce is counted here, so that a program can submit many transactions without waiting for
each; when the node expects another one, the count follows the node and the transaction is signed
again. It is signed again only when the node says that it does not hold the one that was signed
first: an answer lost on the way never makes a second contribution.
"""

from __future__ import annotations

import base64
import secrets
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ledger.payload import SALT_BYTES, Payload
from ledger.transaction import Transaction, TransactionContent, build_transaction
from primitives.accounts import (
    AccountId,
    account_from_text,
    account_id_from_public_key,
    account_to_text,
)
from primitives.codec import Encodable
from primitives.keys import PrivateKey
from quorate.bodies import check_integers
from quorate.connection import Connection
from quorate.errors import NotFoundError, RefusedError

__all__ = ["Sender"]

Drafted = TypeVar("Drafted")

ATTEMPTS_MAX = 4
VALID_HEIGHTS = 1_000
"""How many heights a transaction stays valid: minutes, so that a lost one frees its nonce soon."""

_NONCE_CODES = frozenset({"nonce_used", "nonce_gap"})


@dataclass(frozen=True, slots=True)
class _Chain:
    """What every transaction needs to know of the chain."""

    chain_id: bytes
    valid_heights: int
    valid_heights_max: int


class Sender:
    """Submits for one account; safe to share between threads.

    Parameters
    ----------
    connection : to the node.
    private_key : that signs for the account.
    fee_limit : most that each transaction may pay as fee.
    account : ``qr1…``; if left out, the one whose id is made of the key.
    """

    def __init__(
        self,
        connection: Connection,
        private_key: PrivateKey,
        *,
        fee_limit: int = 0,
        account: str | None = None,
    ) -> None:
        self._connection = connection
        self._private_key = private_key
        self._fee_limit = fee_limit
        self.account_id = (
            account_id_from_public_key(private_key.public_key)
            if account is None
            else account_from_text(account)
        )
        self.account = account_to_text(self.account_id)
        self._lock = threading.Lock()
        self._chain: _Chain | None = None
        self._next_nonce: int | None = None

    def submit(
        self, kind: int, body: Sequence[Encodable], data: bytes | Payload | None = None
    ) -> str:
        """Sign and submit a transaction; return its id in hexadecimal.

        Parameters
        ----------
        kind : code of the transaction kind.
        body : its fields.
        data : the payload, if the kind has one; the salt of plain bytes is drawn here.

        Raises
        ------
        RefusedError
            The node does not take it; nothing happened and no nonce is used.
        UnreachableError
            No node answered.
        """
        payload = _wrap(data)
        with self._lock:
            for _ in range(ATTEMPTS_MAX - 1):
                transaction = self._sign(kind, body, payload)
                try:
                    return self._send(transaction)
                except RefusedError as error:
                    if not self._learn_from(error):
                        raise
            return self._send(self._sign(kind, body, payload))

    def draft(
        self,
        kind: int,
        body: Sequence[Encodable],
        data: bytes | Payload | None,
        *,
        sponsor: AccountId,
        complete: Callable[[TransactionContent, Payload | None, PrivateKey], Drafted],
    ) -> Drafted:
        """Return what somebody else is to pay for and send; nothing is sent here.

        The next nonce is in it and is not counted as used: whatever is submitted before it is
        final takes that nonce.

        Parameters
        ----------
        kind, body, data : as for :meth:`submit`.
        sponsor : who is to pay.
        complete : signs the content with the key of this account.
        """
        with self._lock:
            # Nobody knows when the sponsor sends it, so the node is asked before and after.
            self._next_nonce = None
            chain = self._get_chain()
            content = self._make_content(kind, body, sponsor, chain.valid_heights_max)
            self._next_nonce = None
        return complete(content, _wrap(data), self._private_key)

    def submit_for(self, complete: Callable[[PrivateKey], Transaction]) -> str:
        """Sign what somebody else asks this account to pay for, and submit it; return its id.

        It has the nonce of its sender and takes none of this account.

        Raises
        ------
        RefusedError
            The node does not take it.
        UnreachableError
            No node answered.
        """
        transaction = complete(self._private_key)
        self._post(transaction)
        return transaction.transaction_id.hex()

    def read_chain_id(self) -> bytes:
        """Return the chain that this account signs for."""
        with self._lock:
            return self._get_chain().chain_id

    def forget_nonce(self) -> None:
        """Ask the node for the next nonce before the next transaction."""
        with self._lock:
            self._next_nonce = None

    def _sign(self, kind: int, body: Sequence[Encodable], payload: Payload | None) -> Transaction:
        content = self._make_content(kind, body, None, self._get_chain().valid_heights)
        return build_transaction(content, [self._private_key], payload)

    def _make_content(
        self, kind: int, body: Sequence[Encodable], sponsor: AccountId | None, valid_heights: int
    ) -> TransactionContent:
        check_integers(body)
        return TransactionContent(
            chain_id=self._get_chain().chain_id,
            sender=self.account_id,
            nonce=self._get_next_nonce(),
            valid_until_height=self._connection.height + valid_heights,
            fee_limit=self._fee_limit,
            sponsor=sponsor,
            kind=kind,
            body=body,
        )

    def _send(self, transaction: Transaction) -> str:
        self._post(transaction)
        self._next_nonce = transaction.nonce + 1
        return transaction.transaction_id.hex()

    def _post(self, transaction: Transaction) -> None:
        name = transaction.transaction_id.hex()
        try:
            self._connection.post("/api/v1/transactions", _to_json(transaction))
        except RefusedError as error:
            # The answer to an earlier attempt may have been lost after the node took it.
            if error.code != "nonce_used" or not self._is_known(name):
                raise

    def _is_known(self, transaction_id: str) -> bool:
        try:
            self._connection.get(f"/api/v1/transactions/{transaction_id}")
        except NotFoundError:
            return False
        return True

    def _learn_from(self, error: RefusedError) -> bool:
        """Take over what the node expects; return whether another attempt makes sense."""
        if error.code in _NONCE_CODES:
            limit = error.limit or ""
            self._next_nonce = int(limit) if limit.isdigit() else None
            return True
        if error.code == "expired":
            self._connection.get("/api/v1/status")
            return True
        return False

    def _get_chain(self) -> _Chain:
        if self._chain is None:
            status = self._connection.get("/api/v1/status")
            window = int(status["parameters"]["expiry_window_max"])
            # A node may be some heights behind this one, so the whole window is never used.
            half = max(1, window // 2)
            self._chain = _Chain(bytes.fromhex(status["chain_id"]), min(VALID_HEIGHTS, half), half)
        return self._chain

    def _get_next_nonce(self) -> int:
        if self._next_nonce is None:
            account = self._connection.get(f"/api/v1/accounts/{self.account}")
            self._next_nonce = int(account["nonce"])
        return self._next_nonce


def _to_json(transaction: Transaction) -> dict[str, str]:
    fields = {"encoding": "base64", "envelope": _to_base64(transaction.raw)}
    if transaction.payload is not None:
        fields["salt"] = _to_base64(transaction.payload.salt)
        fields["payload"] = _to_base64(transaction.payload.data)
    return fields


def _to_base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _wrap(data: bytes | Payload | None) -> Payload | None:
    """Return the payload of plain bytes with a salt that is drawn here."""
    return Payload(secrets.token_bytes(SALT_BYTES), data) if isinstance(data, bytes) else data
