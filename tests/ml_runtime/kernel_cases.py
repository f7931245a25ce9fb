"""One case for each file of kernels: made from a seed, run by the kernels or by their twins."""

import importlib
from collections.abc import Callable

import numpy as np

from ml_runtime.fixed_point import ONE
from ml_runtime.tables import EXP2_TABLE, LOG2_E, LOG2_TABLE

CLASSES, FEATURES, SAMPLES = 5, 9, 40
LIMITS = (3, ONE, 1 << 19)

Arrays = dict[str, np.ndarray]


class Case:
    """Features up to a limit, dense and sparse, labels and numbers."""

    def __init__(self, seed: int, limit: int) -> None:
        random = np.random.default_rng(seed)
        features = random.integers(-limit, limit + 1, (SAMPLES, FEATURES))
        features[random.random(features.shape) < 0.4] = 0
        features[0], features[1] = limit, -limit
        self.features = features.astype(np.int64)
        self.labels = random.integers(0, CLASSES, SAMPLES).astype(np.int64)
        self.numbers = random.integers(-(1 << 26), (1 << 26) + 1, SAMPLES).astype(np.int64)
        rows, indices = np.nonzero(features)
        starts = np.zeros(SAMPLES + 1, dtype=np.int64)
        np.cumsum(np.bincount(rows, minlength=SAMPLES), out=starts[1:])
        values = features[rows, indices].astype(np.int64)
        self.entries = (starts, indices.astype(np.int64), values)
        self.limit = limit
        self.random = random


def table(*shape: int) -> np.ndarray:
    return np.zeros(shape, dtype=np.int64)


def run_linear(module, case: Case) -> Arrays:
    written: Arrays = {}
    for name, train, data in (
        ("dense", module.train_perceptron_dense, (case.features,)),
        ("sparse", module.train_perceptron_sparse, case.entries),
    ):
        weights, changes = table(CLASSES, FEATURES + 1), table(CLASSES, FEATURES + 1)
        steps = np.ones(1, dtype=np.int64)
        for _ in range(3):
            limit = min(1 << 28, 4 * case.limit)
            train(weights, changes, steps, *data, case.labels, ONE, limit, 0)
            train(weights, changes, steps, *data, case.labels, ONE, limit, case.limit << 18)
        mean = np.empty_like(weights)
        module.averaged_weights(weights, changes, int(steps[0]), mean)
        written |= {f"{name} weights": weights, f"{name} changes": changes, f"{name} mean": mean}
    core = np.ascontiguousarray(written["dense mean"][:, :-1])
    offsets = np.arange(CLASSES, dtype=np.int64)
    dense, sparse = table(SAMPLES, CLASSES), table(SAMPLES, CLASSES)
    module.score_dense(core, offsets, case.features, dense)
    module.score_sparse(core, offsets, *case.entries, sparse)
    averages, shares, sigmoids = (table(SAMPLES, CLASSES) for _ in range(3))
    module.score_averages_sparse(weights, changes, 1 + 6 * SAMPLES, ONE, *case.entries, averages)
    module.softmax2(dense, LOG2_E, EXP2_TABLE, shares)
    module.sigmoid_shares(dense, EXP2_TABLE, sigmoids)
    sums, losses = table(SAMPLES), table(SAMPLES)
    module.log_sum2(dense, EXP2_TABLE, LOG2_TABLE, sums)
    module.log_losses(shares, case.labels, LOG2_TABLE, losses)
    return written | {
        "score dense": dense,
        "score sparse": sparse,
        "score averages": averages,
        "shares": shares,
        "sigmoids": sigmoids,
        "log sums": sums,
        "log losses": losses,
    }


def run_sums(module, case: Case) -> Arrays:
    written: Arrays = {}
    for name, add, data in (
        ("dense", module.sum_dense, (case.features,)),
        ("sparse", module.sum_sparse, case.entries),
    ):
        sums, counts = table(CLASSES, FEATURES), table(CLASSES)
        add(sums, counts, *data, case.labels, 1)
        written |= {f"sum {name}": sums, f"counts {name}": counts}
    means, norms = np.empty_like(sums), np.empty_like(counts)
    module.centroids(sums, counts, means, norms)
    logs = np.empty_like(sums)
    module.log_probabilities(np.abs(sums), ONE, LOG2_TABLE, logs)
    dense, sparse, few = (table(SAMPLES, CLASSES) for _ in range(3))
    module.score_distances_dense(means, norms, case.features, dense)
    module.score_distances_sparse(means, norms, *case.entries, sparse)
    offsets = np.arange(CLASSES, dtype=np.int64)
    module.score_logs_sparse(np.abs(sums), ONE, offsets, LOG2_TABLE, *case.entries, few)
    return written | {
        "means": means,
        "norms": norms,
        "logs": logs,
        "distances dense": dense,
        "distances sparse": sparse,
        "score logs": few,
    }


