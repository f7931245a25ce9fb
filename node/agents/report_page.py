"""The page about one run: pictures, a table, the settings; one file that asks nobody anything."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape
from typing import Final, NamedTuple

from node.agents.kinds import KINDS
from node.agents.outcome import PROVIDER, AgentRow, Outcome
from node.agents.svg_chart import COLOURS, Chart, Line, draw_chart

__all__ = ["draw_accuracy", "draw_balances", "make_page"]

_STYLE: Final = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #57606a; --text: #1f2328;
  --grid: #d0d7de; --good: #1a7f37; --bad: #cf222e }
@media (prefers-color-scheme: dark) { :root { --paper: #0d1117; --ink: #9198a1; --text: #e6edf3;
  --grid: #30363d; --good: #3fb950; --bad: #ff7b72 } }
body { background: var(--paper); color: var(--text); font: 16px/1.5 system-ui, sans-serif;
  max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2rem } svg { width: 100% }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums }
.wide { overflow-x: auto } th, td { padding: .25rem .6rem; text-align: right; white-space: nowrap }
th:first-child, td:first-child { text-align: left } tr { border-bottom: 1px solid var(--grid) }
.good { color: var(--good) } .bad { color: var(--bad) } p, li { max-width: 46rem }
pre { background: color-mix(in srgb, var(--grid) 35%, transparent); padding: .8rem;
  overflow-x: auto; border-radius: 6px }
"""

_BALANCES: Final = (
    "A balance is free money: what waits in deposits is not in it, so it dips at first."
)
_BALANCES_OF_CAMPAIGNS: Final = (
    "A balance is free money, after each campaign: nothing waits in stakes or bounties then."
)

_COLUMNS: Final = (
    ("start", "start"),
    ("end", "end"),
    ("percent", "% of start"),
    ("samples", "sent"),
    ("validated", "validated"),
    ("reported", "reported"),
    ("deposited", "deposited"),
    ("refunded", "refunded"),
    ("taken", "taken"),
    ("lost", "lost"),
    ("too_dear", "too dear"),
    ("no_money", "no money"),
    ("refused", "refused"),
    ("supported", "fees paid"),
    ("collected", "fees got"),
    ("karma", "karma"),
)


def make_page(outcome: Outcome, command: str) -> str:
    """Return the page.

    Parameters
    ----------
    outcome : of the run.
    command : that makes the same page again.
    """
    settings = outcome.settings
    curves, ledger = outcome.curves, outcome.ledger
    title = f"Agents: {settings.mechanism} on {outcome.data_name}"
    days = "one day" if outcome.stopped_day == 1 else f"{outcome.stopped_day:g} days"
    summary = (
        f"{ledger.transactions:,} transactions in {ledger.blocks:,} blocks; people contributed"
        f" for {days}, all was settled on day {outcome.ended_day:.1f}."
        f" Accuracy on data that nobody sent: {curves.accuracy[0]:.1f} % at first,"
        f" {curves.accuracy[-1]:.1f} % at the end."
    )
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8"/>',
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>',
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1><p>{escape(summary)}</p>",
        draw_accuracy(outcome),
        draw_balances(outcome),
        f"<p>{_BALANCES_OF_CAMPAIGNS if outcome.campaigns else _BALANCES}</p>",
        "<h2>Agents</h2>",
        _make_table(outcome),
        "<ul>",
        *(f"<li><b>{kind}</b>: {escape(KINDS[kind].description)}</li>" for kind in settings.agents),
        "</ul>",
        *_describe_campaigns(outcome),
        "<h2>The ledger</h2>",
        f"<p>Supply {ledger.supply:,.3f} = balances + {ledger.held:,.3f} held +"
        f" {ledger.burnt:,.3f} burnt, checked. {_describe_failures(ledger.failed)}</p>",
        f"<h2>Settings</h2><p>Seed {settings.seed}. The same again:</p>",
        f"<pre>{escape(command)}</pre>",
        f"<pre>{escape(json.dumps(settings.to_json(), indent=2))}</pre>",
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def draw_accuracy(outcome: Outcome) -> str:
    """Return the picture of accuracy over time, or from campaign to campaign."""
    axis = _choose_axis(outcome)
    line = Line("model", axis.pick(outcome.curves.accuracy), COLOURS[0])
    title = f"Accuracy on data that nobody sends ({outcome.data_name})"
    return draw_chart(Chart(title, axis.title, "%", axis.x, [line], height=240, mark=axis.mark))


