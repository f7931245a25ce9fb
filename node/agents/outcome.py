"""What a run led to: a row for each agent, curves over time, sums of money; as JSON too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from ledger.campaign_records import Campaign
from node.agents.campaign_rows import CampaignRow, make_campaign_row
from node.agents.owner import Owner
from node.agents.person import Person
from node.agents.settings import DAY_MS, UNITS_PER_COIN, AgentsSettings
from node.agents.tally import Tally
from node.agents.world import World

__all__ = ["PROVIDER", "AgentRow", "Curves", "LedgerSums", "Outcome", "Recorder"]

MARKS: Final = 160
"""Points of a curve over the days in which people contribute."""

PROVIDER: Final = "provider"
"""Name of the row of who opens campaigns."""


@dataclass(frozen=True, slots=True)
class AgentRow:
    """What became of one agent; money in coins.

    Parameters
    ----------
    name, kind : who.
    accounts : how many it used.
    start, end : its free money before and after.
    percent : end of start, in percent.
    turns, too_dear, no_money : chances to contribute, and those that it let pass for money.
    refused : contributions that the ledger refused.
    samples, validated, reported : sent; found good; of others, found bad by its reports.
    deposited, refunded, taken, lost : put in; got back; got beyond that, of others' deposits or of
        a bounty; did not get back. For a provider, what it promised and what returned.
    supported, collected : paid as voluntary fees, and got of them.
    karma : points earned, less those lost.
    calls : predictions asked for by a caller.
    """

    name: str
    kind: str
    accounts: int
    start: float
    end: float
    percent: float
    turns: int
    too_dear: int
    no_money: int
    refused: int
    samples: int
    validated: int
    reported: int
    deposited: float
    refunded: float
    taken: float
    lost: float
    supported: float
    collected: float
    karma: int
    calls: int


@dataclass(frozen=True, slots=True)
class Curves:
    """What changes over time.

    Parameters
    ----------
    days : since people began to contribute.
    accuracy : on data that nobody sends, in percent.
    balances : kind of agents to its mean free money, in percent of what it had at first; of the
        provider too, if there is one.
    """

    days: tuple[float, ...]
    accuracy: tuple[float, ...]
    balances: dict[str, tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class LedgerSums:
    """The ledger at the end; money in coins.

    Parameters
    ----------
    blocks, transactions : how many there were.
    failed : code to how many transactions had no effect for it.
    supply, held, burnt : all money; what is still in deposits; what is gone.
    """

    blocks: int
    transactions: int
    failed: dict[str, int]
    supply: float
    held: float
    burnt: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything that a run tells.

    Parameters
    ----------
    settings : that it followed.
    data_name : of the data set.
    stopped_day, ended_day : when people stopped to contribute, and when all was settled.
    shuffles : how often the samples to learn from were dealt anew.
    rows, curves, ledger : see there.
    provider : the row of who opened campaigns, or None.
    campaigns : what became of each.
    """

    settings: AgentsSettings
    data_name: str
    stopped_day: float
    ended_day: float
    shuffles: int
    rows: tuple[AgentRow, ...]
    curves: Curves
    ledger: LedgerSums
    provider: AgentRow | None = None
    campaigns: tuple[CampaignRow, ...] = ()

    def mean_percent(self, kind: str) -> float:
        """Return what agents of a kind have at the end, in percent of what they began with."""
        found = [row.percent for row in self.rows if row.kind == kind]
        return sum(found) / len(found)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON shows it; the same for the same settings, whenever and wherever."""
        return {
            "format": 1,
            "settings": self.settings.to_json(),
            "data": self.data_name,
            "stopped_day": self.stopped_day,
            "ended_day": self.ended_day,
            "shuffles": self.shuffles,
            "accuracy": {"first": self.curves.accuracy[0], "last": self.curves.accuracy[-1]},
            "percent": {kind: round(self.mean_percent(kind), 3) for kind in self.settings.agents},
            "agents": [asdict(row) for row in self.rows],
            "provider": None if self.provider is None else asdict(self.provider),
            "campaigns": [asdict(row) for row in self.campaigns],
            "curves": asdict(self.curves),
            "ledger": asdict(self.ledger),
        }


class Recorder:
    """Writes down what a run leads to while it goes on.

    Parameters
    ----------
    settings : of the run.
    data_name : of its data set.
    provider : of campaigns, or None.
    """

    def __init__(self, settings: AgentsSettings, data_name: str, provider: Owner | None) -> None:
        self._settings = settings
        self._data_name = data_name
        self._provider = provider
        self._campaigns: list[CampaignRow] = []
        self._start_ms = 0
        self._stop_ms = 0
        self._end_ms = 0
        self._mark_ms = 0
        self._shuffles = 0
        self._days: list[float] = []
        self._accuracy: list[float] = []
        self._balances: dict[str, list[float]] = {kind: [] for kind in settings.agents}
        if provider is not None:
            self._balances[PROVIDER] = []

    def begin(self, start_ms: int, stop_ms: int) -> None:
        """Take note of when people begin and stop to contribute."""
        self._start_ms, self._stop_ms = start_ms, stop_ms
        self._mark_ms = start_ms

    def note_time(self, now_ms: int, world: World, people: Sequence[Person]) -> None:
        """Add a point to the curves if it is time."""
        if now_ms >= self._mark_ms:
            step_ms = (self._stop_ms - self._start_ms) // MARKS
            self._mark_ms = now_ms - (now_ms - self._start_ms) % step_ms + step_ms
            self._add_point(now_ms, world, people)

    def note_campaign(
        self, campaign: Campaign, chains: int, world: World, people: Sequence[Person]
    ) -> None:
        """Add a campaign that is closed, and a point to the curves; nothing is held then."""
        now_ms = world.chain.now_ms
        self._add_point(now_ms, world, people)
        row = make_campaign_row(
            campaign,
            {account: each.kind.name for each in people for account in each.accounts},
            chains=chains,
            ended_day=self._day(now_ms),
            accuracy=self._accuracy[-1],
        )
        self._campaigns.append(row)

    def note_end(self, now_ms: int, shuffles: int) -> None:
        """Take note of when everything was settled."""
        self._end_ms, self._shuffles = now_ms, shuffles

    def finish(self, world: World, people: Sequence[Person]) -> Outcome:
        """Return the outcome; raises `InvariantViolationError` if money does not add up."""
        supply = world.chain.check_conservation()
        self._add_point(self._end_ms, world, people)
        balances = {kind: tuple(values) for kind, values in self._balances.items()}
        chain, provider = world.chain, self._provider
        return Outcome(
            settings=self._settings,
            data_name=self._data_name,
            stopped_day=self._day(self._stop_ms),
            ended_day=self._day(self._end_ms),
            shuffles=self._shuffles,
            rows=tuple(_make_agent_row(person, world) for person in people),
            curves=Curves(tuple(self._days), tuple(self._accuracy), balances),
            ledger=LedgerSums(
                blocks=chain.height,
                transactions=chain.transactions,
                failed=dict(sorted(chain.failures.items())),
                supply=_coins(supply.total),
                held=_coins(supply.held),
                burnt=_coins(supply.burnt),
            ),
            provider=None if provider is None else _make_provider_row(provider),
            campaigns=tuple(self._campaigns),
        )

    def _add_point(self, now_ms: int, world: World, people: Sequence[Person]) -> None:
        self._days.append(self._day(now_ms))
        self._accuracy.append(round(100 * world.measure_accuracy(), 3))
        if self._provider is not None:
            share = 100 * self._provider.count_money() / self._provider.start
            self._balances[PROVIDER].append(round(share, 3))
        for kind in self._settings.agents:
            of_kind = [person for person in people if person.kind.name == kind]
            shares = [100 * each.count_money(world) / max(each.start, 1) for each in of_kind]
            self._balances[kind].append(round(sum(shares) / len(shares), 3))

    def _day(self, time_ms: int) -> float:
        return round((time_ms - self._start_ms) / DAY_MS, 4)


def _make_agent_row(person: Person, world: World) -> AgentRow:
    end = person.count_money(world)
    return _make_row(
        person.name, person.kind.name, person.tally, (person.start, end), len(person.holders)
    )


def _make_provider_row(provider: Owner) -> AgentRow:
    return _make_row(
        PROVIDER, PROVIDER, provider.tally, (provider.start, provider.count_money()), 1
    )


def _make_row(
    name: str, kind: str, tally: Tally, money: tuple[int, int], accounts: int
) -> AgentRow:
    start, end = money
    return AgentRow(
        name=name,
        kind=kind,
        accounts=accounts,
        start=_coins(start),
        end=_coins(end),
        percent=round(100 * end / max(start, 1), 3),
        turns=tally.turns,
        too_dear=tally.too_dear,
        no_money=tally.no_money,
        refused=tally.refused,
        samples=tally.samples,
        validated=tally.validated,
        reported=tally.reported,
        deposited=_coins(tally.deposited),
        refunded=_coins(tally.refunded),
        taken=_coins(tally.taken),
        lost=_coins(tally.deposited - tally.refunded),
        supported=_coins(tally.supported),
        collected=_coins(tally.collected),
        karma=tally.karma,
        calls=tally.calls,
    )


def _coins(units: int) -> float:
    return units / UNITS_PER_COIN
