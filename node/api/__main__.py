"""The API process: ``python -m node.api --socket … --home … --host … --port …``.

The node process starts it (:mod:`node.api_process`); it needs nothing but the socket on which the
node feeds it and a folder for its read store.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import uvicorn

from node.api.app import make_app
from node.api.feed_client import FeedClient
from node.api.follower import Follower
from node.api.inference import Inference
from node.api.service import ApiService
from node.api.store_folder import StoreFolder
from node.kernel_loading import load_first_kernels
from node.log_format import start_logging
from node.parent_watch import watch_parent
from node.storage.leveldb import LevelKeyValueStore
from primitives.errors import CorruptStateError, InvalidInputError

__all__ = ["main"]

_log = logging.getLogger(__name__)

KEEP_ALIVE_S = 30
SHUTDOWN_S = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to stop; return the exit code."""
    options = _parse(arguments)
    start_logging(options.log_level)
    if options.exit_with_parent:
        # The server's own handler of the signal ends it in order.
        watch_parent(lambda: os.kill(os.getpid(), signal.SIGTERM))
    try:
        follower = Follower(StoreFolder(options.home, LevelKeyValueStore))
    except (CorruptStateError, InvalidInputError) as error:
        _log.error("the read store cannot be opened: %s", error)
        return 1
    feed = FeedClient(options.socket, follower)
    service = ApiService(
        follower=follower,
        feed=feed,
        inference=Inference(feed.read_payload),
        serves_payloads=options.serve_payloads,
    )
    load_first_kernels()
    uvicorn.run(
        make_app(service),
        host=options.host,
        port=options.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=SHUTDOWN_S,
    )
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m node.api", description="Serve REST.")
    parser.add_argument("--socket", type=Path, required=True, help="where the node feeds blocks")
    parser.add_argument("--home", type=Path, required=True, help="folder of the read store")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--log-level", default="INFO")
    parser.add_argument(
        "--serve-payloads", action="store_true", help="let anybody read payloads of transactions"
    )
    parser.add_argument(
        "--exit-with-parent", action="store_true", help="stop when standard input ends"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
