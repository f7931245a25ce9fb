"""All model families there are; a new one is added to the tuple below."""

from __future__ import annotations

from typing import Final

from ml_runtime.family import ModelFamily
from ml_runtime.models.averaged_perceptron import AveragedPerceptron
from ml_runtime.models.bernoulli_naive_bayes import BernoulliNaiveBayes
from ml_runtime.models.external_tensors import ExternalTensors
from ml_runtime.models.gaussian_mixture import GaussianMixture
from ml_runtime.models.gaussian_naive_bayes import GaussianNaiveBayes
from ml_runtime.models.gradient_descent import (
    LinearRegression,
    LogisticRegression,
    SoftmaxRegression,
)
from ml_runtime.models.hoeffding_tree import HoeffdingTree
from ml_runtime.models.k_means import KMeans
from ml_runtime.models.multilayer_perceptron import MultilayerPerceptron
from ml_runtime.models.multinomial_naive_bayes import MultinomialNaiveBayes
from ml_runtime.models.nearest_centroid import NearestCentroid
from ml_runtime.models.nearest_neighbours import NearestNeighbours
from ml_runtime.models.principal_components import PrincipalComponents
from ml_runtime.models.ridge import Ridge
from primitives.errors import InvalidInputError

__all__ = ["FAMILIES", "get_family"]

FAMILIES: Final[tuple[ModelFamily, ...]] = (
    AveragedPerceptron(),
    LinearRegression(),
    LogisticRegression(),
    SoftmaxRegression(),
    MultinomialNaiveBayes(),
    BernoulliNaiveBayes(),
    GaussianNaiveBayes(),
    NearestCentroid(),
    Ridge(),
    NearestNeighbours(),
    MultilayerPerceptron(),
    HoeffdingTree(),
    KMeans(),
    PrincipalComponents(),
    GaussianMixture(),
    ExternalTensors(),
)

_BY_NAME: Final = {family.name: family for family in FAMILIES}


def get_family(name: str) -> ModelFamily:
    """Return the family with a name.

    Raises
    ------
    InvalidInputError
        ``unknown_family``.
    """
    family = _BY_NAME.get(name)
    if family is None:
        raise InvalidInputError(
            "unknown_family",
            f"no model family is named {name!r}; known are {', '.join(_BY_NAME)}",
            field="spec.family",
            value=name,
        )
    return family
