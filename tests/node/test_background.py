"""Work beside everything else is not lost: what breaks, is told."""

from __future__ import annotations

import asyncio

from node.background import Background


async def break_down() -> None:
    raise RuntimeError("broken")


def test_what_breaks_is_told_and_what_goes_on_is_cancelled() -> None:
    async def main() -> list[str]:
        told: list[BaseException] = []
        background = Background(told.append)
        background.run(break_down())
        background.run(asyncio.Event().wait())  # type: ignore[arg-type]
        await asyncio.sleep(0.01)
        await background.stop()
        return [str(error) for error in told]

    assert asyncio.run(main()) == ["broken"]
