"""How the node is: for people and programs, and for whatever starts and stops it."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from consensus.diagnosis import Severity, diagnose
from ledger.schema import CHAIN_VALIDATORS, decode_validators
from node.api.feed_client import NodeUnreachableError
from node.api.feed_frames import NodeStatus
from node.api.json_codec import format_time
from node.api.problems import problem_responses
from node.api.service import ApiService, Service
from primitives.errors import InvalidInputError

__all__ = ["check_readiness", "router"]

LAG_HEIGHTS_MAX = 16
"""Heights that the read store may be behind its node and still count as ready."""

router = APIRouter(tags=["status"])


class NodeView(BaseModel):
    """What the node process says of itself."""

    name: str
    validator_index: int | None = Field(description="None for an observer.")
    final_height: int
    view: int
    peers_connected: int
    peers_expected: int
    mempool_transactions: int
    mempool_bytes: int
    is_catching_up: bool
    version: str


class StatusView(BaseModel):
    """Where the chain stands, as this node sees it."""

    chain_id: str
    chain_name: str
    height: int = Field(description="Of the last final block that arrived here.")
    block_id: str
    block_time: str = Field(description="RFC 3339, UTC.")
    state_root: str
    validators: int
    parameters: dict[str, int] = Field(description="The governed limits and prices.")
    is_ready: bool
    node: NodeView | None = Field(description="None while the node process is away.")


class LiveView(BaseModel):
    """The process answers."""

    live: bool


class ReadyView(BaseModel):
    """Whether this node should be asked, and why not."""

    ready: bool
    checks: dict[str, bool]
    reason: str = Field(description="Why it is so, in a sentence.")


@router.get(
    "/api/v1/status",
    operation_id="get_status",
    summary="Where the chain stands",
    responses=problem_responses("not_ready"),
)
async def get_status(service: Service) -> StatusView:
    """Return height, roots, parameters and, while it is there, what the node knows of itself."""
    follower = service.follower
    tip = follower.tip
    validators = follower.ledger.read(CHAIN_VALIDATORS, decode_validators)
    node = await _read_node_status(service)
    return StatusView(
        chain_id=follower.chain_id.hex(),
        chain_name=follower.chain_name,
        height=tip.height,
        block_id=tip.block_id.hex(),
        block_time=format_time(tip.timestamp_ms),
        state_root=tip.state_root.hex(),
        validators=0 if validators is None else len(validators.validators),
        parameters=service.read_parameters().to_mapping(),
        is_ready=all((await check_readiness(service)).values()),
        node=None if node is None else _show_node(node),
    )


@router.get(
    "/livez",
    operation_id="get_liveness",
    summary="Whether the process answers",
    responses=problem_responses(),
)
async def get_liveness() -> LiveView:
    """Return at once; a process that does not answer should be started again."""
    return LiveView(live=True)


class StartView(BaseModel):
    """Whether the process has come up."""

    started: bool


@router.get(
    "/startupz",
    operation_id="get_startup",
    summary="Whether the process has come up",
    responses=problem_responses("not_ready"),
)
async def get_startup(service: Service) -> StartView:
    """Return 200 once a state can be read; 503 before. Probes wait for it before they judge."""
    if service.follower.get_position() is None:
        raise InvalidInputError("not_ready", "the node has not sent its state yet", field="state")
    return StartView(started=True)


@router.get(
    "/readyz",
    operation_id="get_readiness",
    summary="Whether the node follows the chain",
    responses={
        **problem_responses(),
        HTTPStatus.SERVICE_UNAVAILABLE: {"model": ReadyView, "description": "Not ready"},
    },
)
async def get_readiness(service: Service, response: Response) -> ReadyView:
    """Return 200 when reads are current and submissions reach a node that follows the chain.

    503 otherwise: the node process is away, lacks blocks, has halted, or is cut off from the
    quorum so that no block becomes final.
    """
    node = await _read_node_status(service)
    checks = _check(service, node)
    ready = all(checks.values())
    if not ready:
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return ReadyView(ready=ready, checks=checks, reason=_explain(checks, node))


async def check_readiness(service: ApiService) -> dict[str, bool]:
    """Return what has to hold for the node to be ready, and whether it does."""
    return _check(service, await _read_node_status(service))


def _check(service: ApiService, node: NodeStatus | None) -> dict[str, bool]:
    position = service.follower.get_position()
    is_current = (
        node is not None
        and position is not None
        and node.final_height - position[0] <= LAG_HEIGHTS_MAX
    )
    return {
        "node_connected": node is not None,
        "node_synced": node is not None and not node.is_catching_up,
        "chain_followed": node is not None
        and diagnose(node.consensus).severity is not Severity.FAILURE,
        "state_present": position is not None,
        "reads_current": is_current,
    }


def _explain(checks: dict[str, bool], node: NodeStatus | None) -> str:
    if node is None:
        return "The node process does not answer; what is read here may be old."
    if checks["chain_followed"] and not checks["reads_current"]:
        return "What is read here lags behind the node; it is being brought up to date."
    return diagnose(node.consensus).sentence


async def _read_node_status(service: ApiService) -> NodeStatus | None:
    """Return what the node says of itself, or None while it is away."""
    try:
        return await service.feed.read_status()
    except (NodeUnreachableError, InvalidInputError):
        return None


def _show_node(node: NodeStatus) -> NodeView:
    return NodeView(
        name=node.name,
        validator_index=node.validator_index,
        final_height=node.final_height,
        view=node.view,
        peers_connected=node.peers_connected,
        peers_expected=node.peers_expected,
        mempool_transactions=node.mempool_transactions,
        mempool_bytes=node.mempool_bytes,
        is_catching_up=node.is_catching_up,
        version=node.version,
    )
