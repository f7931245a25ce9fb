"""Transactions: submit one, wait until it is final, look one up, read its payload."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ledger.admission import check_stateless
from ledger.payload import SALT_BYTES, Payload
from ledger.transaction import Transaction, decode_transaction
from node.api.json_codec import decode_bytes, parse_hash, read_body
from node.api.openapi import describe_body
from node.api.problems import problem_responses
from node.api.service import ApiService, Service
from node.api.transaction_views import TransactionView, find_transaction
from primitives.errors import InvalidInputError

__all__ = ["router"]

BODY_BYTES_MAX = 8 * 1024 * 1024
"""Longest submission: far above an envelope and payload of the default limits, in hexadecimal."""

WAIT_S_MAX = 60.0
WAIT_S_DEFAULT = 10.0

router = APIRouter(prefix="/api/v1/transactions", tags=["transactions"])

TransactionIdPath = Annotated[str, Path(description="64 hexadecimal digits.", examples=["ab" * 32])]
WaitQuery = Annotated[
    Literal["none", "final"],
    Query(description="`final` answers once the transaction is final, or after `timeout`."),
]
TimeoutQuery = Annotated[
    float, Query(ge=0, le=WAIT_S_MAX, description="Seconds to wait with `wait=final`.")
]


class Submission(BaseModel):
    """A signed transaction and, if its kind has one, its payload with the salt."""

    model_config = ConfigDict(extra="forbid")

    envelope: str = Field(description="Canonical bytes of the signed envelope.")
    salt: str | None = Field(default=None, description="32 bytes; goes with a payload.")
    payload: str | None = Field(default=None, description="Goes with a salt.")
    encoding: Literal["hex", "base64"] = Field(
        default="hex", description="Of envelope, salt and payload."
    )


class PayloadView(BaseModel):
    """The erasable payload of a transaction, in hexadecimal."""

    transaction_id: str
    salt: str
    payload: str


@router.post(
    "",
    operation_id="submit_transaction",
    summary="Submit a signed transaction",
    status_code=HTTPStatus.ACCEPTED,
    responses={
        HTTPStatus.OK: {"model": TransactionView, "description": "Final"},
        **problem_responses(
            "malformed",
            "wrong_chain",
            "bad_signature",
            "expired",
            "payload_mismatch",
            "nonce_used",
            "nonce_gap",
            "too_large",
            "insufficient_balance",
            "too_many_requests",
            "node_unreachable",
        ),
    },
    openapi_extra=describe_body(Submission),
)
async def submit_transaction(
    service: Service,
    request: Request,
    response: Response,
    wait: WaitQuery = "none",
    timeout: TimeoutQuery = WAIT_S_DEFAULT,
) -> TransactionView:
    """Check a transaction, hand it to the node, and answer 202 or, once it is final, 200.

    Sending the same bytes again is safe: a transaction has one id, and is not taken twice.
    """
    transaction = _parse_submission(await read_body(request, BODY_BYTES_MAX))
    if service.ledger.receipt(transaction.transaction_id) is None:
        await _submit(service, transaction)
    view = await _wait(service, transaction.transaction_id, timeout if wait == "final" else 0)
    if view is None:
        return TransactionView(transaction_id=transaction.transaction_id.hex(), status="pending")
    response.status_code = HTTPStatus.OK
    return view


@router.get(
    "/{transaction_id}",
    operation_id="get_transaction",
    summary="One transaction and what became of it",
    responses=problem_responses("unknown_transaction", "not_ready", "too_many_requests"),
)
async def get_transaction(
    service: Service,
    transaction_id: TransactionIdPath,
    wait: WaitQuery = "none",
    timeout: TimeoutQuery = WAIT_S_DEFAULT,
) -> TransactionView:
    """Return a final transaction with its receipt, or one that this node took as pending."""
    name = parse_hash(transaction_id, "transaction_id")
    view = await _wait(service, name, timeout if wait == "final" else 0)
    if view is not None:
        return view
    if name in service.recent_submissions:
        return TransactionView(transaction_id=transaction_id, status="pending")
    raise InvalidInputError(
        "unknown_transaction",
        f"no transaction {transaction_id} is final here or waits at this node",
        field="transaction_id",
        value=transaction_id,
    )


@router.get(
    "/{transaction_id}/payload",
    operation_id="get_transaction_payload",
    summary="The erasable payload of a transaction",
    responses=problem_responses(
        "payload_not_held", "payloads_not_served", "too_many_requests", "node_unreachable"
    ),
)
async def get_transaction_payload(
    service: Service, transaction_id: TransactionIdPath
) -> PayloadView:
    """Return salt and payload, if this node holds them and its operator lets anybody read them."""
    name = parse_hash(transaction_id, "transaction_id")
    if not service.serves_payloads:
        raise InvalidInputError(
            "payloads_not_served", "the operator of this node does not serve payloads"
        )
    payload = await service.feed.read_payload(name)
    if payload is None:
        raise InvalidInputError(
            "payload_not_held",
            f"this node holds no payload of transaction {transaction_id}",
            field="transaction_id",
            value=transaction_id,
        )
    return PayloadView(
        transaction_id=transaction_id, salt=payload.salt.hex(), payload=payload.data.hex()
    )


async def _wait(
    service: ApiService, transaction_id: bytes, timeout_s: float
) -> TransactionView | None:
    if timeout_s > 0:
        await service.follower.wait_for_transaction(transaction_id, timeout_s)
    return find_transaction(service.ledger, transaction_id)


async def _submit(service: ApiService, transaction: Transaction) -> None:
    """Check what needs no state here, so that rubbish costs the node nothing, then hand it over."""
    follower = service.follower
    check_stateless(transaction, follower.chain_id, service.read_parameters(), follower.tip.height)
    try:
        await service.feed.submit(transaction.raw, transaction.payload)
    except InvalidInputError as error:
        # The node has it already: the same bytes were sent before.
        if error.code != "duplicate":
            raise
    service.recent_submissions.add(transaction.transaction_id)


def _parse_submission(body: bytes) -> Transaction:
    try:
        submission = Submission.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"])) or "body"
        raise InvalidInputError(
            "malformed_request", f"{field}: {first['msg']}", field=field
        ) from error
    encoding = submission.encoding
    envelope = decode_bytes(submission.envelope, encoding, "envelope")
    if (submission.salt is None) != (submission.payload is None):
        raise InvalidInputError(
            "malformed_request", "salt and payload go together: give both or none", field="salt"
        )
    payload = None
    if submission.salt is not None and submission.payload is not None:
        salt = decode_bytes(submission.salt, encoding, "salt")
        if len(salt) != SALT_BYTES:
            raise InvalidInputError(
                "malformed_request",
                f"salt must have {SALT_BYTES} bytes, found {len(salt)}",
                field="salt",
                value=len(salt),
                limit=SALT_BYTES,
            )
        payload = Payload(salt, decode_bytes(submission.payload, encoding, "payload"))
    return decode_transaction(envelope, payload=payload)
