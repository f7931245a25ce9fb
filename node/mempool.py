"""Transactions that wait for a block.

Theory of operation
-------------------
A transaction enters once, after its signature was checked, and leaves when it is final, void or
expired, never because it was proposed: the transactions of a block that was skipped are simply
still here. Each sender has a window of consecutive nonces from the account's next one; a client
that leaves a gap is told the expected nonce, while a peer's transaction may arrive before its
predecessor (they come over different links) and waits in the window until it fits.

Selection takes senders in turn, a short run of consecutive nonces from each, so that one busy
sender cannot starve the others; every limit is a named number.

Invariants: (M1) the pool never holds more than ``bytes_max`` bytes nor a sender more than
``per_sender_max`` transactions; (M2) a selection never skips a nonce of a sender; (M3) one
transaction for each (sender, nonce).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from ledger.transaction import Transaction
from primitives.accounts import AccountId, account_to_text
from primitives.errors import InvalidInputError

__all__ = ["Mempool", "MempoolLimits", "SelectionLimits"]

RUN_LENGTH = 32
"""Transactions taken from one sender before the next sender's turn."""


@dataclass(frozen=True, slots=True)
class MempoolLimits:
    """Bounds of the pool.

    ``per_sender_max`` is the width of a sender's window of nonces.
    """

    bytes_max: int = 64 * 1024 * 1024
    per_sender_max: int = 512


@dataclass(frozen=True, slots=True)
class SelectionLimits:
    """What fits into one block; the compute units are metered by the ledger."""

    transactions_max: int
    bytes_max: int
    compute_units_max: int
    compute_units_per_account_max: int


