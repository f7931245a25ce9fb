"""``quorate campaign``: prediction markets and contribution pay, for providers and contributors."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from node.commands.campaign_secrets import load_secrets, save_secrets
from node.commands.contributions import read_samples
from node.commands.keys import open_client
from node.commands.progress import show_progress
from node.commands.terminal import OutputFormat, fail, print_answer, print_note, render_table
from primitives.errors import InvalidInputError
from quorate.campaign_records import CampaignRecord, CampaignSecrets
from quorate.client import Client
from quorate.errors import RefusedError, TransactionFailedError, UnreachableError

__all__ = [
    "advance_campaign",
    "list_campaigns",
    "open_campaign",
    "read_duration",
    "reveal_pieces",
    "show_campaign",
    "verify_campaign",
]

UNITS_MS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
POLL_PAUSE_S: Final = 0.5


def open_campaign(
    url: str,
    key: Path,
    model: str,
    samples: Path,
    output: OutputFormat,
    *,
    piece_count: int,
    folder: Path,
    terms: dict[str, Any],
) -> None:
    """Cut the samples of a CSV file into pieces, keep them, and open a campaign on them."""
    with open_client(url, key) as client:
        features, labels = read_samples(client.model(model), samples)
        if piece_count > len(features):
            raise InvalidInputError(
                "empty_batch",
                f"{samples} holds {len(features)} samples, too few for {piece_count} pieces",
                field="pieces",
                value=piece_count,
                limit=len(features),
            )
        # Every so-manieth sample: files are often sorted, and each piece shall be like the whole.
        pieces = [
            (features[place::piece_count], None if labels is None else labels[place::piece_count])
            for place in range(piece_count)
        ]
        secrets = client.campaigns.prepare(model, pieces)
        file = save_secrets(folder, secrets)
        try:
            opened = client.campaigns.open(model, secrets, **terms)
        except (InvalidInputError, RefusedError, TransactionFailedError):
            # Nothing was committed to, and nothing will be.
            file.unlink()
            raise
        campaign = client.campaigns.get(model, opened.number)
    counts = [len(features[place::piece_count]) for place in range(piece_count)]
    text = (
        f"campaign {opened.number} of {model} is open, with a bounty of {campaign.bounty:,}\n"
        f"  {'test data':<12} {piece_count} pieces of {min(counts)} to {max(counts)} samples\n"
        f"  {'secrets':<12} {file}: keep this file, and keep it to yourself\n"
        f"{_describe(campaign, folder)}"
    )
    answer = {
        "campaign": opened.number,
        "secrets": str(file),
        "samples": counts,
        "transaction": asdict(opened.transaction),
    }
    print_answer(answer, text, output)


def list_campaigns(url: str, model: str | None, output: OutputFormat) -> None:
    """List the campaigns of a model, or those of all models that are open."""
    with Client(url) as client:
        found = client.campaigns.list(model)
    rows = [
        [
            each.model,
            each.number,
            each.rule,
            each.phase,
            each.bounty,
            each.stake,
            each.raw["contributions"],
            each.raw["next_step"]["deadline"] or "-",
        ]
        for each in found
    ]
    headings = ["model", "campaign", "rule", "phase", "bounty", "stake", "contributions", "until"]
    nothing = "no campaign is open" if model is None else f"{model} has had no campaign"
    text = render_table(headings, rows) if rows else nothing
    print_answer([each.raw for each in found], text, output)


def show_campaign(url: str, model: str, number: int | None, output: OutputFormat) -> None:
    """Show everything about one campaign, and what it waits for."""
    with Client(url) as client:
        campaign = client.campaigns.get(model, number)
    raw, terms = campaign.raw, campaign.raw["terms"]
    rows = [
        ["rule", f"{campaign.rule}, by {terms['metric']}"],
        ["bounty", f"{campaign.bounty:,}, stake {campaign.stake:,}"],
        ["provider", campaign.provider],
        ["test data", f"{raw['pieces_shown']} of {raw['pieces_total']} pieces shown"],
        ["takes part", f"{raw['contributors']} contributors, {raw['contributions']} contributions"],
    ]
    if raw["draw"]["piece"] is not None:
        rows.append(["example", f"piece {raw['draw']['piece']}, which was drawn"])
    if raw["progress"] is not None:
        done, total = raw["progress"]["items_done"], raw["progress"]["items_estimated"]
        rows.append(["evaluation", f"{done} of about {total} items"])
    if not campaign.is_open:
        rows.append(["provider got", f"{campaign.returned:,} back; {campaign.burnt:,} burnt"])
    text = f"campaign {campaign.number} of {model}\n"
    text += "\n".join(f"  {name:<12} {value}" for name, value in rows)
    text += "\n" + _describe(campaign)
    if campaign.entries:
        text += "\n\n" + _show_entries(campaign)
    print_answer(raw, text, output)


def reveal_pieces(
    url: str, key: Path, model: str, folder: Path, output: OutputFormat, *, timeout_s: float
) -> None:
    """Show what is due now: the drawn piece with the seed, or all pieces that are hidden."""
    with open_client(url, key) as client:
        campaign = client.campaigns.get(model)
        secrets = load_secrets(folder, campaign)
        if campaign.phase == "draw":
            _wait_for_draw(client, campaign, timeout_s)
            shown = [client.campaigns.show_drawn(secrets)]
        elif campaign.phase == "reveal":
            shown = _show_all(client, secrets)
        else:
            raise InvalidInputError(
                "wrong_phase",
                f"in the phase {campaign.phase} of campaign {campaign.number} of {model!r} there is"
                f" nothing to show. {campaign.next_sentence}",
                field="phase",
                value=campaign.phase,
            )
        campaign = client.campaigns.get(model, campaign.number)
    drawn = campaign.raw["draw"]["piece"]
    what = (
        f"piece {drawn}, which was drawn"
        if len(shown) == 1 and campaign.phase == ("participation")
        else f"{len(shown)} pieces"
    )
    text = f"shown: {what}\n{_describe(campaign, folder)}"
    answer = {"shown": [asdict(each) for each in shown], "campaign": campaign.raw}
    print_answer(answer, text, output)


def advance_campaign(
    url: str, key: Path, model: str, output: OutputFormat, *, items: int | None
) -> None:
    """Do what is due until nothing is."""
    with open_client(url, key) as client, show_progress("valuing contributions") as tell:

        def report(campaign: CampaignRecord) -> None:
            progress = campaign.raw["progress"]
            if progress is not None:
                tell(progress["items_done"], progress["items_estimated"])

        before = client.campaigns.get(model)
        campaign = client.campaigns.advance(model, items=items, tell=report)
    moved = campaign.raw != before.raw
    text = f"campaign {campaign.number} of {model}: {campaign.phase}"
    text += "\n" if moved else ", and nothing is due\n"
    text += _describe(campaign)
    if not campaign.is_open and campaign.entries:
        text += "\n\n" + _show_entries(campaign)
    print_answer(campaign.raw, text, output)


def verify_campaign(url: str, model: str, number: int | None, output: OutputFormat) -> None:
    """Compute a settlement again; exit code 1 if it is not what was paid."""
    with Client(url) as client:
        audit = client.campaigns.verify(model, number)
    paid = sum(audit.payouts)
    text = f"campaign {audit.number} of {model}: {audit.phase}\n"
    if audit.is_right:
        text += (
            f"computed again from what is on record: {paid:,} for {len(audit.payouts)}"
            f" contributions, {audit.returned:,} to the provider, {audit.burnt:,} burnt.\n"
            "This is what was paid, to the unit."
        )
    else:
        text += "\n".join(audit.differences)
    print_answer({**asdict(audit), "is_right": audit.is_right}, text, output)
    if not audit.is_right:
        raise fail("what was paid is not what the rule says")


def read_duration(text: str) -> int:
    """Return the milliseconds of ``90s``, ``30m``, ``12h`` or ``7d``; raises ``malformed``.

    Examples
    --------
    >>> read_duration("2m")
    120000
    """
    unit = UNITS_MS.get(text[-1:])
    if unit is None or not text[:-1].isascii() or not text[:-1].isdigit():
        raise InvalidInputError(
            "malformed",
            f"a time must look like 90s, 30m, 12h or 7d, found {text[:80]!r}",
            field="time",
            value=text[:80],
        )
    return int(text[:-1]) * unit


def _wait_for_draw(client: Client, campaign: CampaignRecord, timeout_s: float) -> None:
    """Return once the block that draws is known; an idle network makes one every few seconds."""
    deadline_s = time.monotonic() + timeout_s
    last = int(campaign.raw["draw"]["height"]) + 1
    if campaign.raw["draw"]["block_id"] is None:
        print_note(f"waiting for block {last}, after which the drawn piece is known")
    first = client.status().height
    with show_progress("waiting for the draw") as tell:
        while campaign.raw["draw"]["block_id"] is None:
            height = client.status().height
            if time.monotonic() >= deadline_s:
                raise UnreachableError(
                    f"block {last} did not come within {timeout_s:g} seconds, the chain is at"
                    f" {height}; run this again, nothing was shown yet"
                )
            tell(height - first, last - first)
            time.sleep(POLL_PAUSE_S)
            campaign = client.campaigns.get(campaign.model, campaign.number)


def _show_all(client: Client, secrets: CampaignSecrets) -> list[Any]:
    with show_progress("showing pieces") as tell:
        return list(client.campaigns.show_all(secrets, tell=tell))


def _describe(campaign: CampaignRecord, folder: Path | None = None) -> str:
    """Say how a campaign stands, and which command is next."""
    where = f" --folder {folder}" if folder is not None else " --folder FOLDER"
    advance = f"quorate campaign advance {campaign.model}"
    reveal = f"quorate campaign reveal {campaign.model}{where}"
    command = {
        "wait_for_draw": reveal,
        "show_drawn_piece": reveal,
        "contribute": f"quorate contribute {campaign.model} SAMPLES.csv",
        "show_pieces": reveal,
        "advance": advance,
        "none": f"quorate campaign verify {campaign.model} {campaign.number}",
    }[campaign.next_action]
    if campaign.raw["next_step"]["is_due"]:
        command = advance
    return (
        f"  {'phase':<12} {campaign.phase}. {campaign.raw['phase_sentence']}\n"
        f"  {'waits for':<12} {campaign.next_sentence}\n"
        f"  {'next':<12} {command}"
    )


def _show_entries(campaign: CampaignRecord) -> str:
    rows = [
        [
            entry["sequence"],
            entry["contributor"],
            entry["samples"],
            "-" if entry["payout"] is None else entry["payout"],
            "-" if entry["value"] is None else entry["value"],
            {None: "-", True: "yes", False: "no"}[entry["kept"]],
        ]
        for entry in campaign.raw["entries"]
    ]
    headings = ["contribution", "contributor", "samples", "payout", "value", "learnt"]
    return render_table(headings, rows)
