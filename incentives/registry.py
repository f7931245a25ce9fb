"""All incentive mechanisms there are; a new one is added to the tuple below."""

from __future__ import annotations

from typing import Final

from incentives.campaign_mechanism import CampaignMechanism
from incentives.deposit_refund_take import DepositRefundTake
from incentives.mechanism import Mechanism
from incentives.points import Points
from primitives.errors import InvalidInputError

__all__ = ["MECHANISMS", "get_mechanism"]

MECHANISMS: Final[tuple[Mechanism, ...]] = (
    Points(),
    DepositRefundTake(),
    CampaignMechanism("prediction_market"),
    CampaignMechanism("contribution_pay"),
)

_BY_NAME: Final = {mechanism.name: mechanism for mechanism in MECHANISMS}


def get_mechanism(name: str) -> Mechanism:
    """Return the mechanism with a name.

    Raises
    ------
    InvalidInputError
        ``invalid_incentive``.
    """
    mechanism = _BY_NAME.get(name)
    if mechanism is None:
        raise InvalidInputError(
            "invalid_incentive",
            f"no incentive mechanism is named {name!r}; known are {', '.join(_BY_NAME)}",
            field="incentive.mechanism",
            value=name,
        )
    return mechanism
