"""The description of the interface: what FastAPI cannot see by itself is added here."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from node.api.problems import Problem

__all__ = ["describe_body", "describe_parameter", "make_openapi"]

_REFERENCE = "#/components/schemas/{model}"
_UNUSED = ("HTTPValidationError", "ValidationError")

_body_models: set[type[BaseModel]] = set()


def describe_body(model: type[BaseModel]) -> dict[str, Any]:
    """Return what a route declares that reads its body by itself, within a limit of its own."""
    _body_models.add(model)
    reference = {"$ref": _REFERENCE.format(model=model.__name__)}
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": reference}}}
    }


def describe_parameter(
    name: str, place: str, schema: dict[str, Any], description: str
) -> dict[str, Any]:
    """Return how a route describes a parameter that it reads by itself.

    Parameters
    ----------
    name
        As it is in the path or query.
    place
        ``path`` or ``query``; what is in the path is required.
    schema
        JSON schema of its values.
    description
        For people.
    """
    return {
        "name": name,
        "in": place,
        "required": place == "path",
        "schema": schema,
        "description": description,
    }


def make_openapi(app: FastAPI) -> dict[str, Any]:
    """Return the description of the interface of an application."""
    schema = get_openapi(
        title=app.title,
        version=app.version,
        openapi_version="3.1.0",
        description=app.description,
        routes=app.routes,
        servers=[{"url": "/", "description": "this node"}],
    )
    schemas = schema.setdefault("components", {}).setdefault("schemas", {})
    # Errors are made by handlers, and some bodies read by routes, that FastAPI does not look into.
    extra: list[type[BaseModel]] = [
        Problem,
        *sorted(_body_models, key=lambda model: model.__name__),
    ]
    _, definitions = models_json_schema(
        [(model, "validation") for model in extra], ref_template=_REFERENCE
    )
    schemas.update(definitions["$defs"])
    for name in _UNUSED:
        schemas.pop(name, None)
    for methods in schema["paths"].values():
        for operation in methods.values():
            # What fails FastAPI's validation is answered with 400, as problem details.
            if "HTTPValidationError" in str(operation["responses"].get("422")):
                del operation["responses"]["422"]
    return schema
