"""Campaigns as JSON: what was promised, how it stands, and all that a settlement follows from."""

from __future__ import annotations

from fractions import Fraction

from pydantic import BaseModel, Field

from incentives.valuation import History
from ledger.campaign_records import Campaign
from ledger.draws import Draw
from node.api.campaign_progress import ItemCount
from node.api.campaign_wording import PHASE_SENTENCES, describe_next
from node.api.json_codec import format_time
from primitives.accounts import account_to_text

__all__ = [
    "CampaignPage",
    "CampaignSummary",
    "CampaignView",
    "make_summary",
    "make_view",
    "show_decimal",
]

DECIMALS = 6


class NextStepView(BaseModel):
    """What a campaign waits for."""

    action: str = Field(
        description="wait_for_draw, show_drawn_piece, contribute, show_pieces, advance or none."
    )
    by: str = Field(description="Who can do it: provider, anybody or nobody.")
    sentence: str = Field(description="The same for people, with what follows if nobody does it.")
    deadline: str | None = Field(
        description="Until when, RFC 3339, UTC; from then on advance_campaign ends the phase."
    )
    deadline_ms: int | None
    is_due: bool = Field(
        description="Whether advance_campaign has something to do by the last final block's time."
    )


class CampaignSummary(BaseModel):
    """A campaign in short."""

    model: str
    campaign: int = Field(description="Number among the model's campaigns; 0 was the first.")
    transaction_id: str = Field(description="That opened it.")
    provider: str = Field(description="Account that opened it and put in the bounty.")
    rule: str = Field(description="Valuation rule: docs/spec/incentives.md, section 6.")
    bounty: str
    stake: str = Field(description="Goes with every contribution.")
    is_open: bool
    phase: str = Field(
        description="draw, participation, reveal, evaluation or learning; settled, withheld,"
        " not_revealed, empty or aborted once it is closed."
    )
    phase_sentence: str = Field(description="What this phase is, for people.")
    phase_since: str = Field(description="When it began, RFC 3339, UTC.")
    phase_since_ms: int
    next_step: NextStepView
    contributions: int
    contributors: int
    pieces_total: int = Field(description="Pieces of test data.")
    pieces_shown: int
    returned: str = Field(description="What the provider got back.")
    burnt: str = Field(description="What nobody got.")


class CampaignPage(BaseModel):
    """Campaigns."""

    items: list[CampaignSummary]
    next_cursor: str | None


class CampaignTermsView(BaseModel):
    """What the provider promised before anybody contributed."""

    rule: str
    metric: str = Field(description="accuracy: right answers; loss: minus the losses, in Q16.")
    bounty: str
    stake: str
    reset: bool = Field(description="Whether each pass of a market trains and measures again.")
    clip_percent: int = Field(description="Most that one contributor can win, of the bounty.")
    budget: int = Field(description="Pairs of orders that are walked where coalitions are many.")
    truncation: str = Field(description="A walk ends this near to the measure of everything.")
    contributions_max: int
    min_contributions: int = Field(
        description="With so many anybody can end participation; 0 if time alone does."
    )
    length_ms: int = Field(description="After so long anybody can end participation.")
    reveal_wait_ms: int = Field(description="Time to show the drawn piece, then all others.")


class CampaignDrawView(BaseModel):
    """The draw of the piece that must be shown first."""

    seed_commitment: str = Field(description="Of the provider's part.")
    height: int = Field(description="Of the block that is the other part.")
    block_id: str | None = Field(description="Of that block; null until it is known.")
    known: str | None = Field(description="When it became known, RFC 3339, UTC.")
    piece: int | None = Field(
        description="Which piece was drawn: its number is H(quorate/draw, seed ‖ block_id) modulo"
        " the pieces; null until the provider showed it."
    )


class CampaignPieceView(BaseModel):
    """A piece of hidden test data."""

    piece: int
    commitment: str = Field(description="Salted hash of the payload.")
    is_drawn: bool = Field(description="The drawn piece is an example; nothing is valued on it.")
    transaction_id: str | None = Field(description="That showed it; null while it is hidden.")
    samples: int | None


class CampaignEntryView(BaseModel):
    """A contribution to a campaign; payout, value and kept are null until everybody was paid."""

    sequence: int = Field(description="Number among all contributions to the model.")
    contributor: str
    depositor: str = Field(description="Who put in the stake.")
    transaction_id: str
    samples: int
    payout: str | None = Field(description="All that was paid, the stake or its rest included.")
    value: str | None = Field(description="What it was worth, rounded to six decimals.")
    value_exact: str | None = Field(
        description="The same as a whole number or a fraction a/b in lowest terms; of all"
        " contributions of its contributor where the rule values those together."
    )
    kept: bool | None = Field(description="Whether the model learns it.")


class CampaignProgressView(BaseModel):
    """How far the evaluation has come."""

    items_done: int
    items_estimated: int = Field(
        description="Of all items, those done included; an estimate, since what a rule asks for"
        " next depends on what was measured."
    )
    chains_done: int
    items_max: int = Field(
        description="Most items whose cost fits into one advance_campaign that is sent now."
    )


class CampaignView(CampaignSummary):
    """A campaign with everything that its settlement follows from."""

    terms: CampaignTermsView
    draw: CampaignDrawView
    test_samples: int = Field(description="In the pieces that count, as far as they were shown.")
    pieces: list[CampaignPieceView]
    entries: list[CampaignEntryView] = Field(description="Contributions, in the order of time.")
    measures: list[list[str]] = Field(
        description="What was measured, chain by chain, on all pieces but the drawn one."
    )
    progress: CampaignProgressView | None = Field(
        description="Null unless the campaign is in evaluation or learning."
    )


