"""The Open Inference Protocol (KServe V2) over HTTP with JSON tensors, below ``/v2``.

Beyond the protocol: ``?height=`` asks as of an earlier block, and ``parameters`` of an answer name
the height, the version and the state root that it was made from. Paths and members are the
protocol's, which is why they are not those of ``/api/v1``.
"""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from ledger.model_tensors import decode_model_tensors, tensors_key
from ml_runtime.registry import get_family
from node.api.json_codec import read_body
from node.api.model_inputs import describe_inputs
from node.api.model_outputs import describe_outputs
from node.api.openapi import describe_body, describe_parameter
from node.api.problems import problem_responses
from node.api.routes_status import check_readiness
from node.api.service import ApiService, Service
from node.api.version_access import resolve_version
from primitives.errors import InvalidInputError
from primitives.fields import COUNTER_MAX

__all__ = ["router"]

SERVER_NAME = "quorate"
SERVER_VERSION = "1"
VERSIONS_LISTED_MAX = 100

BODY_BYTES_MAX = 32 * 1024 * 1024
"""Longest request: about a million numbers in JSON."""

NUMBER = re.compile("[0-9]{1,19}", re.ASCII)

router = APIRouter(prefix="/v2", tags=["inference"])

ModelPath = Annotated[str, Path(description="Name of the model.", max_length=64)]
VersionPath = Annotated[
    str, Path(description="Number or alias of a version.", max_length=64, examples=["12", "best"])
]

OPEN_CODES = ("unknown_model", "not_ready")
INFER_CODES = (*OPEN_CODES, "wrong_feature_count", "feature_not_finite", "too_large")


class LiveView(BaseModel):
    """The server answers."""

    live: bool


class ServerReadyView(BaseModel):
    """The server can be asked."""

    live: bool
    ready: bool


class ServerView(BaseModel):
    """What this server is."""

    name: str
    version: str
    extensions: list[str]


class TensorMetadataView(BaseModel):
    """One input or output; -1 in a shape is any length."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadataView(BaseModel):
    """What a model takes and gives."""

    name: str
    versions: list[str] = Field(description="The newest, at most a hundred.")
    platform: str
    inputs: list[TensorMetadataView]
    outputs: list[TensorMetadataView]


class ModelReadyView(BaseModel):
    """Whether a model can be asked."""

    name: str
    ready: bool


class RequestTensor(BaseModel):
    """An input; data nested or flat, row by row."""

    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, Any] = Field(default_factory=dict)
    data: list[Any]


class RequestedOutput(BaseModel):
    """An output that is wanted."""

    name: str
    parameters: dict[str, Any] = Field(default_factory=dict)


class InferBody(BaseModel):
    """A request for predictions."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "inputs": [
                        {
                            "name": "features",
                            "shape": [1, 4],
                            "datatype": "FP64",
                            "data": [0.0, 0.5, 1.0, 0.25],
                        }
                    ]
                }
            ]
        }
    )

    id: str | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)
    inputs: list[RequestTensor]
    outputs: list[RequestedOutput] = Field(default_factory=list, description="All if empty.")


class ResponseTensor(BaseModel):
    """An output; data flat, row by row."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any]


class AnswerParameters(BaseModel):
    """The state that an answer was made from."""

    height: int
    version: int
    block_id: str
    state_root: str


class InferView(BaseModel):
    """Predictions."""

    model_name: str
    model_version: str
    id: str | None = None
    parameters: AnswerParameters
    outputs: list[ResponseTensor]


INFER_REQUEST = describe_body(InferBody)
MODEL_PARAMETER = describe_parameter("model", "path", {"type": "string"}, "Name of the model.")
VERSION_PARAMETER = describe_parameter(
    "version", "path", {"type": "string", "maxLength": 64}, "Number or alias of a version."
)
HEIGHT_PARAMETER = describe_parameter(
    "height",
    "query",
    {"type": "integer", "minimum": 0, "maximum": COUNTER_MAX},
    "Answer as of this final block; the last if absent.",
)


# The two routes that carry the load stand first, because routes are tried in order, and take only
# the request, because resolving declared parameters costs more than a small prediction.


@router.post(
    "/models/{model}/infer",
    operation_id="infer",
    summary="Predict",
    response_model=InferView,
    responses=problem_responses(*INFER_CODES, "unknown_height"),
    openapi_extra={"parameters": [MODEL_PARAMETER, HEIGHT_PARAMETER], **INFER_REQUEST},
)
async def infer(request: Request) -> Response:
    """Predict with the version in force now, or after an earlier block."""
    height = request.query_params.get("height")
    return await _infer(request, None, None if height is None else _parse_number(height, "height"))


@router.post(
    "/models/{model}/versions/{version}/infer",
    operation_id="infer_version",
    summary="Predict with a version",
    response_model=InferView,
    responses=problem_responses(*INFER_CODES, "unknown_version"),
    openapi_extra={"parameters": [MODEL_PARAMETER, VERSION_PARAMETER], **INFER_REQUEST},
)
async def infer_version(request: Request) -> Response:
    """Predict with one version, as of the block that made it."""
    service: ApiService = request.app.state.service
    name, text = request.path_params["model"], request.path_params["version"]
    return await _infer(request, resolve_version(service.ledger, name, text), None)


@router.get(
    "", operation_id="get_server", summary="What this server is", responses=problem_responses()
)
async def get_server() -> ServerView:
    """Return name and version; none of the protocol's extensions is spoken."""
    return ServerView(name=SERVER_NAME, version=SERVER_VERSION, extensions=[])


