import pytest

from primitives.errors import InvalidInputError, InvariantViolationError
from primitives.fields import COUNTER_MAX, FieldReader


def reader_of(*fields):
    return FieldReader(list(fields), "record", len(fields))


def refusal_of(read):
    with pytest.raises(InvalidInputError) as caught:
        read()
    return caught.value


def test_a_record_is_read_in_order():
    reader = reader_of(7, b"abc", "text", True, [1, 2], None, b"k", None, 5, COUNTER_MAX, [None])
    assert reader.integer("a", 0, 10) == 7
    assert reader.bytes("b", length=3) == b"abc"
    assert reader.text("c", 4) == "text"
    assert reader.boolean("d") is True
    assert reader.array("e", 2) == [1, 2]
    assert reader.optional_bytes("f", 1) is None
    assert reader.optional_bytes("g", 1) == b"k"
    assert reader.optional_integer("h", 0, 9) is None
    assert reader.optional_integer("i", 0, 9) == 5
    assert reader.counter("j") == COUNTER_MAX
    assert reader.value() == [None]
    reader.end()


@pytest.mark.parametrize("value", [None, 1, b"", "", True])
def test_what_is_not_an_array_is_no_record(value):
    error = refusal_of(lambda: FieldReader(value, "record", 2))
    assert (error.code, error.field) == ("malformed", "record")


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_record_with_another_number_of_fields_is_refused(count):
    error = refusal_of(lambda: FieldReader([0] * count, "record", 2))
    assert (error.code, error.value, error.limit) == ("malformed", count, 2)


@pytest.mark.parametrize(
    ("read", "wrong"),
    [
        (lambda reader: reader.integer("x", 0, 1), [None, True, b"", "", []]),
        (lambda reader: reader.boolean("x"), [None, 1, b"", "", []]),
        (lambda reader: reader.bytes("x"), [None, True, 1, "", []]),
        (lambda reader: reader.text("x", 9), [None, True, 1, b"", []]),
        (lambda reader: reader.array("x", 9), [None, True, 1, b"", ""]),
        (lambda reader: reader.optional_bytes("x", 9), [True, 1, "", []]),
        (lambda reader: reader.optional_integer("x", 0, 9), [True, b"", "", []]),
    ],
    ids=["integer", "boolean", "bytes", "text", "array", "optional bytes", "optional integer"],
)
def test_a_field_of_another_type_is_refused_by_its_path(read, wrong):
    for value in wrong:
        error = refusal_of(lambda value=value: read(reader_of(value)))
        assert (error.code, error.field) == ("malformed", "record.x")
        assert error.message.startswith("record.x must be ")


@pytest.mark.parametrize(("value", "limit"), [(4, 5), (11, 10)])
def test_an_integer_out_of_range_is_refused_with_the_bound_it_broke(value, limit):
    error = refusal_of(lambda: reader_of(value).integer("x", 5, 10))
    assert (error.code, error.value, error.limit) == ("out_of_range", value, limit)
    assert error.message == f"record.x must lie in [5, 10], found {value}"


@pytest.mark.parametrize("value", [-1, COUNTER_MAX + 1])
def test_a_counter_is_not_negative_and_fits_63_bits(value):
    assert refusal_of(lambda: reader_of(value).counter("x")).code == "out_of_range"


def test_bytes_of_another_length_are_refused():
    error = refusal_of(lambda: reader_of(b"abc").bytes("x", length=4))
    assert (error.code, error.value, error.limit) == ("malformed", 3, 4)


def test_sizes_up_to_the_limit_pass_and_one_more_is_refused():
    assert reader_of(b"abc").bytes("x", bytes_max=3) == b"abc"
    assert reader_of("é").text("x", bytes_max=2) == "é"
    assert reader_of([1, 2]).array("x", items_max=2) == [1, 2]
    for read in (
        lambda: reader_of(b"abc").bytes("x", bytes_max=2),
        lambda: reader_of("éa").text("x", bytes_max=2),
        lambda: reader_of([1, 2, 3]).array("x", items_max=2),
    ):
        error = refusal_of(read)
        assert (error.code, error.field, error.limit) == ("too_large", "record.x", 2)


def test_a_refusal_says_what_was_found():
    assert "found nil" in refusal_of(lambda: reader_of(None).bytes("x")).message
    assert "found an integer (7)" in refusal_of(lambda: reader_of(7).bytes("x")).message
    assert "found text of length 3" in refusal_of(lambda: reader_of("abc").bytes("x")).message


def test_reading_too_much_or_too_little_is_a_bug_of_ours():
    reader = reader_of(1)
    with pytest.raises(InvariantViolationError, match="0 of the 1 fields"):
        reader.end()
    reader.value()
    with pytest.raises(InvariantViolationError, match="beyond its last field"):
        reader.value()
    with pytest.raises(InvariantViolationError, match="beyond its last field"):
        reader.optional_bytes("x", 1)
