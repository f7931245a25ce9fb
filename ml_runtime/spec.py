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
TENSORS_MAX: Final = 64
DIMENSIONS_MAX: Final = 4
DIMENSION_MAX: Final = 1 << 30
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
        Classes, 2 to 4096; 0 for a model that predicts numbers, groups or outliers.
    parameters
        Settings of the family by name, ascending; what is not named has its default.
    tensors
        Names, ascending, and shapes of the tensors of a model that is trained elsewhere; no other
        family has any.
    """

    family: str
    layout: str
    feature_count: int
    class_count: int
    parameters: tuple[tuple[str, int], ...] = ()
    tensors: tuple[tuple[str, tuple[int, ...]], ...] = ()

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
            [[name, list(shape)] for name, shape in self.tensors],
        ]


def make_spec(
    family: str,
    layout: str,
    feature_count: int,
    class_count: int,
    parameters: Mapping[str, int] | None = None,
    tensors: Mapping[str, tuple[int, ...]] | None = None,
) -> ModelSpec:
    """Return a spec with its settings in canonical order; the family checks it."""
    ordered = tuple(sorted((parameters or {}).items()))
    shapes = tuple(sorted((tensors or {}).items()))
    return ModelSpec(family, layout, feature_count, class_count, ordered, shapes)


def decode_spec(value: Value) -> ModelSpec:
    """Return the spec whose fields are ``value``.

    Raises
    ------
    InvalidInputError
        ``invalid_spec``: it is malformed, or a number is out of range.
    """
    try:
        reader = FieldReader(value, "spec", 6)
        spec = ModelSpec(
            family=reader.text("family", NAME_BYTES_MAX),
            layout=reader.text("layout", 6),
            feature_count=reader.integer("feature_count", 1, FEATURES_MAX),
            class_count=_read_class_count(reader),
            parameters=tuple(
                _decode_parameter(item) for item in reader.array("parameters", PARAMETERS_MAX)
            ),
            tensors=tuple(_decode_tensor(item) for item in reader.array("tensors", TENSORS_MAX)),
        )
        reader.end()
    except InvalidInputError as error:
        raise InvalidInputError(
            "invalid_spec", error.message, field=error.field, value=error.value, limit=error.limit
        ) from error
    names = [name for name, _ in spec.parameters]
    tensors = [name for name, _ in spec.tensors]
    if spec.layout not in LAYOUTS or names != sorted(set(names)) or tensors != sorted(set(tensors)):
        raise InvalidInputError(
            "invalid_spec",
            f"spec.layout must be dense or sparse, found {spec.layout!r}, and spec.parameters and"
            f" spec.tensors must be named once each, ascending, found {names} and {tensors}",
            field="spec",
        )
    return spec


def _read_class_count(reader: FieldReader) -> int:
    count = reader.integer("class_count", 0, CLASSES_MAX)
    if count == 1:
        raise InvalidInputError(
            "out_of_range",
            "spec.class_count must be 0 or at least 2: with one class there is nothing to learn",
            field="spec.class_count",
            value=1,
            limit=2,
        )
    return count


def _decode_parameter(value: Value) -> tuple[str, int]:
    reader = FieldReader(value, "spec.parameters", 2)
    parameter = (
        reader.text("name", NAME_BYTES_MAX),
        reader.integer("value", -PARAMETER_MAX, PARAMETER_MAX),
    )
    reader.end()
    return parameter


def _decode_tensor(value: Value) -> tuple[str, tuple[int, ...]]:
    reader = FieldReader(value, "spec.tensors", 2)
    name = reader.text("name", NAME_BYTES_MAX)
    lengths = reader.array("shape", DIMENSIONS_MAX)
    reader.end()
    shape = FieldReader(lengths, "spec.tensors.shape", len(lengths))
    return name, tuple(shape.integer("length", 1, DIMENSION_MAX) for _ in lengths)
