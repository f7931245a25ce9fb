"""The text format of Prometheus, written and read back by a strict reader."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.api.metrics_text import Metric, MetricKind, Sample, render_metrics
from tests.helpers.metrics_format import read_metrics


@given(
    st.lists(st.text(max_size=20), unique=True, min_size=1, max_size=4),
    st.text(min_size=1, max_size=30).filter(lambda text: "\r" not in text),
    st.floats(allow_nan=False) | st.integers(-(2**60), 2**60),
)
def test_any_label_and_number_reads_back(values: list[str], text: str, value: float) -> None:
    samples = [Sample(value, (("label", each), ("other", "x"))) for each in values]
    rendered = render_metrics([Metric("some_gauge", MetricKind.GAUGE, text, samples)])
    family = read_metrics(rendered)["some_gauge"]
    assert family.samples == {(("label", each), ("other", "x")): float(value) for each in values}


def test_numbers_that_are_none_have_the_names_of_the_format() -> None:
    samples = [Sample(each, (("n", str(each)),)) for each in (math.inf, -math.inf, math.nan)]
    text = render_metrics([Metric("some", MetricKind.GAUGE, "Odd.", samples)])
    assert [line.split()[-1] for line in text.splitlines()[2:]] == ["Inf", "-Inf", "NaN"]


def test_a_metric_without_samples_is_left_out() -> None:
    assert render_metrics([Metric("none_total", MetricKind.COUNTER, "None.", [])]) == ""


HEAD = "# HELP a Of a.\n# TYPE a gauge\n"


@pytest.mark.parametrize(
    "text",
    [
        HEAD,
        HEAD + "a 1",
        HEAD + "b 1\n",
        HEAD + "a 1\na 2\n",
        HEAD + "a one\n",
        HEAD + 'a{b="c} 1\n',
        HEAD + 'a{b="c",} 1\n',
        HEAD + 'a{b="\\x"} 1\n',
        HEAD + 'a{b="c",b="d"} 1\n',
        HEAD + "a 1\n\n",
        HEAD + "a 1\n" + HEAD + "a 2\n",
        "a 1\n",
        "# HELP a Of a.\na 1\n",
        "# TYPE a gauge\na 1\n",
        "# HELP a \n# TYPE a gauge\na 1\n",
        "# HELP a Of a.\n# TYPE a gauge\n# TYPE a gauge\na 1\n",
        "# HELP a Of a.\n# TYPE a counter\na 1\n",
        "# HELP a_total Of a.\n# TYPE a_total gauge\na_total 1\n",
        "# HELP a Of a.\n# TYPE a number\na 1\n",
        "# HELP a Of a.\n# TYPE b gauge\nb 1\n",
    ],
)
def test_the_reader_refuses_what_the_format_forbids(text: str) -> None:
    with pytest.raises((ValueError, KeyError)):
        read_metrics(text)
