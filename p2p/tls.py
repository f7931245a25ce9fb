"""Where connections between nodes arrive, and the TLS that they are wrapped in.

Source: docs/spec/p2p.md §2.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import tempfile
from collections.abc import Iterator
from typing import Final

from p2p.certificate import TransportIdentity
from primitives.errors import InvalidInputError

__all__ = ["ACCEPT_QUEUE_MAX", "listen_on", "make_context"]

ACCEPT_QUEUE_MAX: Final = 64

# Of OpenSSL (x509_vfy.h): dates are not looked at. The ssl module passes it on without naming it.
_X509_V_FLAG_NO_CHECK_TIME: Final = 0x200000


def make_context(identity: TransportIdentity, protocol: int) -> ssl.SSLContext:
    """Return a TLS 1.3 context that shows our certificate and asks for the other's."""
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= _X509_V_FLAG_NO_CHECK_TIME
    context.load_verify_locations(cadata=identity.authority_pem.decode("ascii"))
    if protocol == ssl.PROTOCOL_TLS_SERVER:
        # Every connection proves both keys anew.
        context.num_tickets = 0
    with _as_file(identity.certificate_pem + identity.private_key_pem) as path:
        context.load_cert_chain(path)
    return context


@contextlib.contextmanager
def _as_file(secret: bytes) -> Iterator[str]:
    """Show bytes as a file for an instant: the standard library reads keys from files alone."""
    if hasattr(os, "memfd_create"):
        # In memory, so that the key never reaches a disk and none has to be writable.
        descriptor = os.memfd_create("quorate-transport-key")
        try:
            with os.fdopen(os.dup(descriptor), "wb") as file:
                file.write(secret)
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
    else:
        with tempfile.NamedTemporaryFile() as file:
            file.write(secret)
            file.flush()
            yield file.name


def listen_on(host: str, port: int) -> socket.socket:
    """Return a socket that listens; raises `InvalidInputError`, ``cannot_listen``."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=ACCEPT_QUEUE_MAX)
    except OSError as error:
        raise InvalidInputError(
            "cannot_listen",
            f"cannot listen for peers on {host}:{port}: {error}",
            field="p2p.listen",
            value=f"{host}:{port}",
        ) from error
    listener.setblocking(False)
    return listener
