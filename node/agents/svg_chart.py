"""Line charts as SVG: one text, no script, no font or file from elsewhere, readable on any ground.

Colours that a page may set as variables (``--ink``, ``--grid``, ``--paper``) have defaults that can
be read on white and on black, so that a chart is a picture of its own too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10
from typing import Final

__all__ = ["COLOURS", "Chart", "Line", "draw_chart"]

COLOURS: Final = (
    "#2f81f7",
    "#cf222e",
    "#2da44e",
    "#bf8700",
    "#8250df",
    "#1b7c83",
    "#d4569b",
    "#6e7781",
    "#bc4c00",
    "#7d8b1f",
)
"""Told apart by most people on light and dark ground; lines are labelled as well."""

WIDTH: Final = 760
LEFT, RIGHT, TOP, BOTTOM = 56, 150, 34, 44
LABEL_GAP: Final = 15
TICKS: Final = 5
MARK_TEXT_WIDTH: Final = 110

_STYLE: Final = """
    .ink { fill: var(--ink, #7a8699) } .grid { stroke: var(--grid, #7a869955); stroke-width: 1 }
    .curve { fill: none; stroke-width: 2; stroke-linejoin: round }
"""


@dataclass(frozen=True, slots=True)
class Line:
    """One curve.

    Parameters
    ----------
    name : written at its end.
    values : one for each place on the x axis of its chart.
    colour : as CSS.
    """

    name: str
    values: Sequence[float]
    colour: str


@dataclass(frozen=True, slots=True)
class Chart:
    """What a chart shows.

    Parameters
    ----------
    title : also what a reader is told who does not see it.
    x_title, y_title : what the axes are.
    x : places, ascending, at least one.
    lines : as many values as there are places.
    height : of the picture, in its own units; the width is 760.
    mark : a place on the x axis to mark, with what is written there.
    """

    title: str
    x_title: str
    y_title: str
    x: Sequence[float]
    lines: Sequence[Line]
    height: int = 300
    mark: tuple[float, str] | None = None


def draw_chart(chart: Chart) -> str:
    """Return a chart as an ``svg`` element.

    Examples
    --------
    >>> line = Line("model", [0.0, 50.0], COLOURS[0])
    >>> draw_chart(Chart("Accuracy", "days", "%", [0.0, 1.0], [line]))[:4]
    '<svg'
    """
    values = [value for line in chart.lines for value in line.values]
    y_ticks = _choose_ticks(min(values), max(values))
    x_ticks = [tick for tick in _choose_ticks(chart.x[0], chart.x[-1]) if tick <= chart.x[-1]]
    scale = _Scale(chart, x_ticks[0], chart.x[-1], y_ticks[0], y_ticks[-1])
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {chart.height}"'
        f' role="img" font-family="system-ui, sans-serif" font-size="12">',
        f"<title>{escape(chart.title)}</title>",
        f"<style>{_STYLE}</style>",
        f'<text class="ink" x="{LEFT}" y="18" font-size="14" font-weight="600">'
        f"{escape(chart.title)}</text>",
        *_draw_axes(chart, scale, x_ticks, y_ticks),
        *_draw_lines(chart, scale),
        "</svg>",
    ]
    return "\n".join(parts)


class _Scale:
    """From values to places in the picture."""

    def __init__(
        self, chart: Chart, x_low: float, x_high: float, y_low: float, y_high: float
    ) -> None:
        self._x_low, self._x_span = x_low, (x_high - x_low) or 1.0
        self._y_low, self._y_span = y_low, (y_high - y_low) or 1.0
        self.right = WIDTH - RIGHT
        self.bottom = chart.height - BOTTOM

    def x(self, value: float) -> float:
        share = (value - self._x_low) / self._x_span
        return round(LEFT + share * (self.right - LEFT), 1)

    def y(self, value: float) -> float:
        share = (value - self._y_low) / self._y_span
        return round(self.bottom - share * (self.bottom - TOP), 1)


def _draw_axes(
    chart: Chart, scale: _Scale, x_ticks: Sequence[float], y_ticks: Sequence[float]
) -> list[str]:
    parts = []
    for tick in y_ticks:
        y = scale.y(tick)
        parts.append(f'<path class="grid" d="M{LEFT} {y}H{scale.right}"/>')
        parts.append(_text(LEFT - 8, y + 4, f"{tick:g}", "end"))
    for tick in x_ticks:
        x = scale.x(tick)
        parts.append(f'<path class="grid" d="M{x} {scale.bottom}v5"/>')
        parts.append(_text(x, scale.bottom + 18, f"{tick:g}", "middle"))
    middle = (LEFT + scale.right) / 2
    parts.append(_text(middle, chart.height - 8, chart.x_title, "middle"))
    parts.append(_text(scale.right, TOP - 8, chart.y_title, "end"))
    if chart.mark is not None:
        x = scale.x(chart.mark[0])
        parts.append(f'<path class="grid" stroke-dasharray="4 4" d="M{x} {TOP}V{scale.bottom}"/>')
        # To the left of the mark, unless there is no room.
        fits = x - LEFT >= MARK_TEXT_WIDTH
        parts.append(
            _text(
                x - 5 if fits else x + 5,
                scale.bottom - 6,
                chart.mark[1],
                "end" if fits else "start",
            )
        )
    return parts


def _draw_lines(chart: Chart, scale: _Scale) -> list[str]:
    parts = []
    for line in chart.lines:
        points = " ".join(
            f"{scale.x(x)},{scale.y(value)}" for x, value in zip(chart.x, line.values, strict=True)
        )
        parts.append(f'<polyline class="curve" stroke="{line.colour}" points="{points}"/>')
    for line, y in zip(*_place_labels(chart, scale), strict=True):
        text = f"{line.name} {line.values[-1]:.1f}"
        parts.append(
            f'<text x="{scale.right + 8}" y="{y + 4}" fill="{line.colour}">{escape(text)}</text>'
        )
    return parts


def _place_labels(chart: Chart, scale: _Scale) -> tuple[list[Line], list[float]]:
    """Return the lines from top to bottom, and where to write their names without overlaps."""
    lines = sorted(chart.lines, key=lambda line: -line.values[-1])
    places: list[float] = []
    for line in lines:
        y = scale.y(line.values[-1])
        places.append(max(y, places[-1] + LABEL_GAP) if places else y)
    # What was pushed out below goes up again, and takes along what is in its way.
    limit = float(scale.bottom)
    for index in reversed(range(len(places))):
        places[index] = min(places[index], limit)
        limit = places[index] - LABEL_GAP
    return lines, places


def _choose_ticks(low: float, high: float) -> list[float]:
    """Return round numbers, about five, from at most the lowest value to at least the highest."""
    span = (high - low) or 1.0
    rough = span / TICKS
    power = 10.0 ** floor(log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    first, last = floor(low / step), max(ceil(high / step), floor(low / step) + 1)
    return [round(index * step, 10) for index in range(first, last + 1)]


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text class="ink" x="{x}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'
