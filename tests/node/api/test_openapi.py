"""The description of the interface says what the interface does."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.api import ApiScene, run_api


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[ApiScene]:
    with run_api(tmp_path) as running:
        yield running


# Not ready is an answer of theirs, not an error.
READINESS_PATHS = ("/readyz", "/v2/health/ready")


def operations(schema: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def test_every_operation_has_a_readable_id_a_summary_and_a_tag(scene: ApiScene) -> None:
    found = list(operations(scene.get("/openapi.json")))
    names = [operation["operationId"] for _, _, operation in found]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[a-z]+(_[a-z0-9]+)*", name) for name in names)
    assert all(operation["summary"] and operation["tags"] for _, _, operation in found)


def test_every_operation_declares_its_errors_as_problem_details(scene: ApiScene) -> None:
    for path, method, operation in operations(scene.get("/openapi.json")):
        responses = operation["responses"]
        assert {"400", "500"} <= set(responses), (method, path)
        # FastAPI's own form of a validation error is never sent.
        assert "422" not in responses or "Problem" in json.dumps(responses["422"]), path
        for status, response in responses.items():
            if int(status) >= 400 and path not in READINESS_PATHS:
                assert list(response["content"]) == ["application/problem+json"], (path, status)


def test_every_reference_leads_somewhere(scene: ApiScene) -> None:
    schema = scene.get("/openapi.json")
    names = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(schema)))
    assert names <= set(schema["components"]["schemas"])
    assert "HTTPValidationError" not in schema["components"]["schemas"]


def test_no_page_loads_scripts_from_elsewhere(scene: ApiScene) -> None:
    assert scene.http.get("/docs").status_code == 404
    assert scene.http.get("/redoc").status_code == 404
