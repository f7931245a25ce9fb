"""What a model is, apart from its parameters: family, shape of a sample, settings of the family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ml_runtime.samples import FEATURES_MAX
from primitives.codec import Encodable, Value
from primitives.errors import InvalidInputError
from primitives.fields import FieldReader

__all__ = ["CLASSES_MAX", "LAYOUTS", "ModelSpec", "decode_spec", "make_spec"]

LAYOUTS: Final = ("dense", "sparse")
CLASSES_MAX: Final = 4096
PARAMETERS_MAX: Final = 32
NAME_BYTES_MAX: Final = 64
PARAMETER_MAX: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """The unchanging part of a model.

    Parameters
    ----------
    family
        Name of a family in ``ml_runtime.registry``.
    layout
        ``dense`` or ``sparse``.
    feature_count
        Features of a sample, 1 to 2^24.
    class_count
        Classes, 2 to 4096.
    parameters
        Settings of the family by name, ascending; what is not named has its default.
    """

    family: str
    layout: str
    feature_count: int
    class_count: int
    parameters: tuple[tuple[str, int], ...] = ()

    def get(self, name: str, default: int) -> int:
        """Return a setting of the family."""
        return dict(self.parameters).get(name, default)

    def to_fields(self) -> list[Encodable]:
        """Return the fields of the canonical array."""
        return [
            self.family,
            self.layout,
            self.feature_count,
            self.class_count,
            [[name, value] for name, value in self.parameters],
        ]


def make_spec(
    family: str,
    layout: str,
    feature_count: int,
    class_count: int,
    parameters: Mapping[str, int] | None = None,
) -> ModelSpec:
    """Return a spec with its settings in canonical order; the family checks it."""
    ordered = tuple(sorted((parameters or {}).items()))
    return ModelSpec(family, layout, feature_count, class_count, ordered)


def decode_spec(value: Value) -> ModelSpec:
    """Return the spec whose fields are ``value``.

    Raises
    ------
    InvalidInputError
        ``invalid_spec``: it is malformed, or a number is out of range.
    """
    try:
        reader = FieldReader(value, "spec", 5)
        spec = ModelSpec(
            family=reader.text("family", NAME_BYTES_MAX),
            layout=reader.text("layout", 6),
            feature_count=reader.integer("feature_count", 1, FEATURES_MAX),
            class_count=reader.integer("class_count", 2, CLASSES_MAX),
            parameters=tuple(
                _decode_parameter(item) for item in reader.array("parameters", PARAMETERS_MAX)
            ),
        )
        reader.end()
    except InvalidInputError as error:
        raise InvalidInputError(
            "invalid_spec", error.message, field=error.field, value=error.value, limit=error.limit
        ) from error
    names = [name for name, _ in spec.parameters]
    if spec.layout not in LAYOUTS or names != sorted(set(names)):
        raise InvalidInputError(
            "invalid_spec",
            f"spec.layout must be dense or sparse, found {spec.layout!r}, and spec.parameters must"
            f" be named once each, ascending, found {names}",
            field="spec",
        )
    return spec


def _decode_parameter(value: Value) -> tuple[str, int]:
    reader = FieldReader(value, "spec.parameters", 2)
    parameter = (
        reader.text("name", NAME_BYTES_MAX),
        reader.integer("value", -PARAMETER_MAX, PARAMETER_MAX),
    )
    reader.end()
    return parameter
