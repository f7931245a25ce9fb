"""How transactions enter the mempool: from this node's API, and from peers.

Signatures are checked on a thread, in whatever batch has gathered while the batch before was
checked, so a lone transaction does not wait and a flood costs one hand-over for many. What the API
hands in is sent on to every validator once; what peers hand in is not sent on again (full mesh).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Protocol

from ledger.admission import check_stateless
from ledger.body import decode_body, encode_body
from ledger.parameters import Parameters
from ledger.payload import Payload
from ledger.transaction import Transaction, decode_transaction
from node.mempool import Mempool
from primitives.accounts import AccountId
from primitives.errors import InvalidInputError

__all__ = ["LedgerView", "Submissions"]

logger = logging.getLogger(__name__)

BATCH_TRANSACTIONS_MAX = 256
"""Transactions checked, and sent to peers, in one go."""

BATCH_BYTES_MAX = 192 * 1024
"""Wire bytes of one batch to peers, below the cap of the channel."""

WAITING_MAX = 8_192
"""Transactions of peers beyond this, waiting to be checked, are dropped and counted."""


class LedgerView(Protocol):
    """What admission asks of the final state."""

    @property
    def final_height(self) -> int:
        """Height of the last final block."""

    @property
    def parameters(self) -> Parameters:
        """Limits in force."""

    def get_next_nonce(self, account: AccountId) -> int:
        """Return the nonce that the account's next transaction must carry."""


@dataclass(slots=True)
class _Waiting:
    """A decoded transaction on its way into the pool."""

    transaction: Transaction
    answer: asyncio.Future[None] | None


