"""The named twins: how each family's settings read in scikit-learn's and river's terms.

A twin's rates, penalties, widths and smoothing are computed from the settings of the fixed-point
model, never written a second time, so that they cannot drift apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, Protocol

import numpy as np
from sklearn.linear_model import Ridge, RidgeClassifier, SGDClassifier, SGDRegressor
from sklearn.naive_bayes import BernoulliNB, GaussianNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor, NearestCentroid
from sklearn.neural_network import MLPClassifier, MLPRegressor

from benchmarks.models.data import Split, to_numbers
from ml_runtime.encoders import from_q16
from ml_runtime.fixed_point import ONE
from ml_runtime.registry import get_family
from ml_runtime.samples import DenseSamples, Samples
from ml_runtime.spec import ModelSpec

try:
    from river import linear_model, optim, tree
except ImportError:
    linear_model = optim = tree = None

__all__ = ["RIVER_ADVICE", "TWINS", "NoTwinError", "Twin"]

RIVER_ADVICE: Final = "river is not installed: pip install river==0.26.1"


class NoTwinError(Exception):
    """A twin's library is missing; the message says how to get it."""


class Twin(Protocol):
    """A model in floating point, whichever library it is from."""

    def prepare(self, samples: Samples) -> Any:
        """Return samples as the library wants them; never timed."""

    def prepare_targets(self, targets: Any) -> Any:
        """Return classes, or numbers, as the library wants them."""

    def learn(self, features: Any, targets: Any, passes: int) -> None:
        """Learn everything, in order, so many times."""

    def learn_batch(self, features: Any, targets: Any) -> bool:
        """Learn one batch more; False if it cannot."""

    def predict(self, features: Any) -> Any:
        """Return the answers."""


@dataclass(slots=True)
class SklearnTwin:
    """An estimator of scikit-learn; ``classes`` is empty for numbers."""

    model: Any
    classes: Any

    def prepare(self, samples: Samples) -> Any:
        """Return an array or a sparse matrix."""
        return to_numbers(samples)

    def prepare_targets(self, targets: Any) -> Any:
        """Return classes as they are, numbers without their scale."""
        return targets if len(self.classes) else from_q16(targets)

    def learn(self, features: Any, targets: Any, passes: int) -> None:
        """Fit; an estimator that learns by passes is told how many."""
        if "max_iter" in self.model.get_params() and "shuffle" in self.model.get_params():
            self.model.set_params(max_iter=passes)
        self.model.fit(features, targets)

    def learn_batch(self, features: Any, targets: Any) -> bool:
        """Call ``partial_fit`` where there is one."""
        if not hasattr(self.model, "partial_fit"):
            return False
        if len(self.classes):
            self.model.partial_fit(features, targets, classes=self.classes)
        else:
            self.model.partial_fit(features, targets)
        return True

    def predict(self, features: Any) -> Any:
        """Return classes or numbers."""
        return self.model.predict(features)


@dataclass(slots=True)
class RiverTwin:
    """A model of river, which takes one dictionary after another."""

    model: Any
    has_constant: bool

    def prepare(self, samples: Samples) -> Any:
        """Return a dictionary for each sample; river's linear models know no intercept."""
        constant = {-1: 1.0} if self.has_constant else {}
        if isinstance(samples, DenseSamples):
            rows = from_q16(samples.features).tolist()
            return [dict(enumerate(row)) | constant for row in rows]
        values, indices = from_q16(samples.values).tolist(), samples.indices.tolist()
        starts = samples.row_starts.tolist()
        spans = [slice(start, end) for start, end in pairwise(starts)]
        return [dict(zip(indices[s], values[s], strict=True)) | constant for s in spans]

    def prepare_targets(self, targets: Any) -> Any:
        """Return Python's integers."""
        return targets.tolist()

    def learn(self, features: Any, targets: Any, passes: int) -> None:
        """Learn one after another."""
        for _ in range(passes):
            self.learn_batch(features, targets)

    def learn_batch(self, features: Any, targets: Any) -> bool:
        """Learn one after another."""
        for row, target in zip(features, targets, strict=True):
            self.model.learn_one(row, target)
        return True

    def predict(self, features: Any) -> Any:
        """Return classes; -1 where river does not know."""
        answers = [self.model.predict_one(row) for row in features]
        return np.array([-1 if each is None else each for each in answers])


def get_setting(spec: ModelSpec, name: str) -> int:
    """Return a setting of a spec, or what the family takes if it says nothing."""
    defaults = {each.name: each.default for each in get_family(spec.family).parameters}
    return spec.get(name, defaults[name])


def _wrap(model: Any, split: Split) -> SklearnTwin:
    return SklearnTwin(model, np.arange(split.class_count))


def _get_descent(spec: ModelSpec) -> dict[str, Any]:
    """Return what a spec says of descent, as scikit-learn's ``SGD…`` says it."""
    schedule = get_setting(spec, "schedule")
    if schedule and get_setting(spec, "schedule_samples") != 1:
        # Only then does the first step of both have the same rate.
        raise ValueError(f"{spec.family} and its twin share falling rates from sample 1 only")
    penalty = get_setting(spec, "l2")
    return {
        "learning_rate": "invscaling" if schedule else "constant",
        "power_t": {0: 0.0, 1: 1.0, 2: 0.5}[schedule],
        "eta0": get_setting(spec, "rate") / ONE,
        "penalty": "l2" if penalty else None,
        "alpha": penalty / (1 << 32),
        "fit_intercept": bool(get_setting(spec, "bias")),
        "shuffle": False,
        "tol": None,
    }


