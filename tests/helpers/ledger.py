"""Networks, keys, signed transactions and blocks for tests, all of them fixed by small numbers.

>>> chain = Chain(make_network())
>>> alice, bob = chain.network.accounts[:2]
>>> block = chain.run([chain.transfer(alice, bob.id, 5)])
>>> block.receipts[0].code
'ok'
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from ledger.body import compute_body_root
from ledger.chunk_keeper import RELEASE_LAG
from ledger.executed_block import ExecutedBlock
from ledger.executor import BlockExecutor
from ledger.genesis import Genesis
from ledger.genesis_block import PROTOCOL_VERSION, build_genesis_block
from ledger.key_value import KeyValueStore, MemoryKeyValueStore
from ledger.members import Member
from ledger.parameters import Parameters
from ledger.payload import MemoryPayloadStore, Payload
from ledger.schema import (
    ACCOUNT_PREFIX,
    CHAIN_SUPPLY,
    Account,
    account_key,
    decode_account,
    decode_supply,
)
from ledger.store import LedgerStore
from ledger.transaction import Transaction, TransactionContent, build_transaction
from ledger.transactions.accounts import Transfer
from ledger.transactions.registry import get_kind
from primitives.accounts import AccountId, account_id_from_public_key
from primitives.certificates import Certificate, VoteKind, vote_signing_bytes
from primitives.codec import Encodable
from primitives.hashing import ZERO_HASH
from primitives.header import BlockHeader
from primitives.keys import PrivateKey

GENESIS_TIME_MS = 1_700_000_000_000
INITIAL_BALANCE = 1_000_000
VALID_FOR_HEIGHTS = 1_000


@dataclass(frozen=True)
class TestAccount:
    """An account whose private key the test holds."""

    __test__ = False

    key: PrivateKey
    id: AccountId


@dataclass(frozen=True)
class Network:
    """A genesis and every private key behind it.

    ``accounts`` have money; ``validators`` sign certificates, in the order of their indices.
    """

    genesis: Genesis
    accounts: tuple[TestAccount, ...]
    validators: tuple[PrivateKey, ...]
    transports: tuple[PrivateKey, ...]

    @property
    def chain_id(self) -> bytes:
        return self.genesis.chain_id


def make_key(name: str) -> PrivateKey:
    return PrivateKey(sha256(name.encode()).digest())


def make_account(name: str) -> TestAccount:
    key = make_key(name)
    return TestAccount(key, account_id_from_public_key(key.public_key))


def make_salt(number: int) -> bytes:
    return sha256(b"salt%d" % number).digest()


def make_network(
    validators: int = 4,
    accounts: int = 4,
    *,
    balance: int = INITIAL_BALANCE,
    parameters: Parameters | None = None,
    endpoints: Sequence[str] = (),
) -> Network:
    """Return a network; member accounts have no money, the other accounts `balance` each."""
    validator_keys = tuple(make_key(f"validator {index}") for index in range(validators))
    transport_keys = tuple(make_key(f"transport {index}") for index in range(validators))
    members = tuple(
        Member(
            name=f"member-{index}",
            account=make_account(f"member {index}").id,
            validator_key=validator_keys[index].public_key,
            transport_key=transport_keys[index].public_key,
            endpoint=endpoints[index] if endpoints else f"127.0.0.1:{7000 + index}",
        )
        for index in range(validators)
    )
    holders = tuple(make_account(f"account {index}") for index in range(accounts))
    genesis = Genesis(
        chain_name="test-chain",
        timestamp_ms=GENESIS_TIME_MS,
        members=members,
        allocations={holder.id: balance for holder in holders},
        parameters=Parameters() if parameters is None else parameters,
    )
    return Network(genesis, holders, validator_keys, transport_keys)


def make_transaction(
    network: Network,
    sender: TestAccount,
    kind: str | int,
    body: Sequence[Encodable],
    *,
    nonce: int = 0,
    payload: Payload | None = None,
    sponsor: TestAccount | None = None,
    fee_limit: int = 0,
    valid_until_height: int = VALID_FOR_HEIGHTS,
) -> Transaction:
    """Return a signed transaction of any kind."""
    content = TransactionContent(
        chain_id=network.chain_id,
        sender=sender.id,
        nonce=nonce,
        valid_until_height=valid_until_height,
        fee_limit=fee_limit,
        sponsor=None if sponsor is None else sponsor.id,
        kind=get_kind(kind).code if isinstance(kind, str) else kind,
        body=body,
    )
    signers = [sender.key] if sponsor is None else [sender.key, sponsor.key]
    return build_transaction(content, signers, payload)


def make_transfer(
    network: Network,
    sender: TestAccount,
    recipient: AccountId,
    amount: int,
    *,
    nonce: int = 0,
    sponsor: TestAccount | None = None,
    fee_limit: int = 0,
    valid_until_height: int = VALID_FOR_HEIGHTS,
) -> Transaction:
    return make_transaction(
        network,
        sender,
        "transfer",
        Transfer(recipient, amount).to_fields(),
        nonce=nonce,
        sponsor=sponsor,
        fee_limit=fee_limit,
        valid_until_height=valid_until_height,
    )


def make_header(
    network: Network,
    parent: BlockHeader,
    transactions: Sequence[Transaction] = (),
    *,
    view: int | None = None,
    proposer: int = 0,
    timestamp_ms: int | None = None,
) -> BlockHeader:
    """Return the header of a child of `parent`."""
    return BlockHeader(
        protocol_version=PROTOCOL_VERSION,
        chain_id=network.chain_id,
        epoch=0,
        height=parent.height + 1,
        view=parent.view + 1 if view is None else view,
        parent_id=parent.block_id,
        parent_view=parent.view,
        timestamp_ms=parent.timestamp_ms + 1_000 if timestamp_ms is None else timestamp_ms,
        proposer=proposer,
        body_root=compute_body_root(transactions),
    )


def make_certificate(
    network: Network,
    header: BlockHeader,
    state_root: bytes,
    *,
    kind: VoteKind = VoteKind.COMMIT,
    signers: Sequence[int] | None = None,
) -> Certificate:
    """Return the certificate of a quorum of validators for a block."""
    count = len(network.validators)
    indices = tuple(range(count - (count - 1) // 3)) if signers is None else tuple(signers)
    root = state_root if kind is VoteKind.COMMIT else ZERO_HASH
    message = vote_signing_bytes(
        network.chain_id, header.epoch, kind, header.view, header.block_id, root
    )
    signatures = tuple(network.validators[index].sign(message) for index in indices)
    return Certificate(kind, header.epoch, header.view, header.block_id, root, indices, signatures)


def certify(network: Network, block: ExecutedBlock) -> Certificate:
    return make_certificate(network, block.header, block.state_root)


@dataclass
class Chain:
    """A ledger in memory that grows block by block, as one validator sees it."""

    network: Network
    values: KeyValueStore = field(default_factory=MemoryKeyValueStore)
    payloads: MemoryPayloadStore = field(default_factory=MemoryPayloadStore)
    release_lag: int = RELEASE_LAG

    def __post_init__(self) -> None:
        self.store = LedgerStore(self.values, release_lag=self.release_lag)
        self.store.initialise(self.network.genesis)
        self.executor = BlockExecutor(self.store, self.payloads)

    @property
    def tip_header(self) -> BlockHeader:
        return self.store.header(self.store.tip().height)

    def execute(
        self,
        transactions: Sequence[Transaction] = (),
        parent: ExecutedBlock | None = None,
        *,
        view: int | None = None,
        proposer: int = 0,
        timestamp_ms: int | None = None,
    ) -> ExecutedBlock:
        """Execute a block on `parent`, or on the tip; payloads are held from then on."""
        header = make_header(
            self.network,
            self.tip_header if parent is None else parent.header,
            transactions,
            view=view,
            proposer=proposer,
            timestamp_ms=timestamp_ms,
        )
        for transaction in transactions:
            if transaction.payload is not None:
                self.payloads.add(transaction.transaction_id, transaction.payload)
        return self.executor.execute(header, transactions, parent)

    def finalize(self, block: ExecutedBlock) -> ExecutedBlock:
        """Make a block and its unfinal ancestors final with a certificate for the block."""
        certificate = certify(self.network, block)
        lineage = list(block.lineage_above(self.store.tip().height))
        for ancestor in reversed(lineage):
            self.store.commit(ancestor, certificate, block.height)
        return block

    def run(
        self,
        transactions: Sequence[Transaction] = (),
        *,
        proposer: int = 0,
        timestamp_ms: int | None = None,
    ) -> ExecutedBlock:
        """Execute a block on the tip and make it final."""
        block = self.execute(transactions, proposer=proposer, timestamp_ms=timestamp_ms)
        return self.finalize(block)

    def submit(
        self,
        sender: TestAccount,
        kind: str,
        body: Sequence[Encodable],
        payload: Payload | None = None,
        *,
        timestamp_ms: int | None = None,
        fee_limit: int = 0,
    ) -> ExecutedBlock:
        """Run a block with one transaction, signed with the sender's next nonce."""
        transaction = make_transaction(
            self.network,
            sender,
            kind,
            body,
            nonce=self.account(sender.id).nonce,
            payload=payload,
            fee_limit=fee_limit,
            valid_until_height=self.store.tip().height + VALID_FOR_HEIGHTS,
        )
        return self.run([transaction], timestamp_ms=timestamp_ms)

    def transfer(
        self, sender: TestAccount, recipient: AccountId, amount: int, *, nonce: int | None = None
    ) -> Transaction:
        """Return a signed transfer; the nonce is the next one of the final state if left out."""
        return make_transfer(
            self.network,
            sender,
            recipient,
            amount,
            nonce=self.account(sender.id).nonce if nonce is None else nonce,
        )

    def account(self, account: AccountId, height: int | None = None) -> Account:
        """Return an account of the final state."""
        return self.store.read(account_key(account), decode_account, height) or Account()

    def balances(self) -> Mapping[AccountId, int]:
        """Return the balance of every account there is, at the tip."""
        found = self.store.scan(ACCOUNT_PREFIX, limit=1_000_000)
        return {
            AccountId(key[len(ACCOUNT_PREFIX) :]): decode_account(value).balance
            for key, value in found
        }

    def check_conservation(self) -> None:
        """Assert that all money there is adds up to the supply."""
        supply = self.store.read(CHAIN_SUPPLY, decode_supply)
        assert supply is not None
        assert sum(self.balances().values()) + supply.held + supply.burnt == supply.total


def genesis_header(network: Network) -> BlockHeader:
    return build_genesis_block(network.genesis).header
