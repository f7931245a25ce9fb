"""What a simulated node has for a ledger: one that costs next to nothing, and the real one.

Both do at once what a node's ledger thread does in its own time; the simulated node adds the time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from consensus.messages import Block, BlocksResponse
from primitives.certificates import Certificate
from primitives.header import BlockHeader
from tests.helpers.consensus import body_root, execute
from tests.simulator.disk import DiskFaults
from tests.simulator.epoch_plan import EpochPlan

__all__ = ["CheapLedger", "FinalBlock", "FinalBlocks", "IsLive", "SimulatedLedger"]

IsLive = Callable[[BlockHeader], bool]

GENESIS_ROOT = bytes(31) + b"\x01"
TRANSACTION_BYTES = 4
TRANSACTIONS_PER_BLOCK = 8
SERVED_BLOCKS_MAX = 16


@dataclass(frozen=True, slots=True)
class FinalBlock:
    """A final block, the state root after it, and its own commit certificate if it has one."""

    block: Block
    state_root: bytes
    certificate: Certificate | None


class SimulatedLedger(Protocol):
    """A ledger on the disk of a simulated node."""

    @property
    def height(self) -> int:
        """Height of the last final block."""
        ...

    def restart(self) -> None:
        """Forget everything that is not on disk."""
        ...

    def is_final(self, transaction: bytes) -> bool:
        """Say whether a transaction is in a final block."""
        ...

    def make_backup(self) -> object:
        """Return a copy of what is on disk."""
        ...

    def restore_backup(self, backup: object) -> None:
        """Bring a backup back; None for an empty disk."""
        ...

    def read_final(self, height: int) -> FinalBlock:
        """Return a final block."""
        ...


@dataclass(slots=True)
class FinalBlocks:
    """The part of the cheap ledger that is on disk.

    Parameters
    ----------
    blocks : by height from 1.
    tails : by epoch, what proved that its last block is final, if that was not its own certificate.
    """

    blocks: list[FinalBlock] = field(default_factory=list)
    tails: dict[int, tuple[tuple[Block, ...], Certificate]] = field(default_factory=dict)

    def copy(self) -> FinalBlocks:
        """Return what a backup made now holds."""
        return FinalBlocks(list(self.blocks), dict(self.tails))


class CheapLedger:
    """A chain whose state is a hash of what was executed.

    Parameters
    ----------
    genesis : header of block 0.
    disk : what survives.
    faults : what is wrong with the disk.
    plan : where epochs end.
    """

    def __init__(
        self, genesis: BlockHeader, disk: FinalBlocks, faults: DiskFaults, plan: EpochPlan
    ) -> None:
        self._genesis = genesis
        self._disk = disk
        self._faults = faults
        self._plan = plan
        self._pool: dict[bytes, None] = {}
        self._roots: dict[bytes, bytes] = {}
        self._bodies: dict[bytes, Block] = {}
        self._final: set[bytes] = set()
        self.restart()

    @property
    def height(self) -> int:
        return len(self._disk.blocks)

    def tip(self) -> tuple[BlockHeader, Certificate | None]:
        """Return the last final block's header, and its own certificate if it has one."""
        if not self._disk.blocks:
            return self._genesis, None
        last = self._disk.blocks[-1]
        return last.block.header, last.certificate

    def restart(self) -> None:
        blocks = self._disk.blocks
        root = blocks[-1].state_root if blocks else GENESIS_ROOT
        self._roots = {self.tip()[0].block_id: root}
        self._bodies.clear()
        self._pool.clear()
        self._final = {each for final in blocks for each in split(final.block.body)}

    def offer(self, transaction: bytes) -> None:
        """Put a transaction into the pool unless it is final."""
        if transaction not in self._final:
            self._pool[transaction] = None

    def is_valid(self, block: Block, *, certified: bool) -> bool:
        """Judge a block."""
        good = body_root(block.body) == block.header.body_root
        if good and not certified:
            numbers = split(block.body)
            above = self._transactions_above(block.header.parent_id)
            good = len(set(numbers)) == len(numbers) and above.isdisjoint(numbers)
        if good:
            self._bodies[block.block_id] = block
        return good

    def note(self, block: Block) -> None:
        """Remember a block that was not judged here: an own one, or one out of the log."""
        self._bodies.setdefault(block.block_id, block)

    def execute(self, block: Block, *, is_tail: bool) -> bytes | None:
        """Return the state root after a block; None if its parent is not known here any more."""
        root = self._roots.get(block.header.parent_id)
        if root is None:
            return None
        if not is_tail:
            root = execute(root, block.block_id)
        self._roots[block.block_id] = root
        return root

    def build(self, parent: BlockHeader, *, must_be_empty: bool) -> tuple[bytes, bytes]:
        """Choose a body; return it and its root."""
        body = b""
        if not must_be_empty:
            used = self._transactions_above(parent.block_id)
            waiting = [each for each in self._pool if each not in used]
            body = b"".join(waiting[:TRANSACTIONS_PER_BLOCK])
        return body, body_root(body)

    def finalize(self, blocks: Sequence[Block], certificate: Certificate) -> Iterator[FinalBlock]:
        """Put blocks on disk, one batch each; yield each once it is stored."""
        epoch = blocks[0].header.epoch
        end = self._plan.end_height(epoch)
        tails = tuple(block for block in blocks if block.header.height > end)
        for block in blocks[: len(blocks) - len(tails)]:
            own = certificate if block.block_id == certificate.block_id else None
            final = FinalBlock(block, self._roots[block.block_id], own)
            self._faults.on_effect()
            if self._faults.take(1) < 1:
                raise OSError(28, "No space left on device")
            self._faults.check_sync()
            if tails and block.header.height == end:
                self._disk.tails[epoch] = (tails, certificate)
            self._disk.blocks.append(final)
            self._forget(block)
            yield final
        tip_id = self.tip()[0].block_id
        self._roots = {
            key: root for key, root in self._roots.items() if key in self._bodies or key == tip_id
        }

    def discard(self, block_ids: Sequence[bytes]) -> None:
        """Forget blocks that will never be final."""
        for block_id in block_ids:
            self._bodies.pop(block_id, None)
            self._roots.pop(block_id, None)

    def serve(self, from_height: int, count: int) -> BlocksResponse:
        """Return final blocks."""
        epoch = self._plan.epoch_of(from_height)
        end = self._plan.end_height(epoch)
        stop = min(from_height - 1 + min(count, SERVED_BLOCKS_MAX), end)
        final = self._disk.blocks[from_height - 1 : stop]
        tails = self._disk.tails.get(epoch)
        if final and final[-1].block.header.height == end and tails is not None:
            blocks = tuple(each.block for each in final) + tails[0]
            return BlocksResponse(blocks, tails[1])
        while len(final) > 1 and final[-1].certificate is None:
            final = final[:-1]
        certificate = final[-1].certificate if final else None
        return BlocksResponse(tuple(each.block for each in final), certificate)

    def find_epoch_certificate(self, epoch: int) -> Certificate | None:
        """Return the certificate by which an epoch ended, if it has."""
        if epoch in self._disk.tails:
            return self._disk.tails[epoch][1]
        end = self._plan.end_height(epoch)
        return self._disk.blocks[end - 1].certificate if end <= self.height else None

    def has_work(self, is_live: IsLive) -> bool:
        """Say whether a transaction waits that no live unfinal block holds."""
        if not self._pool:
            return False
        held: set[bytes] = set()
        for block in self._bodies.values():
            if block.body and is_live(block.header):
                held.update(split(block.body))
        return any(each not in held for each in self._pool)

    def is_final(self, transaction: bytes) -> bool:
        return transaction in self._final

    def read_final(self, height: int) -> FinalBlock:
        return self._disk.blocks[height - 1]

    def make_backup(self) -> object:
        return self._disk.copy()

    def restore_backup(self, backup: object) -> None:
        self._disk = backup.copy() if isinstance(backup, FinalBlocks) else FinalBlocks()
        self.restart()

    def _forget(self, block: Block) -> None:
        self._bodies.pop(block.block_id, None)
        for transaction in split(block.body):
            self._final.add(transaction)
            self._pool.pop(transaction, None)

    def _transactions_above(self, block_id: bytes) -> set[bytes]:
        """Return the transactions of a block and its unfinal ancestors."""
        found: set[bytes] = set()
        while block_id in self._bodies:
            block = self._bodies[block_id]
            found.update(split(block.body))
            block_id = block.header.parent_id
        return found


def split(body: bytes) -> list[bytes]:
    """Return the transactions of a body."""
    return [
        body[start : start + TRANSACTION_BYTES] for start in range(0, len(body), TRANSACTION_BYTES)
    ]
