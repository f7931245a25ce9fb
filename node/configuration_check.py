"""Everything that can be said of a node's settings, keys and files without starting it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from ledger.genesis import genesis_from_json
from ledger.invite import invite_from_text
from node.configuration import NodeSettings, list_faults, load_settings
from node.home import NodeHome
from node.passwords import find_password_file, read_password_file
from node.storage.keystore import load_seed, read_key_file
from primitives.errors import InvalidInputError

__all__ = ["Finding", "SettingValue", "examine", "list_settings"]

ENVIRONMENT_PREFIX = "QUORATE_"
OTHER_VARIABLES = frozenset(
    f"{ENVIRONMENT_PREFIX}{name}"
    for name in (
        "HOME", "URL", "KEY", "FEE_LIMIT",
        "INVITE", "INVITE_FILE", "ENDPOINT", "CONTACT",
        "BASE", "IMAGE",
    )
)  # fmt: skip
"""What commands, the container and compose files read besides the settings."""

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong, or worth a thought.

    Parameters
    ----------
    setting
        What it is about.
    message
        What is wrong, and what to do.
    is_error
        It keeps the node from starting.
    """

    setting: str
    message: str
    is_error: bool = True

    def to_json(self) -> dict[str, object]:
        """Return the finding for machines."""
        severity = "error" if self.is_error else "warning"
        return {"setting": self.setting, "severity": severity, "message": self.message}


@dataclass(frozen=True, slots=True)
class SettingValue:
    """A setting, its value, and where that comes from."""

    name: str
    value: Any
    source: str


def examine(home: NodeHome) -> list[Finding]:
    """Return all findings about a home, errors first."""
    findings = [
        *(Finding(fault.setting, fault.message) for fault in list_faults(home.config_file)),
        *_examine_environment(),
        *_examine_genesis(home),
        *_examine_keys(home),
    ]
    if not any(finding.is_error for finding in findings):
        settings = load_settings(home.config_file)
        findings += [*_examine_settings(settings), *_examine_password(home, settings)]
    return sorted(findings, key=lambda each: not each.is_error)


def list_settings(home: NodeHome) -> list[SettingValue]:
    """Return every setting with its source: ``environment``, ``file`` or ``default``."""
    settings = load_settings(home.config_file)
    found = []
    for name, value in _walk(settings):
        variable = ENVIRONMENT_PREFIX + name.upper().replace(".", "__")
        source = "default"
        if variable in {each.upper() for each in os.environ}:
            source = f"environment ({variable})"
        elif _is_set(settings, name):
            source = "file"
        found.append(SettingValue(name, value, source))
    return found


def _walk(model: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from _walk(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _is_set(settings: NodeSettings, name: str) -> bool:
    model: BaseModel = settings
    *groups, last = name.split(".")
    for group in groups:
        model = getattr(model, group)
    return last in model.model_fields_set


def _examine_environment() -> Iterator[Finding]:
    known = OTHER_VARIABLES | {
        ENVIRONMENT_PREFIX + name.upper().replace(".", "__")
        for name, _ in _walk(NodeSettings.model_construct())
    }
    for variable in sorted(os.environ):
        is_compose = variable.startswith("QUORATE_PORT_")
        if variable.startswith(ENVIRONMENT_PREFIX) and variable not in known and not is_compose:
            yield Finding(
                variable,
                "is read by nothing; is it a slip? docs/configuration.md lists all names",
                is_error=False,
            )


def _examine_genesis(home: NodeHome) -> Iterator[Finding]:
    try:
        genesis = genesis_from_json(home.genesis_file.read_text(encoding="utf-8"))
    except OSError as error:
        yield Finding("genesis", f"{home.genesis_file} cannot be read: {error.strerror}")
        return
    except InvalidInputError as error:
        yield Finding("genesis", f"{home.genesis_file}: {error.message}")
        return
    if home.invite_file.exists():
        try:
            invite = invite_from_text(home.invite_file.read_text(encoding="utf-8"))
        except InvalidInputError as error:
            yield Finding("invite", f"{home.invite_file}: {error.message}")
            return
        if invite.chain_id != genesis.chain_id:
            yield Finding("invite", f"{home.invite_file} is to another chain than the genesis")


def _examine_keys(home: NodeHome) -> Iterator[Finding]:
    files = [*home.list_transport_key_files(), *home.list_validator_key_files()]
    for path in files:
        try:
            key_file = read_key_file(path)
            mode = stat.S_IMODE(path.stat().st_mode)
        except (InvalidInputError, OSError) as error:
            yield Finding("keys", f"{path}: {error}")
            continue
        if mode & 0o077:
            yield Finding(
                "keys", f"{path} can be read by others (mode {mode:o}): chmod 600 {path}",
                is_error=False,
            )  # fmt: skip
        if not key_file.is_encrypted:
            yield Finding("keys", f"{path} is not encrypted", is_error=False)


def _examine_settings(settings: NodeSettings) -> Iterator[Finding]:
    p2p, api = settings.p2p, settings.api
    if api.enabled and p2p.listen_port == api.port != 0:
        yield Finding("api.port", f"is {api.port}, the port of p2p too; choose another")
    if api.enabled and api.host not in _LOOPBACK:
        yield Finding(
            "api.host",
            f"is {api.host}: REST is not encrypted; let a proxy with TLS stand before it",
            is_error=False,
        )


def _examine_password(home: NodeHome, settings: NodeSettings) -> Iterator[Finding]:
    """Open every encrypted key with the password that the node would find."""
    file = settings.keys.password_file or find_password_file()
    if file is None:
        return
    try:
        password = read_password_file(file)
    except InvalidInputError as error:
        yield Finding("keys.password_file", error.message)
        return
    if stat.S_IMODE(file.stat().st_mode) & 0o077:
        yield Finding("keys.password_file", f"{file} can be read by others", is_error=False)
    for path in [*home.list_transport_key_files(), *home.list_validator_key_files()]:
        if read_key_file(path).is_encrypted:
            try:
                load_seed(path, password)
            except InvalidInputError as error:
                yield Finding("keys.password_file", f"{file}: {error.message}")
