"""Twins of ml_runtime/kernels/trees.py."""

from __future__ import annotations

from math import isqrt
from typing import Final

import numpy as np

from ml_runtime.kernels.reference.bayes import gaussian_terms, score_gaussian
from ml_runtime.kernels.reference.scalars import log2_q16
from ml_runtime.samples import Integers

__all__ = ["score_tree", "train_tree"]

UNSEEN: Final = -(1 << 60)


def train_tree(
    nodes: Integers,
    used: Integers,
    counts: Integers,
    histograms: Integers,
    sums: Integers,
    squares: Integers,
    tallies: Integers,
    features: Integers,
    labels: Integers,
    settings: Integers,
    table: Integers,
) -> None:
    """Learn the samples in order, in place."""
    grace = int(settings[2])
    for sample, label in zip(features, labels, strict=True):
        places = _bins_of(sample, settings, histograms.shape[2])
        node = _find_leaf(nodes, places)
        slot = int(nodes[node, 4])
        tallies[slot, 1] += int(counts[slot].argmax()) == label
        leaf = (counts[slot], histograms[slot], sums[slot], squares[slot])
        tallies[slot, 2] += int(_score_leaf(leaf, settings, table, sample).argmax()) == label
        counts[slot, label] += 1
        histograms[slot, np.arange(len(sample)), places, label] += 1
        values = (sample + 8) >> 4
        sums[slot, label] += values
        squares[slot, label] += values * values
        tallies[slot, 0] += 1
        used[2] += 1
        if tallies[slot, 0] >= grace and used[1] < len(counts):
            tallies[slot, 0] = 0
            split = _choose_split(histograms[slot], settings, table)
            if split is not None:
                _split((nodes, used, counts, histograms), node, *split)
                for array in (histograms, sums, squares, tallies):
                    array[[slot, int(used[1]) - 1]] = 0


def score_tree(
    nodes: Integers,
    counts: Integers,
    histograms: Integers,
    sums: Integers,
    squares: Integers,
    tallies: Integers,
    features: Integers,
    settings: Integers,
    table: Integers,
    out: Integers,
) -> None:
    """Write the scores of every class, Q16."""
    for row, sample in enumerate(features):
        slot = int(nodes[_find_leaf(nodes, _bins_of(sample, settings, histograms.shape[2])), 4])
        if tallies[slot, 2] > tallies[slot, 1]:
            leaf = (counts[slot], histograms[slot], sums[slot], squares[slot])
            out[row] = _score_leaf(leaf, settings, table, sample)
        else:
            out[row] = [log2_q16(int(n), table) if n else UNSEEN for n in counts[slot]]


def _bins_of(sample: Integers, settings: Integers, bins: int) -> Integers:
    places: Integers = np.clip((sample - settings[0]) * bins // settings[1], 0, bins - 1).astype(
        np.int64
    )
    return places


def _find_leaf(nodes: Integers, places: Integers) -> int:
    node = 0
    while nodes[node, 0] >= 0:
        side = 2 if places[nodes[node, 0]] <= nodes[node, 1] else 3
        node = int(nodes[node, side])
    return node


def _score_leaf(
    leaf: tuple[Integers, ...], settings: Integers, table: Integers, sample: Integers
) -> Integers:
    counts, histograms, sums, squares = leaf
    seen = histograms[0].sum(axis=0)
    means, weights, offsets = np.empty_like(sums), np.empty_like(sums), np.empty_like(counts)
    gaussian_terms(sums, squares, seen, int(settings[5]), table, means, weights, offsets)
    for row, count in enumerate(counts):
        offsets[row] = offsets[row] + log2_q16(int(count), table) if seen[row] else UNSEEN
    out = np.empty((1, len(counts)), dtype=np.int64)
    score_gaussian(means, weights, offsets, sample[np.newaxis], out)
    scores: Integers = out[0]
    return scores


def _disorder(counts: Integers, table: Integers) -> int:
    whole = int(counts.sum())
    parts = sum(int(n) * log2_q16(int(n), table) for n in counts if n)
    return whole * log2_q16(whole, table) - parts


def _choose_split(
    histograms: Integers, settings: Integers, table: Integers
) -> tuple[int, int] | None:
    """Return feature and threshold of the best question, if it is surely the best."""
    counts = histograms[0].sum(axis=0)
    total, before = int(counts.sum()), _disorder(counts, table)
    gains = []
    for feature, bins in enumerate(histograms):
        best, threshold = 0, -1
        for place in range(len(bins) - 1):
            left = bins[: place + 1].sum(axis=0)
            reached = int(left.sum())
            if not bins[place].any() or 100 * min(reached, total - reached) < total:
                continue
            gain = before - _disorder(left, table) - _disorder(counts - left, table)
            if gain > best:
                best, threshold = gain, place
        gains.append((best, feature, threshold))
    ordered = sorted(gains, key=lambda each: (-each[0], each[1]))
    best, feature, threshold = ordered[0]
    second = ordered[1][0] if len(ordered) > 1 else 0
    classes = int(np.count_nonzero(counts))
    if best <= 0 or classes < 2:
        return None
    bound = isqrt((log2_q16(classes, table) ** 2 * int(settings[3]) // (2 * total)) >> 16)
    sure = best - second > bound * total or bound < settings[4]
    return (feature, threshold) if sure else None


def _split(arrays: tuple[Integers, ...], node: int, feature: int, threshold: int) -> None:
    nodes, used, counts, histograms = arrays
    slot, other, first = int(nodes[node, 4]), int(used[1]), int(used[0])
    bins = histograms[slot, feature]
    counts[slot] = bins[: threshold + 1].sum(axis=0)
    counts[other] = bins[threshold + 1 :].sum(axis=0)
    nodes[node] = (feature, threshold, first, first + 1, 0)
    nodes[first] = (-1, 0, 0, 0, slot)
    nodes[first + 1] = (-1, 0, 0, 0, other)
    used[:2] += (2, 1)