# The protocol's text has no slash at the end and its OpenAPI document has one; clients use both.
router.add_api_route("/", get_server, methods=["GET"], include_in_schema=False)


@router.get(
    "/health/live",
    operation_id="get_server_live",
    summary="Whether the server answers",
    responses=problem_responses(),
)
async def get_server_live() -> LiveView:
    """Return at once."""
    return LiveView(live=True)


@router.get(
    "/health/ready",
    operation_id="get_server_ready",
    summary="Whether the server can be asked",
    responses={
        **problem_responses(),
        HTTPStatus.SERVICE_UNAVAILABLE: {"model": ServerReadyView, "description": "Not synced"},
    },
)
async def get_server_ready(service: Service, response: Response) -> ServerReadyView:
    """Return 200 when the node is synced, 503 otherwise."""
    ready = all((await check_readiness(service)).values())
    if not ready:
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return ServerReadyView(live=True, ready=ready)


@router.get(
    "/models/{model}",
    operation_id="get_served_model",
    summary="What a model takes and gives",
    responses=problem_responses(*OPEN_CODES),
)
async def get_served_model(service: Service, model: ModelPath) -> ModelMetadataView:
    """Return the metadata of the version in force."""
    return await _describe(service, model, None)


@router.get(
    "/models/{model}/versions/{version}",
    operation_id="get_served_model_version",
    summary="What a version of a model takes and gives",
    responses=problem_responses(*OPEN_CODES, "unknown_version"),
)
async def get_served_model_version(
    service: Service, model: ModelPath, version: VersionPath
) -> ModelMetadataView:
    """Return the metadata of a version; classes and features may have been added since."""
    return await _describe(service, model, resolve_version(service.ledger, model, version))


@router.get(
    "/models/{model}/ready",
    operation_id="get_served_model_ready",
    summary="Whether a model can be asked",
    responses=problem_responses(*OPEN_CODES),
)
async def get_served_model_ready(service: Service, model: ModelPath) -> ModelReadyView:
    """Return 200 if there is such a model: every model can be asked at once."""
    await service.inference.open(service.follower, model, None, None)
    return ModelReadyView(name=model, ready=True)


@router.get(
    "/models/{model}/versions/{version}/ready",
    operation_id="get_served_model_version_ready",
    summary="Whether a version of a model can be asked",
    responses=problem_responses(*OPEN_CODES, "unknown_version"),
)
async def get_served_model_version_ready(
    service: Service, model: ModelPath, version: VersionPath
) -> ModelReadyView:
    """Return 200 if there is such a version."""
    number = resolve_version(service.ledger, model, version)
    await service.inference.open(service.follower, model, number, None)
    return ModelReadyView(name=model, ready=True)


async def _infer(request: Request, version: int | None, height: int | None) -> Response:
    service: ApiService = request.app.state.service
    body = await read_body(request, BODY_BYTES_MAX)
    opened = await service.inference.open(
        service.follower, request.path_params["model"], version, height
    )
    answer = await service.inference.answer(opened, body)
    # Made here and not by FastAPI, which would look at every number once more.
    return Response(json.dumps(answer).encode(), media_type="application/json")


async def _describe(service: ApiService, model: str, version: int | None) -> ModelMetadataView:
    opened = await service.inference.open(service.follower, model, version, None)
    description = opened.loaded.description
    spec = description.spec
    tensors = service.ledger.read(tensors_key(model), decode_model_tensors)
    newest = opened.loaded.version if tensors is None else tensors.version
    oldest = max(0, newest - VERSIONS_LISTED_MAX + 1)
    return ModelMetadataView(
        name=model,
        versions=[str(number) for number in range(oldest, newest + 1)],
        platform=f"{SERVER_NAME}_{spec.family}",
        inputs=[
            TensorMetadataView.model_validate(item)
            for item in describe_inputs(spec, description.encoder)
        ],
        outputs=[
            TensorMetadataView.model_validate(item)
            for item in describe_outputs(get_family(spec.family), spec)
        ],
    )


def _parse_number(text: str, field: str) -> int:
    """Return a height; raises ``malformed_request``."""
    number = int(text) if NUMBER.fullmatch(text) else -1
    if not 0 <= number <= COUNTER_MAX:
        raise InvalidInputError(
            "malformed_request",
            f"{field} must be a whole number from 0 to {COUNTER_MAX}, found {text[:40]!r}",
            field=field,
            value=text,
            limit=COUNTER_MAX,
        )
    return number
