from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.hello import HELLO_BYTES_MAX, PROTOCOL_VERSION, Hello, check_hello, decode_hello
from primitives.codec import encode
from primitives.errors import InvalidInputError
from primitives.fields import COUNTER_MAX

CHAIN = bytes(range(32))


@given(st.binary(min_size=32, max_size=32), st.integers(0, COUNTER_MAX))
def test_a_hello_reads_back(chain_id: bytes, index: int) -> None:
    hello = Hello(chain_id, index, chain_id * (index % 3))
    assert decode_hello(hello.encode()) == hello
    assert len(hello.encode()) <= HELLO_BYTES_MAX


@given(st.binary(max_size=HELLO_BYTES_MAX + 8))
def test_any_bytes_are_a_hello_or_refused(data: bytes) -> None:
    try:
        assert decode_hello(data).encode() == data
    except InvalidInputError as error:
        assert error.code


def test_another_protocol_version_is_refused_with_both_versions() -> None:
    with pytest.raises(InvalidInputError, match=r"hello\.version .*\[2, 2\].* 3"):
        decode_hello(encode((PROTOCOL_VERSION + 1, CHAIN, 0, b"")))


def test_a_hello_of_this_chain_and_member_passes() -> None:
    check_hello(Hello(CHAIN, 3), chain_id=CHAIN, index=3)


@pytest.mark.parametrize(
    ("hello", "code"),
    [(Hello(bytes(32), 3), "wrong_chain"), (Hello(CHAIN, 4), "unknown_peer")],
)
def test_a_hello_of_another_chain_or_member_is_refused(hello: Hello, code: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        check_hello(hello, chain_id=CHAIN, index=3)
    assert caught.value.code == code
