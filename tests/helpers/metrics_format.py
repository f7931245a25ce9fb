"""A strict reader of the text format of Prometheus, so that tests do not trust the writer.

>>> text = ["# HELP a_total Of a.", "# TYPE a_total counter", 'a_total{b="c"} 2', ""]
>>> read_metrics(chr(10).join(text))["a_total"].samples
{(('b', 'c'),): 2.0}
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r"[a-zA-Z_][a-zA-Z0-9_]*"
VALUE = r'"(?:[^"\\\n]|\\\\|\\"|\\n)*"'
SAMPLE = re.compile(rf"({NAME})(?:\{{({LABEL}={VALUE}(?:,{LABEL}={VALUE})*)\}})? (\S+)")
NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d+)?(?:e[+-]?\d+)?|Inf)|NaN")
ESCAPES = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}

Labels = tuple[tuple[str, str], ...]


@dataclass
class Family:
    """A metric with its help, its type and its values by labels."""

    explanation: str
    kind: str = ""
    samples: dict[Labels, float] = field(default_factory=dict)

    @property
    def value(self) -> float:
        """The one value of a metric without labels."""
        assert list(self.samples) == [()]
        return self.samples[()]


def read_metrics(text: str) -> dict[str, Family]:
    """Return the families of a text; raises ``ValueError`` on whatever the format forbids.

    Stricter than the format: every family has help and type, in this order and right before its
    samples, and no metric of the conventions is named against them.
    """
    if not text.endswith("\n"):
        raise ValueError("the last line does not end")
    families: dict[str, Family] = {}
    current = ""
    for line in text.removesuffix("\n").split("\n"):
        if line.startswith("# HELP "):
            current, _, explanation = line.removeprefix("# HELP ").partition(" ")
            if current in families or not re.fullmatch(NAME, current) or not explanation:
                raise ValueError(f"wrong help: {line}")
            families[current] = Family(explanation)
        elif line.startswith("# TYPE "):
            name, _, kind = line.removeprefix("# TYPE ").partition(" ")
            _check_type(families, current, name, kind, line)
            families[name].kind = kind
        else:
            _read_sample(families, current, line)
    if not all(family.samples and family.kind for family in families.values()):
        raise ValueError("a family has no type or no samples")
    return families


def _check_type(families: dict[str, Family], current: str, name: str, kind: str, line: str) -> None:
    if name != current or families[name].kind or families[name].samples:
        raise ValueError(f"type out of place: {line}")
    if kind not in ("counter", "gauge"):
        raise ValueError(f"unknown type: {line}")
    if (kind == "counter") != name.endswith("_total"):
        raise ValueError(f"exactly counters end in _total: {line}")


def _read_sample(families: dict[str, Family], current: str, line: str) -> None:
    match = SAMPLE.fullmatch(line)
    if match is None or match[1] != current or not families[current].kind:
        raise ValueError(f"no sample of {current}: {line}")
    if NUMBER.fullmatch(match[3]) is None:
        raise ValueError(f"no number: {line}")
    pairs = re.findall(rf"({LABEL})=({VALUE})", match[2] or "")
    labels = tuple((label, _unescape(value[1:-1])) for label, value in pairs)
    if labels in families[current].samples or len(dict(labels)) != len(labels):
        raise ValueError(f"the same twice: {line}")
    families[current].samples[labels] = float(match[3])


def _unescape(text: str) -> str:
    return re.sub(r'\\[\\"n]', lambda found: ESCAPES[found[0]], text)