class Submissions:
    """The door of the mempool.

    Parameters
    ----------
    chain_id
        Of this network.
    mempool
        What it fills.
    ledger
        The final state.
    executor
        The thread on which signatures are checked.
    send_to_peers
        Sends an encoded batch to every validator.
    on_broken
        Called once, with the reason, when nothing more can be taken and the node must stop.
    """

    def __init__(
        self,
        *,
        chain_id: bytes,
        mempool: Mempool,
        ledger: LedgerView,
        executor: Executor,
        send_to_peers: Callable[[bytes], None],
        on_broken: Callable[[BaseException], None],
    ) -> None:
        self._chain_id = chain_id
        self._mempool = mempool
        self._ledger = ledger
        self._executor = executor
        self._send_to_peers = send_to_peers
        self._on_accepted: Callable[[], None] = _do_nothing
        self._on_broken = on_broken
        self._waiting: asyncio.Queue[_Waiting] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self.counters: Counter[str] = Counter()

    def start(self, on_accepted: Callable[[], None]) -> None:
        """Begin to check what waits.

        Parameters
        ----------
        on_accepted
            Called after every batch that added something.
        """
        self._on_accepted = on_accepted
        self._task = asyncio.create_task(self._run(), name="submissions")

    async def stop(self) -> None:
        """Check nothing more."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def submit(self, envelope: bytes, payload: Payload | None) -> None:
        """Take a client's transaction; returns once it waits for a block.

        Parameters
        ----------
        envelope
            Canonical bytes of the transaction.
        payload
            What travels beside it, if it has one.

        Raises
        ------
        InvalidInputError
            The transaction is refused; state, nonce and money are untouched. One that waits
            already is taken again without complaint, so that a client may safely repeat itself.
        """
        transaction = decode_transaction(envelope, payload=payload)
        if self._mempool.get(transaction.transaction_id) is not None:
            return
        self._check_cheaply(transaction)
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait(_Waiting(transaction, answer))
        await answer

    def take_from_peer(self, peer: int, data: bytes) -> None:
        """Take a batch that a peer sent; what does not fit is counted, never answered."""
        parameters = self._ledger.parameters
        try:
            transactions = decode_body(
                data,
                bytes_max=parameters.block_bytes_max,
                transactions_max=parameters.transactions_per_block_max,
                known=self._mempool.get,
            )
        except InvalidInputError as error:
            self.counters["peer_batches_malformed"] += 1
            logger.warning("batch of peer %d refused: %s", peer, error)
            return
        for transaction in transactions:
            if self._waiting.qsize() >= WAITING_MAX:
                self.counters["peer_transactions_dropped"] += 1
                continue
            self._waiting.put_nowait(_Waiting(transaction, None))

    def send_again(self, transactions: list[Transaction]) -> None:
        """Send transactions to every validator once more: they waited longer than they should."""
        for batch in _cut_into_batches(transactions):
            self._send_to_peers(encode_body(batch))

    async def _run(self) -> None:
        try:
            await self._check_what_waits()
        except Exception as error:
            logger.critical("the mempool's door stops: %s", error, exc_info=True)
            self._on_broken(error)

    async def _check_what_waits(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            batch = [await self._waiting.get()]
            while len(batch) < BATCH_TRANSACTIONS_MAX and not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            batch = [waiting for waiting in batch if self._has_room(waiting)]
            if batch:
                height = self._ledger.final_height
                check = self._check_batch
                verdicts = await loop.run_in_executor(self._executor, check, batch, height)
                self._add_batch(batch, verdicts)

    def _has_room(self, waiting: _Waiting) -> bool:
        """Drop what became pointless while it waited for its turn."""
        try:
            self._check_cheaply(waiting.transaction)
        except InvalidInputError as error:
            self._refuse(waiting, error)
            return False
        return True

    def _check_cheaply(self, transaction: Transaction) -> None:
        # The predecessor may be in the batch under way, so a gap is judged when it is added.
        nonce = self._ledger.get_next_nonce(transaction.sender)
        self._mempool.check_room(transaction, nonce, gaps=True)

    def _check_batch(
        self, batch: list[_Waiting], final_height: int
    ) -> list[InvalidInputError | None]:
        """Check signatures and form; runs on the thread."""
        verdicts: list[InvalidInputError | None] = []
        for waiting in batch:
            try:
                check_stateless(
                    waiting.transaction, self._chain_id, self._ledger.parameters, final_height
                )
                verdicts.append(None)
            except InvalidInputError as error:
                verdicts.append(error)
        return verdicts

    def _add_batch(self, batch: list[_Waiting], verdicts: list[InvalidInputError | None]) -> None:
        to_peers: list[Transaction] = []
        accepted = False
        for waiting, verdict in zip(batch, verdicts, strict=True):
            transaction, answer = waiting.transaction, waiting.answer
            if verdict is not None:
                self._refuse(waiting, verdict)
                continue
            nonce = self._ledger.get_next_nonce(transaction.sender)
            try:
                self._mempool.add(transaction, nonce, gaps=answer is None)
            except InvalidInputError as error:
                self._refuse(waiting, error)
                continue
            accepted = True
            self.counters["accepted"] += 1
            if answer is not None:
                to_peers.append(transaction)
                if not answer.done():
                    answer.set_result(None)
        self.send_again(to_peers)
        if accepted:
            self._on_accepted()

    def _refuse(self, waiting: _Waiting, error: InvalidInputError) -> None:
        if waiting.answer is None:
            # Two validators may hear of the same transaction at the same time: no fault.
            if error.code not in ("duplicate", "nonce_used"):
                self.counters[f"peer_refused_{error.code}"] += 1
            return
        self.counters[f"refused_{error.code}"] += 1
        if waiting.answer.done():
            return
        if error.code == "duplicate":
            waiting.answer.set_result(None)
        else:
            waiting.answer.set_exception(error)


def _do_nothing() -> None:
    """Nobody is to be told yet."""


def _cut_into_batches(transactions: list[Transaction]) -> list[list[Transaction]]:
    """Cut a list so that every part fits into one frame; one large transaction goes alone."""
    batches: list[list[Transaction]] = []
    room = 0
    for transaction in transactions:
        size = transaction.wire_bytes
        if size > room or len(batches[-1]) >= BATCH_TRANSACTIONS_MAX:
            batches.append([])
            room = BATCH_BYTES_MAX
        batches[-1].append(transaction)
        room -= size
    return batches
