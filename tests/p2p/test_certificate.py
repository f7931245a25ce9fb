from __future__ import annotations

import ssl
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from p2p.certificate import get_certificate_key, make_identity
from primitives.errors import InvalidInputError
from primitives.keys import PrivateKey

SEED = bytes(range(32))
CHAIN = b"\x07" * 32


def test_an_identity_is_a_function_of_the_key_and_the_chain() -> None:
    assert make_identity(SEED, CHAIN) == make_identity(SEED, CHAIN)
    other = make_identity(SEED, b"\x08" * 32)
    assert other.public_key == make_identity(SEED, CHAIN).public_key
    assert other.certificate_pem != make_identity(SEED, CHAIN).certificate_pem


def test_the_certificate_shows_the_transport_key() -> None:
    identity = make_identity(SEED, CHAIN)
    der = ssl.PEM_cert_to_DER_cert(identity.certificate_pem.decode("ascii"))
    assert get_certificate_key(der) == identity.public_key == PrivateKey(SEED).public_key


def test_the_certificate_names_both_keys_as_strict_verifiers_demand() -> None:
    identity = make_identity(SEED, CHAIN)
    certificate = x509.load_pem_x509_certificate(identity.certificate_pem)
    authority = x509.load_pem_x509_certificate(identity.authority_pem)
    certificate.verify_directly_issued_by(authority)
    subject = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    issuer = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    of_authority = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert subject.digest != of_authority.digest == issuer.key_identifier
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert not constraints.ca


def test_the_private_key_does_not_show_when_an_identity_is_printed() -> None:
    assert "PRIVATE" not in repr(make_identity(SEED, CHAIN))


def test_a_certificate_with_another_kind_of_key_is_refused() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([])
    when = datetime(2000, 1, 1, tzinfo=UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(when)
        .not_valid_after(when)
        .sign(key, SHA256())
    )
    with pytest.raises(InvalidInputError, match="no Ed25519 key") as caught:
        get_certificate_key(certificate.public_bytes(Encoding.DER))
    assert caught.value.code == "unknown_peer"


@given(st.binary(max_size=64))
def test_bytes_that_are_no_certificate_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidInputError, match="cannot be read"):
        get_certificate_key(data)


@pytest.mark.filterwarnings("ignore")  # The library warns of what it still reads.
@given(st.integers(0, 300), st.integers(0, 255))
def test_a_damaged_certificate_is_refused_or_read(position: int, value: int) -> None:
    pem = make_identity(SEED, CHAIN).certificate_pem.decode("ascii")
    der = bytearray(ssl.PEM_cert_to_DER_cert(pem))
    der[position % len(der)] = value
    try:
        assert len(get_certificate_key(bytes(der))) == 32
    except InvalidInputError as error:
        assert error.code == "unknown_peer"
