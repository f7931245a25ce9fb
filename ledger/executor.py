"""The state transition: what a block does to the state.

Theory of operation
-------------------
A block was ordered before anybody executed it, so it may hold transactions that turn out not to
work. Executing it never fails on that account; each transaction gets a receipt. In order:

1. The record of the parent (height, id, state root, receipts root) is written, and its id once
   more if somebody waits for what chance the block brings (`ledger.draws`).
2. Each transaction takes its turn:

   a. Its signer's key is current, its nonce is the account's next, it has not expired, the block
      and its sender's quota have room for its compute units, and its payer can pay the fee, which
      is within the limit that was signed. Otherwise it is *void*: no effect at all.
   b. Nonce and fee are consumed. Nothing takes them back.
   c. The body is applied. If it fails, everything that the body wrote is undone, and it is
      *failed*; else it is *ok*.

3. The fees go into the epoch's pot and the block is counted for its proposer
   (`ledger.epoch_rewards`); at two heights of an epoch the validators of the next one are settled
   and brought into force, with the last block pot and issuance are shared (`ledger.membership`).
4. Changed models are cut into chunks and hashed; their descriptors and versions are written.
5. All writes enter the state tree at once, in the order of their keys.

Invariants:

(I1) The result is a function of the parent's state, the header and the transactions alone.
(I2) Money is conserved: balances + held + burnt = all that was minted, after every block.
(I3) A void transaction changes nothing; a failed one changes only nonce, balances by the fee.
(I4) A nonce is consumed at most once, by transactions in ascending order of nonces.
(I5) Branches do not see each other: a block sees its ancestors and nothing else.

Who decides what a transaction may do in a block at all: `ledger.admission`, before. A block that
was not checked there must not come here.
Source: docs/spec/ledger.md §6.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Sequence
from typing import NamedTuple

from ledger.block_assembly import BlockOutcome, TreeNodes, assemble_block
from ledger.block_models import BlockModels
from ledger.codes import (
    ACCOUNT_QUOTA_EXCEEDED,
    BLOCK_FULL,
    EXPIRED,
    FEE_TOO_LOW,
    INSUFFICIENT_BALANCE,
    KEY_NOT_CURRENT,
    NONCE_GAP,
    NONCE_USED,
    OK,
)
from ledger.divergence import Trace
from ledger.draws import fulfil_draw
from ledger.duties import is_free
from ledger.epoch_rewards import note_block
from ledger.errors import TransactionFailedError
from ledger.executed_block import ExecutedBlock
from ledger.execution import BlockExecution
from ledger.membership import close_block, read_next_validators, read_validators
from ledger.metering import compute_fee, compute_units
from ledger.money import verify_money
from ledger.parameters import Parameters, decode_parameters
from ledger.payload import Payload, PayloadReader
from ledger.receipt import Receipt, ReceiptStatus
from ledger.schema import (
    CHAIN_PARAMETERS,
    CHAIN_PARENT,
    Account,
    ParentBlock,
    account_key,
)
from ledger.state import BlockState
from ledger.store import LedgerStore
from ledger.transaction import Transaction
from ledger.transactions.registry import body_of, kind_of
from primitives.accounts import AccountId, account_id_from_public_key, account_to_text
from primitives.errors import InvariantViolationError
from primitives.hashing import ZERO_HASH
from primitives.header import BlockHeader

__all__ = ["BlockExecutor"]


class _Refusal(NamedTuple):
    """Why a transaction is void."""

    code: str
    message: str


class BlockExecutor:
    """Executes blocks on top of the final state or of other executed blocks.

    Parameters
    ----------
    store : the final state; nothing is written to it here.
    payloads : live payloads of the final chain and of blocks whose payloads are held already.

    Notes
    -----
    One at a time: the store must not be written to while a block is executed.
    """

    def __init__(self, store: LedgerStore, payloads: PayloadReader) -> None:
        self._store = store
        self._payloads = payloads

    def execute(
        self,
        header: BlockHeader,
        transactions: Sequence[Transaction],
        parent: ExecutedBlock | None = None,
        trace: Trace | None = None,
    ) -> ExecutedBlock:
        """Execute a block that `ledger.admission.check_block` accepted.

        Parameters
        ----------
        header : of the block.
        transactions : of its body; payloads may be left to the payload reader.
        parent : the block before, or None if that is the final tip of the store.
        trace : shown what each transaction left behind, to compare executions.

        Raises
        ------
        InvariantViolationError
            If the header does not follow the parent, or the parent does not descend from the tip.
        CorruptStateError
            If the store lacks something.
        """
        lineage = self._lineage(parent)
        state = BlockState([block.records for block in lineage], self._store.tip_state)
        described = self._describe_parent(header, parent)
        state.put(CHAIN_PARENT, described)
        fulfil_draw(state, described, header.timestamp_ms)
        state.keep()
        run = self._start_run(header, transactions, lineage, state)
        receipts: list[Receipt] = []
        for transaction in transactions:
            receipts.append(run.execute(transaction))
            if trace is not None:
                trace(receipts[-1], state.written, run.models.arrays)
        note_block(state, read_validators(state), header.proposer, run.fees)
        close_block(state, header.height, run.parameters)
        verify_money(state, run.fees)
        chunks = run.models.finish(state, header.height, header.timestamp_ms)
        state.keep()
        outcome = BlockOutcome(receipts, state.written, chunks, run.models.arrays)
        nodes = TreeNodes(lineage, self._store)
        return assemble_block(header, transactions, outcome, nodes, lineage[0] if lineage else None)

    def compute_units_of(self, transaction: Transaction) -> int:
        """Return what a transaction would be metered at the tip, to fill blocks sensibly."""
        return compute_units(self._store.tip_state, transaction)

    def next_validators_hash(self, height: int, parent: ExecutedBlock | None) -> bytes:
        """Return what the header of a block at a height must say of the next epoch.

        Parameters
        ----------
        height : of the block.
        parent : the block before, or None if that is the final tip of the store.

        Returns
        -------
        bytes
            The hash of the next epoch's validators for the last block of an epoch, else zeros.
        """
        state = BlockState([each.records for each in self._lineage(parent)], self._store.tip_state)
        parameters = self._read_parameters(state)
        if height != parameters.epoch_end(parameters.epoch_of(height)):
            return ZERO_HASH
        return read_next_validators(state).to_validator_set().hash

    def _read_parameters(self, state: BlockState) -> Parameters:
        parameters = state.get(CHAIN_PARAMETERS, decode_parameters)
        if parameters is None:
            raise InvariantViolationError("the state has no parameters")
        return parameters

    def _lineage(self, parent: ExecutedBlock | None) -> list[ExecutedBlock]:
        """Return the unfinal blocks from the parent down to right above the tip."""
        if parent is None:
            return []
        tip = self._store.tip()
        lineage = list(parent.lineage_above(tip.height))
        lowest_parent = lineage[-1].header.parent_id if lineage else parent.block_id
        if lowest_parent != tip.block_id:
            raise InvariantViolationError(
                f"block {parent.block_id.hex()} does not descend from the final tip"
                f" {tip.block_id.hex()}"
            )
        return lineage

    def _describe_parent(self, header: BlockHeader, parent: ExecutedBlock | None) -> ParentBlock:
        before = self._store.tip() if parent is None else parent
        if header.parent_id != before.block_id or header.height != before.height + 1:
            raise InvariantViolationError(
                f"block at height {header.height} on {header.parent_id.hex()} does not follow"
                f" block {before.block_id.hex()} at height {before.height}"
            )
        return ParentBlock(before.height, before.block_id, before.state_root, before.receipts_root)

    def _start_run(
        self,
        header: BlockHeader,
        transactions: Sequence[Transaction],
        lineage: Sequence[ExecutedBlock],
        state: BlockState,
    ) -> _BlockRun:
        parameters = self._read_parameters(state)
        carried: ChainMap[bytes, Payload] = ChainMap(
            _payloads_of(transactions), *(_payloads_of(block.transactions) for block in lineage)
        )

        def find_payload(transaction_id: bytes) -> Payload | None:
            return carried.get(transaction_id) or self._payloads.read(transaction_id)

        def read_chunk(chunk_hash: bytes) -> bytes | None:
            for block in lineage:
                if chunk_hash in block.chunks:
                    return block.chunks[chunk_hash]
            return self._store.read_chunk(chunk_hash)

        layers = [block.models for block in lineage]
        models = BlockModels(layers, self._store.load_model_state, read_chunk)
        return _BlockRun(BlockExecution(header, parameters, state, models, find_payload))


class _BlockRun:
    """The turns of the transactions of one block."""

    def __init__(self, execution: BlockExecution) -> None:
        self._execution = execution
        self._state = execution.state
        self.parameters = execution.parameters
        self._units_left = execution.parameters.compute_units_per_block_max
        self._units_by_sender: dict[AccountId, int] = {}
        self.fees = 0
        self.models = execution.models

    def execute(self, transaction: Transaction) -> Receipt:
        """Let a transaction take its turn."""
        units = compute_units(self._state, transaction)
        fee = 0
        if not is_free(self._state, transaction, self._execution.timestamp_ms):
            fee = compute_fee(self.parameters, transaction, units)
        refusal = self._find_refusal(transaction, units, fee)
        if refusal is not None:
            return _receipt(transaction, ReceiptStatus.VOID, refusal)
        self._consume(transaction, units, fee)
        return self._apply(transaction, units, fee)

    def _find_refusal(self, transaction: Transaction, units: int, fee: int) -> _Refusal | None:
        """Return why the transaction is void, or None; the order of the rules is fixed."""
        sender = self._execution.get_account(transaction.sender)
        return (
            _refuse_key(transaction, 0, transaction.sender, sender)
            or _refuse_nonce(transaction, sender)
            or self._refuse_expiry(transaction)
            or self._refuse_units(transaction, units)
            or self._refuse_fee(transaction, fee)
        )

    def _refuse_expiry(self, transaction: Transaction) -> _Refusal | None:
        height, until = self._execution.height, transaction.valid_until_height
        if height <= until:
            return None
        return _Refusal(EXPIRED, f"valid until height {until}, executed at {height}")

    def _refuse_units(self, transaction: Transaction, units: int) -> _Refusal | None:
        if units > self._units_left:
            return _Refusal(
                BLOCK_FULL, f"needs {units} compute units, the block has {self._units_left} left"
            )
        used = self._units_by_sender.get(transaction.sender, 0)
        quota = self.parameters.compute_units_per_account_max
        if used + units > quota:
            return _Refusal(
                ACCOUNT_QUOTA_EXCEEDED,
                f"needs {units} compute units, the sender used {used} of its {quota} in this block",
            )
        return None

    def _refuse_fee(self, transaction: Transaction, fee: int) -> _Refusal | None:
        if fee > transaction.fee_limit:
            return _Refusal(
                FEE_TOO_LOW, f"the fee is {fee}, above the fee limit {transaction.fee_limit}"
            )
        payer = self._execution.get_account(transaction.payer)
        if transaction.sponsor is not None:
            refusal = _refuse_key(transaction, 1, transaction.sponsor, payer)
            if refusal is not None:
                return refusal
        if payer.balance < fee:
            return _Refusal(
                INSUFFICIENT_BALANCE,
                f"{account_to_text(transaction.payer)} has {payer.balance}, the fee is {fee}",
            )
        return None

    def _consume(self, transaction: Transaction, units: int, fee: int) -> None:
        """Use up nonce, fee and room; nothing takes this back."""
        execution, state = self._execution, self._state
        sender = execution.get_account(transaction.sender)
        sender = Account(sender.public_key, sender.nonce + 1, sender.balance)
        state.put(account_key(transaction.sender), sender)
        if fee:
            payer = execution.get_account(transaction.payer)
            payer = Account(payer.public_key, payer.nonce, payer.balance - fee)
            state.put(account_key(transaction.payer), payer)
        state.keep()
        self.fees += fee
        self._units_left -= units
        used = self._units_by_sender.get(transaction.sender, 0)
        self._units_by_sender[transaction.sender] = used + units

    def _apply(self, transaction: Transaction, units: int, fee: int) -> Receipt:
        execution = self._execution
        execution.start(transaction)
        try:
            data = kind_of(transaction).apply(execution, transaction, body_of(transaction))
        except TransactionFailedError as failure:
            if self.models.is_touched:
                # Arrays are changed in place, so this body cannot be undone.
                raise InvariantViolationError(
                    f"transaction {transaction.transaction_id.hex()} failed after it changed a"
                    f" model: {failure.message}"
                ) from failure
            self._state.undo()
            refusal = _Refusal(failure.code, failure.message)
            return _receipt(transaction, ReceiptStatus.FAILED, refusal, fee, units)
        verify_money(self._state)
        self._state.keep()
        return Receipt(transaction.transaction_id, ReceiptStatus.OK, OK, "", fee, units, data)


def _refuse_key(
    transaction: Transaction, index: int, account_id: AccountId, account: Account
) -> _Refusal | None:
    """Say why the key of a signature is not the current key of its account, if it is not."""
    signing_key = transaction.signatures[index].public_key
    if account.public_key is None:
        is_current = account_id_from_public_key(signing_key) == account_id
    else:
        is_current = signing_key == account.public_key
    if is_current:
        return None
    return _Refusal(
        KEY_NOT_CURRENT,
        f"{signing_key.hex()} is not the current key of {account_to_text(account_id)}",
    )


def _refuse_nonce(transaction: Transaction, sender: Account) -> _Refusal | None:
    if transaction.nonce == sender.nonce:
        return None
    code = NONCE_USED if transaction.nonce < sender.nonce else NONCE_GAP
    return _Refusal(code, f"nonce {transaction.nonce}, the account's next is {sender.nonce}")


def _receipt(
    transaction: Transaction, status: ReceiptStatus, refusal: _Refusal, fee: int = 0, units: int = 0
) -> Receipt:
    return Receipt(
        transaction.transaction_id, status, refusal.code, refusal.message, fee, units, []
    )


def _payloads_of(transactions: Sequence[Transaction]) -> dict[bytes, Payload]:
    return {
        transaction.transaction_id: transaction.payload
        for transaction in transactions
        if transaction.payload is not None
    }
