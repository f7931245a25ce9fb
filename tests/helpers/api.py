"""A node's API over a real ledger: the real feed on a real socket, blocks made on demand.

``NodeDouble`` stands where the node process will be: it admits a transaction as a node does, puts
it into a block of its own at once, and publishes the batch. Everything else is production code.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from consensus.report import ConsensusReport
from ledger.admission import check_stateless
from ledger.chunk_keeper import RELEASE_LAG
from ledger.key_value import MemoryKeyValueStore
from ledger.parameters import Parameters
from ledger.payload import Payload
from ledger.transaction import Transaction, decode_transaction
from node.api.app import make_app
from node.api.feed_client import FeedClient
from node.api.feed_frames import NodeStatus, Pair
from node.api.feed_server import FeedServer, LedgerFeedSource, NodeDoors
from node.api.follower import Follower
from node.api.inference import Inference
from node.api.service import ApiService
from node.api.store_folder import StoreFolder
from primitives.errors import InvalidInputError
from tests.helpers.ledger import Chain, Network, make_network
from tests.helpers.watched_consensus import WatchedBench

_socket_numbers = itertools.count()


class PublishingStore(MemoryKeyValueStore):
    """A node's store that remembers the last batch written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.last_batch: tuple[Sequence[Pair], Sequence[bytes]] = ((), ())

    def write(self, puts: Sequence[Pair], deletes: Sequence[bytes], sync: bool) -> None:
        super().write(puts, deletes, sync)
        self.last_batch = (tuple(puts), tuple(deletes))


class NodeDouble:
    """A validator without consensus: what it is given is final in the next block."""

    def __init__(
        self,
        socket_path: Path,
        parameters: Parameters | None = None,
        release_lag: int = RELEASE_LAG,
    ) -> None:
        self.network: Network = make_network(parameters=parameters)
        self.values = PublishingStore()
        self.chain = Chain(self.network, self.values, release_lag=release_lag)
        self.makes_blocks = True
        self.waiting: list[Transaction] = []
        self.is_catching_up = False
        self.counters: dict[str, int] = {}
        self.consensus: ConsensusReport = make_healthy_report()
        doors = NodeDoors(self._submit, self._read_status, self.chain.payloads.read)
        self.feed = FeedServer(socket_path, LedgerFeedSource(self.values), doors)

    @property
    def height(self) -> int:
        return self.chain.store.tip().height

    def make_block(
        self, transactions: Sequence[Transaction] = (), *, timestamp_ms: int | None = None
    ) -> None:
        """Make a block final and publish it; call it on the loop of the feed."""
        block = self.chain.run(transactions, timestamp_ms=timestamp_ms)
        self.feed.publish(block.height, *self.values.last_batch)

    async def make_block_soon(
        self, transactions: Sequence[Transaction] = (), timestamp_ms: int | None = None
    ) -> None:
        self.make_block(transactions, timestamp_ms=timestamp_ms)

    async def _submit(self, envelope: bytes, payload: Payload | None) -> None:
        transaction = decode_transaction(envelope, payload=payload)
        check_stateless(
            transaction, self.network.chain_id, self.network.genesis.parameters, self.height
        )
        if transaction in self.waiting:
            raise InvalidInputError("duplicate", "transaction is already waiting")
        expected = self.chain.account(transaction.sender).nonce + len(self.waiting)
        if transaction.nonce != expected:
            code = "nonce_used" if transaction.nonce < expected else "nonce_gap"
            raise InvalidInputError(
                code,
                f"nonce is {transaction.nonce}, the next is {expected}",
                field="nonce",
                value=transaction.nonce,
                limit=expected,
            )
        self.waiting.append(transaction)
        if self.makes_blocks:
            transactions, self.waiting = self.waiting, []
            self.make_block(transactions)

    def _read_status(self) -> NodeStatus:
        return NodeStatus(
            name="member-0",
            validator_index=0,
            final_height=self.height,
            view=self.height + 1,
            peers_connected=3,
            peers_expected=3,
            mempool_transactions=len(self.waiting),
            mempool_bytes=sum(transaction.wire_bytes for transaction in self.waiting),
            is_catching_up=self.is_catching_up,
            version="1.2.3",
            counters=tuple(sorted(self.counters.items())),
            consensus=self.consensus,
        )


class ApiScene:
    """A node double, its API, and a client of it; the client's calls block until answered."""

    def __init__(self, node: NodeDouble, http: TestClient, service: ApiService) -> None:
        self.node = node
        self.http = http
        self.service = service

    @property
    def chain(self) -> Chain:
        return self.node.chain

    def run(self, transactions: Sequence[Transaction] = (), timestamp_ms: int | None = None) -> int:
        """Make a block final and return its height once the API has it."""
        self.call(self.node.make_block_soon, transactions, timestamp_ms)
        self.sync()
        return self.node.height

    def sync(self) -> None:
        """Return once the API has every block of the node."""
        self.call(wait_for_height, self.service.follower, self.node.height)

    def call(self, function: Any, *arguments: Any) -> Any:
        """Run a coroutine function on the loop of the application."""
        assert self.http.portal is not None
        return self.http.portal.call(function, *arguments)

    def get(self, path: str, **parameters: Any) -> Any:
        """Return the JSON of a successful answer."""
        response = self.http.get(path, params=parameters)
        assert response.status_code == 200, response.text
        return response.json()


def make_healthy_report() -> ConsensusReport:
    """Return the report of a validator with all others connected and nothing to do."""
    bench = WatchedBench()
    bench.connect(1, 2, 3)
    return bench.report()


async def wait_for_height(follower: Follower, height: int) -> None:
    await follower.wait_for_height(height, 10)


@contextmanager
def run_api(
    folder: Path,
    *,
    parameters: Parameters | None = None,
    serves_payloads: bool = False,
    release_lag: int = RELEASE_LAG,
) -> Iterator[ApiScene]:
    """Run node double and API; both end with the context."""
    socket_path = folder / f"{next(_socket_numbers)}.sock"
    follower = Follower(StoreFolder(folder / "api", lambda _: MemoryKeyValueStore()))
    feed = FeedClient(socket_path, follower)
    service = ApiService(
        follower=follower,
        feed=feed,
        inference=Inference(feed.read_payload),
        serves_payloads=serves_payloads,
    )
    node = NodeDouble(socket_path, parameters, release_lag)
    with TestClient(make_app(service), raise_server_exceptions=False) as http:
        scene = ApiScene(node, http, service)
        scene.call(node.feed.start)
        try:
            scene.sync()
            yield scene
        finally:
            scene.call(node.feed.stop)
