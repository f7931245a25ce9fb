"""The tree of unfinal blocks."""

from __future__ import annotations

from consensus.blocks import BlockEntry, BlockTree, Judgement
from primitives.header import BlockHeader
from tests.helpers.consensus import EMPTY_BODY_ROOT, GENESIS, make_header, make_pre_prepare


def make_tree() -> BlockTree:
    return BlockTree(GENESIS, EMPTY_BODY_ROOT)


def add(tree: BlockTree, parent: BlockHeader, view: int, body: bytes = b"x") -> BlockEntry:
    entry = BlockEntry(make_pre_prepare(make_header(parent, view, body), body))
    tree.insert(entry)
    return entry


def test_a_chain_is_listed_from_the_final_block_upwards() -> None:
    tree = make_tree()
    first = add(tree, GENESIS, 1)
    second = add(tree, first.header, 2)
    assert tree.get_chain(second.header.block_id) == [first, second]
    assert tree.get_chain(GENESIS.block_id) == []
    assert tree.get_chain(b"?" * 32) is None


def test_the_nearest_missing_block_is_found() -> None:
    tree = make_tree()
    first = make_header(GENESIS, 1)
    second = add(tree, first, 2)
    assert tree.find_missing(second.header.block_id) == first.block_id
    assert tree.find_missing(b"?" * 32) == b"?" * 32
    add(tree, GENESIS, 1, b"")
    assert tree.find_missing(second.header.block_id) is None


def test_nothing_is_missing_on_a_branch_that_cannot_reach_the_final_block() -> None:
    tree = make_tree()
    stranger = make_header(make_header(GENESIS, 1, b"a"), 3)
    tree.final = make_header(GENESIS, 2, b"b")
    entry = BlockEntry(make_pre_prepare(stranger))
    tree.insert(entry)
    assert tree.find_missing(entry.header.block_id) is None


def test_certifying_a_block_certifies_its_ancestors_in_whatever_order_they_come() -> None:
    tree = make_tree()
    first = BlockEntry(make_pre_prepare(make_header(GENESIS, 1)))
    second = BlockEntry(make_pre_prepare(make_header(first.header, 2)))
    third = BlockEntry(make_pre_prepare(make_header(second.header, 3)), certified=True)
    tree.insert(third)
    tree.insert(first)
    assert not first.certified
    tree.insert(second)
    assert second.certified
    assert first.certified


def test_certifying_an_unknown_block_does_nothing() -> None:
    make_tree().mark_certified(b"?" * 32)


def test_finality_discards_every_branch_that_lost() -> None:
    tree = make_tree()
    first = add(tree, GENESIS, 1)
    rival = add(tree, GENESIS, 2)
    rivals_child = add(tree, rival.header, 5)
    second = add(tree, first.header, 3)
    child = add(tree, second.header, 4)
    orphan = add(tree, make_header(second.header, 7), 8)
    dead_orphan = add(tree, make_header(GENESIS, 2, b"unknown"), 9)
    chain = tree.get_chain(second.header.block_id)
    assert chain is not None
    discarded = tree.finalize(chain)
    assert set(discarded) == {entry.header.block_id for entry in (rival, rivals_child, dead_orphan)}
    assert tree.final == second.header
    assert tree.get_chain(child.header.block_id) == [child]
    assert tree.find(orphan.header.block_id) is orphan
    assert len(tree) == 2


def test_headers_of_unfinal_blocks_and_of_the_final_one_are_found() -> None:
    tree = make_tree()
    first = add(tree, GENESIS, 1)
    assert tree.find_header(GENESIS.block_id) == GENESIS
    assert tree.find_header(first.header.block_id) == first.header
    assert tree.find_header(b"?" * 32) is None


def test_only_blocks_with_transactions_count() -> None:
    tree = make_tree()
    first = add(tree, GENESIS, 1)
    second = add(tree, first.header, 2, b"")
    assert tree.count_non_empty([first, second]) == 1
    second.prepared_here = first.prepared_here = True
    assert tree.count_held() == 1


def test_old_proposals_are_dropped_unless_someone_may_need_them() -> None:
    tree = make_tree()
    idle = add(tree, GENESIS, 1)
    asked = add(tree, GENESIS, 2)
    asked.judgement = Judgement.ASKED
    prepared = add(tree, GENESIS, 3)
    prepared.prepared_here = True
    certified = add(tree, GENESIS, 4)
    certified.certified = True
    young = add(tree, GENESIS, 9)
    assert tree.drop_unprepared(9) == (idle.header.block_id,)
    kept = (asked, prepared, certified, young)
    assert all(tree.find(entry.header.block_id) is entry for entry in kept)
