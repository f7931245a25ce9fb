"""Settings of one node: a TOML file, overridden by the environment, overridden by flags.

Every setting can be given as ``QUORATE_SECTION__NAME`` in the environment, for example
``QUORATE_API__PORT=8081``. What the whole network must agree on is not here but in the genesis.
"""

from __future__ import annotations

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
    "NodeSettings",
    "P2pSettings",
    "SnapshotSettings",
    "load_settings",
]


class P2pSettings(BaseModel):
    """Where this node listens for its peers."""

    model_config = ConfigDict(extra="forbid")

    listen_host: str = "127.0.0.1"
    listen_port: int = Field(default=26656, ge=0, le=65535)


class ApiSettings(BaseModel):
    """Where this node answers REST."""

    model_config = ConfigDict(extra="forbid")

    enabled: bool = True
    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    submissions_per_second_max: int = Field(default=5_000, ge=1)


class ConsensusSettings(BaseModel):
    """How patient this node is; every validator may choose its own.

    ``base_timeout_ms`` is Δ of the protocol: about the longest time that a message takes between
    two validators. 50 ms suits one machine or one data centre, 150 ms a region, 400 ms the world.
    """

    model_config = ConfigDict(extra="forbid")

    base_timeout_ms: int = Field(default=150, ge=10, le=10_000)
    idle_interval_ms: int = Field(default=5_000, ge=100, le=600_000)


class SnapshotSettings(BaseModel):
    """Snapshots of the state, by which others join without executing every block.

    ``interval`` is how many heights lie between two that this node makes; It joins by
    one itself when it is at least ``threshold`` heights behind.
    """

    model_config = ConfigDict(extra="forbid")

    interval: int = Field(default=10_000, ge=10)
    threshold: int = Field(default=5_000, ge=1)
    bytes_per_second: int = Field(default=16 * 1024 * 1024, ge=1024)


class NodeSettings(BaseSettings):
    """All settings of one node.

    ``validator`` is the name under which the genesis lists this node; a node whose name is not
    listed as a validator follows without a vote.
    """

    model_config = SettingsConfigDict(
        env_prefix="QUORATE_", env_nested_delimiter="__", extra="forbid"
    )

    validator: str = ""
    p2p: P2pSettings = P2pSettings()
    api: ApiSettings = ApiSettings()
    consensus: ConsensusSettings = ConsensusSettings()
    snapshots: SnapshotSettings = SnapshotSettings()

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

    class _FromFile(NodeSettings):
        model_config = SettingsConfigDict(**{**NodeSettings.model_config, "toml_file": config_file})

    try:
        return _FromFile(**flags)
    except ValidationError as error:
        first = error.errors()[0]
        setting = ".".join(str(part) for part in first["loc"])
        raise InvalidInputError(
            "invalid_configuration",
            f"{config_file}: {setting}: {first['msg']} (got {first.get('input')!r})",
            field=setting,
            value=first.get("input"),
        ) from error
    except ValueError as error:
        raise InvalidInputError(
            "invalid_configuration", f"{config_file} is no TOML: {error}", field="config"
        ) from error
