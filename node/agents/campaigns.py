"""How contributions are paid for by campaigns: the provider opens one after the other.

Nobody settles anything after a turn here, as `node.agents.judging` does. The provider does what is
due before every round, each thing at its own time:

1. It commits to fresh pieces of hidden data and opens a campaign, waits for the draw and shows the
   drawn piece. Pieces that a campaign showed are known to everybody, so none is used twice.
2. People contribute by their habits while the campaign collects.
3. When the time is over it shows all other pieces, and has the campaign advanced until everybody is
   paid and the model has learnt what proved good.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Final

import numpy as np

from incentives.karma import to_points
from incentives.valuation import ValuationTerms
from ledger.campaign_costs import compute_advance_units
from ledger.campaign_evaluation import decode_measure_log, measure_log_key
from ledger.campaign_records import (
    Campaign,
    CampaignTerms,
    campaign_count_key,
    campaign_key,
    decode_campaign,
    decode_campaign_count,
)
from ledger.draws import read_draw
from ledger.hidden_pieces import commit_to_seed, draw_piece
from ledger.karma_records import karma_key, read_karma
from ledger.payload import Payload
from ledger.transactions.campaigns import AdvanceCampaign, OpenCampaign, ShowPiece
from ml_runtime.samples import encode_batch, take_samples
from node.agents.campaign_settings import CampaignSettings
from node.agents.data_sets import HiddenData
from node.agents.owner import Owner, cut_first_samples
from node.agents.person import Person, Wish
from node.agents.settings import DAY_MS, UNITS_PER_COIN
from node.agents.world import World
from primitives.accounts import AccountId
from primitives.errors import InvalidInputError, InvariantViolationError

__all__ = ["Campaigns"]

ITEMS_MAX: Final = 1_024
UNITS_SPARE: Final = 1_000_000
"""Of an account's quota in a block, left for the envelope."""

FIRST_PIECES: Final = 2
FIRST_TEST_SAMPLES: Final = 40

_FIRST_RULES: Final = {"prediction_market": "market_grouped", "contribution_pay": "leave_one_out"}

Settled = Callable[[Campaign, int], None]
"""Told of each campaign when it is closed, and how many chains of contributions were measured."""


