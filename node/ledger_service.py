"""The ledger's side of consensus: judge, execute, build, make final, serve.

Theory of operation
-------------------
Two threads do the work, so that the event loop stays free for votes: one judges bodies (decoding,
hashes, signatures, all of which give up the interpreter lock for their long parts), one owns the
ledger and does everything that touches its state, strictly in the order asked for. Each answer
comes back to the event loop as an event.

Invariants: (L1) the store, the executor and speculative results are touched by the ledger thread
alone, but for reads of final values; (L2) a block is final here only after its payloads and then
its batch are on disk; (L3) a final block whose state root differs from the certified one stops the
node; (L4) readers hear of a block only after L2; (L5) once anything failed nothing more is
answered, so that no record is pruned for a block that did not reach the disk.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol, TypeVar

from consensus.actions import (
    BuildBlock,
    DiscardBlocks,
    ExecuteBlock,
    FinalizeBlocks,
    ServeBlocks,
    ServeEpochEnd,
    ValidateBlock,
)
from consensus.events import BlockBuilt, BlockExecuted, BlockValidated, Event, Verdict
from consensus.messages import Block, BlocksResponse, CertificateBatch, Message
from ledger.admission import check_block, check_stateless
from ledger.body import compute_body_root, decode_body, encode_body
from ledger.errors import DivergedStateError
from ledger.executed_block import ExecutedBlock
from ledger.executor import BlockExecutor
from ledger.key_value import KeyValueStore, WriteBatch
from ledger.parameters import Parameters, decode_parameters
from ledger.payload import Payload
from ledger.reader import LedgerReader
from ledger.schema import (
    CHAIN_PARAMETERS,
    Account,
    account_key,
    decode_account,
)
from ledger.store import LedgerStore
from ledger.transaction import Transaction
from node.mempool import Mempool, SelectionLimits
from node.unfinal_blocks import UnfinalBlock, UnfinalBlocks, make_unfinal_block
from primitives.accounts import AccountId
from primitives.certificates import Certificate
from primitives.errors import CorruptStateError, InvalidInputError, InvariantViolationError
from primitives.header import BlockHeader

__all__ = [
    "FinalBlock",
    "LedgerCallbacks",
    "LedgerService",
    "LedgerThreads",
    "PayloadStore",
]

logger = logging.getLogger(__name__)

ResultT = TypeVar("ResultT")

NONCES_REMEMBERED_MAX = 100_000
"""Accounts whose next nonce is remembered between blocks."""

SERVED_BYTES_MAX = 3 * 1024 * 1024
"""Bodies in one answer to a laggard, below the cap of the channel."""


class PayloadStore(Protocol):
    """Where payloads of final blocks are kept."""

    def read(self, transaction_id: bytes) -> Payload | None:
        """Return a payload, or None if it is not held."""

    def write_many(self, payloads: Sequence[tuple[bytes, Payload]]) -> None:
        """Put payloads on disk, durably."""


@dataclass(frozen=True, slots=True)
class FinalBlock:
    """A block that just became final, and what it wrote."""

    executed: ExecutedBlock
    batch: WriteBatch


@dataclass(frozen=True, slots=True)
class LedgerCallbacks:
    """What the ledger's side tells the rest of the node, on the event loop.

    Parameters
    ----------
    post
        Takes an event for consensus.
    send
        Sends an answer to a member, by number.
    on_final
        Called for every final block once it is on disk.
    on_execution_failed
        Called when executing a block raised something; it is not answered.
    on_broken
        Called when the node must stop.
    read_wall_ms
        The wall clock, for header times.
    """

    post: Callable[[Event], None]
    send: Callable[[int, Message], None]
    on_final: Callable[[FinalBlock], None]
    on_execution_failed: Callable[[ExecuteBlock, Exception], None]
    on_broken: Callable[[BaseException], None]
    read_wall_ms: Callable[[], int]


@dataclass(frozen=True, slots=True)
class LedgerThreads:
    """The two threads; each executor has exactly one worker."""

    ledger: Executor
    judging: Executor


class LedgerService:
    """Implements :class:`node.turns.LedgerDoor` over the real ledger.

    Parameters
    ----------
    store, database
        The ledger's store, and the key-value store below it.
    executor
        The state transition, reading from ``store``.
    payloads
        Of final blocks.
    unfinal
        Judged blocks; empty at first.
    mempool
        Where blocks are filled from.
    threads
        See :class:`LedgerThreads`.
    """

    def __init__(
        self,
        *,
        store: LedgerStore,
        database: KeyValueStore,
        executor: BlockExecutor,
        payloads: PayloadStore,
        unfinal: UnfinalBlocks,
        mempool: Mempool,
        threads: LedgerThreads,
    ) -> None:
        self._store = store
        self._database = database
        self._executor = executor
        self._payloads = payloads
        self._unfinal = unfinal
        self._mempool = mempool
        self._threads = threads
        self._executed: dict[bytes, ExecutedBlock] = {}
        # The transactions of the block that was built last, by the root of its body.
        self._built: dict[bytes, list[Transaction]] = {}
        self._nonces: dict[AccountId, int] = {}
        self._reader = LedgerReader(database)
        self._final_height = store.tip().height
        self._tasks: set[asyncio.Future[Any]] = set()
        self._loop = asyncio.get_running_loop()
        self.parameters = self._read_parameters()
        self._chain_id = self._reader.genesis().chain_id
        self._doors: LedgerCallbacks | None = None
        self._is_broken = False

    def connect(self, callbacks: LedgerCallbacks) -> None:
        """Say whom to tell; called once, before anything is asked for."""
        self._doors = callbacks

    @property
    def _tell(self) -> LedgerCallbacks:
        if self._doors is None:
            raise InvariantViolationError("the ledger service is not connected")
        return self._doors

    @property
    def final_height(self) -> int:
        """Height of the last final block."""
        return self._final_height

    def get_next_nonce(self, account: AccountId) -> int:
        """Return the nonce that the account's next transaction must carry, in the final state."""
        nonce = self._nonces.get(account)
        if nonce is None:
            record = self._reader.read(account_key(account), decode_account) or Account()
            nonce = self._nonces[account] = record.nonce
        return nonce

    def _read_parameters(self) -> Parameters:
        parameters = self._reader.read(CHAIN_PARAMETERS, decode_parameters)
        if parameters is None:
            raise CorruptStateError("the parameters are missing in the state")
        return parameters

    def validate(self, action: ValidateBlock) -> None:
        """Judge a block on the judging thread; answers ``BlockValidated``."""
        header = action.block.header
        ancestors = self._unfinal.get_ancestor_transactions(header.parent_id)

        def judge() -> UnfinalBlock:
            transactions = self._decode(action.block)
            if action.certified:
                _check_body_root(action.block, transactions)
            else:
                check_block(header, transactions, self.parameters, ancestor_ids=ancestors.ids)
            return make_unfinal_block(header, action.block.body, transactions)

        def judged(block: UnfinalBlock) -> None:
            self._unfinal.put(block)
            if self._is_end(header.height, header.epoch) and not action.certified:
                check = partial(self._check_next_validators, header)
                self._hand_over(self._threads.ledger, check, valid, refused)
            else:
                valid(None)

        def valid(_: None) -> None:
            self._tell.post(BlockValidated(header.block_id, Verdict.VALID))

        def refused(error: InvalidInputError) -> None:
            logger.warning("block %d of view %d refused: %s", header.height, header.view, error)
            self._tell.post(BlockValidated(header.block_id, Verdict.INVALID))

        self._hand_over(self._threads.judging, judge, judged, refused)

    def execute(self, action: ExecuteBlock) -> None:
        """Execute a block on the ledger thread; answers ``BlockExecuted``."""
        block = action.block
        self._remember_own(block)

        def executed(result: ExecutedBlock) -> None:
            if self._unfinal.get(block.block_id) is None and not self._is_tail(block.header):
                # Out of the write-ahead log: judged in an earlier life.
                self._unfinal.put(make_unfinal_block(block.header, block.body, result.transactions))
            self._tell.post(BlockExecuted(block.block_id, result.state_root))

        def failed(error: Exception) -> None:
            # Without an answer the core never commits to the block; what else to do is decided
            # where divergences are.
            self._tell.on_execution_failed(action, error)

        self._hand_over(self._threads.ledger, lambda: self._execute(block), executed, failed=failed)

    def forget_executed(self, then: Callable[[], None]) -> None:
        """Forget every speculative result and whatever is remembered of the final state."""

        def forget() -> None:
            self._executed.clear()
            self._store.forget_cached()

        self._hand_over(self._threads.ledger, forget, lambda _: then())

    def build(self, action: BuildBlock) -> None:
        """Choose the next block's transactions now; answers ``BlockBuilt``."""
        transactions: list[Transaction] = []
        if not action.must_be_empty:
            transactions = self._select(action)
        body_root = compute_body_root(transactions)
        self._built = {body_root: transactions}
        built = BlockBuilt(
            view=action.view,
            parent_id=action.parent.block_id,
            body=encode_body(transactions),
            body_root=body_root,
            timestamp_ms=self._tell.read_wall_ms(),
        )
        epoch = self.parameters.epoch_of(self._final_height + 1)
        if not self._is_end(action.parent.height + 1, epoch):
            self._tell.post(built)
            return

        def name_next_validators(digest: bytes | None) -> None:
            if digest is not None:
                self._tell.post(replace(built, next_validators_hash=digest))

        self._hand_over(
            self._threads.ledger,
            lambda: self._compute_next_validators_hash(action.parent),
            name_next_validators,
        )

    def finalize(self, action: FinalizeBlocks) -> None:
        """Make blocks durable on the ledger thread, then tell everyone."""

        def finalized(blocks: list[FinalBlock]) -> None:
            for block in blocks:
                self._forget(block.executed)
                self._tell.on_final(block)

        self._hand_over(self._threads.ledger, lambda: self._finalize(action), finalized)

    def discard(self, action: DiscardBlocks) -> None:
        """Forget blocks that will never be final; their transactions still wait in the pool."""
        block_ids = action.block_ids

        def forget() -> None:
            for block_id in block_ids:
                self._executed.pop(block_id, None)

        for block_id in block_ids:
            self._unfinal.remove(block_id)
        self._hand_over(self._threads.ledger, forget, lambda _: None)

    def serve(self, action: ServeBlocks) -> None:
        """Send final blocks, with their payloads, to a peer that asked for them."""

        def send(response: BlocksResponse) -> None:
            self._tell.send(action.peer, response)

        self._hand_over(self._threads.judging, lambda: self._collect_blocks(action), send)

    def serve_epoch_end(self, action: ServeEpochEnd) -> None:
        """Send a member that is late the certificate by which its epoch ended."""
        end = self._reader.epoch_end(action.epoch)
        if end is not None:
            self._tell.send(action.peer, CertificateBatch((end.certificate,)))

    def after_finality(self, call: Callable[[], None]) -> None:
        """Call back once every block handed to :meth:`finalize` so far is durable."""
        self._hand_over(self._threads.ledger, lambda: None, lambda _: call())

    def has_work(self, is_live: Callable[[BlockHeader], bool]) -> bool:
        """Return whether a transaction could be proposed that no live unfinal block holds.

        Parameters
        ----------
        is_live
            Whether an unfinal block is being voted on or prepared, as consensus sees it.
        """
        if not len(self._mempool):
            return False
        next_nonces = self._unfinal.get_next_nonces(is_live)
        return self._mempool.has_selectable(next_nonces, self.get_next_nonce)

    async def drain(self) -> None:
        """Wait until both threads have done what was handed over."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _remember_own(self, block: Block) -> None:
        """Note what our own block holds: it was never judged, so nobody else has."""
        transactions = self._built.get(block.header.body_root)
        if transactions is not None and self._unfinal.get(block.block_id) is None:
            self._unfinal.put(make_unfinal_block(block.header, block.body, transactions))

    def _is_end(self, height: int, epoch: int) -> bool:
        """Return whether a block is the last one of its epoch; a tail at such a height is not."""
        return height == self.parameters.epoch_end(epoch)

    def _is_tail(self, header: BlockHeader) -> bool:
        return header.height > self.parameters.epoch_end(header.epoch)

    def _compute_next_validators_hash(self, parent: BlockHeader) -> bytes | None:
        """Return what the last block of an epoch must name; on the ledger thread.

        None if the chain has grown past the parent meanwhile, and with it the view that wanted a
        block. Else the parent was handed over for execution before, so it is executed by now.
        """
        executed = self._executed.get(parent.block_id)
        if executed is None and self._store.tip().block_id != parent.block_id:
            return None
        return self._executor.next_validators_hash(parent.height + 1, executed)

    def _check_next_validators(self, header: BlockHeader) -> None:
        """Check what the last block of an epoch names; on the ledger thread."""
        parent = self._executed.get(header.parent_id)
        if parent is None and self._store.tip().block_id != header.parent_id:
            # Its branch died meanwhile; so will the block.
            return
        expected = self._executor.next_validators_hash(header.height, parent)
        if header.next_validators_hash != expected:
            raise InvalidInputError(
                "wrong_next_validators",
                f"header.next_validators_hash is {header.next_validators_hash.hex()}, the state"
                f" says {expected.hex()}",
                field="header.next_validators_hash",
                value=header.next_validators_hash.hex(),
                limit=expected.hex(),
            )

    def _decode(self, block: Block) -> list[Transaction]:
        return decode_body(
            block.body,
            bytes_max=self.parameters.block_bytes_max,
            transactions_max=self.parameters.transactions_per_block_max,
            known=self._mempool.get,
        )

    def _select(self, action: BuildBlock) -> list[Transaction]:
        ancestors = self._unfinal.get_ancestor_transactions(action.parent.block_id)
        limits = SelectionLimits(
            transactions_max=self.parameters.transactions_per_block_max,
            bytes_max=self.parameters.block_bytes_max - 1024,
            compute_units_max=self.parameters.compute_units_per_block_max,
            compute_units_per_account_max=self.parameters.compute_units_per_account_max,
        )
        height = action.parent.height + 1
        chosen = self._mempool.select(limits, height, ancestors.next_nonces, self.get_next_nonce)
        return self._keep_admissible(chosen, height)

    def _keep_admissible(self, transactions: list[Transaction], height: int) -> list[Transaction]:
        """Leave out, and forget, what was admitted under parameters that have changed since."""
        refused: set[AccountId] = set()
        for each in transactions:
            try:
                check_stateless(each, self._chain_id, self.parameters, height - 1)
            except InvalidInputError:
                self._mempool.remove(each)
                refused.add(each.sender)
        return [each for each in transactions if each.sender not in refused]

    def _execute(self, block: Block) -> ExecutedBlock:
        """Execute a block once; on the ledger thread."""
        known = self._executed.get(block.block_id)
        if known is not None:
            return known
        if self._is_tail(block.header):
            # It leaves everything as it is, and is no part of the chain.
            result = self._executed[block.header.parent_id]
            self._executed[block.block_id] = result
            return result
        judged = self._unfinal.get(block.block_id)
        transactions = self._decode(block) if judged is None else list(judged.transactions.values())
        parent = self._executed.get(block.header.parent_id)
        result = self._executor.execute(block.header, transactions, parent)
        self._executed[block.block_id] = result
        return result

    def _finalize(self, action: FinalizeBlocks) -> list[FinalBlock]:
        """Write blocks in order, payloads first; on the ledger thread."""
        tails = tuple(each.header for each in action.blocks if self._is_tail(each.header))
        blocks = action.blocks[: len(action.blocks) - len(tails)]
        executed = [self._execute(block) for block in blocks]
        certified_root = action.certificate.state_root
        if executed[-1].state_root != certified_root:
            raise DivergedStateError(executed[-1].height, certified_root, executed[-1].state_root)
        certified_height = executed[-1].height
        return [
            self._store_block(block, action.certificate, certified_height, tails)
            for block in executed
        ]

    def _store_block(
        self,
        executed: ExecutedBlock,
        certificate: Certificate,
        certified_height: int,
        tails: tuple[BlockHeader, ...],
    ) -> FinalBlock:
        payloads = [
            (transaction.transaction_id, transaction.payload)
            for transaction in executed.transactions
            if transaction.payload is not None
        ]
        if payloads:
            self._payloads.write_many(payloads)
        batch = self._store.commit_batch(executed, certificate, certified_height, tails)
        self._database.write(batch.puts, batch.deletes, True)
        self._store.advance(executed)
        stale = [
            block_id
            for block_id, block in self._executed.items()
            if block.height <= executed.height
        ]
        for block_id in stale:
            del self._executed[block_id]
        return FinalBlock(executed, batch)

    def _forget(self, executed: ExecutedBlock) -> None:
        """Bring the event loop's view up to a final block."""
        self._final_height = executed.height
        if CHAIN_PARAMETERS in executed.writes:
            # With an epoch's last block alone: no block under way was judged by the old ones.
            self.parameters = self._read_parameters()
        if len(self._nonces) > NONCES_REMEMBERED_MAX:
            self._nonces.clear()
        for transaction in executed.transactions:
            self._nonces.pop(transaction.sender, None)
        self._unfinal.remove_up_to(executed.height)
        self._mempool.remove_final(executed.transactions, self.get_next_nonce)
        self._mempool.remove_expired(executed.height)

    def _collect_blocks(self, action: ServeBlocks) -> BlocksResponse:
        """Read final blocks for a laggard; they are final, so any thread may."""
        blocks: list[Block] = []
        certificate: Certificate | None = None
        provable = size = 0
        last = min(action.from_height + action.count - 1, self._reader.tip().height)
        if action.from_height <= self._reader.base_height():
            # Ours began with a snapshot: others have what was before.
            return BlocksResponse((), None)
        for height in range(action.from_height, last + 1):
            header, transactions = self._reader.block(height)
            body = encode_body([self._with_payload(each) for each in transactions])
            size += len(body)
            if blocks and size > SERVED_BYTES_MAX:
                break
            blocks.append(Block(header, body))
            certified_height, own_certificate = self._reader.certificate(height)
            if certified_height == height:
                if self._is_end(height, header.epoch):
                    blocks += self._read_tails(header.epoch)
                provable, certificate = len(blocks), own_certificate
            if self._is_end(height, header.epoch):
                # What follows is of another epoch, whose certificates the laggard cannot check.
                break
        if certificate is not None:
            return BlocksResponse(tuple(blocks[:provable]), certificate)
        return BlocksResponse(tuple(blocks), None)

    def _read_tails(self, epoch: int) -> list[Block]:
        """Return the tails without which the end of an epoch is not proven."""
        end = self._reader.epoch_end(epoch)
        return [] if end is None else [Block(tail, encode_body([])) for tail in end.tails]

    def _with_payload(self, transaction: Transaction) -> Transaction:
        if transaction.payload_commitment is None:
            return transaction
        return transaction.with_payload(self._payloads.read(transaction.transaction_id))

    def _hand_over(
        self,
        executor: Executor,
        work: Callable[[], ResultT],
        done: Callable[[ResultT], None],
        refused: Callable[[InvalidInputError], None] | None = None,
        failed: Callable[[Exception], None] | None = None,
    ) -> None:
        """Run ``work`` on a thread and ``done`` on the event loop with what it returned."""
        future = self._loop.run_in_executor(executor, work)
        self._tasks.add(future)

        def finish(finished: asyncio.Future[ResultT]) -> None:
            self._tasks.discard(finished)
            if finished.cancelled():
                return
            error = finished.exception()
            if self._is_broken:
                return
            try:
                if refused is not None and isinstance(error, InvalidInputError):
                    refused(error)
                elif failed is not None and isinstance(error, Exception):
                    failed(error)
                else:
                    done(finished.result())
            except Exception as failure:
                # Whatever else went wrong is ours: the node stops, and says so.
                self._is_broken = True
                self._tell.on_broken(failure)

        future.add_done_callback(finish)


def _check_body_root(block: Block, transactions: list[Transaction]) -> None:
    """Check that a body belongs to a certified header and that every payload is there."""
    if compute_body_root(transactions) != block.header.body_root:
        raise InvalidInputError(
            "wrong_root", "the body does not belong to the header", field="header.body_root"
        )
    for transaction in transactions:
        commitment, payload = transaction.payload_commitment, transaction.payload
        if commitment is not None and (payload is None or payload.commitment != commitment):
            raise InvalidInputError(
                "payload_missing", "a payload of the block is missing or is another", field="body"
            )
