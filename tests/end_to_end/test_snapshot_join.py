"""A new validator far behind joins by a snapshot of real others, and votes."""

from __future__ import annotations

import urllib.error
from pathlib import Path

import pytest

from tests.end_to_end.test_epochs import (
    SHORT_EPOCHS,
    approve,
    assert_equal_roots,
    get_signers,
    make_newcomer,
)
from tests.helpers.local_network import get_height, get_json, run_network, wait_for, wait_for_height

INTERVAL = 10
FAR = 60
GONE = 410


@pytest.mark.slow
def test_newcomer_far_behind_joins_by_a_snapshot_and_votes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUORATE_SNAPSHOTS__INTERVAL", str(INTERVAL))
    monkeypatch.setenv("QUORATE_SNAPSHOTS__THRESHOLD", str(FAR // 2))
    with run_network(tmp_path / "net", idle_interval_ms=150, parameters=SHORT_EPOCHS) as network:
        first = network.validators[0]
        newcomer, admission = make_newcomer(network, tmp_path / "newcomer")
        wait_for_height(first, FAR)
        approve(network, 3, admission)
        newcomer.start()
        network.validators.append(newcomer)
        wait_for(newcomer.is_ready, "the newcomer's API")
        assert "is the one that was imported" in newcomer.home.log_file.read_text()
        with pytest.raises(urllib.error.HTTPError) as gone:
            get_json(newcomer.url, "/api/v1/blocks/1")
        assert gone.value.code == GONE
        wait_for(lambda: 4 in get_signers(first), "the newcomer's vote")
        base = get_height(newcomer)
        wait_for_height(newcomer, base + INTERVAL)
        roots = [
            get_json(each.url, f"/api/v1/blocks/{base}")["state_root"]
            for each in network.validators
        ]
        assert len(set(roots)) == 1
        assert_equal_roots(network.validators[:4], FAR)
