"""Rows of the table, which targets they meet, and how they are printed and written down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["Row", "render_missed", "render_summary", "render_table"]

POINTS_TOLERATED: Final = 0.5
"""How far below its twin a family may be, in points of accuracy or of 100 · R²."""

PERCENT_TOLERATED: Final = 1.0
"""How much worse than its twin a grouping or an outlier score may be."""

LEARNING_RATIO_LEAST: Final = 10.0
ANSWERING_RATIO_LEAST: Final = 1.0

HEADINGS: Final = (
    "family",
    "data",
    "twin",
    "measure",
    "ours",
    "theirs",
    "difference",
    "learns ×",
    "answers ×",
    "verdict",
)
NUMBERS: Final = range(4, 9)
"""The columns that are aligned to the right."""


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured of one family on one data set.

    Parameters
    ----------
    measure
        Accuracy and R² are in points of 100 and compared by their difference; inertia and AUC by
        how many percent better or worse they are.
    error
        Standard error of the mean difference, in the same unit; None where it is not known.
    learning, answering
        How many times as fast as the twin; None where the twin offers nothing to compare with.
    reason
        Why a target is missed, where that is known.
    note
        Why nothing was measured.
    """

    family: str
    data: str
    twin: str
    measure: str = ""
    ours: float = 0.0
    theirs: float = 0.0
    error: float | None = None
    learning: float | None = None
    answering: float | None = None
    reason: str = ""
    note: str = ""

    @property
    def in_points(self) -> bool:
        """Whether the difference is one of points, not of percents."""
        return self.measure in ("accuracy", "R²")

    @property
    def difference(self) -> float:
        """By how much ours is better; negative if it is worse."""
        if self.in_points:
            return self.ours - self.theirs
        better = self.theirs - self.ours if self.measure == "inertia" else self.ours - self.theirs
        return 100 * better / self.theirs

    def find_missed(self) -> list[str]:
        """Return which targets are missed, by name."""
        tolerated = POINTS_TOLERATED if self.in_points else PERCENT_TOLERATED
        missed = []
        if self.difference < -tolerated:
            missed.append("answers")
        if self.learning is not None and self.learning < LEARNING_RATIO_LEAST:
            missed.append("learning speed")
        if self.answering is not None and self.answering < ANSWERING_RATIO_LEAST:
            missed.append("answering speed")
        return missed


def render_table(rows: Sequence[Row]) -> str:
    """Return an aligned table that is Markdown as well."""
    cells = [_format(row) for row in rows]
    widths = [max(len(line[column]) for line in (HEADINGS, *cells)) for column in range(10)]
    rule = "|".join(
        "-" * (width + 1) + (":" if column in NUMBERS else "-")
        for column, width in enumerate(widths)
    )
    lines = [_align(HEADINGS, widths), f"|{rule}|", *(_align(line, widths) for line in cells)]
    return "\n".join(lines)


def render_missed(rows: Sequence[Row]) -> str:
    """Return one line for each row that misses a target, with the reason."""
    lines = [
        f"MISSED {row.family}, {row.data}, {row.twin}: {' and '.join(missed)};"
        f" {row.reason or 'no reason is known'}"
        for row in rows
        if not row.note and (missed := row.find_missed())
    ]
    return "\n".join(lines) or "Nothing that was measured misses a target."


def render_summary(rows: Sequence[Row]) -> str:
    """Return how many rows meet each target, of those to which it applies."""
    measured = [row for row in rows if not row.note]
    parts = []
    for name, wanted, applies in (
        (
            "answers",
            f"at most {POINTS_TOLERATED} points or {PERCENT_TOLERATED:g} % below",
            measured,
        ),
        (
            "learning speed",
            f"at least {LEARNING_RATIO_LEAST:g}×",
            [row for row in measured if row.learning is not None],
        ),
        (
            "answering speed",
            f"at least {ANSWERING_RATIO_LEAST:g}×",
            [row for row in measured if row.answering is not None],
        ),
    ):
        met = sum(name not in row.find_missed() for row in applies)
        parts.append(f"{name} ({wanted}): {met} of {len(applies)} rows")
    skipped = len(rows) - len(measured)
    return "; ".join(parts) + (f"; not measured: {skipped}" if skipped else "") + "."


def _format(row: Row) -> tuple[str, ...]:
    if row.note:
        return (row.family, row.data, row.twin, *[""] * 6, row.note)
    places, unit = (2, "") if row.in_points else (4 if row.measure == "AUC" else 1, " %")
    missed = row.find_missed()
    return (
        row.family,
        row.data,
        row.twin,
        row.measure,
        f"{row.ours:.{places}f}",
        f"{row.theirs:.{places}f}",
        f"{row.difference:+.2f}{unit}" + ("" if row.error is None else f" ± {row.error:.2f}"),
        "-" if row.learning is None else f"{row.learning:.1f}",
        "-" if row.answering is None else f"{row.answering:.2f}",
        "MISSED" if missed else "met",
    )


def _align(cells: Sequence[str], widths: Sequence[int]) -> str:
    aligned = (
        cell.rjust(width) if column in NUMBERS else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "| " + " | ".join(aligned) + " |"
