import pytest

from primitives.errors import (
    CorruptStateError,
    InvalidInputError,
    InvariantViolationError,
    QuorateError,
)


def test_an_input_fault_carries_what_a_program_and_a_person_need():
    error = InvalidInputError("too_large", "x has 9", field="x", value=9, limit=8)
    assert (error.code, error.message, str(error)) == ("too_large", "x has 9", "x has 9")
    assert (error.field, error.value, error.limit) == ("x", 9, 8)


@pytest.mark.parametrize("kind", [InvalidInputError, CorruptStateError, InvariantViolationError])
def test_every_error_has_one_root_and_the_faults_do_not_mix(kind):
    others = {InvalidInputError, CorruptStateError, InvariantViolationError} - {kind}
    assert issubclass(kind, QuorateError)
    assert not any(issubclass(kind, other) for other in others)
