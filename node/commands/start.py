"""``quorate start``: one node, until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from functools import partial
from pathlib import Path

import uvloop

from node.application import Node
from node.configuration import load_settings
from node.home import NodeHome
from node.log_format import start_logging
from node.node_keys import NodeKeys
from node.parent_watch import watch_parent
from node.passwords import PasswordSource
from node.recovery import Assurance

__all__ = ["run_start"]

logger = logging.getLogger(__name__)


def run_start(
    home_folder: Path,
    log_level: str,
    *,
    exit_with_parent: bool,
    assurance: Assurance = Assurance.NONE,
    password_file: Path | None = None,
) -> None:
    """Run the node whose folder is given, until SIGTERM, SIGINT or, if asked, its parent's end.

    Raises
    ------
    QuorateError
        The node cannot start or cannot go on; the message says why.
    """
    start_logging(log_level)
    home = NodeHome(home_folder)
    settings = load_settings(home.config_file)
    keys = NodeKeys(home, PasswordSource(password_file or settings.keys.password_file).read)
    # Asked for before anything is opened: nobody sits at the terminal later.
    keys.load_transport_seeds()
    keys.load_validator_keys()
    # What is loaded by now lives as long as the process; the collector need not look at it again.
    gc.freeze()

    async def run() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        if exit_with_parent:
            watch_parent(partial(_stop_from_thread, loop, stop))
        await Node(home, settings, assurance, keys=keys).run(stop)
        logger.info("stopped")

    uvloop.run(run())


def _stop_from_thread(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    loop.call_soon_threadsafe(stop.set)
