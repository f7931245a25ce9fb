"""Final blocks: newest first, and one by height."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, Field

from ledger.reader import LedgerReader
from ledger.stored_records import StoredBlock
from ledger.transactions.registry import kind_of
from node.api.json_codec import format_time
from node.api.pages import (
    PAGE_LIMIT_DEFAULT,
    CursorQuery,
    LimitQuery,
    decode_cursor,
    encode_cursor,
)
from node.api.problems import problem_responses
from node.api.service import Service
from node.api.transaction_views import STATUS_NAMES
from primitives.accounts import account_to_text
from primitives.fields import COUNTER_MAX

__all__ = ["IMMUTABLE", "router"]

HEIGHT_BYTES = 8
IMMUTABLE = "public, max-age=31536000, immutable"
"""What caches are told of answers that never change."""

router = APIRouter(prefix="/api/v1/blocks", tags=["blocks"])


class CertificateView(BaseModel):
    """The votes that made a block final."""

    height: int = Field(description="Of the block voted on: this one or a descendant.")
    view: int
    block_id: str
    state_root: str
    signers: list[int]


class BlockView(BaseModel):
    """A final block without its transactions."""

    height: int
    block_id: str
    parent_id: str
    time: str = Field(description="Of the header, RFC 3339, UTC.")
    timestamp_ms: int
    protocol_version: int = Field(description="By which the block is to be read.")
    epoch: int
    view: int
    proposer: int = Field(description="Validator index.")
    body_root: str
    state_root: str = Field(description="After the block.")
    receipts_root: str
    transaction_count: int
    certificate: CertificateView | None = Field(description="None for the genesis block.")


class BlockTransactionView(BaseModel):
    """One transaction of a block, in short."""

    transaction_id: str
    kind: str
    sender: str
    status: str
    code: str


class FullBlockView(BlockView):
    """A final block with its transactions in order."""

    transactions: list[BlockTransactionView]


class BlockPage(BaseModel):
    """Blocks, newest first."""

    items: list[BlockView]
    next_cursor: str | None


@router.get(
    "",
    operation_id="list_blocks",
    summary="Final blocks, newest first",
    responses=problem_responses("not_ready"),
)
async def list_blocks(
    service: Service, limit: LimitQuery = PAGE_LIMIT_DEFAULT, cursor: CursorQuery = None
) -> BlockPage:
    """Return a page of blocks; ``next_cursor`` is null on the page that ends with the genesis."""
    ledger, height = service.ledger, service.follower.tip.height
    position = decode_cursor(cursor)
    if position is not None:
        height = min(height, int.from_bytes(position, "big"))
    heights = range(height, max(-1, height - limit), -1)
    last = heights[-1]
    return BlockPage(
        items=[BlockView(**_block_fields(ledger.stored_block(item))) for item in heights],
        next_cursor=encode_cursor((last - 1).to_bytes(HEIGHT_BYTES, "big")) if last else None,
    )


@router.get(
    "/{height}",
    operation_id="get_block",
    summary="One final block with its transactions",
    responses=problem_responses("unknown_height", "not_ready"),
)
async def get_block(
    service: Service,
    response: Response,
    height: Annotated[int, Path(ge=0, le=COUNTER_MAX, description="0 is the genesis block.")],
) -> FullBlockView:
    """Return a block; it never changes, so it may be kept for ever."""
    # In a thread, because a full block holds thousands of envelopes to decode.
    view = await run_in_threadpool(_make_full_view, service.ledger, height)
    response.headers["ETag"] = f'"{view.block_id}"'
    response.headers["Cache-Control"] = IMMUTABLE
    return view


def _make_full_view(ledger: LedgerReader, height: int) -> FullBlockView:
    fields = _block_fields(ledger.stored_block(height))
    _, transactions = ledger.block(height)
    receipts = ledger.receipts(height)
    return FullBlockView(
        **fields,
        transactions=[
            BlockTransactionView(
                transaction_id=transaction.transaction_id.hex(),
                kind=kind_of(transaction).name,
                sender=account_to_text(transaction.sender),
                status=STATUS_NAMES[receipt.status],
                code=receipt.code,
            )
            for transaction, receipt in zip(transactions, receipts, strict=True)
        ],
    )


def _block_fields(block: StoredBlock) -> dict[str, Any]:
    header = block.header
    return {
        "height": header.height,
        "block_id": header.block_id.hex(),
        "parent_id": header.parent_id.hex(),
        "time": format_time(header.timestamp_ms),
        "timestamp_ms": header.timestamp_ms,
        "protocol_version": header.protocol_version,
        "epoch": header.epoch,
        "view": header.view,
        "proposer": header.proposer,
        "body_root": header.body_root.hex(),
        "state_root": block.state_root.hex(),
        "receipts_root": block.receipts_root.hex(),
        "transaction_count": block.transaction_count,
        "certificate": _make_certificate_view(block),
    }


def _make_certificate_view(block: StoredBlock) -> CertificateView | None:
    certificate = block.certificate
    if certificate is None:
        return None
    return CertificateView(
        height=block.certified_height,
        view=certificate.view,
        block_id=certificate.block_id.hex(),
        state_root=certificate.state_root.hex(),
        signers=list(certificate.signers),
    )
