"""What a campaign waits for, in a sentence: whose turn it is, until when, and what follows then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ledger.campaign_records import Campaign
from ledger.draws import Draw
from node.api.json_codec import format_time

__all__ = ["PHASE_SENTENCES", "NextStep", "describe_duration", "describe_next"]

_UNITS: Final = ((86_400_000, "day"), (3_600_000, "hour"), (60_000, "minute"))

PHASE_SENTENCES: Final = {
    "draw": "Chance chooses which piece of the hidden test data has to be shown.",
    "participation": "One piece is on show, and contributions come in.",
    "reveal": "Contributions are closed, and the provider shows the other pieces.",
    "evaluation": "Contributions are valued on the pieces, item by item.",
    "learning": "Everybody was paid, and the model learns what proved good.",
    "settled": "Everybody was paid, and the model has learnt what proved good.",
    "withheld": "The provider did not show the drawn piece in time: a tenth of the bounty burnt.",
    "not_revealed": "The provider kept test data back: contributors share the bounty.",
    "empty": "Nobody contributed, and the bounty went back to the provider.",
    "aborted": "Limits became too low to value anything: everybody has the own money back.",
}


@dataclass(frozen=True, slots=True)
class NextStep:
    """What a campaign waits for.

    Parameters
    ----------
    action : what is to be done.
    by : who can do it: ``provider``, ``anybody`` or ``nobody``.
    sentence : the same for people.
    deadline_ms : until when; from then on `advance_campaign` ends the phase. None if there is no
        such time.
    is_due : whether `advance_campaign` has something to do at the time that was asked about.
    """

    action: str
    by: str
    sentence: str
    deadline_ms: int | None = None
    is_due: bool = False


def describe_next(campaign: Campaign, draw: Draw | None, now_ms: int) -> NextStep:
    """Return what a campaign waits for.

    Parameters
    ----------
    campaign : in any phase.
    draw : on record for the height that it is drawn by.
    now_ms : time of the last final block.
    """
    match campaign.phase:
        case "draw":
            return _describe_draw(campaign, draw, now_ms)
        case "participation":
            return _describe_participation(campaign, now_ms)
        case "reveal":
            deadline_ms = campaign.phase_ms + campaign.terms.reveal_wait_ms
            return NextStep(
                "show_pieces",
                "provider",
                f"Before {format_time(deadline_ms)} the provider must show the pieces that are"
                " hidden, from the first on; from then on anybody can end this with"
                " advance_campaign, and contributors share the bounty.",
                deadline_ms,
                now_ms >= deadline_ms,
            )
        case "evaluation" | "learning":
            return NextStep(
                "advance",
                "anybody",
                "Anybody can go on with advance_campaign until nothing is left.",
                is_due=True,
            )
        case _:
            return NextStep("none", "nobody", "Nothing: the campaign is closed.")


def describe_duration(duration_ms: int) -> str:
    """Return a time in the largest unit that divides it.

    Examples
    --------
    >>> describe_duration(600_000), describe_duration(86_400_000), describe_duration(61_500)
    ('10 minutes', '1 day', '61.5 seconds')
    """
    for unit_ms, name in _UNITS:
        count, rest = divmod(duration_ms, unit_ms)
        if count and not rest:
            return f"{count} {name}{'' if count == 1 else 's'}"
    return f"{duration_ms / 1000:g} seconds"


def _describe_draw(campaign: Campaign, draw: Draw | None, now_ms: int) -> NextStep:
    wait = describe_duration(campaign.terms.reveal_wait_ms)
    if draw is None or draw.block_id is None:
        return NextStep(
            "wait_for_draw",
            "nobody",
            f"The block at height {campaign.draw_height} draws a piece. Within {wait} after it is"
            " known the provider must show that piece with its seed.",
        )
    deadline_ms = draw.known_ms + campaign.terms.reveal_wait_ms
    return NextStep(
        "show_drawn_piece",
        "provider",
        f"Before {format_time(deadline_ms)} the provider must show its seed and the piece that this"
        f" seed and block {campaign.draw_height} draw; from then on anybody can close the campaign"
        " with advance_campaign, and a tenth of the bounty burns.",
        deadline_ms,
        now_ms >= deadline_ms,
    )


def _describe_participation(campaign: Campaign, now_ms: int) -> NextStep:
    terms, count = campaign.terms, len(campaign.entries)
    deadline_ms = campaign.phase_ms + terms.length_ms
    enough = 0 < terms.min_contributions <= count
    early = f", or with {terms.min_contributions} of them," if terms.min_contributions else ""
    there_are = "nobody has contributed" if not count else f"there are {count}"
    stake = terms.valuation.stake
    costs = f"each time with a stake of {stake}" if stake else "without a stake"
    return NextStep(
        "contribute",
        "anybody",
        f"Anybody that the model admits can contribute, {costs}, until there are"
        f" {terms.contributions_max} contributions ({there_are} so far). From"
        f" {format_time(deadline_ms)} on{early} anybody can end this with advance_campaign.",
        deadline_ms,
        enough or now_ms >= deadline_ms,
    )
