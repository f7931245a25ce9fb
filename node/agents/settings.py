"""What a simulation is told: who takes part, in what, for how long; and scenarios with a name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Final

from incentives.registry import MECHANISMS
from node.agents.campaign_settings import CAMPAIGN_MECHANISMS, CampaignSettings
from node.agents.habits import Habits
from node.agents.kinds import KINDS
from primitives.errors import InvalidInputError

__all__ = [
    "AGENTS_MAX",
    "DAY_MS",
    "SCENARIOS",
    "UNITS_PER_COIN",
    "AgentsSettings",
    "get_usual_habits",
    "hold_campaigns",
    "parse_agents",
    "parse_habits",
]

DAY_MS: Final = 24 * 3_600 * 1_000
UNITS_PER_COIN: Final = 1_000
"""Smallest units of money in what people count in here, so that shares lose nothing to rounding."""

AGENTS_MAX: Final = 100
DAYS_MAX: Final = 1_000
FEE_MAX: Final = 1e6
CAMPAIGN_WAIT_S: Final = 3_600
CAMPAIGN_BATCH: Final = 10
DEFAULT_WEIGHT: Final = 167
"""About 25 coins ten minutes after the last update: half of what honest agents would deposit."""


@dataclass(frozen=True, slots=True)
class AgentsSettings:
    """Everything that decides a run; two runs with equal settings are equal.

    Parameters
    ----------
    scenario
        Name in `SCENARIOS`, or empty.
    mechanism
        Name of an incentive mechanism.
    family
        Name of a model family for classification.
    data
        ``digits``, ``words`` or a file.
    days
        Simulated days in which people contribute; then they settle until the last wait is over.
    agents
        How many of each kind, in their order.
    habits
        Of kinds whose habits are not the usual ones.
    weight
        Of the price.
    refund_days, any_days
        Waits until refunds and reports, and until anybody may take what is left. The model's owner
        takes no part, so its own wait is as long as everybody's.
    initial
        Share of the data that the owner's model learnt before, in (0, 1).
    voluntary_fee
        Coins that the model's terms suggest as a voluntary fee; callers pay it now and then.
    campaign
        What campaigns are like, under the mechanisms that pay by campaign; else None.
    seed
        Decides everything that chance decides.
    """

    scenario: str = ""
    mechanism: str = "deposit_refund_take"
    family: str = "averaged_perceptron"
    data: str = "digits"
    days: float = 10.0
    agents: Mapping[str, int] = field(default_factory=lambda: {"honest": 3, "label_flipper": 1})
    habits: Mapping[str, Habits] = field(default_factory=dict)
    weight: int = DEFAULT_WEIGHT
    refund_days: float = 1.0
    any_days: float = 9.0
    initial: float = 0.08
    voluntary_fee: float = 0.0
    campaign: CampaignSettings | None = None
    seed: int = 1

    def __post_init__(self) -> None:
        """Refuse what cannot be simulated.

        Raises
        ------
        InvalidInputError
            ``out_of_range`` or ``malformed``, with the field, the value and the limit. What the
            ledger itself refuses (family, weight, waits) it refuses when the model is created.
        """
        names = [each.name for each in MECHANISMS]
        if self.mechanism not in names:
            raise _refuse("malformed", "mechanism", self.mechanism, ", ".join(names))
        _check_range("days", self.days, 1 / 24, DAYS_MAX)
        _check_range("refund_days", self.refund_days, 0, DAYS_MAX)
        _check_range("any_days", self.any_days, self.refund_days, DAYS_MAX)
        _check_range("initial", self.initial, 0.001, 0.9)
        _check_range("voluntary_fee", self.voluntary_fee, 0, FEE_MAX)
        self._check_campaign()
        _check_range("seed", self.seed, 0, 2**32 - 1)
        if not 1 <= sum(self.agents.values()) <= AGENTS_MAX:
            raise _refuse("out_of_range", "agents", sum(self.agents.values()), f"1 to {AGENTS_MAX}")

    def _check_campaign(self) -> None:
        campaign = self.campaign
        if campaign is None:
            if self.mechanism in CAMPAIGN_MECHANISMS:
                raise InvalidInputError(
                    "malformed",
                    f"{self.mechanism} pays by campaign, and no campaign is described",
                    field="campaign",
                )
            return
        if campaign.mechanism != self.mechanism:
            raise _refuse("malformed", "mechanism", self.mechanism, campaign.mechanism)
        if self.days != campaign.count * campaign.days:
            raise _refuse("malformed", "days", self.days, f"{campaign.count * campaign.days:g}")

    def get_habits(self, kind: str) -> Habits:
        """Return the habits of a kind in this run."""
        in_campaigns = self.campaign is not None
        return self.habits.get(kind) or get_usual_habits(kind, in_campaigns=in_campaigns)

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON shows them, habits of all kinds that take part included."""
        shown = {each.name: getattr(self, each.name) for each in fields(self)}
        shown["campaign"] = None if self.campaign is None else asdict(self.campaign)
        shown["agents"] = dict(self.agents)
        shown["habits"] = {
            kind: {each.name: getattr(self.get_habits(kind), each.name) for each in fields(Habits)}
            for kind in self.agents
        }
        return shown


