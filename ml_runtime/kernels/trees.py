"""A tree that grows as samples arrive, by counts alone (Domingos & Hulten, KDD 2000).

A node is a row of ``nodes``: feature (-1: a leaf), threshold, left, right, slot. What a leaf knows
is in its slot: counts of classes, with those that it inherited; histograms and moments since it
began; and ``tallies``: samples since the last try to split, how often the majority and how often
naive Bayes was right. ``settings``: lowest feature, width of all bins together, samples between
tries, ln(1 / δ) in Q16, the tie's limit in Q16, the variance floor in Q24.
Source: docs/spec/ml.md §4.11.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ml_runtime.kernels.bayes import gaussian_terms, score_gaussian
from ml_runtime.kernels.scalars import log2_q16, square_root

__all__ = ["score_tree", "train_tree"]

# Compiled together with, see scalars.py:
# scalars.py 4a137c7b34e5
# bayes.py 4c28d985376b
_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "boundscheck": False}

_MATRIX = "int64[:, ::1]"
_VECTOR = "int64[::1]"
_CUBE = "int64[:, :, ::1]"
_HISTOGRAMS = "int64[:, :, :, ::1]"
_TABLE = "Array(int64, 1, 'C', readonly=True)"

_UNSEEN = -(1 << 60)


@njit("int64(int64, int64, int64, int64)", **_OPTIONS)
def _bin_of(value: int, low: int, width: int, bins: int) -> int:
    """Return in which bin a feature lies; beyond the ends, in the first or the last."""
    return min(max((value - low) * bins // width, 0), bins - 1)


@njit(f"int64({_MATRIX}, {_VECTOR}, int64, int64, int64)", **_OPTIONS)
def _find_leaf(nodes: Any, sample: Any, low: int, width: int, bins: int) -> int:
    """Return the node at which a sample ends."""
    node = 0
    while nodes[node, 0] >= 0:
        place = _bin_of(sample[nodes[node, 0]], low, width, bins)
        node = nodes[node, 2] if place <= nodes[node, 1] else nodes[node, 3]
    return node


@njit(f"int64({_VECTOR}, {_TABLE})", **_OPTIONS)
def _disorder(counts: Any, table: Any) -> Any:
    """Return n · entropy of counts in bits, Q16: n log2 n - Σ c log2 c."""
    whole, parts = 0, 0
    for row in range(len(counts)):
        if counts[row] > 0:
            whole += counts[row]
            parts += counts[row] * log2_q16(counts[row], table)
    return whole * log2_q16(whole, table) - parts


@njit(
    f"void({_VECTOR}, {_MATRIX}, {_MATRIX}, {_VECTOR}, int64, {_TABLE}, {_MATRIX}, {_MATRIX})",
    **_OPTIONS,
)
def _score_leaf(
    counts: Any,
    sums: Any,
    squares: Any,
    seen: Any,
    floor: int,
    table: Any,
    sample: Any,
    out: Any,
) -> None:
    """Write the naive Bayes scores of samples in a leaf, Q16."""
    means, weights = np.empty_like(sums), np.empty_like(sums)
    offsets = np.empty_like(counts)
    gaussian_terms(sums, squares, seen, floor, table, means, weights, offsets)
    for row in range(len(counts)):
        # A class without samples in this leaf has no mean to be near to.
        known = seen[row] > 0
        offsets[row] = offsets[row] + log2_q16(counts[row], table) if known else _UNSEEN
    score_gaussian(means, weights, offsets, sample, out)


@njit(f"int64({_VECTOR})", **_OPTIONS)
def _highest(numbers: Any) -> int:
    best = 0
    for place in range(1, len(numbers)):
        if numbers[place] > numbers[best]:
            best = place
    return best


@njit(
    f"void({_CUBE}, {_VECTOR}, {_TABLE}, {_VECTOR})",
    **_OPTIONS,
)
def _choose_split(histograms: Any, counts: Any, table: Any, out: Any) -> None:
    """Write best gain, second feature's best gain, feature and threshold; gains are n · bits, Q16.

    Each side of a split holds at least a hundredth of the samples.
    """
    features, bins, classes = histograms.shape
    left = np.zeros(classes, dtype=np.int64)
    right = np.zeros(classes, dtype=np.int64)
    out[0], out[1], out[2], out[3] = 0, 0, -1, 0
    before = _disorder(counts, table)
    total = 0
    for row in range(classes):
        total += counts[row]
    for feature in range(features):
        left[:] = 0
        reached, best, threshold = 0, 0, -1
        for place in range(bins - 1):
            filled = 0
            for row in range(classes):
                filled += histograms[feature, place, row]
                left[row] += histograms[feature, place, row]
            reached += filled
            if filled == 0 or 100 * reached < total or 100 * (total - reached) < total:
                continue
            for row in range(classes):
                right[row] = counts[row] - left[row]
            gain = before - _disorder(left, table) - _disorder(right, table)
            if gain > best:
                best, threshold = gain, place
        if best > out[0]:
            out[1] = out[0]
            out[0], out[2], out[3] = best, feature, threshold
        elif best > out[1]:
            out[1] = best


@njit(
    f"void({_MATRIX}, {_VECTOR}, {_MATRIX}, {_HISTOGRAMS}, {_CUBE}, {_CUBE}, {_MATRIX}, int64,"
    f" {_VECTOR})",
    **_OPTIONS,
)
def _split(
    nodes: Any,
    used: Any,
    counts: Any,
    histograms: Any,
    sums: Any,
    squares: Any,
    tallies: Any,
    node: int,
    found: Any,
) -> None:
    """Turn a leaf into a node with two leaves; the left one takes over its slot."""
    feature, threshold = found[2], found[3]
    slot, other = nodes[node, 4], used[1]
    counts[slot] = 0
    counts[other] = 0
    for place in range(histograms.shape[2]):
        side = slot if place <= threshold else other
        counts[side] += histograms[slot, feature, place]
    for each in (slot, other):
        histograms[each] = 0
        sums[each] = 0
        squares[each] = 0
        tallies[each] = 0
    for number, each in ((0, slot), (1, other)):
        leaf = used[0] + number
        nodes[leaf, 0], nodes[leaf, 1], nodes[leaf, 2], nodes[leaf, 3] = -1, 0, 0, 0
        nodes[leaf, 4] = each
    nodes[node, 0], nodes[node, 1], nodes[node, 4] = feature, threshold, 0
    nodes[node, 2], nodes[node, 3] = used[0], used[0] + 1
    used[0] += 2
    used[1] += 1


@njit(f"boolean({_VECTOR}, {_VECTOR}, {_VECTOR}, {_TABLE})", **_OPTIONS)
def _is_sure(found: Any, counts: Any, settings: Any, table: Any) -> Any:
    """Say whether the best split is better than the second by Hoeffding's bound, or they tie."""
    total = 0
    classes = 0
    for row in range(len(counts)):
        total += counts[row]
        classes += 1 if counts[row] > 0 else 0
    if found[2] < 0 or classes < 2:
        return False
    reach = log2_q16(classes, table)
    bound = square_root((reach * reach * settings[3] // (2 * total)) >> 16)
    return found[0] - found[1] > bound * total or bound < settings[4]


@njit(
    f"void({_MATRIX}, {_VECTOR}, {_MATRIX}, {_HISTOGRAMS}, {_CUBE}, {_CUBE}, {_MATRIX}, {_MATRIX},"
    f" {_VECTOR}, {_VECTOR}, {_TABLE})",
    **_OPTIONS,
)
def train_tree(
    nodes: Any,
    used: Any,
    counts: Any,
    histograms: Any,
    sums: Any,
    squares: Any,
    tallies: Any,
    features: Any,
    labels: Any,
    settings: Any,
    table: Any,
) -> None:
    """Learn the samples in order, in place. ``used``: nodes, slots, samples."""
    bins, size = histograms.shape[2], features.shape[1]
    low, width = settings[0], settings[1]
    classes = counts.shape[1]
    scores = np.empty((1, classes), dtype=np.int64)
    seen = np.empty(classes, dtype=np.int64)
    found = np.empty(4, dtype=np.int64)
    for sample in range(features.shape[0]):
        row = features[sample]
        label = labels[sample]
        node = _find_leaf(nodes, row, low, width, bins)
        slot = nodes[node, 4]
        seen[:] = 0
        for place in range(bins):
            for each in range(classes):
                seen[each] += histograms[slot, 0, place, each]
        if _highest(counts[slot]) == label:
            tallies[slot, 1] += 1
        one = features[sample : sample + 1]
        leaf = (counts[slot], sums[slot], squares[slot], seen)
        _score_leaf(leaf[0], leaf[1], leaf[2], leaf[3], settings[5], table, one, scores)
        if _highest(scores[0]) == label:
            tallies[slot, 2] += 1
        counts[slot, label] += 1
        for column in range(size):
            histograms[slot, column, _bin_of(row[column], low, width, bins), label] += 1
            value = (row[column] + 8) >> 4
            sums[slot, label, column] += value
            squares[slot, label, column] += value * value
        tallies[slot, 0] += 1
        used[2] += 1
        if tallies[slot, 0] >= settings[2] and used[1] < counts.shape[0]:
            tallies[slot, 0] = 0
            seen[label] += 1
            _choose_split(histograms[slot], seen, table, found)
            if _is_sure(found, seen, settings, table):
                _split(nodes, used, counts, histograms, sums, squares, tallies, node, found)


@njit(
    f"void({_MATRIX}, {_MATRIX}, {_HISTOGRAMS}, {_CUBE}, {_CUBE}, {_MATRIX}, {_MATRIX}, {_VECTOR},"
    f" {_TABLE}, {_MATRIX})",
    **_OPTIONS,
)
def score_tree(
    nodes: Any,
    counts: Any,
    histograms: Any,
    sums: Any,
    squares: Any,
    tallies: Any,
    features: Any,
    settings: Any,
    table: Any,
    out: Any,
) -> None:
    """Write the scores of every class, Q16: naive Bayes where it was better, else log2 n."""
    bins, classes = histograms.shape[2], counts.shape[1]
    seen = np.empty(classes, dtype=np.int64)
    for sample in range(features.shape[0]):
        node = _find_leaf(nodes, features[sample], settings[0], settings[1], bins)
        slot = nodes[node, 4]
        if tallies[slot, 2] > tallies[slot, 1]:
            seen[:] = 0
            for place in range(bins):
                for each in range(classes):
                    seen[each] += histograms[slot, 0, place, each]
            leaf = (counts[slot], sums[slot], squares[slot], seen)
            one, given = features[sample : sample + 1], out[sample : sample + 1]
            _score_leaf(leaf[0], leaf[1], leaf[2], leaf[3], settings[5], table, one, given)
        else:
            for each in range(classes):
                count = counts[slot, each]
                out[sample, each] = log2_q16(count, table) if count > 0 else _UNSEEN