def make_summary(model: str, campaign: Campaign, draw: Draw | None, now_ms: int) -> CampaignSummary:
    """Return a campaign in short.

    Parameters
    ----------
    model : its name.
    campaign : in any phase.
    draw : on record for the height that it is drawn by.
    now_ms : time of the last final block.
    """
    step = describe_next(campaign, draw, now_ms)
    deadline_ms = step.deadline_ms
    pieces = campaign.pieces.pieces
    return CampaignSummary(
        model=model,
        campaign=campaign.number,
        transaction_id=campaign.transaction_id.hex(),
        provider=account_to_text(campaign.provider),
        rule=campaign.terms.rule,
        bounty=str(campaign.terms.valuation.bounty),
        stake=str(campaign.terms.valuation.stake),
        is_open=campaign.is_open,
        phase=campaign.phase,
        phase_sentence=PHASE_SENTENCES[campaign.phase],
        phase_since=format_time(campaign.phase_ms),
        phase_since_ms=campaign.phase_ms,
        next_step=NextStepView(
            action=step.action,
            by=step.by,
            sentence=step.sentence,
            deadline=None if deadline_ms is None else format_time(deadline_ms),
            deadline_ms=deadline_ms,
            is_due=step.is_due,
        ),
        contributions=len(campaign.entries),
        contributors=len({entry.contributor for entry in campaign.entries}),
        pieces_total=len(pieces),
        pieces_shown=sum(piece.transaction_id is not None for piece in pieces),
        returned=str(campaign.returned),
        burnt=str(campaign.burnt),
    )


def make_view(
    summary: CampaignSummary,
    campaign: Campaign,
    draw: Draw | None,
    history: History,
    progress: tuple[ItemCount, int] | None,
) -> CampaignView:
    """Return a campaign with everything that its settlement follows from.

    Parameters
    ----------
    summary : of it.
    campaign : in any phase.
    draw : on record for the height that it is drawn by.
    history : the measures on record.
    progress : of its evaluation, and how many items fit into a transaction.
    """
    return CampaignView(
        **summary.model_dump(),
        terms=_make_terms(campaign),
        draw=_make_draw(campaign, draw),
        test_samples=campaign.samples,
        pieces=_make_pieces(campaign),
        entries=_make_entries(campaign),
        measures=[[str(measure) for measure in measures] for measures in history],
        progress=None
        if progress is None
        else CampaignProgressView(
            items_done=progress[0].done,
            items_estimated=progress[0].estimated,
            chains_done=progress[0].chains_done,
            items_max=progress[1],
        ),
    )


def show_decimal(value: Fraction) -> str:
    """Return an exact value rounded to six decimals, halves to even.

    Examples
    --------
    >>> show_decimal(Fraction(-547, 12)), show_decimal(Fraction(3))
    ('-45.583333', '3.000000')
    """
    scaled = round(abs(value) * 10**DECIMALS)
    whole, rest = divmod(scaled, 10**DECIMALS)
    return f"{'-' if value < 0 and scaled else ''}{whole}.{rest:0{DECIMALS}}"


def _make_terms(campaign: Campaign) -> CampaignTermsView:
    terms, valuation = campaign.terms, campaign.terms.valuation
    return CampaignTermsView(
        rule=terms.rule,
        metric=terms.metric,
        bounty=str(valuation.bounty),
        stake=str(valuation.stake),
        reset=valuation.reset,
        clip_percent=valuation.clip_percent,
        budget=valuation.budget,
        truncation=str(valuation.truncation),
        contributions_max=terms.contributions_max,
        min_contributions=terms.min_contributions,
        length_ms=terms.length_ms,
        reveal_wait_ms=terms.reveal_wait_ms,
    )


def _make_draw(campaign: Campaign, draw: Draw | None) -> CampaignDrawView:
    is_known = draw is not None and draw.block_id is not None
    block_id = draw.block_id if draw is not None else None
    return CampaignDrawView(
        seed_commitment=campaign.seed_commitment.hex(),
        height=campaign.draw_height,
        block_id=None if block_id is None else block_id.hex(),
        known=format_time(draw.known_ms) if is_known and draw is not None else None,
        piece=campaign.drawn,
    )


def _make_pieces(campaign: Campaign) -> list[CampaignPieceView]:
    return [
        CampaignPieceView(
            piece=number,
            commitment=piece.commitment.hex(),
            is_drawn=number == campaign.drawn,
            transaction_id=None if piece.transaction_id is None else piece.transaction_id.hex(),
            samples=None if piece.transaction_id is None else piece.samples,
        )
        for number, piece in enumerate(campaign.pieces.pieces)
    ]


def _make_entries(campaign: Campaign) -> list[CampaignEntryView]:
    views = []
    for place, entry in enumerate(campaign.entries):
        outcome = campaign.outcomes[place] if campaign.outcomes else None
        views.append(
            CampaignEntryView(
                sequence=entry.sequence,
                contributor=account_to_text(entry.contributor),
                depositor=account_to_text(entry.depositor),
                transaction_id=entry.transaction_id.hex(),
                samples=entry.samples,
                payout=None if outcome is None else str(outcome.payout),
                value=None if outcome is None else show_decimal(outcome.value),
                value_exact=None if outcome is None else str(outcome.value),
                kept=None if outcome is None else outcome.kept,
            )
        )
    return views
