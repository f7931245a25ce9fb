"""Settings of one node: a TOML file, overridden by the environment, overridden by flags.

Every setting can be given as ``QUORATE_SECTION__NAME`` in the environment, for example
``QUORATE_API__PORT=8081``. What the whole network must agree on is not here but in the genesis.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from primitives.errors import InvalidInputError

__all__ = [
    "ApiSettings",
    "ConsensusSettings",
    "KeySettings",
    "NodeSettings",
    "P2pSettings",
    "SettingFault",
    "SnapshotSettings",
    "list_faults",
    "load_settings",
]


class P2pSettings(BaseModel):
    """Where this node listens for its peers."""

    model_config = ConfigDict(extra="forbid")

    listen_host: str = Field(
        default="127.0.0.1",
        description="Address to listen on for other members; 0.0.0.0 for all.",
    )
    listen_port: int = Field(
        default=26656, ge=0, le=65535, description="Port to listen on for other members."
    )


class ApiSettings(BaseModel):
    """Where this node answers REST."""

    model_config = ConfigDict(extra="forbid")

    enabled: bool = Field(default=True, description="Whether this node answers REST.")
    host: str = Field(
        default="127.0.0.1",
        description="Address of REST; not encrypted, so let a proxy stand before a public one.",
    )
    port: int = Field(default=8080, ge=0, le=65535, description="Port of REST.")
    submissions_per_second_max: int = Field(
        default=5_000, ge=1, description="Transactions a second that REST takes; 429 beyond."
    )


class ConsensusSettings(BaseModel):
    """How patient this node is; every validator may choose its own.

    ``base_timeout_ms`` is Δ of the protocol: about the longest time that a message takes between
    two validators. 50 ms suits one machine or one data centre, 150 ms a region, 400 ms the world.
    """

    model_config = ConfigDict(extra="forbid")

    base_timeout_ms: int = Field(
        default=150,
        ge=10,
        le=10_000,
        description="About the longest time that a message takes to another validator: 50 in one"
        " data centre, 150 in a region, 400 around the world.",
    )
    idle_interval_ms: int = Field(
        default=5_000, ge=100, le=600_000, description="Pause between blocks while nothing waits."
    )


class SnapshotSettings(BaseModel):
    """Snapshots of the state, by which others join without executing every block.

    ``interval`` is how many heights lie between two that this node makes; It joins by
    one itself when it is at least ``threshold`` heights behind.
    """

    model_config = ConfigDict(extra="forbid")

    interval: int = Field(
        default=10_000, ge=10, description="Heights between two snapshots that this node makes."
    )
    threshold: int = Field(
        default=5_000, ge=1, description="So many heights behind, it joins by a snapshot itself."
    )
    bytes_per_second: int = Field(
        default=16 * 1024 * 1024, ge=1024, description="Most that it sends of them to all peers."
    )


class KeySettings(BaseModel):
    """How this node opens its keys."""

    model_config = ConfigDict(extra="forbid")

    password_file: Path | None = Field(
        default=None,
        description="File whose first line opens encrypted keys; else /run/secrets/quorate_password"
        " or a prompt.",
    )


class NodeSettings(BaseSettings):
    """All settings of one node.

    ``validator`` is the name of the organisation on the ledger; a node whose name is not
    listed as a validator follows without a vote.
    """

    model_config = SettingsConfigDict(
        env_prefix="QUORATE_", env_nested_delimiter="__", extra="forbid"
    )

    validator: str = Field(
        default="", description="Name of this organisation on the ledger; empty for an observer."
    )
    p2p: P2pSettings = P2pSettings()
    api: ApiSettings = ApiSettings()
    consensus: ConsensusSettings = ConsensusSettings()
    snapshots: SnapshotSettings = SnapshotSettings()
    keys: KeySettings = KeySettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put the environment above the file."""
        del dotenv_settings, file_secret_settings
        toml_file = settings_cls.model_config.get("toml_file")
        file_source = TomlConfigSettingsSource(settings_cls, toml_file=toml_file)
        return init_settings, env_settings, file_source


def load_settings(config_file: Path, **flags: Any) -> NodeSettings:
    """Return the settings of the node whose configuration is ``config_file``.

    Parameters
    ----------
    config_file
        TOML; every setting has a default.
    flags
        Whole sections given on the command line, which win over everything else.

    Raises
    ------
    InvalidInputError
        ``invalid_configuration``: the file does not exist, is no TOML, or holds an unknown or
        out-of-range setting; the message names it.
    """
    if not config_file.is_file():
        raise InvalidInputError(
            "invalid_configuration",
            f"there is no configuration at {config_file}; `quorate init` makes one",
            field="config",
            value=str(config_file),
        )

    try:
        return _read(config_file, flags)
    except ValidationError as error:
        faults = _explain(error)
        raise InvalidInputError(
            "invalid_configuration",
            f"{config_file}: " + "; ".join(f"{each.setting}: {each.message}" for each in faults),
            field=faults[0].setting,
            value=faults[0].value,
        ) from error
    except ValueError as error:
        raise InvalidInputError(
            "invalid_configuration", f"{config_file} is no TOML: {error}", field="config"
        ) from error


@dataclass(frozen=True, slots=True)
class SettingFault:
    """A setting that cannot be what it is."""

    setting: str
    message: str
    value: Any = None


def list_faults(config_file: Path) -> list[SettingFault]:
    """Return everything that keeps the settings from being read; empty if nothing does."""
    if not config_file.is_file():
        return [SettingFault("config", f"there is no configuration at {config_file}")]
    try:
        _read(config_file, {})
    except ValidationError as error:
        return _explain(error)
    except ValueError as error:
        return [SettingFault("config", f"{config_file} is no TOML: {error}")]
    return []


def _read(config_file: Path, flags: dict[str, Any]) -> NodeSettings:
    class _FromFile(NodeSettings):
        model_config = SettingsConfigDict(**{**NodeSettings.model_config, "toml_file": config_file})

    return _FromFile(**flags)


def _explain(error: ValidationError) -> list[SettingFault]:
    faults = []
    for each in error.errors():
        setting = ".".join(str(part) for part in each["loc"])
        faults.append(
            SettingFault(setting, f"{each['msg']} (got {each.get('input')!r})", each.get("input"))
        )
    return faults