def get_usual_habits(kind: str, *, in_campaigns: bool) -> Habits:
    """Return the habits of a kind that nobody changed.

    Campaigns collect fewer and larger contributions: ten samples every hour.
    """
    habits = KINDS[kind].habits
    if not in_campaigns:
        return habits
    wait_s = max(habits.wait_mean_s, CAMPAIGN_WAIT_S)
    return replace(habits, wait_mean_s=wait_s, batch=CAMPAIGN_BATCH)


def hold_campaigns(settings: AgentsSettings, campaign: CampaignSettings) -> AgentsSettings:
    """Return settings under which contributions are paid by campaigns, and have no price."""
    return replace(
        settings,
        mechanism=campaign.mechanism,
        campaign=campaign,
        days=campaign.count * campaign.days,
        weight=0,
        refund_days=0.0,
        any_days=0.0,
    )


def parse_agents(text: str) -> dict[str, int]:
    """Return how many agents of each kind ``honest=3,label_flipper=2`` means.

    Raises
    ------
    InvalidInputError
        ``malformed``.

    Examples
    --------
    >>> parse_agents("honest=3, label_flipper=2")
    {'honest': 3, 'label_flipper': 2}
    """
    found: dict[str, int] = {}
    limit = f"KIND=NUMBER, of at least 1, each kind once of {', '.join(KINDS)}"
    for part in text.split(","):
        name, _, number = part.strip().partition("=")
        if name not in KINDS or name in found or not number.isdecimal() or not int(number):
            raise _refuse("malformed", "agents", part.strip(), limit)
        found[name] = int(number)
    return found


def parse_habits(
    texts: Sequence[str], known: Mapping[str, Habits], *, in_campaigns: bool = False
) -> dict[str, Habits]:
    """Return habits by kind with the changes ``honest.wait_mean_s=1800`` and the like made.

    Parameters
    ----------
    texts : the changes.
    known : habits by kind that were changed before.
    in_campaigns : whether the other kinds' usual ones are those in campaigns.

    Raises
    ------
    InvalidInputError
        ``malformed`` or ``out_of_range``.
    """
    habits = dict(known)
    for text in texts:
        place, _, number = text.partition("=")
        kind, _, name = place.partition(".")
        if kind not in KINDS:
            raise _refuse("malformed", "habit", text, f"KIND.HABIT=NUMBER of {', '.join(KINDS)}")
        try:
            value = float(number)
        except ValueError:
            raise _refuse("malformed", "habit", text, "KIND.HABIT=NUMBER") from None
        usual = habits.get(kind) or get_usual_habits(kind, in_campaigns=in_campaigns)
        habits[kind] = usual.change(name, value)
    return habits


def _check_range(name: str, value: float, low: float, high: float) -> None:
    # Written so that what is no number is refused too.
    if not low <= value <= high:
        raise _refuse("out_of_range", name, value, f"{low:g} to {high:.10g}")


def _refuse(code: str, name: str, value: object, limit: str) -> InvalidInputError:
    return InvalidInputError(
        code, f"{name} must be {limit}, found {value!r}", field=name, value=value, limit=limit
    )


SCENARIOS: Final[dict[str, AgentsSettings]] = {
    each.scenario: each
    for each in (
        # One good and one bad agent as published: deposits of 50±10 every ten minutes and of 100±3
        # every hour, 10,000 at first, a day until refunds, nine days until anybody takes all, 8 %
        # learnt before. There a sample costs about 2.5 coins and the bad agent lasts 125 days; at
        # ten times the price the same happens in a tenth of the time.
        AgentsSettings(
            scenario="published",
            data="words",
            days=30.0,
            agents={"honest": 1, "label_flipper": 1},
            habits={
                name: replace(KINDS[name].habits, wait_sd_s=1)
                for name in ("honest", "label_flipper")
            },
        ),
        AgentsSettings(
            scenario="crowd",
            days=10.0,
            agents={"honest": 3} | dict.fromkeys(list(KINDS)[1:], 1),
            habits={
                name: replace(kind.habits, wait_mean_s=max(kind.habits.wait_mean_s, 1_800))
                for name, kind in KINDS.items()
            },
            weight=100,
        ),
    )
}
