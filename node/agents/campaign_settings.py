"""What a run with campaigns is told about them, under the mechanisms that pay by campaign."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from incentives.valuation import ValuationTerms
from incentives.valuation_registry import VALUATION_RULES
from ledger.campaign_records import CampaignTerms
from primitives.errors import InvalidInputError

__all__ = [
    "CAMPAIGN_INITIAL",
    "CAMPAIGN_MECHANISMS",
    "CampaignSettings",
    "get_campaign_family",
    "make_campaign_settings",
]

CAMPAIGN_MECHANISMS: Final = tuple(dict.fromkeys(rule.mechanism for rule in VALUATION_RULES))
DEFAULT_RULES: Final = {"prediction_market": "market_grouped", "contribution_pay": "shapley"}
DEFAULT_BOUNTIES: Final = {"prediction_market": 50_000.0, "contribution_pay": 1_000.0}
"""A market pays the bounty times the share of test answers that were put right, a few percent a
campaign; contribution pay pays the whole."""

CAMPAIGN_INITIAL: Final = 0.03
"""Usual share of the data that the model learnt before the first campaign: where it knows much
already, contributions change few answers, and pay is decided by luck."""

CAMPAIGNS_MAX: Final = 200
PIECES_MAX: Final = 64
CONTRIBUTIONS_MAX: Final = 256
BUDGET: Final = 8
"""Pairs of walks where there are more contributors than all coalitions can be measured for."""

REVEAL_WAIT_MS: Final = 3_600_000
OPENING_MS: Final = 60_000
"""Between two campaigns: the end of one, and the draw of the next one's piece."""

_MECHANISM_OF: Final = {rule.name: rule.mechanism for rule in VALUATION_RULES}
_COINS_MAX: Final = 1e9


@dataclass(frozen=True, slots=True)
class CampaignSettings:
    """One campaign like the other, opened one after the other.

    Parameters
    ----------
    rule : name of a valuation rule.
    reset : whether each pass of a market trains and measures again.
    bounty : coins that the provider promises in each campaign.
    stake : coins that go with a contribution, whatever it holds.
    pieces : of hidden test data in each campaign; one is shown at first, the others score.
    count : campaigns.
    days : from the opening of one to that of the next.
    """

    rule: str
    reset: bool = False
    bounty: float = 1_000.0
    stake: float = 400.0
    pieces: int = 5
    count: int = 4
    days: float = 0.25

    def __post_init__(self) -> None:
        """Refuse what contradicts itself.

        Raises
        ------
        InvalidInputError
            ``malformed`` or ``out_of_range``, with the field, the value and the limit.
        """
        if self.rule not in _MECHANISM_OF:
            raise _refuse("malformed", "rule", self.rule, ", ".join(_MECHANISM_OF))
        is_market = self.mechanism == "prediction_market"
        if self.reset and not is_market:
            raise InvalidInputError(
                "malformed",
                f"reset is for markets: {self.rule} plays no passes that could begin afresh",
                field="reset",
                value=self.reset,
            )
        _check_range("bounty", self.bounty, 1.0, _COINS_MAX)
        # A market without stakes could not make anybody lose, and the ledger refuses it.
        _check_range("stake", self.stake, 1.0 if is_market else 0.0, _COINS_MAX)
        _check_range("pieces", self.pieces, 2, PIECES_MAX)
        _check_range("campaigns", self.count, 1, CAMPAIGNS_MAX)
        _check_range("campaign_days", self.days, 1 / 24, 365)

    @property
    def mechanism(self) -> str:
        """Name of the mechanism that the rule belongs to."""
        return _MECHANISM_OF[self.rule]

    def make_terms(self, units_per_coin: int, day_ms: int) -> CampaignTerms:
        """Return what the provider promises in each campaign."""
        valuation = ValuationTerms(
            bounty=round(self.bounty * units_per_coin),
            stake=round(self.stake * units_per_coin),
            reset=self.reset,
            budget=BUDGET if self.rule == "shapley" else 1,
        )
        return CampaignTerms(
            rule=self.rule,
            metric="accuracy",
            valuation=valuation,
            contributions_max=CONTRIBUTIONS_MAX,
            min_contributions=0,
            length_ms=round(self.days * day_ms) - OPENING_MS,
            reveal_wait_ms=REVEAL_WAIT_MS,
        )


def get_campaign_family(data: str) -> str:
    """Return the usual family: one that takes a wrong sample as what it is, in any order.

    Parameters
    ----------
    data : name of a data set or a file.
    """
    return "bernoulli_naive_bayes" if data == "words" else "gaussian_naive_bayes"


def make_campaign_settings(mechanism: str, rule: str | None, **given: object) -> CampaignSettings:
    """Return settings with the usual values where nothing is said.

    Parameters
    ----------
    mechanism : one of `CAMPAIGN_MECHANISMS`.
    rule : its usual one if None.
    given : further fields; None means as usual.

    Raises
    ------
    InvalidInputError
        ``malformed`` or ``out_of_range``.
    """
    rule = rule or DEFAULT_RULES[mechanism]
    known = {name: value for name, value in given.items() if value is not None}
    known.setdefault("bounty", DEFAULT_BOUNTIES[mechanism])
    settings = CampaignSettings(rule, **known)  # type: ignore[arg-type]
    if settings.mechanism != mechanism:
        raise InvalidInputError(
            "malformed",
            f"rule {rule} belongs to {settings.mechanism}, the mechanism is {mechanism}",
            field="rule",
            value=rule,
            limit=mechanism,
        )
    return settings


def _check_range(name: str, value: float, low: float, high: float) -> None:
    # Written so that what is no number is refused too.
    if not low <= value <= high:
        raise _refuse("out_of_range", name, value, f"{low:g} to {high:g}")


def _refuse(code: str, name: str, value: object, limit: str) -> InvalidInputError:
    return InvalidInputError(
        code, f"{name} must be {limit}, found {value!r}", field=name, value=value, limit=limit
    )