def draw_balances(outcome: Outcome) -> str:
    """Return the picture of balances over time, or from campaign to campaign; a line a kind."""
    axis = _choose_axis(outcome)
    lines = [
        Line(kind, axis.pick(values), COLOURS[_choose_colour(kind)])
        for kind, values in outcome.curves.balances.items()
    ]
    title = "Balances by kind of agent, percent of start"
    return draw_chart(Chart(title, axis.title, "%", axis.x, lines, height=340, mark=axis.mark))


class _Axis(NamedTuple):
    """Places of the points of a curve along a picture."""

    title: str
    x: tuple[float, ...]
    mark: tuple[float, str] | None

    def pick(self, values: tuple[float, ...]) -> tuple[float, ...]:
        """Return as many values as there are places, the last one of all among them."""
        return (*values[: len(self.x) - 1], values[-1])


def _choose_axis(outcome: Outcome) -> _Axis:
    if outcome.campaigns:
        # A point before all of them and one after each; what is collected at the end is in the
        # last one.
        places = tuple(float(place) for place in range(len(outcome.campaigns) + 1))
        return _Axis("campaigns", places, None)
    return _Axis("days", outcome.curves.days, (outcome.stopped_day, "last contribution"))


def _choose_colour(kind: str) -> int:
    """Return the colour of a kind: the same in every picture, honest blue, flipping red."""
    known = ["honest", "label_flipper"]
    known += [name for name in KINDS if name not in known]
    known.append(PROVIDER)
    return known.index(kind) % len(COLOURS)


def _make_table(outcome: Outcome) -> str:
    heads = "".join(f"<th>{escape(title)}</th>" for _, title in _COLUMNS)
    rows = "".join(_make_rows(outcome))
    return (
        f'<div class="wide"><table><thead><tr><th>agent</th>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _make_rows(outcome: Outcome) -> Iterator[str]:
    provider = [] if outcome.provider is None else [outcome.provider]
    for row in (*outcome.rows, *provider):
        cells = "".join(_make_cell(row, name) for name, _ in _COLUMNS)
        name = row.name if row.accounts == 1 else f"{row.name} ({row.accounts} accounts)"
        yield f"<tr><td>{escape(name)}</td>{cells}</tr>"


def _make_cell(row: AgentRow, name: str) -> str:
    value = getattr(row, name)
    text = f"{value:,.1f}" if isinstance(value, float) else f"{value:,}"
    if name != "percent":
        return f"<td>{text}</td>"
    return f'<td class="{"good" if value >= 100 else "bad"}">{text}</td>'


def _describe_campaigns(outcome: Outcome) -> list[str]:
    """Return a table with a row for each campaign, if there were any."""
    if not outcome.campaigns:
        return []
    kinds = list(outcome.settings.agents)
    gains = "".join(f"<th>{escape(kind)}</th>" for kind in kinds)
    rows = []
    for each in outcome.campaigns:
        cells = [
            escape(each.phase),
            f"{sum(each.contributions.values()):,}",
            f"{sum(each.kept.values()):,}",
            f"{each.test_samples:,}",
            *(f"{each.get_gain(kind):+z,.1f}" for kind in kinds),
            f"{each.returned:,.1f}",
            f"{each.accuracy:.1f}",
        ]
        rows.append(f"<tr><td>{each.number}</td><td>{'</td><td>'.join(cells)}</td></tr>")
    return [
        "<h2>Campaigns</h2><p>Under a kind stands what all agents of it gained together.</p>",
        '<div class="wide"><table class="campaigns"><thead><tr><th>campaign</th><th>ended</th>'
        "<th>contributions</th><th>kept</th><th>test samples</th>"
        f"{gains}<th>returned</th><th>accuracy %</th></tr></thead><tbody>",
        *rows,
        "</tbody></table></div>",
    ]


def _describe_failures(failed: dict[str, int]) -> str:
    if not failed:
        return "Every transaction took effect."
    listed = ", ".join(f"{count} {code}" for code, count in failed.items())
    return f"Transactions without effect, by the code that says why: {escape(listed)}."
