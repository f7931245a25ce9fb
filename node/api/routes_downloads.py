"""The parameters of a version as a file, for whoever wants to use or to check them.

Numbers are read from the store, or learnt again, in a thread, and leave piece by piece: a large
model holds up nobody, and is not copied for each who asks.
"""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from itertools import chain
from typing import Annotated

from fastapi import APIRouter, Header, Path, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from ledger.model_records import ModelDescription
from ledger.model_tensors import (
    ModelArrays,
    decode_model_version,
    model_version_key,
    total_bytes,
)
from node.api.problems import problem_responses
from node.api.routes_blocks import IMMUTABLE
from node.api.routes_models import ModelNamePath, find_model
from node.api.service import Service
from node.api.version_access import resolve_version
from primitives.errors import InvalidInputError
from quorate.model_files.document import encode_description
from quorate.model_files.tensors import cut_safetensors

__all__ = ["router"]

MEDIA_TYPE = "application/octet-stream"
REVALIDATE = "no-cache"
"""What an alias stands for may change with any block, so it is to be asked for again."""

router = APIRouter(prefix="/api/v1/models", tags=["models"])


@router.get(
    "/{name}/versions/{version}/tensors",
    operation_id="download_version",
    summary="The parameters of a version, in the safetensors format",
    response_class=StreamingResponse,
    responses={
        HTTPStatus.OK: {
            "description": "int64 tensors, and in the metadata which model and version they are of",
            "content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}},
        },
        HTTPStatus.NOT_MODIFIED: {"description": "They are those of the tag."},
        **problem_responses(
            "unknown_model", "unknown_version", "version_retired", "payload_not_held", "not_ready"
        ),
    },
)
async def download_version(
    service: Service,
    name: ModelNamePath,
    version: Annotated[
        str, Path(max_length=64, description="Number or alias of a version.", examples=["latest"])
    ],
    if_none_match: Annotated[str, Header(description="Tag of what is there already.")] = "",
) -> Response:
    """Return the parameters of a version; those of a number never change."""
    ledger = service.ledger
    find_model(ledger, name, None)
    number = resolve_version(ledger, name, version)
    record = ledger.read(model_version_key(name, number), decode_model_version)
    if record is None:
        raise InvalidInputError(
            "unknown_version",
            f"model {name!r} has no version {number}",
            field="version",
            value=number,
        )
    # Two versions can have the same parameters, but the file also says which version it is.
    tag = f'"{record.digest.hex()}-{number}"'
    headers = {
        "ETag": tag,
        "Cache-Control": IMMUTABLE if version == str(number) else REVALIDATE,
    }
    if tag in if_none_match:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    opened = await service.inference.open(service.follower, name, number, None)
    description, state = opened.loaded.description, opened.loaded.state
    metadata = {
        "model": name,
        "version": str(number),
        "height": str(record.height),
        "digest": record.digest.hex(),
    }
    # In a thread, because a vocabulary of the encoder can be long.
    head, numbers = await run_in_threadpool(_begin_file, description, state, metadata)
    headers["Content-Disposition"] = f'attachment; filename="{name}-{number}.safetensors"'
    headers["Content-Length"] = str(len(head) + total_bytes(state))
    # An iterator that is not asynchronous is asked in a thread for each of its pieces.
    return StreamingResponse(chain((head,), numbers), headers=headers, media_type=MEDIA_TYPE)


def _begin_file(
    description: ModelDescription, state: ModelArrays, metadata: dict[str, str]
) -> tuple[bytes, Iterator[bytes]]:
    """Return the header of a file, and what follows."""
    described = encode_description(description.spec, description.class_names, description.encoder)
    pieces = cut_safetensors(state, {**metadata, **described})
    return next(pieces), pieces
