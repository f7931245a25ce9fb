"""Settings come from file, environment and flags, in this order; mistakes are named."""

from pathlib import Path

import pytest

from node.configuration import load_settings
from node.home import NodeHome
from node.network_files import NetworkPlan, lay_out_network
from primitives.errors import InvalidInputError


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "node.toml"
    file.write_text(text)
    return file


def test_file_is_read_and_the_environment_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path, 'validator = "a"\n[api]\nport = 81\n[p2p]\nlisten_port = 82\n')
    monkeypatch.setenv("QUORATE_API__PORT", "91")
    settings = load_settings(file)
    assert (settings.validator, settings.api.port, settings.p2p.listen_port) == ("a", 91, 82)
    assert settings.consensus.idle_interval_ms == 5_000


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[api]\nport = 99999\n", "api.port"),
        ("[api]\nprot = 1\n", "api.prot"),
        ("colour = 1\n", "colour"),
        ("[api\n", "no TOML"),
    ],
)
def test_mistake_is_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(InvalidInputError, match=says) as refused:
        load_settings(write(tmp_path, text))
    assert refused.value.code == "invalid_configuration"


def test_missing_file_says_what_makes_one(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="quorate init"):
        load_settings(tmp_path / "nowhere.toml")


def test_network_that_was_laid_out_can_be_loaded_and_is_never_laid_over(tmp_path: Path) -> None:
    plan = NetworkPlan(
        folder=tmp_path / "net",
        chain_name="laid-out",
        p2p_endpoints=(("127.0.0.1", 1), ("127.0.0.1", 2)),
        api_endpoints=(("127.0.0.1", 3), ("127.0.0.1", 4)),
        accounts=("alice",),
    )
    files = lay_out_network(plan)
    assert [each.name for each in files] == ["validator0", "validator1"]
    settings = load_settings(NodeHome(tmp_path / "net" / "validator1").config_file)
    assert (settings.validator, settings.p2p.listen_port, settings.api.port) == ("validator1", 2, 4)
    assert (tmp_path / "net" / "accounts" / "alice.json").stat().st_mode & 0o777 == 0o600
    with pytest.raises(InvalidInputError, match="not empty"):
        lay_out_network(plan)
