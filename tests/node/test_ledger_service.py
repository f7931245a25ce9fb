"""What the ledger's side tells consensus, and when it falls silent."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

from consensus.actions import FinalizeBlocks
from consensus.messages import Block
from ledger.body import encode_body
from node.ledger_service import LedgerCallbacks, LedgerService, LedgerThreads, PayloadStore
from node.mempool import Mempool, MempoolLimits
from node.unfinal_blocks import UnfinalBlocks
from tests.helpers.ledger import Chain, certify, make_network


def test_nothing_is_pruned_behind_a_block_that_the_disk_refused() -> None:
    chain = Chain(make_network())
    executed = chain.execute([])
    certificate = certify(chain.network, executed)
    done: list[str] = []
    broken: list[BaseException] = []

    class FullDisk:
        def __getattr__(self, name: str) -> Any:
            return getattr(chain.values, name)

        def write(self, *arguments: object) -> None:
            raise OSError("no space left on device")

    async def main() -> None:
        with ThreadPoolExecutor(1) as ledger, ThreadPoolExecutor(1) as judging:
            service = LedgerService(
                store=chain.store,
                database=cast("Any", FullDisk()),
                executor=chain.executor,
                payloads=cast("PayloadStore", None),
                unfinal=UnfinalBlocks(),
                mempool=Mempool(MempoolLimits(), lambda transaction: 1),
                threads=LedgerThreads(ledger, judging),
            )
            service.connect(
                LedgerCallbacks(
                    post=lambda event: done.append("event"),
                    send=lambda peer, response: done.append("blocks"),
                    on_final=lambda block: done.append("final"),
                    on_execution_failed=lambda _, error: broken.append(error),
                    on_broken=broken.append,
                    read_wall_ms=lambda: 0,
                )
            )
            block = Block(executed.header, encode_body([]))
            service.finalize(FinalizeBlocks((block,), certificate))
            service.after_finality(lambda: done.append("pruned"))
            await service.drain()
            await asyncio.sleep(0)

    asyncio.run(main())
    assert [str(error) for error in broken] == ["no space left on device"]
    assert done == []
