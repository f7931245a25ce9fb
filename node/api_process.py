"""Keeps the API process of this node running.

The API is a process of its own so that no request, however heavy, can delay a vote
(docs/adr/0004). This file starts it, starts it again when it ends, and ends it with the node.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

from node.configuration import ApiSettings
from primitives.errors import InvalidInputError

__all__ = ["ApiProcess"]

logger = logging.getLogger(__name__)

RESTART_DELAY_S_MIN = 0.25
RESTART_DELAY_S_MAX = 5.0
STOP_TIMEOUT_S = 5.0


class ApiProcess:
    """The API process of one node, restarted with growing delays when it fails.

    Parameters
    ----------
    settings
        Host and port of REST.
    socket_path
        Unix socket on which the node feeds final blocks.
    store_folder
        The API's own read store.
    """

    def __init__(self, settings: ApiSettings, socket_path: Path, store_folder: Path) -> None:
        self._command = [
            sys.executable,
            "-m",
            "node.api",
            "--socket",
            str(socket_path),
            "--home",
            str(store_folder),
            "--host",
            settings.host,
            "--port",
            str(settings.port),
            "--exit-with-parent",
        ]
        self._host, self._port = settings.host, settings.port
        self._task: asyncio.Task[None] | None = None
        self._process: Process | None = None

    def start(self) -> None:
        """Start the process and keep it running.

        Raises
        ------
        InvalidInputError
            ``cannot_listen``: the address of REST is not ours, or is taken. Later on the process is
            started again whatever happens; at the beginning somebody is there to read why not.
        """
        _check_address(self._host, self._port)
        self._task = asyncio.create_task(self._keep_running(), name="api-process")

    async def stop(self) -> None:
        """End the process: gently, then for good."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _keep_running(self) -> None:
        delay_s = RESTART_DELAY_S_MIN
        while True:
            # The pipe is never written: its closing tells the child that this process is gone.
            self._process = await asyncio.create_subprocess_exec(*self._command, stdin=PIPE)
            started = asyncio.get_running_loop().time()
            code = await self._process.wait()
            if asyncio.get_running_loop().time() - started > RESTART_DELAY_S_MAX:
                delay_s = RESTART_DELAY_S_MIN
            logger.warning("the API process ended with code %s; starting it again", code)
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, RESTART_DELAY_S_MAX)


def _check_address(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        # As the server does, so that connections of a process just stopped are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise InvalidInputError(
                "cannot_listen",
                f"REST cannot listen on {host}:{port}: {error.strerror}; choose another with"
                " QUORATE_API__PORT or api.port in the settings",
                field="api.port",
                value=port,
            ) from error
