"""What a run made the core do: actions, messages, rules, refusals, alarms; what it never did.

What there is to be covered is read out of the core's source, so nothing new is forgotten.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import get_args

from consensus.actions import Action, Broadcast, RaiseAlarm, ReportEvidence, ReportPeer, Send
from consensus.core import Core
from consensus.messages import Message, Vote
from primitives.certificates import VoteKind
from primitives.evidence import EvidenceKind

__all__ = ["Coverage", "list_everything"]

ROOT = Path(__file__).resolve().parent.parent.parent
_CODES = (
    ("alarm", re.compile(r"(?:RaiseAlarm|\.halt)\(\s*\"(\w+)\"")),
    ("refusal", re.compile(r"(?:ReportPeer\([\w.]+|_refuse_batch\(peer), \"(\w+)\"")),
)
RULES = (
    "update",
    "enter",
    "judge a certified block",
    "judge a proposal",
    "prepare",
    "execute",
    "commit",
    "finalize",
    "lead or give up",
)


class Coverage:
    """Counts what the cores of a run do.

    Parameters
    ----------
    counts_rules : wrap the rules of every core, which costs time.
    """

    def __init__(self, *, counts_rules: bool) -> None:
        self.counts: Counter[str] = Counter()
        self._counts_rules = counts_rules

    def watch(self, core: Core) -> None:
        """Count how often each rule of a core finds something to do."""
        if self._counts_rules:
            named = zip(RULES, core._rules, strict=True)
            core._rules = tuple(self._count_rule(name, rule) for name, rule in named)

    def note_action(self, action: Action) -> None:
        """Count an action, and what it says."""
        counts = self.counts
        counts[f"action {type(action).__name__}"] += 1
        match action:
            case Broadcast(message) | Send(_, message):
                if isinstance(message, Vote):
                    counts[f"vote {message.kind.name}"] += 1
                else:
                    counts[f"message {type(message).__name__}"] += 1
            case ReportPeer(_, code):
                counts[f"refusal {code}"] += 1
            case RaiseAlarm(code, _):
                counts[f"alarm {code}"] += 1
            case ReportEvidence(evidence):
                counts[f"evidence {evidence.kind.name}"] += 1
            case _:
                pass

    def _count_rule(self, name: str, rule: Callable[[], bool]) -> Callable[[], bool]:
        key = f"rule {name}"
        counts = self.counts

        def counting() -> bool:
            found = rule()
            if found:
                counts[key] += 1
            return found

        return counting


def list_everything() -> list[str]:
    """Return everything that a run could cover."""
    names = {f"action {kind.__name__}" for kind in get_args(Action)}
    names |= {f"message {kind.__name__}" for kind in get_args(Message) if kind is not Vote}
    names |= {f"vote {kind.name}" for kind in VoteKind}
    names |= {f"evidence {kind.name}" for kind in EvidenceKind}
    # The rule that finds out what is missing never asks for another pass.
    names |= {f"rule {name}" for name in RULES[1:]}
    for path in sorted((ROOT / "consensus").glob("*.py")):
        source = path.read_text(encoding="utf-8")
        for what, pattern in _CODES:
            names |= {f"{what} {code}" for code in pattern.findall(source)}
    return sorted(names)
