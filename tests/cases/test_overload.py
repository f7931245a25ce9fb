"""Ten times more transactions than there is room for are refused, and then all is as before."""

from __future__ import annotations

from ledger.metering import compute_units
from node.mempool import Mempool, MempoolLimits, SelectionLimits
from primitives.errors import InvalidInputError
from tests.helpers.ledger import Chain, make_account, make_network

SENDERS = 40
EACH = 50
ROOM = SelectionLimits(
    transactions_max=100,
    bytes_max=10**6,
    compute_units_max=10**9,
    compute_units_per_account_max=10**9,
)


def test_pool_that_was_flooded_empties_and_takes_new_ones() -> None:
    chain = Chain(make_network(accounts=SENDERS))
    accounts = chain.network.accounts
    target = make_account("somebody").id
    flood = [
        chain.transfer(sender, target, 1, nonce=nonce)
        for nonce in range(EACH)
        for sender in accounts
    ]
    size = flood[0].wire_bytes
    limits = MempoolLimits(bytes_max=size * len(flood) // 10, per_sender_max=EACH)
    pool = Mempool(limits, lambda each: compute_units(chain.store.tip_state, each))
    refused = 0
    for transaction in flood:
        try:
            pool.add(transaction, 0, gaps=False)
        except InvalidInputError as error:
            assert error.code in ("mempool_full", "nonce_gap")
            refused += 1
        assert pool.size_bytes <= limits.bytes_max
    assert refused >= len(flood) * 8 // 10
    nonces = dict.fromkeys((each.id for each in accounts), 0)
    taken = 0
    while len(pool):
        chosen = pool.select(ROOM, 1, {}, nonces.__getitem__)
        assert chosen
        for transaction in chosen:
            nonces[transaction.sender] = transaction.nonce + 1
        taken += len(chosen)
        pool.remove_final(chosen, nonces.__getitem__)
    assert taken == len(flood) - refused
    assert pool.size_bytes == 0
    fresh = chain.transfer(accounts[0], target, 1, nonce=nonces[accounts[0].id])
    pool.add(fresh, nonces[accounts[0].id], gaps=False)
    assert len(pool) == 1
