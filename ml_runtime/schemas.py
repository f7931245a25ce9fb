"""What a family's specs look like, as JSON Schema (2020-12), for people, forms and clients."""

from __future__ import annotations

from ml_runtime.family import ModelFamily
from ml_runtime.samples import FEATURES_MAX
from ml_runtime.spec import CLASSES_MAX, TENSORS_MAX

__all__ = ["build_schema"]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def build_schema(family: ModelFamily) -> dict[str, object]:
    """Return the schema of a spec of a family.

    What depends on several settings at once, the bounds above all, only the family's ``check``
    says; a spec that the schema allows may still be refused with ``invalid_spec``.
    """
    settings = {
        each.name: {
            "type": "integer",
            "description": each.description,
            "default": each.default,
            "minimum": each.low,
            "maximum": each.high,
        }
        for each in family.parameters
    }
    return {
        "$schema": _DIALECT,
        "title": family.name,
        "type": "object",
        "additionalProperties": False,
        "required": ["family", "layout", "feature_count", "class_count"],
        "properties": {
            "family": {"const": family.name},
            "layout": {"enum": list(family.layouts)},
            "feature_count": {"type": "integer", "minimum": 1, "maximum": FEATURES_MAX},
            "class_count": _describe_classes(family),
            "parameters": {
                "type": "object",
                "additionalProperties": False,
                "properties": settings,
            },
            "tensors": _describe_tensors(family),
        },
    }


def _describe_classes(family: ModelFamily) -> dict[str, object]:
    classes: dict[str, object] = {"type": "integer", "minimum": 2, "maximum": CLASSES_MAX}
    if "classification" not in family.tasks:
        return {"const": 0}
    if len(family.tasks) == 1:
        return classes
    return {"anyOf": [{"const": 0, "description": "for numbers"}, classes]}


def _describe_tensors(family: ModelFamily) -> dict[str, object]:
    lengths = {"type": "array", "maxItems": 4, "items": {"type": "integer", "minimum": 1}}
    limit = TENSORS_MAX if family.tasks == ("none",) else 0
    return {"type": "object", "maxProperties": limit, "additionalProperties": lengths}
