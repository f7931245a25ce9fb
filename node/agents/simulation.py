"""The run: whose turn it is, what goes into a block, and what is noted of it.

Theory of operation
-------------------
Turns wait in a queue by simulated time. All turns of one second are one round:

1. Whoever has its turn puts a contribution together, by what the ledger said before the round. All
   of them are one block, in the order of the agents' numbers.
2. With the model as it is then, the same agents settle open contributions (`node.agents.judging`).
   All of that is a second block, half a second later.
3. Each waits for its next turn, drawn from its habits.

After the last day nobody contributes any more; turns go on until everything is settled or the last
wait is over. Before the first one the owner creates the model, contributes what it learns first,
and takes its own deposits back after the last wait: when people come, nothing is open and nobody
has validated samples.

Whatever chance decides comes from generators of one seed, one for each purpose and agent, so that
one agent more does not change what the others draw. Under the mechanisms that pay by campaign,
`node.agents.campaigns` takes the place of `Judging`: before each round the provider does what is
due, and there is nothing to settle after a turn. At the very end voluntary fees are collected.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from incentives.terms import Terms
from ledger.campaign_records import Campaign
from ledger.model_policies import ModelPolicies
from ledger.model_records import ModelDescription
from ledger.receipt import ReceiptStatus
from ledger.transactions.models import CreateModel
from ml_runtime.family import check_batch
from ml_runtime.registry import get_family
from ml_runtime.spec import make_spec
from ml_runtime.warmup import load_kernels_of
from node.agents.campaigns import Campaigns
from node.agents.chain import GENESIS_MS, SimulatedChain, make_holder
from node.agents.data_sets import DataSet, split_held_out
from node.agents.desk import Deck, Desk
from node.agents.fees import collect_fees, collect_owners_fees, pay_fee
from node.agents.habits import draw_wait_ms
from node.agents.judging import Judging
from node.agents.kinds import KINDS
from node.agents.outcome import Outcome, Recorder
from node.agents.owner import Owner
from node.agents.person import Person, Wish
from node.agents.settings import DAY_MS, UNITS_PER_COIN, AgentsSettings
from node.agents.world import World
from primitives.errors import InvalidInputError, InvariantViolationError

__all__ = ["simulate"]

MODEL: Final = "shared"
SECOND_MS: Final = 1_000
SETTLE_AFTER_MS: Final = 500
OWNER_MONEY_MAX: Final = 1 << 60
FIRST_MIN: Final = 2
HELPER_MONEY: Final = UNITS_PER_COIN
"""To give a model a beginning by a campaign; stakes and bounty are one unit each."""

OWNER_PRICE: Final = 15
"""Units of deposit for a sample and unit of weight, a day after the last update; a little more."""

CHECK_EVERY_BLOCKS: Final = 1_000
CHECKPOINT_INTERVAL: Final = 1 << 20
"""Nobody asks for old versions here."""

Progress = Callable[[int, int], None]


def simulate(settings: AgentsSettings, data: DataSet, progress: Progress) -> Outcome:
    """Run a scenario from its first block to its last payment.

    Parameters
    ----------
    settings : who does what for how long.
    data : what the agents know.
    progress : told how many simulated seconds of how many are over.

    Raises
    ------
    InvalidInputError
        The model cannot be made of these settings, or the data do not suit it.
    """
    run = _Run(settings, data)
    run.prepare()
    run.go_on(progress)
    return run.recorder.finish(run.world, run.people)


class _Run:
    """One simulation under way."""

    def __init__(self, settings: AgentsSettings, data: DataSet) -> None:
        self._settings = settings
        if settings.campaign is not None:
            data, hidden = split_held_out(data)
        self._data = data
        self.people = _make_people(settings)
        self._first = max(FIRST_MIN, int(settings.initial * len(data.labels)))
        holder = make_holder(settings.seed, "owner")
        money = _compute_owner_money(settings, self._first)
        helper = make_holder(settings.seed, "helper")
        for_helper = HELPER_MONEY if settings.campaign is not None else 0
        balances = {holder.account: money - for_helper, helper.account: for_helper}
        for person in self.people:
            for own in person.holders:
                balances[own.account] = person.start // len(person.holders)
        self._chain = SimulatedChain(settings.seed, balances)
        self._owner = Owner(self._chain, holder, helper, money)
        self._description = _describe(settings, data)
        self.world = World(self._chain, self._description, data)
        chance = np.random.default_rng([settings.seed, 2])
        self._deck = Deck(self._first, len(data.labels), chance)
        self._desks = [
            Desk(
                self.world,
                self._deck,
                person.accounts,
                np.random.default_rng([settings.seed, 3, person.number]),
            )
            for person in self.people
        ]
        provider = None if settings.campaign is None else self._owner
        self.recorder = Recorder(settings, data.name, provider)
        self._paying: Judging | Campaigns = Judging(self.world, self._owner)
        if settings.campaign is not None:
            self._paying = Campaigns(
                self.world,
                self._owner,
                self.people,
                settings.campaign,
                hidden=hidden,
                settled=self._note_campaign,
            )

    def prepare(self) -> None:
        """Create the model, teach it the first samples and leave nothing open."""
        _check_suits(self._description, self._data)
        load_kernels_of(get_family(self._description.spec.family), self._description.spec)
        creation = CreateModel(self._description).to_fields()
        self._owner.send("create_model", creation, None, GENESIS_MS + SECOND_MS)
        self._paying.prepare(self._first)
        self._chain.check_conservation()

    def go_on(self, progress: Progress) -> None:
        """Let everybody have turns until nobody contributes and nothing is open."""
        start_ms = self._chain.now_ms + SECOND_MS - self._chain.now_ms % SECOND_MS
        stop_ms = start_ms + round(self._settings.days * DAY_MS)
        end_ms = stop_ms + self._paying.settling_ms + DAY_MS
        total_s = (end_ms - start_ms) // SECOND_MS
        self.recorder.begin(start_ms, stop_ms)
        self.recorder.note_time(start_ms, self.world, self.people)
        self._paying.begin(start_ms)
        queue = [(start_ms + self._draw_first_ms(each), each.number) for each in self.people]
        heapq.heapify(queue)
        checked = self._chain.height
        while queue and queue[0][0] < end_ms:
            slot = queue[0][0] // SECOND_MS
            now_ms = slot * SECOND_MS
            if now_ms >= stop_ms and not any(True for _ in self.world.open_contributions):
                break
            turn = []
            while queue and queue[0][0] // SECOND_MS == slot:
                turn.append(self.people[heapq.heappop(queue)[1]])
            turn.sort(key=lambda person: person.number)
            if self._settings.campaign is None:
                self.recorder.note_time(now_ms, self.world, self.people)
            self._paying.act(now_ms)
            self._have_turns(turn, now_ms, contributing=now_ms < stop_ms)
            for person in turn:
                heapq.heappush(
                    queue, (now_ms + draw_wait_ms(person.habits, person.chance), person.number)
                )
            if self._chain.height >= checked + CHECK_EVERY_BLOCKS:
                self._chain.check_conservation()
                checked = self._chain.height
            progress((now_ms - start_ms) // SECOND_MS, total_s)
        self._paying.act(stop_ms)
        self._run([wish for each in self.people for wish in collect_fees(each, self.world)], 0)
        collect_owners_fees(self._owner, self.world)
        self.recorder.note_end(self._chain.now_ms, self._deck.shuffles)

    def _note_campaign(self, campaign: Campaign, chains: int) -> None:
        self.recorder.note_campaign(campaign, chains, self.world, self.people)

    def _draw_first_ms(self, person: Person) -> int:
        """Return when a person's first turn is: at any time within one wait."""
        return int(person.chance.uniform(0, person.habits.wait_mean_s) * SECOND_MS)

    def _have_turns(self, turn: Sequence[Person], now_ms: int, *, contributing: bool) -> None:
        if contributing:
            wishes = [self._take_turn(each, now_ms) for each in turn]
            self._run([wish for wish in wishes if wish is not None], now_ms)
        settle_ms = now_ms + SETTLE_AFTER_MS
        settling = [each for each in turn if each.kind.contributes]
        self._run(
            [wish for each in settling for wish in self._paying.respond(each, settle_ms)],
            settle_ms,
        )

    def _take_turn(self, person: Person, now_ms: int) -> Wish | None:
        """Return what a person contributes, or the fee that it pays for an answer."""
        calls = person.tally.calls
        wish = person.contribute(self.world, self._desks[person.number], now_ms)
        return pay_fee(person, self.world) if person.tally.calls > calls else wish

    def _run(self, wishes: Sequence[Wish], time_ms: int) -> None:
        """Make a block of wishes, if there are any, and note what came of each."""
        if not wishes:
            return
        receipts = self._chain.run([wish.transaction for wish in wishes], time_ms)
        for wish, receipt in zip(wishes, receipts, strict=True):
            if receipt.status is ReceiptStatus.OK:
                self._note(wish, [each for each in receipt.data if isinstance(each, int)])
            elif wish.kind == "contribute":
                wish.person.tally.refused += 1

    def _note(self, wish: Wish, result: Sequence[int]) -> None:
        tally, world = wish.person.tally, self.world
        match wish.kind:
            case "contribute" if wish.sending is not None:
                sequence, _, deposit, _, samples, _ = result
                world.add(sequence, *wish.sending)
                tally.samples += samples
                tally.deposited += deposit
                return
            case "refund":
                samples, paid, karma = result
                tally.validated += samples
                tally.refunded += paid
                tally.karma += karma
            case "report":
                samples, paid, karma = result
                tally.reported += samples
                tally.taken += paid
                tally.karma += karma
            case "support_model":
                tally.supported += self.world.terms.voluntary_fee
                return
            case "collect_support":
                (paid,) = result
                tally.collected += paid
                return
            case _:
                (paid,) = result
                if world.get_author(wish.sequence) in wish.person.accounts:
                    tally.refunded += paid
                else:
                    tally.taken += paid
        world.refresh(wish.sequence)


