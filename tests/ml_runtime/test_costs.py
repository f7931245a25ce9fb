"""Compute units cover the most that a batch can set off, whatever the model has seen before."""

import pytest

from ml_runtime.registry import get_family
from ml_runtime.spec import make_spec
from primitives.errors import InvalidInputError


@pytest.mark.parametrize("name", ["k_means", "gaussian_mixture"])
def test_every_batch_is_charged_with_the_beginning_that_it_may_set_off(name: str) -> None:
    """One sample may be the last that was waited for; it was charged with its share alone."""
    family = get_family(name)
    spec = make_spec(name, "dense", 64, 0, {"groups": 16, "seed_samples": 512})
    # Four starts of eight candidates and 21 steps each look at every distance.
    assert family.cost(spec, 1, 64) > 4 * 21 * 512 * 16 * 64 // 2


@pytest.mark.parametrize("name", ["k_means", "gaussian_mixture"])
def test_beginning_that_takes_too_long_is_refused(name: str) -> None:
    settings = {"groups": 64, "seed_samples": 4_096}
    with pytest.raises(InvalidInputError, match="compute units to begin") as refused:
        get_family(name).check(make_spec(name, "dense", 64, 0, settings))
    assert refused.value.code == "invalid_spec"


def test_every_leaf_of_a_tree_may_be_due_to_split() -> None:
    """A batch was charged with one try while each of its samples could set one off."""
    family = get_family("hoeffding_tree")
    few, many = (make_spec(family.name, "dense", 8, 2, {"leaves": each}) for each in (1, 100))
    one_try = 40 * 8 * 16 * 2
    assert family.cost(many, 64, 512) - family.cost(few, 64, 512) > 60 * one_try


def test_asking_more_neighbours_costs_more() -> None:
    family = get_family("nearest_neighbours")
    five, most = (make_spec(family.name, "dense", 1, 2, {"neighbours": each}) for each in (5, 64))
    assert family.cost(most, 10, 10) > 5 * family.cost(five, 10, 10)


@pytest.mark.parametrize(
    "name",
    [
        "averaged_perceptron",
        "softmax_regression",
        "multinomial_naive_bayes",
        "bernoulli_naive_bayes",
        "gaussian_naive_bayes",
        "nearest_centroid",
        "ridge",
        "nearest_neighbours",
        "hoeffding_tree",
        "multilayer_perceptron",
    ],
)
def test_probabilities_of_many_classes_are_charged(name: str) -> None:
    family = get_family(name)
    costs = [family.cost(make_spec(name, "dense", 1, 4_096), count, count) for count in (1, 101)]
    assert costs[1] - costs[0] >= 100 * 4_096 * 24
