"""A transaction kind that does what a test tells it, to look at execution from the inside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from ledger.parameters import Parameters
from ledger.schema import StateReader
from ledger.transaction import Transaction
from ledger.transactions import registry
from ledger.transactions.kind import ExecutionContext
from primitives.codec import Encodable, Value
from primitives.errors import InvalidInputError

PROBE_CODE = 60_000

Action = Callable[[ExecutionContext], list[Encodable]]


@dataclass
class ProbeKind:
    """Applies the action whose number is the only field of the body."""

    has_payload: bool = False
    units: int = 0
    code: int = PROBE_CODE
    name: str = "probe"
    refuse: bool = False
    actions: list[Action] = field(default_factory=list)

    def add(self, action: Action) -> list[Encodable]:
        """Register an action and return the body that asks for it."""
        self.actions.append(action)
        return [len(self.actions) - 1]

    def decode_body(self, value: list[Value], /) -> list[Value]:
        return value

    def check(self, _transaction: Transaction, _body: list[Value], _p: Parameters, /) -> None:
        if self.refuse:
            raise InvalidInputError("refused", "the probe refuses")

    def cost(self, _state: StateReader, _transaction: Transaction, _body: list[Value], /) -> int:
        return self.units

    def apply(
        self, context: ExecutionContext, _transaction: Transaction, body: list[Value], /
    ) -> list[Encodable]:
        number = body[0]
        assert isinstance(number, int)
        return self.actions[number](context)


def install_probe(monkeypatch: pytest.MonkeyPatch, **settings: object) -> ProbeKind:
    """Make the probe a known kind for the rest of the test."""
    probe = ProbeKind(**settings)  # type: ignore[arg-type]
    monkeypatch.setitem(registry._BY_CODE, PROBE_CODE, probe)
    return probe
