"""What `quorate config` finds, and where passwords come from."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from node.configuration import NodeSettings, list_faults, load_settings
from node.configuration_check import examine, list_settings
from node.home import NodeHome
from node.log_format import start_logging
from node.network_files import NetworkPlan, lay_out_network
from node.passwords import PASSWORD_FILE_VARIABLE, PasswordSource, read_password_file
from node.storage.keystore import save_seed
from primitives.errors import InvalidInputError

ROOT = Path(__file__).parents[2]
HOST = "127.0.0.1"


@pytest.fixture
def home(tmp_path: Path) -> NodeHome:
    plan = NetworkPlan(tmp_path / "net", "test", ((HOST, 1),), ((HOST, 2), (HOST, 3)), observers=1)
    return lay_out_network(plan)[0].home


def errors_of(home: NodeHome) -> list[str]:
    return [finding.setting for finding in examine(home) if finding.is_error]


def test_fresh_home_has_no_errors_and_says_that_keys_are_plain(home: NodeHome) -> None:
    assert errors_of(home) == []
    warnings = [finding.message for finding in examine(home)]
    assert any("is not encrypted" in text for text in warnings)


def test_every_fault_is_named_and_not_only_the_first(home: NodeHome) -> None:
    home.config_file.write_text('[p2p]\nlisten_port = 99999\n[api]\nprot = 5\nport = "x"\n')
    assert {fault.setting for fault in list_faults(home.config_file)} == {
        "p2p.listen_port",
        "api.prot",
        "api.port",
    }
    assert set(errors_of(home)) == {"p2p.listen_port", "api.prot", "api.port"}
    with pytest.raises(InvalidInputError, match=r"listen_port.*prot|prot.*listen_port"):
        load_settings(home.config_file)


def test_what_is_no_toml_or_not_there_is_said(home: NodeHome) -> None:
    home.config_file.write_text("[p2p\n")
    assert "is no TOML" in list_faults(home.config_file)[0].message
    home.config_file.unlink()
    assert "there is no configuration" in list_faults(home.config_file)[0].message
    assert "config" in errors_of(home)


def test_genesis_keys_ports_and_password_files_are_looked_at(
    home: NodeHome, tmp_path: Path
) -> None:
    home.config_file.write_text(
        f'[p2p]\nlisten_port = 8080\n[keys]\npassword_file = "{tmp_path}/missing"\n'
    )
    assert errors_of(home) == ["api.port", "keys.password_file"]
    home.genesis_file.write_text("{}")
    assert "genesis" in errors_of(home)
    home.genesis_file.unlink()
    assert "genesis" in errors_of(home)
    home.transport_key_file.write_text("nonsense")
    assert "keys" in errors_of(home)
    home.validator_key_file.chmod(0o644)
    assert any("can be read by others" in finding.message for finding in examine(home))
    home.invite_file.write_text("nonsense")
    assert "genesis" in errors_of(home)


def test_slip_in_the_environment_is_pointed_out(
    home: NodeHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUORATE_APY__PORT", "5")
    monkeypatch.setenv("QUORATE_API__HOST", "0.0.0.0")  # noqa: S104 (a setting under test)
    found = {finding.setting: finding for finding in examine(home)}
    assert not found["QUORATE_APY__PORT"].is_error
    assert "not encrypted" in found["api.host"].message


def test_settings_name_their_source(home: NodeHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUORATE_API__PORT", "4321")
    listed = {each.name: each for each in list_settings(home)}
    assert listed["api.port"].value == 4321
    assert listed["api.port"].source == "environment (QUORATE_API__PORT)"
    assert listed["p2p.listen_port"].source == "file"
    assert listed["snapshots.interval"].source == "default"


def test_every_setting_is_documented_with_its_default() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([a-z0-9_.]+)` \| `([^`]*)` \|", text, flags=re.MULTILINE))
    settings = NodeSettings.model_construct()
    expected = {}
    for name, field in NodeSettings.model_fields.items():
        value = getattr(settings, name)
        if isinstance(value, BaseModel):
            for inner, described in type(value).model_fields.items():
                assert described.description, f"{name}.{inner} says nothing of itself"
                expected[f"{name}.{inner}"] = str(getattr(value, inner))
        else:
            assert field.description
            expected[name] = str(value)
    assert rows == expected


def test_password_comes_from_what_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "password"
    file.write_text("first line\nsecond\n")
    key = tmp_path / "key.json"
    assert PasswordSource(file).read(key) == "first line"
    monkeypatch.setenv(PASSWORD_FILE_VARIABLE, str(file))
    assert PasswordSource().read(key) == "first line"
    monkeypatch.delenv(PASSWORD_FILE_VARIABLE)
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    with pytest.raises(InvalidInputError) as caught:
        PasswordSource().read(key)
    assert caught.value.code == "password_missing"
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    prompts: list[str] = []

    def type_it(prompt: str) -> str:
        prompts.append(prompt)
        return "typed" if len(prompts) == 1 else "another"

    monkeypatch.setattr("getpass.getpass", type_it)
    same, different = tmp_path / "same.json", tmp_path / "different.json"
    for path, password in ((key, "typed"), (same, "typed"), (different, "another")):
        save_seed(path, b"k" * 32, password=password, scrypt_cost=2)
    source = PasswordSource()
    found = [source.read(path) for path in (key, same, different, key)]
    assert found == ["typed", "typed", "another", "typed"]
    assert len(prompts) == 2, "one password serves all keys that it opens"


def test_password_that_does_not_open_the_keys_is_found(home: NodeHome, tmp_path: Path) -> None:
    home.transport_key_file.unlink()
    save_seed(home.transport_key_file, b"k" * 32, password="right one", scrypt_cost=2)
    file = tmp_path / "password"
    home.config_file.write_text(f'[keys]\npassword_file = "{file}"\n')
    file.write_text("wrong one\n")
    file.chmod(0o600)
    assert errors_of(home) == ["keys.password_file"]
    file.write_text("right one\n")
    file.chmod(0o644)
    assert errors_of(home) == []
    assert any("can be read by others" in finding.message for finding in examine(home))


def test_log_level_that_there_is_not_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="DEBUG, INFO, WARNING, ERROR"):
        start_logging("bogus")


@pytest.mark.parametrize("content", [b"", b"\nx", b"x" * 5000, b"\xff\xfe"])
def test_file_that_holds_no_password_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "password"
    file.write_bytes(content)
    with pytest.raises(InvalidInputError, match="password"):
        read_password_file(file)
    with pytest.raises(InvalidInputError, match="cannot be read"):
        read_password_file(tmp_path / "missing")