class Campaigns:
    """Campaigns by one provider.

    Parameters
    ----------
    world : the model and its contributions.
    owner : the provider.
    people : who takes part.
    settings : of the campaigns.
    hidden : test data for all of them.
    settled : told of each campaign before the next one is opened.
    """

    def __init__(
        self,
        world: World,
        owner: Owner,
        people: Sequence[Person],
        settings: CampaignSettings,
        *,
        hidden: HiddenData,
        settled: Settled,
    ) -> None:
        self._world = world
        self._owner = owner
        self._settings = settings
        self._terms = settings.make_terms(UNITS_PER_COIN, DAY_MS)
        self._pieces = _cut(hidden, settings)
        self._shown: list[Payload] = []
        self._settled = settled
        self._person_of = {account: each for each in people for account in each.accounts}
        self._start_ms = 0
        self._left = settings.count

    @property
    def settling_ms(self) -> int:
        """How long after the last contribution everything can be paid out: at once."""
        return 0

    def prepare(self, count: int) -> None:
        """Give the model a beginning: a campaign of the provider alone, about next to no money.

        Its test data are of what it teaches, so all of it is learnt.
        """
        world, owner = self._world, self._owner
        batches = cut_first_samples(world, count)
        rule = _FIRST_RULES[self._settings.mechanism]
        first = replace(
            self._terms,
            rule=rule,
            valuation=ValuationTerms(bounty=1, stake=1),
            contributions_max=len(batches),
        )
        rows = np.arange(min(count, FIRST_TEST_SAMPLES))
        known = HiddenData(take_samples(world.data.samples, rows), world.data.labels[rows])
        self._open(first, _make_pieces(known, FIRST_PIECES), world.chain.now_ms)
        for samples, labels in batches:
            body, batch = world.describe_contribution(1, samples, labels)
            owner.send("contribute", body, batch, world.chain.now_ms, as_helper=True)
        self._finish()
        world.end_campaign()

    def begin(self, start_ms: int) -> None:
        """Take note of when the first campaign is to be opened."""
        self._start_ms = start_ms

    def act(self, now_ms: int) -> None:
        """Do all that is due until now, each at its time."""
        while True:
            campaign = self._world.get_campaign()
            if campaign is not None:
                if campaign.phase == "participation":
                    due_ms = campaign.phase_ms + campaign.terms.length_ms
                    if now_ms < due_ms:
                        return
                    self._advance(1, due_ms)
                self._close()
            elif self._left:
                number = self._settings.count - self._left
                due_ms = self._start_ms + number * round(self._settings.days * DAY_MS)
                if now_ms < due_ms:
                    return
                self._left -= 1
                self._open(self._terms, self._pieces[number], due_ms)
                self._owner.tally.deposited += self._terms.valuation.bounty
            else:
                return

    def respond(self, _person: Person, _now_ms: int) -> list[Wish]:
        """Return nothing: people wait for the end of the campaign."""
        return []

    def _open(self, terms: CampaignTerms, pieces: list[Payload], now_ms: int) -> None:
        """Open a campaign and show the piece that is drawn."""
        world = self._world
        self._shown = pieces
        seed = sha256(b"quorate agents seed " + pieces[0].commitment).digest()
        commitments = tuple(piece.commitment for piece in pieces)
        body = OpenCampaign(world.model, terms, commit_to_seed(seed), commitments)
        self._owner.send("open_campaign", body.to_fields(), None, now_ms)
        height = self._read_last().draw_height
        while (block_id := read_draw(world.chain, height)) is None:
            world.chain.run([], now_ms)
        drawn = draw_piece(seed, block_id, len(pieces))
        shown = ShowPiece(world.model, drawn, seed).to_fields()
        self._owner.send("show_piece", shown, pieces[drawn], now_ms)

    def _finish(self) -> Campaign:
        """Show the rest and have everything done; return the campaign, which is closed."""
        world = self._world
        now_ms = world.chain.now_ms
        while (campaign := self._read_last()).is_open:
            hidden = campaign.pieces.next_hidden
            if campaign.phase == "reveal" and hidden is not None:
                body = ShowPiece(world.model, hidden).to_fields()
                self._owner.send("show_piece", body, self._shown[hidden], now_ms)
            else:
                self._advance(self._count_items(campaign), now_ms)
        return campaign

    def _close(self) -> None:
        """Finish a campaign and note what came of it."""
        world, campaign = self._world, self._finish()
        world.end_campaign()
        self._note_payments(campaign)
        log = world.chain.get(measure_log_key(world.model, campaign.number), decode_measure_log)
        self._settled(campaign, 0 if log is None else len(log.history))

    def _advance(self, items: int, now_ms: int) -> None:
        body = AdvanceCampaign(self._world.model, items).to_fields()
        self._owner.send("advance_campaign", body, None, now_ms)

    def _count_items(self, campaign: Campaign) -> int:
        """Return how many items fit into one transaction; one always does, or it is refused."""
        limit = self._world.chain.parameters.compute_units_per_account_max - UNITS_SPARE
        items = ITEMS_MAX
        while items > 1 and compute_advance_units(self._world.spec, campaign, items) > limit:
            items //= 2
        return items

    def _note_payments(self, campaign: Campaign) -> None:
        self._owner.tally.refunded += campaign.returned
        stake = campaign.terms.valuation.stake
        for entry, outcome in zip(campaign.entries, campaign.outcomes, strict=True):
            tally = self._person_of[entry.contributor].tally
            tally.refunded += min(outcome.payout, stake)
            tally.taken += max(outcome.payout - stake, 0)
            tally.validated += entry.samples if outcome.value > 0 else 0
        for person in self._person_of.values():
            person.tally.karma = sum(self._count_karma(each) for each in person.accounts)

    def _count_karma(self, account: AccountId) -> int:
        # It lasts for ever in these terms, so nothing has to be brought forward.
        return to_points(read_karma(self._world.chain, karma_key(account, self._world.model)).parts)

    def _read_last(self) -> Campaign:
        """Return the campaign that was opened last, open or not."""
        world = self._world
        known = world.chain.get(campaign_count_key(world.model), decode_campaign_count)
        number = -1 if known is None else known.count - 1
        campaign = world.chain.get(campaign_key(world.model, max(number, 0)), decode_campaign)
        if campaign is None:
            raise InvariantViolationError(f"the state has no campaign {number}")
        return campaign


def _cut(hidden: HiddenData, settings: CampaignSettings) -> list[list[Payload]]:
    """Return the pieces of each campaign; no sample is in two of them."""
    size, count = settings.pieces, settings.count * settings.pieces
    if len(hidden.labels) < count:
        raise InvalidInputError(
            "out_of_range",
            f"{settings.count} campaigns of {size} pieces need as many samples,"
            f" {len(hidden.labels)} are held out for them",
            field="pieces",
            value=size,
            limit=len(hidden.labels) // settings.count,
        )
    pieces = _make_pieces(hidden, count)
    return [pieces[start : start + size] for start in range(0, count, size)]


def _make_pieces(hidden: HiddenData, count: int) -> list[Payload]:
    """Return test data cut into pieces of about the same size."""
    pieces = []
    for number, rows in enumerate(np.array_split(np.arange(len(hidden.labels)), count)):
        salt = sha256(b"quorate agents piece %d" % number).digest()
        batch = encode_batch(take_samples(hidden.samples, rows), hidden.labels[rows])
        pieces.append(Payload(salt, batch))
    return pieces