class Mempool:
    """Pending transactions by sender and nonce.

    Parameters
    ----------
    limits
        Bounds of the pool.
    compute_units_of
        The ledger's metering of one transaction.
    """

    def __init__(
        self, limits: MempoolLimits, compute_units_of: Callable[[Transaction], int]
    ) -> None:
        self._limits = limits
        self._compute_units_of = compute_units_of
        self._by_sender: dict[AccountId, dict[int, Transaction]] = {}
        self._by_id: dict[bytes, Transaction] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._by_id)

    @property
    def size_bytes(self) -> int:
        """Bytes of all waiting envelopes and payloads."""
        return self._bytes

    def get(self, transaction_id: bytes) -> Transaction | None:
        """Return a waiting transaction."""
        return self._by_id.get(transaction_id)

    def get_next_nonce(self, sender: AccountId, state_nonce: int) -> int:
        """Return the first nonce of ``sender`` that is neither used nor waiting."""
        waiting = self._by_sender.get(sender)
        nonce = state_nonce
        if waiting:
            while nonce in waiting:
                nonce += 1
        return nonce

    def check_room(self, transaction: Transaction, state_nonce: int, *, gaps: bool) -> None:
        """Refuse a transaction that cannot wait here; cheap, so it comes before the signature.

        Parameters
        ----------
        state_nonce
            The sender's next nonce in the final state.
        gaps
            Whether the nonce may lie beyond the next free one (transactions from peers).

        Raises
        ------
        InvalidInputError
            ``nonce_used``, ``nonce_gap``, ``mempool_full``, ``sender_full`` or ``duplicate``.
        """
        if transaction.transaction_id in self._by_id:
            raise InvalidInputError("duplicate", "transaction is already waiting")
        sender, nonce = transaction.sender, transaction.nonce
        expected = self.get_next_nonce(sender, state_nonce)
        if nonce < state_nonce or nonce in self._by_sender.get(sender, ()):
            raise InvalidInputError(
                "nonce_used",
                f"nonce {nonce} of {account_to_text(sender)} is used; the next is {expected}",
                field="nonce",
                value=nonce,
                limit=expected,
            )
        if nonce > expected and not gaps:
            raise InvalidInputError(
                "nonce_gap",
                f"nonce {nonce} of {account_to_text(sender)} leaves a gap; the next is {expected}",
                field="nonce",
                value=nonce,
                limit=expected,
            )
        if nonce >= state_nonce + self._limits.per_sender_max:
            raise InvalidInputError(
                "sender_full",
                f"{account_to_text(sender)} has {self._limits.per_sender_max} transactions waiting,"
                " the most that one sender may have",
                field="nonce",
                value=nonce,
                limit=state_nonce + self._limits.per_sender_max - 1,
            )
        size = self._bytes + transaction.wire_bytes
        if size > self._limits.bytes_max:
            raise InvalidInputError(
                "mempool_full",
                f"{size} bytes would wait, above the limit {self._limits.bytes_max}; try later",
                field="mempool",
                value=size,
                limit=self._limits.bytes_max,
            )

    def add(self, transaction: Transaction, state_nonce: int, *, gaps: bool) -> None:
        """Let a checked transaction wait; refuses as :meth:`check_room` does."""
        self.check_room(transaction, state_nonce, gaps=gaps)
        self._by_sender.setdefault(transaction.sender, {})[transaction.nonce] = transaction
        self._by_id[transaction.transaction_id] = transaction
        self._bytes += transaction.wire_bytes

    def select(
        self,
        limits: SelectionLimits,
        height: int,
        next_nonces: Mapping[AccountId, int],
        get_state_nonce: Callable[[AccountId], int],
    ) -> list[Transaction]:
        """Return the transactions of the next block, in order.

        Parameters
        ----------
        limits
            What fits into the block.
        height
            Height of the block; transactions that expire before it stay out.
        next_nonces
            For senders with transactions in blocks that are not final yet: the nonce after those.
        get_state_nonce
            A sender's next nonce in the final state.
        """
        selected: list[Transaction] = []
        room = _Room(limits)
        cursors = {
            sender: max(next_nonces.get(sender, 0), get_state_nonce(sender))
            for sender in self._by_sender
        }
        waiting_senders = list(self._by_sender)
        while waiting_senders:
            still_waiting: list[AccountId] = []
            for sender in waiting_senders:
                run = self._take_run(sender, cursors[sender], height, room)
                selected.extend(run)
                cursors[sender] += len(run)
                if len(run) == RUN_LENGTH:
                    still_waiting.append(sender)
            waiting_senders = still_waiting
        self._rotate_senders()
        return selected

    def has_selectable(
        self, next_nonces: Mapping[AccountId, int], get_state_nonce: Callable[[AccountId], int]
    ) -> bool:
        """Return whether :meth:`select` would find anything, whatever the limits."""
        return any(
            max(next_nonces.get(sender, 0), get_state_nonce(sender)) in waiting
            for sender, waiting in self._by_sender.items()
        )

    def remove_final(
        self, transactions: Iterable[Transaction], get_state_nonce: Callable[[AccountId], int]
    ) -> None:
        """Forget the transactions of a final block and what they made void."""
        senders: dict[AccountId, None] = {}
        for transaction in transactions:
            senders[transaction.sender] = None
            self._remove(transaction.sender, transaction.nonce)
        for sender in senders:
            next_nonce = get_state_nonce(sender)
            stale = [nonce for nonce in self._by_sender.get(sender, ()) if nonce < next_nonce]
            for nonce in stale:
                self._remove(sender, nonce)

    def remove(self, transaction: Transaction) -> None:
        """Forget one transaction; nothing happens if it does not wait."""
        if transaction.transaction_id in self._by_id:
            self._remove(transaction.sender, transaction.nonce)

    def remove_expired(self, final_height: int) -> Collection[bytes]:
        """Forget what can no longer be included; return the ids."""
        expired = [
            transaction
            for transaction in self._by_id.values()
            if transaction.valid_until_height <= final_height
        ]
        for transaction in expired:
            self._remove(transaction.sender, transaction.nonce)
        return [transaction.transaction_id for transaction in expired]

    def waiting(self) -> list[Transaction]:
        """Return everything that waits, oldest first."""
        return list(self._by_id.values())

    def _take_run(
        self, sender: AccountId, nonce: int, height: int, room: _Room
    ) -> list[Transaction]:
        waiting = self._by_sender[sender]
        run: list[Transaction] = []
        while len(run) < RUN_LENGTH:
            transaction = waiting.get(nonce)
            if transaction is None or transaction.valid_until_height < height:
                break
            units = self._compute_units_of(transaction)
            if not room.take(sender, transaction.wire_bytes, units):
                break
            run.append(transaction)
            nonce += 1
        return run

    def _rotate_senders(self) -> None:
        """Let another sender be first next time."""
        if len(self._by_sender) > 1:
            first = next(iter(self._by_sender))
            self._by_sender[first] = self._by_sender.pop(first)

    def _remove(self, sender: AccountId, nonce: int) -> None:
        waiting = self._by_sender.get(sender)
        transaction = waiting.pop(nonce, None) if waiting is not None else None
        if transaction is None:
            return
        del self._by_id[transaction.transaction_id]
        self._bytes -= transaction.wire_bytes
        if not waiting:
            del self._by_sender[sender]


class _Room:
    """What is left of a block while it is filled."""

    def __init__(self, limits: SelectionLimits) -> None:
        self._transactions = limits.transactions_max
        self._bytes = limits.bytes_max
        self._compute_units = limits.compute_units_max
        self._account_max = limits.compute_units_per_account_max
        self._hopeless_from = min(limits.compute_units_max, self._account_max) + 1
        self._by_account: dict[AccountId, int] = {}

    def take(self, sender: AccountId, size_bytes: int, compute_units: int) -> bool:
        """Reserve room for one transaction; False, and nothing taken, when it does not fit.

        One that needs more than any block has is taken all the same, and is void there: its
        sender is told why, instead of waiting while the chain makes one empty block after another.
        """
        if compute_units >= self._hopeless_from:
            compute_units = 0
        used = self._by_account.get(sender, 0) + compute_units
        fits = (
            self._transactions >= 1
            and self._bytes >= size_bytes
            and self._compute_units >= compute_units
            and self._account_max >= used
        )
        if fits:
            self._transactions -= 1
            self._bytes -= size_bytes
            self._compute_units -= compute_units
            self._by_account[sender] = used
        return fits