def run_gradient(module, case: Case) -> Arrays:
    written: Arrays = {}
    for loss, schedule, penalty, momentum, rate in (
        (0, 0, 0, 0, ONE),
        (1, 1, 1 << 20, 0, 16 * ONE),
        (2, 2, 1 << 25, 50_000, 16 * ONE),
        (2, 0, 0, 65_535, 1),
    ):
        rows = 1 if loss == 0 else CLASSES
        targets = case.numbers if loss == 0 else case.labels
        settings = np.array([loss, rate, schedule, 3, penalty, momentum, ONE, 1 << 24])
        weights, steps = table(rows, FEATURES + 1), table(1)
        velocity = table(rows if momentum else 0, FEATURES + 1)
        for _ in range(2):
            module.train_gradient_dense(
                weights, velocity, steps, case.features, targets, settings, EXP2_TABLE
            )
        name = f"{loss} {schedule} {penalty} {momentum}"
        written |= {f"weights {name}": weights, f"velocity {name}": velocity}
        sparse, steps = table(rows, FEATURES + 1), table(1)
        plain = settings * np.array([1, 1, 1, 1, 0, 0, 1, 1])
        module.train_gradient_sparse(sparse, steps, *case.entries, targets, plain, EXP2_TABLE)
        written[f"sparse {name}"] = sparse
    return written


def run_bayes(module, case: Case) -> Arrays:
    written: Arrays = {}
    for name, add, data in (
        ("dense", module.sum_present_dense, (case.features,)),
        ("sparse", module.sum_present_sparse, case.entries),
    ):
        present, counts = table(CLASSES, FEATURES), table(CLASSES)
        add(present, counts, *data, case.labels, 1, 1)
        written[f"present {name}"] = present
    gains, offsets = np.empty_like(present), np.empty_like(counts)
    module.bernoulli_terms(present, counts, ONE, LOG2_TABLE, gains, offsets)
    sums, squares, counts = table(CLASSES, FEATURES), table(CLASSES, FEATURES), table(CLASSES)
    module.sum_moments(sums, squares, counts, case.features, case.labels, 1)
    means, weights, spreads = np.empty_like(sums), np.empty_like(sums), np.empty_like(counts)
    module.gaussian_terms(sums, squares, counts, 16_640, LOG2_TABLE, means, weights, spreads)
    scores = table(SAMPLES, CLASSES)
    module.score_gaussian(means, weights, spreads, case.features, scores)
    return written | {
        "gains": gains,
        "offsets": offsets,
        "sums": sums,
        "squares": squares,
        "means": means,
        "weights": weights,
        "spreads": spreads,
        "scores": scores,
    }


