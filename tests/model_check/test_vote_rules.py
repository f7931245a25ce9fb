"""The text in docs/spec, the page that explains it, its transcription and the core: they agree."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

from tests.model_check.vote_rules import NAMES, VoteRules, explore

SPECIFICATION = Path(__file__).resolve().parents[2] / "docs" / "spec"
TEXT = (SPECIFICATION / "votes.tla").read_text(encoding="utf-8")
PAGE = (SPECIFICATION / "votes.md").read_text(encoding="utf-8")

DEFINITION = re.compile(r"^(\w+)(?:\(.*?\))? ==", re.MULTILINE)
ROW = re.compile(r"^\| `(\w+)` \| (.*) \|$", re.MULTILINE)
FUNCTION = re.compile(r"`((?:consensus|primitives)\.[\w.]+)`")


def section(first: str, last: str) -> str:
    return TEXT[TEXT.index(first) : TEXT.index(last)]


def find_actions() -> set[str]:
    used = section("Next ==", "Spec ==")
    return {name for name in DEFINITION.findall(TEXT) if re.search(rf"\b{name}\(", used)}


def find_invariants() -> set[str]:
    defined = set(DEFINITION.findall(section("What holds in every state", "THEOREM")))
    return {name for name in defined if re.search(rf"\b{name}\b", TEXT[TEXT.index("THEOREM") :])}


def test_every_action_and_invariant_of_the_text_is_explained() -> None:
    explained = {name for name, _ in ROW.findall(PAGE)}
    actions, invariants = find_actions(), find_invariants()
    assert len(actions) == 5
    assert len(invariants) == 5
    assert actions | invariants <= explained
    assert explained <= set(DEFINITION.findall(TEXT))


def test_every_function_that_the_page_names_exists() -> None:
    named = FUNCTION.findall(PAGE)
    assert len(named) > 10
    for path in named:
        package, module, *attributes = path.split(".")
        found: object = import_module(f"{package}.{module}")
        for attribute in attributes:
            found = getattr(found, attribute)
        assert callable(found), path


def test_every_rule_that_the_text_cites_is_in_the_page_and_in_the_protocol() -> None:
    rules = set(re.findall(r"\b[SPV]\d\b", TEXT))
    protocol = (SPECIFICATION / "consensus.md").read_text(encoding="utf-8")
    assert rules
    for rule in rules:
        assert re.search(rf"\b{rule}\b", PAGE), rule
        assert f"- {rule}" in protocol, rule


def test_the_transcription_has_the_actions_of_the_text() -> None:
    in_snake_case = {re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower() for name in find_actions()}
    assert set(NAMES) == in_snake_case


@pytest.mark.parametrize("leaders", [(0,), (1,), (0, 0), (1, 2)])
def test_no_invariant_is_violated_and_every_action_occurs(leaders: tuple[int, ...]) -> None:
    found = explore(VoteRules(leaders, bodies=2 if len(leaders) == 1 else 1))
    assert found.violations == set()
    assert found.is_exhausted
    expected = set(NAMES) if any(leaders) else set(NAMES) - {"propose"}
    assert found.actions == expected


@pytest.mark.parametrize("leaders", [(0,), (0, 0), (0, 2)])
def test_two_byzantine_of_four_are_accountable(leaders: tuple[int, ...]) -> None:
    found = explore(VoteRules(leaders, byzantine=2))
    assert found.violations == set()
    assert found.is_exhausted


class WithoutS2(VoteRules):
    def _prepare(self, view, votes, state):  # type: ignore[no-untyped-def]
        return super()._prepare(view, 0, state)


class WithoutS4(VoteRules):
    def _commit(self, view, votes, certified):  # type: ignore[no-untyped-def]
        return super()._commit(view, 0, certified)


class WithoutP5(VoteRules):
    def is_justified(self, block: int, certified: int) -> bool:
        return True


@pytest.mark.parametrize(
    ("rules", "leaders", "violated"),
    [
        (WithoutS2, (0,), "OnePreparedBlock"),
        (WithoutS4, (0,), "NeverBothCommittedAndGivenUp"),
        (WithoutP5, (0, 0), "PreparedAboveCommitted"),
    ],
)
def test_without_one_rule_an_invariant_is_violated(
    rules: type[VoteRules], leaders: tuple[int, ...], violated: str
) -> None:
    assert violated in explore(rules(leaders), states_max=60_000).violations
