"""All valuation rules there are; a new one is added to the tuple below."""

from __future__ import annotations

from typing import Final

from incentives.contribution_pay import LeaveOneOut, Shapley
from incentives.prediction_market import PredictionMarket
from incentives.valuation import ValuationRule
from primitives.errors import InvalidInputError

__all__ = ["VALUATION_RULES", "get_valuation_rule"]

VALUATION_RULES: Final[tuple[ValuationRule, ...]] = (
    PredictionMarket(grouped=False),
    PredictionMarket(grouped=True),
    Shapley(),
    LeaveOneOut(),
)

_BY_NAME: Final = {rule.name: rule for rule in VALUATION_RULES}


def get_valuation_rule(name: str) -> ValuationRule:
    """Return the rule with a name.

    Raises
    ------
    InvalidInputError
        ``invalid_campaign``.
    """
    rule = _BY_NAME.get(name)
    if rule is None:
        raise InvalidInputError(
            "invalid_campaign",
            f"no valuation rule is named {name!r}; known are {', '.join(_BY_NAME)}",
            field="campaign.rule",
            value=name,
        )
    return rule
