"""``quorate member add-observer``: the home of a node that follows and never votes."""

from __future__ import annotations

from pathlib import Path

from node.commands.keys import choose_new_password
from node.commands.terminal import print_note
from node.home import NodeHome
from node.network_files import make_seed
from node.storage.keystore import save_seed
from primitives.errors import InvalidInputError

__all__ = ["lay_out_observer"]


def lay_out_observer(
    folder: Path, of: NodeHome, api_port: int, *, plain: bool, password_file: Path | None
) -> None:
    """Write settings, genesis and a transport key of a new observer.

    Parameters
    ----------
    folder
        Must be missing or empty.
    of
        Home of a node of the same organisation, whose genesis is taken.
    api_port
        Where the observer answers REST.
    plain, password_file
        Whether and how its key is encrypted.

    Raises
    ------
    InvalidInputError
        ``folder_not_empty``, or there is no genesis.
    """
    home = NodeHome(folder)
    if home.root.exists() and any(home.root.iterdir()):
        raise InvalidInputError(
            "folder_not_empty", f"{folder} is not empty", field="folder", value=str(folder)
        )
    genesis = of.genesis_file.read_text(encoding="utf-8")
    password = choose_new_password(plain=plain, password_file=password_file)
    save_seed(
        home.transport_key_file, make_seed(), description="observer transport", password=password
    )
    home.config_file.parent.mkdir(parents=True, exist_ok=True)
    home.genesis_file.write_text(genesis, encoding="utf-8")
    home.config_file.write_text(
        "# Settings of an observer: it follows, and never votes.\n"
        'validator = ""\n\n[p2p]\nlisten_host = "127.0.0.1"\nlisten_port = 0\n\n'
        f"[api]\nport = {api_port}\n",
        encoding="utf-8",
    )
    print_note(f"start it with: quorate start --home {folder}")
