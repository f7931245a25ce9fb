"""Transactions wait in the order of their nonces, within bounds, and leave when they are final."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from ledger.body import decode_body, encode_body
from ledger.parameters import Parameters
from ledger.transaction import Transaction
from node.mempool import RUN_LENGTH, Mempool, MempoolLimits, SelectionLimits
from node.submissions import Submissions
from node.unfinal_blocks import UnfinalBlocks, make_unfinal_block
from primitives.accounts import AccountId
from primitives.errors import InvalidInputError
from tests.helpers.ledger import genesis_header, make_header, make_network, make_transfer

NETWORK = make_network()
ALICE, BOB, CAROL = NETWORK.accounts[:3]
ROOM = SelectionLimits(
    transactions_max=1_000,
    bytes_max=10**6,
    compute_units_max=10**9,
    compute_units_per_account_max=10**9,
)


def transfer(sender=ALICE, nonce: int = 0, valid_until_height: int = 100) -> Transaction:
    return make_transfer(
        NETWORK, sender, BOB.id, 1, nonce=nonce, valid_until_height=valid_until_height
    )


def make_mempool(**limits: int) -> Mempool:
    return Mempool(MempoolLimits(**limits), lambda transaction: 100)


def fill(mempool: Mempool, *transactions: Transaction) -> None:
    for transaction in transactions:
        mempool.add(transaction, 0, gaps=True)


def select(mempool: Mempool, limits: SelectionLimits = ROOM, height: int = 1, **known: dict):
    next_nonces: dict[AccountId, int] = known.get("next_nonces", {})
    return mempool.select(limits, height, next_nonces, lambda account: 0)


def refused_code(call) -> str:
    with pytest.raises(InvalidInputError) as refused:
        call()
    return refused.value.code


def test_selection_keeps_nonces_in_order_and_skips_none() -> None:
    mempool = make_mempool()
    fill(mempool, transfer(nonce=1), transfer(nonce=0), transfer(nonce=3))
    assert [each.nonce for each in select(mempool)] == [0, 1]
    assert len(mempool) == 3


def test_selection_goes_on_after_unfinal_blocks() -> None:
    mempool = make_mempool()
    fill(mempool, *(transfer(nonce=nonce) for nonce in range(4)))
    chosen = select(mempool, next_nonces={ALICE.id: 2})
    assert [each.nonce for each in chosen] == [2, 3]
    assert mempool.has_selectable({ALICE.id: 3}, lambda account: 0)
    assert not mempool.has_selectable({ALICE.id: 4}, lambda account: 0)


def test_busy_sender_does_not_starve_the_others() -> None:
    mempool = make_mempool()
    fill(mempool, *(transfer(nonce=nonce) for nonce in range(2 * RUN_LENGTH)))
    fill(mempool, transfer(CAROL))
    room = replace(ROOM, transactions_max=RUN_LENGTH + 1)
    senders = [each.sender for each in select(mempool, room)]
    assert senders.count(CAROL.id) == 1
    everything = select(mempool)
    assert len(everything) == 2 * RUN_LENGTH + 1


@pytest.mark.parametrize(
    "limits",
    [
        replace(ROOM, transactions_max=2),
        replace(ROOM, bytes_max=2 * transfer().wire_bytes),
        replace(ROOM, compute_units_max=299),
        replace(ROOM, compute_units_per_account_max=299),
    ],
)
def test_selection_keeps_every_limit(limits: SelectionLimits) -> None:
    mempool = make_mempool()
    fill(mempool, *(transfer(nonce=nonce) for nonce in range(5)))
    assert len(select(mempool, limits)) == 2


@pytest.mark.parametrize("limit", ["compute_units_max", "compute_units_per_account_max"])
def test_what_needs_more_than_any_block_has_does_not_wait_for_ever(limit: str) -> None:
    mempool = make_mempool()
    fill(mempool, transfer())
    assert select(mempool, replace(ROOM, **{limit: 99})) == [transfer()]


def test_expired_transactions_are_not_selected_and_are_forgotten() -> None:
    mempool = make_mempool()
    late = transfer(valid_until_height=5)
    fill(mempool, late)
    assert select(mempool, height=6) == []
    assert list(mempool.remove_expired(4)) == []
    assert list(mempool.remove_expired(5)) == [late.transaction_id]
    assert len(mempool) == mempool.size_bytes == 0


def test_what_cannot_wait_is_refused_by_its_code() -> None:
    mempool = make_mempool(per_sender_max=4)
    first = transfer()
    mempool.add(first, 0, gaps=False)
    other = make_transfer(NETWORK, ALICE, CAROL.id, 9, nonce=0)
    assert refused_code(lambda: mempool.add(first, 0, gaps=False)) == "duplicate"
    assert refused_code(lambda: mempool.add(other, 0, gaps=False)) == "nonce_used"
    assert refused_code(lambda: mempool.add(transfer(nonce=2), 0, gaps=False)) == "nonce_gap"
    assert refused_code(lambda: mempool.add(transfer(nonce=4), 0, gaps=True)) == "sender_full"
    assert refused_code(lambda: mempool.add(transfer(nonce=1), 2, gaps=True)) == "nonce_used"
    full = make_mempool(bytes_max=first.wire_bytes - 1)
    assert refused_code(lambda: full.add(first, 0, gaps=False)) == "mempool_full"


def test_final_transactions_leave_and_take_void_ones_along() -> None:
    mempool = make_mempool()
    transactions = [transfer(nonce=nonce) for nonce in range(3)]
    fill(mempool, *transactions)
    mempool.remove_final([transactions[1]], lambda account: 2)
    assert mempool.waiting() == [transactions[2]]
    assert mempool.get(transactions[0].transaction_id) is None
    mempool.remove_final([transfer(CAROL)], lambda account: 1)
    assert len(mempool) == 1


def test_unfinal_blocks_know_what_their_ancestors_hold() -> None:
    blocks = UnfinalBlocks()
    genesis = genesis_header(NETWORK)
    first_body = [transfer(nonce=0), transfer(nonce=1)]
    first = make_header(NETWORK, genesis, first_body)
    second = make_header(NETWORK, first, [transfer(CAROL)])
    blocks.put(make_unfinal_block(first, encode_body(first_body), first_body))
    blocks.put(make_unfinal_block(second, b"", [transfer(CAROL)]))
    above = blocks.get_ancestor_transactions(second.block_id)
    assert above.next_nonces == {ALICE.id: 2, CAROL.id: 1}
    assert {each.transaction_id for each in first_body} < above.ids
    assert blocks.get_ancestor_transactions(genesis.block_id).ids == frozenset()
    assert blocks.get_next_nonces(lambda header: header.height == 2) == {CAROL.id: 1}
    blocks.remove_up_to(1)
    assert blocks.get(first.block_id) is None
    blocks.remove(second.block_id)
    assert len(blocks) == 0


class FinalLedger:
    """A final state in which nobody has sent anything."""

    final_height = 0
    parameters = Parameters()

    def get_next_nonce(self, account: AccountId) -> int:
        return 0


def run_submissions(work) -> tuple[Mempool, list[bytes], Submissions]:
    """Run `work` with an open door; return the pool, what was sent to peers, and the door."""
    mempool = make_mempool()
    sent: list[bytes] = []

    async def main() -> Submissions:
        with ThreadPoolExecutor(1) as executor:
            door = Submissions(
                chain_id=NETWORK.chain_id,
                mempool=mempool,
                ledger=FinalLedger(),
                executor=executor,
                send_to_peers=sent.append,
                on_broken=lambda error: pytest.fail(str(error)),
            )
            door.start(lambda: None)
            async with asyncio.timeout(30):
                await work(door)
            await door.stop()
            return door

    return mempool, sent, asyncio.run(main())


def decode_batches(batches: list[bytes]) -> list[Transaction]:
    return [
        transaction
        for batch in batches
        for transaction in decode_body(batch, bytes_max=10**6, transactions_max=1_000)
    ]


def test_client_may_send_many_without_waiting_and_all_go_to_the_peers_in_order() -> None:
    transactions = [transfer(nonce=nonce) for nonce in range(20)]

    async def work(door: Submissions) -> None:
        await asyncio.gather(*(door.submit(each.raw, None) for each in transactions))
        await door.submit(transactions[0].raw, None)

    mempool, sent, _ = run_submissions(work)
    assert mempool.waiting() == transactions
    assert decode_batches(sent) == transactions


def test_client_is_told_why_its_transaction_is_refused() -> None:
    good = transfer()
    forged = good.raw[:-1] + bytes([good.raw[-1] ^ 1])

    async def work(door: Submissions) -> None:
        for raw, code in ((forged, "bad_signature"), (transfer(nonce=3).raw, "nonce_gap")):
            with pytest.raises(InvalidInputError) as refused:
                await door.submit(raw, None)
            assert refused.value.code == code

    mempool, sent, door = run_submissions(work)
    assert len(mempool) == 0
    assert sent == []
    assert door.counters["refused_bad_signature"] == 1


def test_batch_of_a_peer_is_taken_even_with_a_gap_and_is_not_sent_on() -> None:
    ahead = transfer(nonce=3)

    async def work(door: Submissions) -> None:
        door.take_from_peer(1, encode_body([ahead]))
        door.take_from_peer(1, b"nonsense")
        # Answered after the batch before it, because there is one queue.
        await door.submit(transfer(CAROL).raw, None)

    mempool, sent, door = run_submissions(work)
    assert mempool.get(ahead.transaction_id) is not None
    assert [each.sender for each in decode_batches(sent)] == [CAROL.id]
    assert door.counters["peer_batches_malformed"] == 1


def test_a_fault_behind_the_door_stops_the_node_rather_than_the_door_alone() -> None:
    class UnreadableLedger(FinalLedger):
        def get_next_nonce(self, account: AccountId) -> int:
            raise OSError("the disk is gone")

    broken: list[BaseException] = []

    async def main() -> None:
        with ThreadPoolExecutor(1) as executor:
            door = Submissions(
                chain_id=NETWORK.chain_id,
                mempool=make_mempool(),
                ledger=UnreadableLedger(),
                executor=executor,
                send_to_peers=lambda data: None,
                on_broken=broken.append,
            )
            door.start(lambda: None)
            door.take_from_peer(1, encode_body([transfer()]))
            async with asyncio.timeout(30):
                while not broken:
                    await asyncio.sleep(0)
            await door.stop()

    asyncio.run(main())
    assert [str(error) for error in broken] == ["the disk is gone"]
