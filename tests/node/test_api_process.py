"""The API process is not begun where it could never answer."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from node.api_process import ApiProcess
from node.configuration import ApiSettings
from primitives.errors import InvalidInputError


def test_port_that_is_taken_is_said_at_once(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = ApiProcess(ApiSettings(port=port), tmp_path / "socket", tmp_path)
        with pytest.raises(InvalidInputError, match=f"127.0.0.1:{port}") as caught:
            process.start()
    assert caught.value.code == "cannot_listen"
