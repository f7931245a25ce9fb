"""A validator whose disk is lost comes back from a backup, and signs nothing twice."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ledger.parameters import Parameters
from tests.end_to_end.test_join import quorate
from tests.helpers.local_network import get_height, get_json, run_network, wait_for, wait_for_height

SHORT_EPOCHS = Parameters(epoch_length=10, unfinal_blocks_max=3)


@pytest.mark.slow
def test_validator_restored_from_an_older_backup_votes_again_and_contradicts_nothing(
    tmp_path: Path,
) -> None:
    with run_network(tmp_path / "net", idle_interval_ms=200, parameters=SHORT_EPOCHS) as network:
        *others, victim = network.validators
        wait_for_height(victim, 15)
        victim.stop()
        file = tmp_path / "backup"
        quorate("snapshot", "create", "--home", victim.home.root, "--to", file)
        victim.start()
        wait_for(victim.is_ready, "the validator after its backup")
        wait_for_height(victim, get_height(others[0]) + 15)
        victim.kill()

        shutil.rmtree(victim.home.root / "data")
        shutil.rmtree(victim.home.root / "api")
        restored = quorate("snapshot", "restore", file, "--home", victim.home.root)
        assert "the ledger stands at height" in restored.stdout
        killed_at = get_height(others[0])
        wait_for_height(others[0], killed_at + 5)
        victim.start()

        def votes_again() -> bool:
            height = get_height(others[0])
            block = get_json(others[0].url, f"/api/v1/blocks/{height}")
            return height > killed_at + 5 and 3 in block["certificate"]["signers"]

        wait_for(votes_again, "its vote after the restore", 120)
        assert "records_lost" in victim.home.log_file.read_text()
        for validator in others:
            consensus = get_json(validator.url, "/api/v1/consensus")
            assert consensus["evidence"] == [], "it contradicted what it had signed"


@pytest.mark.slow
def test_observer_is_added_while_the_network_runs(tmp_path: Path) -> None:
    from node.home import NodeHome
    from node.local_network import ValidatorProcess, find_free_ports
    from tests.helpers.local_network import HOST

    with run_network(tmp_path / "net", idle_interval_ms=200) as network:
        first = network.validators[0]
        (port,) = find_free_ports(HOST, 1)
        home = NodeHome(tmp_path / "observer")
        quorate(
            *("member", "add-observer", home.root, "--home", first.home.root, "--plain"),
            *("--api-port", port, "--url", first.url),
        )
        observer = ValidatorProcess("observer", home, f"http://{HOST}:{port}")
        observer.start()
        network.validators.append(observer)
        wait_for(observer.is_ready, "the observer")
        status = get_json(observer.url, "/api/v1/status")
        assert status["node"]["validator_index"] is None
        assert status["node"]["peers_connected"] == 4
