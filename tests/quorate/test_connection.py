"""Requests to a node: answers, problems, and patience with a node that is away."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest

from quorate.connection import ATTEMPTS_MAX, Connection
from quorate.errors import NotFoundError, RefusedError, UnreachableError

Respond = Callable[[httpx.Request], httpx.Response]


def connect(respond: Respond, pauses: list[float] | None = None) -> Connection:
    recorded = pauses if pauses is not None else []
    return Connection("http://node", transport=httpx.MockTransport(respond), pause=recorded.append)


def answer_in_turn(*answers: httpx.Response | Exception) -> Respond:
    remaining: Iterator[httpx.Response | Exception] = iter(answers)

    def respond(request: httpx.Request) -> httpx.Response:
        answer = next(remaining)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return respond


def test_an_answer_is_returned_and_its_height_remembered() -> None:
    answers = answer_in_turn(
        httpx.Response(200, json={"a": 1}, headers={"Block-Height": "12"}),
        httpx.Response(200, json={"a": 2}, headers={"Block-Height": "11"}),
    )
    with connect(answers) as connection:
        assert connection.get("/x") == {"a": 1}
        assert connection.get("/x") == {"a": 2}
        assert connection.height == 12


def test_parameters_that_are_none_are_not_sent() -> None:
    seen: list[httpx.Request] = []

    def respond(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={})

    connect(respond).get("/x", {"height": None, "limit": 3})
    assert str(seen[0].url) == "http://node/x?limit=3"


def test_a_problem_becomes_an_exception_with_its_members() -> None:
    problem = {
        "code": "nonce_gap",
        "detail": "nonce 9 leaves a gap",
        "field": "nonce",
        "value": "9",
        "limit": "7",
    }
    with pytest.raises(RefusedError) as caught:
        connect(answer_in_turn(httpx.Response(409, json=problem))).post("/x", {})
    error = caught.value
    assert (error.status, error.code, error.field) == (409, "nonce_gap", "nonce")
    assert (error.value, error.limit) == ("9", "7")
    assert str(error) == "nonce_gap: nonce 9 leaves a gap"


def test_what_is_not_there_has_an_exception_of_its_own() -> None:
    answers = answer_in_turn(httpx.Response(404, json={"code": "unknown_model", "detail": "no"}))
    with pytest.raises(NotFoundError) as caught:
        connect(answers).get("/x")
    assert caught.value.code == "unknown_model"


def test_an_absent_or_busy_node_is_asked_again_with_growing_pauses() -> None:
    pauses: list[float] = []
    busy = {"code": "too_many_requests", "detail": "try later"}
    answers = answer_in_turn(
        httpx.ConnectError("refused"),
        httpx.Response(429, json=busy),
        httpx.Response(503, json={"code": "node_unreachable", "detail": "away"}),
        httpx.Response(200, json={"ok": True}),
    )
    assert connect(answers, pauses).post("/x", {}) == {"ok": True}
    assert pauses == sorted(pauses)
    assert len(pauses) == 3


def test_the_same_bytes_are_sent_at_every_attempt() -> None:
    bodies: list[bytes] = []

    def respond(request: httpx.Request) -> httpx.Response:
        bodies.append(request.content)
        if len(bodies) < 3:
            raise httpx.ReadTimeout("no answer")
        return httpx.Response(200, json={})

    connect(respond).post("/x", {"envelope": "00"})
    assert len(set(bodies)) == 1


def test_a_node_that_stays_away_is_given_up() -> None:
    with pytest.raises(UnreachableError):
        connect(answer_in_turn(*[httpx.ConnectError("refused")] * ATTEMPTS_MAX)).get("/x")


def test_a_node_that_stays_busy_is_given_up_with_its_own_words() -> None:
    busy = httpx.Response(429, json={"code": "too_many_requests", "detail": "try later"})
    with pytest.raises(RefusedError) as caught:
        connect(answer_in_turn(*[busy] * ATTEMPTS_MAX)).get("/x")
    assert caught.value.code == "too_many_requests"


@pytest.mark.parametrize(
    "response",
    [httpx.Response(200, text="<html>"), httpx.Response(200, json=[]), httpx.Response(500)],
    ids=["html", "list", "empty"],
)
def test_what_is_no_node_is_said_to_be_none(response: httpx.Response) -> None:
    with pytest.raises(UnreachableError):
        connect(answer_in_turn(response)).get("/x")
