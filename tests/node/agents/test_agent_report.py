"""The page and its pictures, and the command: well-formed, complete, asking nobody anything."""

import json
import re
import shlex
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from node.agents.svg_chart import COLOURS, Chart, Line, draw_chart
from node.cli import application

QUICK = shlex.split(
    "agents --days 0.3 --refund-days 0.1 --any-days 0.2 --agents honest=1,sybil=1,label_flipper=1"
    " --seed 5"
)
SVG = "{http://www.w3.org/2000/svg}"


def invoke(*more: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(application, [*QUICK, *more])
    return result.exit_code, result.stdout, result.stderr


def parse(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text)  # noqa: S314 - our own text


def attributes(root: ElementTree.Element, name: str) -> list[str]:
    return [value for each in root.iter() for key, value in each.items() if key == name]


def test_a_page_is_well_formed_complete_and_asks_nobody_anything(tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    code, _, notes = invoke("--report", str(file))
    assert code == 0
    assert str(file) in notes
    text = file.read_text(encoding="utf-8")
    page = parse(text.removeprefix("<!DOCTYPE html>"))
    assert len(page.findall(f".//{SVG}svg")) == 2
    rows = page.findall(".//tbody/tr")
    assert [row[0].text for row in rows] == ["honest 1", "sybil 1 (4 accounts)", "label_flipper 1"]
    # Only names of namespaces look like addresses.
    assert set(re.findall(r"https?://[^\"'\s<]+", text)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"<(script|link|img|iframe|object)|url\(|@import", text)
    assert "quorate agents --days 0.3" in text
    assert "--report page.html" in text
    assert "prefers-color-scheme: dark" in text


def test_the_json_of_a_run_has_everything_and_is_the_same_again() -> None:
    code, first, _ = invoke("--output", "json")
    assert code == 0
    assert invoke("--output", "json")[1] == first
    answer = json.loads(first)
    assert set(answer) == {
        "format",
        "settings",
        "data",
        "stopped_day",
        "ended_day",
        "shuffles",
        "accuracy",
        "percent",
        "agents",
        "provider",
        "campaigns",
        "curves",
        "ledger",
    }
    assert answer["settings"]["seed"] == 5
    assert answer["settings"]["agents"] == {"honest": 1, "sybil": 1, "label_flipper": 1}
    assert set(answer["percent"]) == set(answer["curves"]["balances"])
    assert [row["kind"] for row in answer["agents"]] == ["honest", "sybil", "label_flipper"]
    numbers = [value for row in answer["agents"] for key, value in row.items() if key != "kind"]
    assert all(isinstance(value, int | float | str) for value in numbers)
    curves = answer["curves"]
    assert len(curves["days"]) == len(curves["accuracy"]) == len(curves["balances"]["honest"])
    assert answer["ledger"]["held"] == 0


def test_text_shows_a_line_for_each_agent_and_points_need_no_weight() -> None:
    code, text, _ = invoke("--mechanism", "points")
    assert code == 0
    assert text.startswith("points on digits")
    assert re.search(r"^sybil 1 +10000 +10000 +100\.0", text, re.MULTILINE)


def test_kinds_and_scenarios_are_listed() -> None:
    code, text, _ = invoke("--list")
    assert code == 0
    assert "copycat: " in text
    assert "scenarios: published, crowd" in text
    listed = json.loads(invoke("--list", "--output", "json")[1])
    assert listed["scenarios"]["published"]["data"] == "words"
    assert listed["kinds"][0]["habits"]["balance"] == 10_000


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--scenario", "heaven"], "no scenario is named"),
        (["--mechanism", "lottery"], "mechanism must be"),
        (["--agents", "honest=0"], "of at least 1"),
        (["--family", "nobody"], "no model family"),
        (["--data", "nowhere.csv"], "nowhere.csv"),
        (["--days", "-1"], "days must be"),
        (["--agents", "saint=1"], "agents must be"),
        (["--habit", "honest.size=1"], "no habit is named"),
        (["--weight", "-5"], "weight"),
        (["--refund-days", "5"], "any_days must be"),
        (["--any-days", "0"], "any_days must be"),
        (["--initial", "1"], "initial must be"),
        (["--seed", "-1"], "seed must be"),
        (["--report", "/nonexistent/page.html"], "page.html"),
    ],
)
def test_bad_options_end_with_one_clear_line(options: list[str], words: str) -> None:
    code, text, notes = invoke(*options)
    assert code == 1
    assert text == ""
    assert notes.startswith("error: ")
    assert words in notes
    assert len(notes.strip().splitlines()) == 1


def test_a_chart_keeps_curves_within_its_frame_and_labels_apart() -> None:
    lines = [Line(f"<{n}>", [n, 100 + n / 10], COLOURS[n]) for n in range(6)]
    chart = Chart("a & b", "days", "%", [0.0, 7.0], lines, mark=(1.0, "stop"))
    root = parse(draw_chart(chart))
    assert root.find(f"{SVG}title").text == "a & b"
    points = [pair for text in attributes(root, "points") for pair in text.split()]
    for x, y in (map(float, pair.split(",")) for pair in points):
        assert 56 <= x <= 610
        assert 34 <= y <= 256
    labels = [each for each in root.findall(f"{SVG}text") if each.get("fill") in COLOURS]
    heights = [float(each.get("y")) for each in labels]
    assert all(below - above >= 14.9 for above, below in pairwise(heights))
    assert labels[0].text == "<5> 100.5"


def test_a_chart_of_one_value_has_a_frame_all_the_same() -> None:
    root = parse(draw_chart(Chart("one", "days", "%", [2.0], [Line("x", [5.0], COLOURS[0])])))
    assert attributes(root, "points") == ["56.0,256.0"]
