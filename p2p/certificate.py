"""The X.509 certificates that TLS wants, around the keys that we trust.

Trust is in public keys: a peer is who it is because the registry of members lists its transport
key. TLS, however, insists on certificates signed by an authority. So every network has an authority
whose private key is derived from the chain id, which everybody knows: its signature proves nothing
and is asked to prove nothing. What TLS proves is that the peer holds the private key of the
certificate's public key, and that key is compared with the registry. Dates are as wide as X.509
allows, and nobody looks at them. See docs/adr/0003.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import NameOID

from primitives.errors import InvalidInputError

__all__ = ["TransportIdentity", "get_certificate_key", "make_authority", "make_identity"]

_NOT_BEFORE: Final = datetime(1970, 1, 2, tzinfo=UTC)
_NOT_AFTER: Final = datetime(9999, 12, 30, tzinfo=UTC)
_AUTHORITY_NAME: Final = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "quorate network")])


@dataclass(frozen=True, slots=True)
class TransportIdentity:
    """What a node shows its peers.

    Parameters
    ----------
    public_key
        Of the transport key, 32 bytes; what peers know it by.
    certificate_pem, private_key_pem
        For TLS.
    authority_pem
        Certificate of the network's authority.
    """

    public_key: bytes
    certificate_pem: bytes
    private_key_pem: bytes = field(repr=False)
    authority_pem: bytes


def make_identity(seed: bytes, chain_id: bytes) -> TransportIdentity:
    """Return the identity of a transport key on one network; the same every time.

    Parameters
    ----------
    seed
        Of the private transport key, 32 bytes.
    chain_id
        The genesis hash.
    """
    private_key = Ed25519PrivateKey.from_private_bytes(seed)
    authority_key = _derive_authority_key(chain_id)
    public_key = private_key.public_key()
    raw = public_key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, raw.hex())])
    certificate = _sign(name, public_key, authority_key, is_authority=False)
    return TransportIdentity(
        public_key=raw,
        certificate_pem=certificate.public_bytes(Encoding.PEM),
        private_key_pem=private_key.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        ),
        authority_pem=make_authority(chain_id),
    )


def make_authority(chain_id: bytes) -> bytes:
    """Return the certificate of a network's authority, PEM."""
    key = _derive_authority_key(chain_id)
    certificate = _sign(_AUTHORITY_NAME, key.public_key(), key, is_authority=True)
    return certificate.public_bytes(Encoding.PEM)


def get_certificate_key(certificate_der: bytes) -> bytes:
    """Return the Ed25519 public key in a peer's certificate, 32 bytes.

    Raises
    ------
    InvalidInputError
        ``unknown_peer``: the certificate holds another kind of key, or is none.
    """
    try:
        key = x509.load_der_x509_certificate(certificate_der).public_key()
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        # Everybody can sign as the authority, so what TLS let through may still be odd.
        raise _refuse(f"cannot be read: {error}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise _refuse("holds no Ed25519 key")
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def _refuse(why: str) -> InvalidInputError:
    return InvalidInputError(
        "unknown_peer", f"the peer's certificate {why}", field="certificate.public_key"
    )


def _derive_authority_key(chain_id: bytes) -> Ed25519PrivateKey:
    seed = hashlib.sha256(b"quorate/public-authority/1" + chain_id).digest()
    return Ed25519PrivateKey.from_private_bytes(seed)


def _sign(
    name: x509.Name,
    public_key: Ed25519PublicKey,
    authority_key: Ed25519PrivateKey,
    *,
    is_authority: bool,
) -> x509.Certificate:
    raw = public_key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    serial = int.from_bytes(hashlib.sha256(raw).digest()[:16], "big") | 1
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(_AUTHORITY_NAME)
        .public_key(public_key)
        .serial_number(serial)
        .not_valid_before(_NOT_BEFORE)
        .not_valid_after(_NOT_AFTER)
        .add_extension(
            x509.BasicConstraints(ca=is_authority, path_length=0 if is_authority else None),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()),
            critical=False,
        )
    )
    return builder.sign(authority_key, None)
