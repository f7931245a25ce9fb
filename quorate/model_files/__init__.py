"""Models to and from files and scikit-learn objects.

docs/model-files.md says what can be moved, and how far numbers move when it is.
"""

from quorate.model_files.document import ModelDocument, decode_document, encode_document
from quorate.model_files.from_floats import round_state
from quorate.model_files.from_sklearn import ImportedModel, import_estimator
from quorate.model_files.tensors import (
    decode_npz,
    decode_safetensors,
    encode_npz,
    encode_safetensors,
)
from quorate.model_files.to_sklearn import export_estimator

__all__ = [
    "ImportedModel",
    "ModelDocument",
    "decode_document",
    "decode_npz",
    "decode_safetensors",
    "encode_document",
    "encode_npz",
    "encode_safetensors",
    "export_estimator",
    "import_estimator",
    "round_state",
]
