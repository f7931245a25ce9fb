"""From what people have to the integers that models take: one file for each kind of encoder."""

from ml_runtime.encoders.definitions import decode_encoder
from ml_runtime.encoders.embedding import EmbeddingEncoder
from ml_runtime.encoders.encoder import Encoder
from ml_runtime.encoders.hashed_words import HashedWordsEncoder
from ml_runtime.encoders.one_hot import CategoryColumn, OneHotEncoder
from ml_runtime.encoders.rounding import from_q16
from ml_runtime.encoders.scale import ScaleEncoder
from ml_runtime.encoders.standardise import StandardiseEncoder
from ml_runtime.encoders.vocabulary import VocabularyEncoder

__all__ = [
    "CategoryColumn",
    "EmbeddingEncoder",
    "Encoder",
    "HashedWordsEncoder",
    "OneHotEncoder",
    "ScaleEncoder",
    "StandardiseEncoder",
    "VocabularyEncoder",
    "decode_encoder",
    "from_q16",
]
