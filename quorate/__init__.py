"""What a user of a network imports; runs nothing of a node.

>>> import quorate
>>> client = quorate.Client("http://127.0.0.1:8080")      # doctest: +SKIP
"""

from primitives.errors import InvalidInputError
from primitives.keys import PrivateKey
from quorate.bodies import Incentive, Policies
from quorate.campaign_records import CampaignSecrets
from quorate.client import Client
from quorate.errors import (
    ClientError,
    NotFinalError,
    NotFoundError,
    RefusedError,
    TransactionFailedError,
    UnreachableError,
    WrongDigestError,
)

__all__ = [
    "CampaignSecrets",
    "Client",
    "ClientError",
    "Incentive",
    "InvalidInputError",
    "NotFinalError",
    "NotFoundError",
    "Policies",
    "PrivateKey",
    "RefusedError",
    "TransactionFailedError",
    "UnreachableError",
    "WrongDigestError",
]