def run_network(module, case: Case) -> Arrays:
    written: Arrays = {}
    for loss, hidden, penalty, momentum in (
        (2, (4,), 0, 0),
        (0, (3, 4), 1 << 25, 0),
        (2, (4, 3), 1 << 20, 60_000),
    ):
        sizes = np.array([FEATURES, *hidden, 1 if loss == 0 else CLASSES])
        count = int(((sizes[:-1] + 1) * sizes[1:]).sum())
        random = np.random.default_rng(count)
        weights = random.integers(-(1 << 32), 1 << 32, count)
        velocity, steps = table(count if momentum else 0), table(1)
        targets = case.numbers if loss == 0 else case.labels
        settings = np.array([loss, ONE // 2, 1, 5, penalty, momentum, ONE, 8 * ONE])
        module.train_network(
            weights, velocity, sizes, steps, case.features, targets, settings, EXP2_TABLE
        )
        written |= {f"weights {hidden}": weights, f"velocity {hidden}": velocity}
    return written


def run_neighbours(module, case: Case) -> Arrays:
    kept = np.ascontiguousarray(case.features[: SAMPLES // 2])
    products = case.features @ kept.T
    norms = (kept * kept).sum(axis=1)
    votes, means = table(SAMPLES, CLASSES), table(SAMPLES, 1)
    module.ask_neighbours(products, norms, case.labels[: len(kept)], 5, votes)
    module.ask_neighbours(products, norms, case.numbers[: len(kept)], 7, means)
    return {"votes": votes, "means": means}


def run_exact(module, case: Case) -> Arrays:
    columns = case.features.astype(np.int64) >> 4
    matrix = columns.T @ columns + np.eye(FEATURES, dtype=np.int64) * 4096
    right = case.random.integers(-(1 << 50), 1 << 50, (FEATURES, 3))
    written: Arrays = {}
    for prime in (2_147_483_647, 1_073_741_827, 7):
        out = table(FEATURES, 3)
        found = int(module.solve_modulo(matrix, right, prime, out))
        written |= {f"solution {prime}": out, f"determinant {prime}": np.array([found])}
    mean = columns.sum(axis=0) // SAMPLES
    centred = columns - mean
    covariance = centred.T @ centred // SAMPLES
    axes, out = table(3, FEATURES), table(SAMPLES)
    module.principal_axes(covariance, axes, 7)
    module.residuals(mean, axes, case.features, out)
    return written | {"axes": axes, "residuals": out}


def run_clusters(module, case: Case) -> Arrays:
    means, counts = table(4, FEATURES), table(4)
    module.seed_clusters(case.features[:25], means, counts)
    written = {"seeds": means.copy(), "counts": counts.copy()}
    sums = means * counts[:, np.newaxis]
    module.train_clusters(sums, counts, case.features)
    shares, moved = table(4), table(4, FEATURES)
    squares, variances = table(4, FEATURES), table(4, FEATURES)
    added, offsets = table(4, FEATURES), table(4)
    scores = -case.random.integers(0, 8 * ONE, (SAMPLES, 4))
    module.add_responsibilities(scores, case.features, EXP2_TABLE, shares, added, squares)
    module.mixture_terms(shares, added, squares, 16_640, LOG2_TABLE, moved, variances, offsets)
    densities, drawn = table(SAMPLES, 4), table(50, FEATURES)
    module.score_mixture(moved, variances, offsets, case.features, densities)
    module.draw_samples(shares, moved, variances, np.uint64(2**64 - 100), drawn)
    return written | {
        "sums": sums,
        "powers": scores,
        "shares": shares,
        "added": added,
        "squares": squares,
        "moved": moved,
        "variances": variances,
        "offsets": offsets,
        "densities": densities,
        "drawn": drawn,
    }


def run_trees(module, case: Case) -> Arrays:
    leaves, bins = 6, 8
    nodes, used = table(2 * leaves - 1, 5), np.array([1, 1, 0])
    nodes[0, 0] = -1
    known = [
        table(leaves, CLASSES),
        table(leaves, FEATURES, bins, CLASSES),
        table(leaves, CLASSES, FEATURES),
        table(leaves, CLASSES, FEATURES),
        table(leaves, 3),
    ]
    settings = np.array([-case.limit, 2 * case.limit, 12, 1_056_268, 40 * ONE, 16_640])
    for _ in range(4):
        module.train_tree(nodes, used, *known, case.features, case.labels, settings, LOG2_TABLE)
    scores = table(SAMPLES, CLASSES)
    module.score_tree(nodes, *known, case.features, settings, LOG2_TABLE, scores)
    names = ("counts", "histograms", "sums", "squares", "tallies")
    named = dict(zip(names, known, strict=True))
    return {"nodes": nodes, "used": used, "scores": scores, **named}


def run_drift(module, case: Case) -> Arrays:
    written: Arrays = {}
    # A rare error becomes a frequent one again and again; the last stream meets the largest count.
    rates = np.repeat(case.random.random(6) ** 2, 500)
    errors = (case.random.random(len(rates)) < rates).astype(np.int64)
    last = (1 << 30) - 1000
    for name, watch, new, old in (
        ("ddm", module.watch_ddm, (0, 0, 1 << 33, 0, 0), (last, last // 3, 1 << 32, 1 << 20, 0)),
        ("page", module.watch_page_hinkley, (0, 0, 0, 0), (last, last // 3, 1 << 45, 1 << 44)),
    ):
        for age, beginning in (("new", new), ("old", old)):
            state, marks = np.array(beginning), np.empty_like(errors)
            watch(state, errors, marks)
            written |= {f"{name} {age} state": state, f"{name} {age} marks": marks}
    samples = case.random.integers(1, 1 << 30, 200)
    wrong = (samples * case.random.random(200)).astype(np.int64)
    pairs = zip(wrong.tolist(), samples.tolist(), strict=True)
    written["deviations"] = np.array([int(module.deviation(*pair)) for pair in pairs])
    return written


RUNS: dict[str, Callable[[object, Case], Arrays]] = {
    "linear": run_linear,
    "sums": run_sums,
    "gradient": run_gradient,
    "bayes": run_bayes,
    "network": run_network,
    "neighbours": run_neighbours,
    "exact": run_exact,
    "clusters": run_clusters,
    "trees": run_trees,
    "drift": run_drift,
}


def run(name: str, package: str, seed: int, limit: int) -> Arrays:
    """Run the case of one file, by the compiled kernels or by their twins."""
    module = importlib.import_module(f"{package}.{name}")
    return RUNS[name](module, Case(seed, limit))