def _compute_owner_money(settings: AgentsSettings, first: int) -> int:
    """Return what the owner needs: for all bounties, or for the deposits of its samples."""
    campaign = settings.campaign
    if campaign is None:
        return min(OWNER_PRICE * max(settings.weight, 0) * first, OWNER_MONEY_MAX)
    return campaign.count * round(campaign.bounty * UNITS_PER_COIN) + 2 * HELPER_MONEY


def _make_people(settings: AgentsSettings) -> list[Person]:
    people: list[Person] = []
    for kind, count in settings.agents.items():
        habits = settings.get_habits(kind)
        for index in range(count):
            name = f"{kind} {index + 1}"
            holders = tuple(
                make_holder(settings.seed, f"{name} account {account}")
                for account in range(habits.accounts)
            )
            # What does not divide among the accounts is not handed out.
            share = round(habits.balance * UNITS_PER_COIN) // len(holders)
            number = len(people)
            chance = np.random.default_rng([settings.seed, 4, number])
            start = share * len(holders)
            people.append(Person(number, name, KINDS[kind], habits, holders, start, chance))
    return people


def _describe(settings: AgentsSettings, data: DataSet) -> ModelDescription:
    spec = make_spec(settings.family, data.layout, data.feature_count, len(data.class_names))
    any_wait_ms = round(settings.any_days * DAY_MS)
    terms = Terms(
        mechanism=settings.mechanism,
        weight=settings.weight,
        refund_wait_ms=round(settings.refund_days * DAY_MS),
        owner_wait_ms=any_wait_ms,
        any_wait_ms=any_wait_ms,
        voluntary_fee=round(settings.voluntary_fee * UNITS_PER_COIN),
    )
    return ModelDescription(
        name=MODEL,
        description=f"what agents learn from {data.name}"[:500],
        spec=spec,
        class_names=data.class_names,
        encoder=data.encoder,
        terms=terms,
        licence="CC0-1.0",
        guidelines="",
        policies=ModelPolicies(checkpoint_interval=CHECKPOINT_INTERVAL),
    )


def _check_suits(description: ModelDescription, data: DataSet) -> None:
    """Refuse a family that cannot learn these data; the ledger would refuse each contribution."""
    spec = description.spec
    family = get_family(spec.family)
    family.check(spec)
    if family.task(spec) != "classification":
        raise InvalidInputError(
            "unsupported",
            f"agents need a family for classification, {spec.family} is for {family.task(spec)}",
            field="family",
            value=spec.family,
        )
    check_batch(family, spec, data.samples, data.labels)
    if data.layout not in family.layouts:
        raise InvariantViolationError(f"{spec.family} let {data.layout} samples pass its check")
