"""What a client can meet, each with what a program needs to decide.

::

    QuorateError                    (primitives.errors)
    ├── InvalidInputError           the arguments of a call break a rule before anything is sent
    └── ClientError
        ├── UnreachableError        no node answered; sending again is safe
        ├── RefusedError            the node said no: code, field, value, limit
        │   └── NotFoundError       there is no such model, transaction, account …
        ├── WrongDigestError        what the node sent is not what is on record
        ├── NotFinalError           not final in the time that the caller was willing to wait
        └── TransactionFailedError  final, and without effect; the receipt says why
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from primitives.errors import QuorateError

if TYPE_CHECKING:
    from quorate.records import Transaction

__all__ = [
    "ClientError",
    "NotFinalError",
    "NotFoundError",
    "RefusedError",
    "TransactionFailedError",
    "UnreachableError",
    "WrongDigestError",
]


class ClientError(QuorateError):
    """Root of what calls of a client raise."""


class UnreachableError(ClientError):
    """No node answered, or what answered is none; a call may be repeated."""


class RefusedError(ClientError):
    """The node refused a request; nothing changed.

    Parameters
    ----------
    status : the HTTP status.
    code : stable identifier of the rule (``nonce_gap``); docs/api.md lists them.
    message : a sentence that names field, value and limit.
    field, value, limit : the same for programs, as text, where the node knows them.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        field: str | None = None,
        value: str | None = None,
        limit: str | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.field = field
        self.value = value
        self.limit = limit


class NotFoundError(RefusedError):
    """The node has no such thing, at this height."""


class WrongDigestError(ClientError):
    """The parameters that a node sent are not those of the version's record; ask another node."""


class NotFinalError(ClientError):
    """A transaction did not become final in time; it still may, until it expires.

    Parameters
    ----------
    transaction_id : hexadecimal; :meth:`quorate.Client.wait` can wait on.
    """

    def __init__(self, transaction_id: str, timeout_s: float) -> None:
        super().__init__(f"transaction {transaction_id} is not final after {timeout_s:g} seconds")
        self.transaction_id = transaction_id


class TransactionFailedError(ClientError):
    """A transaction is final, but failed or was void.

    Parameters
    ----------
    transaction : with the receipt; ``transaction.status`` is ``failed`` or ``void``.
    """

    def __init__(self, transaction: Transaction) -> None:
        super().__init__(f"{transaction.code}: {transaction.message}")
        self.transaction = transaction
        self.code = transaction.code
        self.message = transaction.message