def make_perceptron(spec: ModelSpec, split: Split) -> Twin:
    """Return one step of size 1 for each mistake, averaged."""
    model = SGDClassifier(
        loss="perceptron",
        average=True,
        learning_rate="constant",
        eta0=1.0,
        penalty=None,
        fit_intercept=bool(get_setting(spec, "bias")),
        shuffle=False,
        tol=None,
    )
    return _wrap(model, split)


def make_linear(spec: ModelSpec, split: Split) -> Twin:
    """Return least squares by descent."""
    return _wrap(SGDRegressor(loss="squared_error", **_get_descent(spec)), split)


def make_logistic(spec: ModelSpec, split: Split) -> Twin:
    """Return one class against the others by descent."""
    return _wrap(SGDClassifier(loss="log_loss", **_get_descent(spec)), split)


def make_softmax(spec: ModelSpec, _split: Split) -> Twin:
    """Return river's descent for all classes at once."""
    if linear_model is None:
        raise NoTwinError(RIVER_ADVICE)
    if get_setting(spec, "schedule") or get_setting(spec, "l2"):
        raise ValueError("river's intercept is a feature like others: no penalty, no schedule here")
    rate = get_setting(spec, "rate") / ONE
    model = linear_model.SoftmaxRegression(optimizer=optim.SGD(rate))
    return RiverTwin(model, has_constant=bool(get_setting(spec, "bias")))


def make_multinomial(spec: ModelSpec, split: Split) -> Twin:
    """Return naive Bayes of counts."""
    return _wrap(MultinomialNB(alpha=get_setting(spec, "smoothing") / ONE), split)


def make_bernoulli(spec: ModelSpec, split: Split) -> Twin:
    """Return naive Bayes of what is there."""
    smoothing, threshold = get_setting(spec, "smoothing"), get_setting(spec, "threshold")
    return _wrap(BernoulliNB(alpha=smoothing / ONE, binarize=threshold / ONE), split)


def make_gaussian(spec: ModelSpec, split: Split) -> Twin:
    """Return naive Bayes of numbers; its floor is a share of the largest variance."""
    largest = to_numbers(split.samples).var(axis=0).max()
    floor = get_setting(spec, "variance_floor") / ONE
    return _wrap(GaussianNB(var_smoothing=floor / largest), split)


def make_centroid(_spec: ModelSpec, split: Split) -> Twin:
    """Return the nearest mean."""
    return _wrap(NearestCentroid(), split)


def make_ridge(spec: ModelSpec, split: Split) -> Twin:
    """Return ridge regression, for classes on ±1."""
    penalty = get_setting(spec, "l2") / ONE
    return _wrap((RidgeClassifier if split.class_count else Ridge)(alpha=penalty), split)


def make_neighbours(spec: ModelSpec, split: Split) -> Twin:
    """Return the nearest samples, each with one vote."""
    kind = KNeighborsClassifier if split.class_count else KNeighborsRegressor
    return _wrap(kind(get_setting(spec, "neighbours")), split)


def make_network(spec: ModelSpec, split: Split) -> Twin:
    """Return a network that takes a step after every sample, its first weights by the split."""
    if get_setting(spec, "schedule") or get_setting(spec, "l2") or get_setting(spec, "momentum"):
        raise ValueError("the two networks share a constant rate alone")
    hidden = [get_setting(spec, name) for name in ("hidden1", "hidden2")]
    model = (MLPClassifier if split.class_count else MLPRegressor)(
        hidden_layer_sizes=tuple(width for width in hidden if width),
        solver="sgd",
        learning_rate_init=get_setting(spec, "rate") / ONE,
        alpha=0.0,
        batch_size=1,
        momentum=0.0,
        nesterovs_momentum=False,
        shuffle=False,
        tol=0.0,
        n_iter_no_change=1_000,
        random_state=split.seed,
    )
    return _wrap(model, split)


def make_tree(spec: ModelSpec, _split: Split) -> Twin:
    """Return river's Hoeffding tree."""
    if tree is None:
        raise NoTwinError(RIVER_ADVICE)
    model = tree.HoeffdingTreeClassifier(
        grace_period=get_setting(spec, "grace"),
        delta=math.exp(-get_setting(spec, "sureness") / ONE),
        tau=get_setting(spec, "tie") / ONE,
        leaf_prediction="nba",
    )
    return RiverTwin(model, has_constant=False)


TWINS: Final = {
    "averaged_perceptron": ("SGDClassifier(perceptron)", make_perceptron),
    "linear_regression": ("SGDRegressor", make_linear),
    "logistic_regression": ("SGDClassifier(log_loss)", make_logistic),
    "softmax_regression": ("river SoftmaxRegression", make_softmax),
    "multinomial_naive_bayes": ("MultinomialNB", make_multinomial),
    "bernoulli_naive_bayes": ("BernoulliNB", make_bernoulli),
    "gaussian_naive_bayes": ("GaussianNB", make_gaussian),
    "nearest_centroid": ("NearestCentroid", make_centroid),
    "ridge": ("Ridge(Classifier)", make_ridge),
    "nearest_neighbours": ("KNeighbors…", make_neighbours),
    "multilayer_perceptron": ("MLP…(sgd, batch 1)", make_network),
    "hoeffding_tree": ("river HoeffdingTree", make_tree),
}
"""What a table calls the twin of a family, and how it is made."""
