from hashlib import sha256

import pytest

from primitives.hashing import HASH_BYTES, ZERO_HASH, Tag, tagged_hash


@pytest.mark.parametrize("tag", Tag)
def test_the_hash_covers_length_and_tag_and_data(tag):
    expected = sha256(bytes([len(tag)]) + tag.encode() + b"data").digest()
    assert tagged_hash(tag, b"data") == expected
    assert len(expected) == HASH_BYTES == len(ZERO_HASH)


def test_tags_are_distinct_and_short():
    values = [tag.value for tag in Tag]
    assert len(set(values)) == len(values)
    assert all(value.startswith("quorate/") and len(value) < 64 for value in values)
