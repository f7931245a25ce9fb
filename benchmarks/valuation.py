"""Measures what contribution pay and markets say contributors are worth, and what fraud gains.

Handwritten digits are dealt to contributors, some of whom give wrong labels. Everything is valued
by the rules of campaigns with the very models that validators train; only the ledger is left out.

    python benchmarks/valuation.py [--seeds 5]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import accumulate
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from incentives.shapley import (
    draw_order,
    exact_values,
    leave_one_out_values,
    members_of,
    sampled_values,
)
from incentives.valuation import Case, ValuationRule, ValuationTerms
from incentives.valuation_registry import get_valuation_rule
from ml_runtime.evaluation import evaluate
from ml_runtime.fixed_point import ONE
from ml_runtime.registry import get_family
from ml_runtime.samples import Batch, DenseSamples
from ml_runtime.spec import make_spec

CLASSES = 10
BASE, TEST = 60, 200
BOUNTY, STAKE = 1_000_000, 1_000
NOISE = (0.0, 0.0, 0.0, 0.1, 0.2, 0.3, 0.6, 1.0, 0.0, 0.0, 0.5)
PAIRS = (1, 4, 16, 32, 64)

DIGITS = Path(__file__).resolve().parent.parent / "node" / "demonstration" / "digits.npz"
PIXEL_MAX = 16

Samples = tuple[NDArray[np.int64], NDArray[np.int64]]


@dataclass
class Bench:
    """A model, what it knows, and hidden test data; counts what it is asked to do."""

    base: Samples
    test: Samples
    measures: int = 0
    trained: int = 0

    def __post_init__(self) -> None:
        self.spec = make_spec("softmax_regression", "dense", self.base[0].shape[1], CLASSES)
        self.family = get_family(self.spec.family)
        self.state = self.family.initial_state(self.spec)
        self._learn(self.state, self.base)

    def play(
        self, rule: ValuationRule, case: Case, contributions: Sequence[Samples]
    ) -> tuple[tuple[int, ...], ...]:
        """Return the measures that a rule asks for, chain by chain."""
        history: tuple[tuple[int, ...], ...] = ()
        while (chain := rule.next_chain(case, history)) is not None:
            state = {name: array.copy() for name, array in self.state.items()}
            found: tuple[int, ...] = ()
            while not chain.is_over(found):
                for place in chain.steps[len(found)]:
                    self._learn(state, contributions[place])
                found += (self.measure(state, counts=rule.counts_answers),)
            history += (found,)
        return history

    def measure(self, state: dict[str, NDArray[np.int64]], *, counts: bool) -> int:
        """Return the right answers, or by how many bits the test set surprises less, Q16."""
        self.measures += 1
        found = evaluate(self.family, self.spec, state, _batch(self.test))
        return found.correct if counts else -found.loss

    def utility(self, contributions: Sequence[Samples]) -> int:
        """Return what the model is worth after learning some contributions."""
        state = {name: array.copy() for name, array in self.state.items()}
        for each in contributions:
            self._learn(state, each)
        return self.measure(state, counts=False)

    def _learn(self, state: dict[str, NDArray[np.int64]], samples: Samples) -> None:
        self.trained += 1
        batch = _batch(samples)
        self.family.update(self.spec, state, batch.samples, batch.targets)


@dataclass(frozen=True)
class Deal:
    """What the model has learnt, what it is tested with, and what each contributor holds."""

    seed: int
    base: Samples
    test: Samples
    hands: tuple[Samples, ...]

    def make_bench(self) -> Bench:
        """Return the model that contributions are trained on."""
        return Bench(self.base, self.test)


def deal(seed: int, players: int, size: int, concentration: float | None) -> Deal:
    """Deal digits; skewed by class if there is a concentration."""
    with np.load(DIGITS) as stored:
        features = stored["pixels"].astype(np.int64) * (ONE // PIXEL_MAX)
        labels = stored["labels"].astype(np.int64)
    chance = np.random.default_rng(seed)
    order = chance.permutation(len(labels))
    base, test, rest = np.split(order, [BASE, BASE + TEST])
    hands = []
    for _ in range(players):
        weights = np.ones(CLASSES)
        if concentration is not None:
            weights = chance.dirichlet(np.full(CLASSES, concentration)) + 1e-9
        keys = chance.random(len(rest)) ** (1 / weights[labels[rest]])
        chosen = np.zeros(len(rest), dtype=bool)
        chosen[np.argsort(-keys)[:size]] = True
        hands.append(rest[chosen])
        rest = rest[~chosen]
    taken = [(features[hand], labels[hand].copy()) for hand in (base, test, *hands)]
    return Deal(seed, taken[0], taken[1], tuple(taken[2:]))


def spoil(samples: Samples, share: float, chance: np.random.Generator) -> Samples:
    """Return samples of which a share has a wrong label."""
    features, labels = samples
    wrong = chance.random(len(labels)) < share
    moved = (labels + chance.integers(1, CLASSES, len(labels))) % CLASSES
    return features, np.where(wrong, moved, labels)


def compare_with_exact(seeds: int, players: int, concentration: float | None, size: int) -> None:
    """Print how well sampled values and leave-one-out agree with exact Shapley values."""
    rows: dict[str, list[tuple[float, float, int, float]]] = {}
    for seed in range(seeds):
        dealt = deal(seed, players, size, concentration)
        chance = np.random.default_rng(1_000 + seed)
        hands = zip(dealt.hands, NOISE, strict=False)
        dealt = replace(dealt, hands=tuple(spoil(hand, share, chance) for hand, share in hands))
        exact, cost = _value_exactly(dealt)
        rows.setdefault("exact", []).append((1.0, 1.0, *cost))
        found = {f"{pairs} pairs": _value_sampled(dealt, pairs) for pairs in PAIRS}
        found["leave one out"] = _value_left_out(dealt)
        for name, (values, cost) in found.items():
            agreement = (_correlate(exact, values), _correlate(_rank(exact), _rank(values)))
            rows.setdefault(name, []).append((*agreement, *cost))
    _print_rows(rows, f"{players} contributors, {size} samples each, {seeds} seeds", concentration)


def _print_rows(
    rows: dict[str, list[tuple[float, float, int, float]]], title: str, concentration: float | None
) -> None:
    dealt = "dealt alike" if concentration is None else f"by Dirichlet {concentration}"
    print(f"\n{title}, {dealt}")
    headings = ("Pearson", "lowest", "Spearman", "lowest", "measures", "ms")
    print(f"{'':<16}" + "".join(f"{heading:>10}" for heading in headings))
    for name, found in rows.items():
        pearson, spearman, measures, spent = zip(*found, strict=True)
        print(
            f"{name:<16}{statistics.mean(pearson):>10.3f}{min(pearson):>10.3f}"
            f"{statistics.mean(spearman):>10.3f}{min(spearman):>10.3f}"
            f"{statistics.mean(measures):>10.0f}{statistics.mean(spent):>10.0f}"
        )


def tempt(seeds: int) -> None:
    """Print what the fifth contributor gets, honest and not, in thousandths of the bounty."""
    print(
        f"\nWhat the fifth contributor wins or loses, in thousandths of the bounty, {seeds} seeds"
    )
    rules = ("market_single", "market_grouped", "shapley", "leave_one_out")
    print(f"{'':<34}" + "".join(f"{name:>24}" for name in rules))
    for name, cheat in CHEATS.items():
        cells = []
        for rule in rules:
            gains = [_run_cheat(rule, cheat, seed) for seed in range(seeds)]
            low, high = min(gains), max(gains)
            cells.append(f"{statistics.mean(gains):>8.1f} ({low:>6.1f},{high:>6.1f})")
        print(f"{name:<34}" + "".join(f"{cell:>24}" for cell in cells))


def _run_cheat(name: str, cheat: Cheat, seed: int) -> float:
    dealt = deal(seed, 5, 80, None)
    sent = [(player, part) for player in range(4) for part in _cut(dealt.hands[player], 4)]
    own = cheat(dealt.hands, np.random.default_rng(2_000 + seed))
    # Everybody takes turns; whoever is the cheat comes last in each round.
    mixed: list[tuple[int, Samples]] = []
    for turn in range(max(len(own), 4)):
        mixed += [sent[player * 4 + turn] for player in range(4) if turn < 4]
        mixed += own[turn : turn + 1]
    numbers: dict[int, int] = {}
    contributors = tuple(numbers.setdefault(player, len(numbers)) for player, _ in mixed)
    rule = get_valuation_rule(name)
    terms = ValuationTerms(bounty=BOUNTY, stake=STAKE, reset=rule.counts_answers)
    case = Case(contributors, TEST, terms, seed.to_bytes(32, "big"))
    measures = dealt.make_bench().play(rule, case, [part for _, part in mixed])
    settlement = rule.settle(case, measures)
    gained = sum(
        payout - STAKE
        for (player, _), payout in zip(mixed, settlement.payouts, strict=True)
        if player >= 4
    )
    return 1_000 * gained / BOUNTY


Hands = Sequence[Samples]
Cheat = Callable[[Hands, np.random.Generator], list[tuple[int, Samples]]]


def _honest(hands: Hands, _chance: np.random.Generator) -> list[tuple[int, Samples]]:
    return [(4, part) for part in _cut(hands[4], 4)]


def _split(accounts: int) -> Cheat:
    def cheat(hands: Hands, _chance: np.random.Generator) -> list[tuple[int, Samples]]:
        return [(4 + turn % accounts, part) for turn, part in enumerate(_cut(hands[4], 4))]

    return cheat


def _copy(hands: Hands, chance: np.random.Generator) -> list[tuple[int, Samples]]:
    return [(4, part) for part in _cut(_blur(hands[0], chance), 4)]


def _repeat(accounts: int) -> Cheat:
    def cheat(hands: Hands, chance: np.random.Generator) -> list[tuple[int, Samples]]:
        parts = _cut(hands[4], 4) + _cut(_blur(hands[4], chance), 4)
        return [(4 + turn * accounts // 8, part) for turn, part in enumerate(parts)]

    return cheat


def _guess(hands: Hands, chance: np.random.Generator) -> list[tuple[int, Samples]]:
    features = chance.integers(0, ONE, hands[4][0].shape)
    return [(4, part) for part in _cut((features, chance.integers(0, CLASSES, 80)), 4)]


def _flip(hands: Hands, chance: np.random.Generator) -> list[tuple[int, Samples]]:
    return [(4, part) for part in _cut(spoil(hands[4], 1.0, chance), 4)]


CHEATS: dict[str, Cheat] = {
    "honest, one account": _honest,
    "the same over 2 accounts": _split(2),
    "the same over 4 accounts": _split(4),
    "and all again, blurred": _repeat(1),
    "the same from 2 accounts": _repeat(2),
    "copies somebody, blurred": _copy,
    "noise with guessed labels": _guess,
    "every label wrong": _flip,
}


def _blur(samples: Samples, chance: np.random.Generator) -> Samples:
    """Return copies that are no longer verbatim, which the ledger would refuse."""
    features, labels = samples
    return features + chance.integers(-64, 65, features.shape), labels


def _cut(samples: Samples, parts: int) -> list[Samples]:
    features, labels = samples
    cuts = [slice(part, None, parts) for part in range(parts)]
    return [(np.ascontiguousarray(features[cut]), labels[cut].copy()) for cut in cuts]


Valued = tuple[list[Fraction], tuple[int, float]]
"""Values, and what they cost: measures and milliseconds."""


def _value_exactly(dealt: Deal) -> Valued:
    bench, begun = dealt.make_bench(), time.perf_counter()
    players = len(dealt.hands)
    utilities = [
        bench.utility([dealt.hands[player] for player in members_of(coalition)])
        for coalition in range(1 << players)
    ]
    return list(exact_values(players, utilities)), _cost(bench, begun)


def _value_sampled(dealt: Deal, pairs: int) -> Valued:
    """Value as the rule does beyond eight contributors: each coalition is measured once."""
    bench, begun = dealt.make_bench(), time.perf_counter()
    players = len(dealt.hands)
    known: dict[int, int] = {}

    def utility(coalition: int) -> int:
        if coalition not in known:
            members = [dealt.hands[player] for player in members_of(coalition)]
            known[coalition] = bench.utility(members)
        return known[coalition]

    walks = []
    for number in range(2 * pairs):
        order = draw_order(dealt.seed.to_bytes(32, "big"), number // 2, players)
        order = order[::-1] if number % 2 else order
        prefixes = accumulate(1 << player for player in order)
        walks.append((order, [utility(coalition) for coalition in prefixes]))
    return list(sampled_values(players, utility(0), walks)), _cost(bench, begun)


def _value_left_out(dealt: Deal) -> Valued:
    bench, begun = dealt.make_bench(), time.perf_counter()
    hands = dealt.hands
    everybody = bench.utility(hands)
    without = [bench.utility(hands[:out] + hands[out + 1 :]) for out in range(len(hands))]
    return list(leave_one_out_values(everybody, without)), _cost(bench, begun)


def _cost(bench: Bench, begun: float) -> tuple[int, float]:
    return bench.measures, 1_000 * (time.perf_counter() - begun)


def _batch(samples: Samples) -> Batch:
    return Batch(DenseSamples(samples[0]), samples[1], "labels", None)


def _rank(values: Sequence[Fraction | float]) -> list[float]:
    order = sorted(range(len(values)), key=lambda place: values[place])
    ranks = [0.0] * len(values)
    for rank, place in enumerate(order):
        ranks[place] = float(rank)
    return ranks


def _correlate(first: Sequence[Fraction | float], second: Sequence[Fraction | float]) -> float:
    return float(np.corrcoef([float(a) for a in first], [float(b) for b in second])[0, 1])


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    compare_with_exact(options.seeds, 8, None, 100)
    compare_with_exact(options.seeds, 8, 0.5, 100)
    compare_with_exact(options.seeds, 11, None, 80)
    compare_with_exact(options.seeds, 11, 0.5, 80)
    tempt(options.seeds)


if __name__ == "__main__":
    main()
