"""The text format in which Prometheus reads metrics, version 0.0.4.

Only what this node needs: counters and gauges, with labels. Source: "Exposition formats",
prometheus.io/docs/instrumenting/exposition_formats.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["CONTENT_TYPE", "Metric", "MetricKind", "Sample", "render_metrics"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class MetricKind(StrEnum):
    """What a metric's value does."""

    COUNTER = "counter"
    """Only grows, and begins at 0 with the process; its name ends in ``_total``."""

    GAUGE = "gauge"
    """Goes up and down."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a metric, told from the others by its labels."""

    value: float
    labels: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric and its samples; without any it is left out.

    Parameters
    ----------
    name
        With the unit last (``_seconds``, ``_bytes``), and ``_total`` behind it for a counter.
    kind
        Counter or gauge.
    explanation
        A sentence for people.
    samples
        Each with other labels.
    """

    name: str
    kind: MetricKind
    explanation: str
    samples: Sequence[Sample]


def render_metrics(metrics: Iterable[Metric]) -> str:
    """Return the text that Prometheus reads.

    Examples
    --------
    >>> height = Metric("chain_height", MetricKind.GAUGE, "The height.", [Sample(7)])
    >>> print(render_metrics([height]), end="")
    # HELP chain_height The height.
    # TYPE chain_height gauge
    chain_height 7
    """
    lines: list[str] = []
    for metric in metrics:
        if metric.samples:
            lines.append(f"# HELP {metric.name} {_escape(metric.explanation)}")
            lines.append(f"# TYPE {metric.name} {metric.kind}")
            lines += [_render_sample(metric.name, sample) for sample in metric.samples]
    return "".join(f"{line}\n" for line in lines)


def _render_sample(name: str, sample: Sample) -> str:
    pairs = ",".join(f'{label}="{_escape_value(value)}"' for label, value in sample.labels)
    return (
        f"{name}{{{pairs}}} {_render(sample.value)}" if pairs else f"{name} {_render(sample.value)}"
    )


def _render(value: float) -> str:
    """Return a number with all its digits; whole ones without a point."""
    if math.isfinite(value) and value == int(value):
        return str(int(value))
    return repr(float(value)).replace("inf", "Inf").replace("nan", "NaN")


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _escape_value(text: str) -> str:
    return _escape(text).replace('"', '\\"')
