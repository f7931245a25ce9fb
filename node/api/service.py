"""What the routes work with: the follower, the feed, and a memory of what was just submitted."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from ledger.parameters import Parameters, decode_parameters
from ledger.reader import LedgerReader
from ledger.schema import CHAIN_PARAMETERS
from node.api.feed_client import FeedClient
from node.api.follower import Follower
from node.api.inference import Inference
from primitives.errors import CorruptStateError

__all__ = ["ApiService", "RecentSubmissions", "Service", "get_service"]

SUBMISSIONS_REMEMBERED_MAX = 20_000


class RecentSubmissions:
    """Ids that the node's mempool took, oldest forgotten first; the ledger knows the rest."""

    def __init__(self) -> None:
        self._ids: OrderedDict[bytes, None] = OrderedDict()

    def __contains__(self, transaction_id: bytes) -> bool:
        return transaction_id in self._ids

    def add(self, transaction_id: bytes) -> None:
        """Remember one more."""
        self._ids[transaction_id] = None
        if len(self._ids) > SUBMISSIONS_REMEMBERED_MAX:
            self._ids.popitem(last=False)


@dataclass(frozen=True, slots=True)
class ApiService:
    """Everything that lives as long as the API process.

    ``serves_payloads`` says whether anybody may read the payloads of contributions.
    """

    follower: Follower
    feed: FeedClient
    inference: Inference
    serves_payloads: bool = False
    recent_submissions: RecentSubmissions = field(default_factory=RecentSubmissions)

    @property
    def ledger(self) -> LedgerReader:
        """The ledger as it is now; refuses with ``not_ready`` before the first state."""
        return self.follower.ledger

    def read_parameters(self) -> Parameters:
        """Return the governed parameters in force."""
        parameters = self.ledger.read(CHAIN_PARAMETERS, decode_parameters)
        if parameters is None:
            raise CorruptStateError("the parameters are missing in the state")
        return parameters


# Async, because FastAPI runs plain functions in a thread, at ten times the cost of this one.
async def get_service(request: Request) -> ApiService:
    """Return the service of the application that a request came to."""
    service: ApiService = request.app.state.service
    return service


Service = Annotated[ApiService, Depends(get_service)]
