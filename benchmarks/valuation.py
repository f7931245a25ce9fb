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
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from incentives.shapley import draw_order, exact_values, leave_one_out_values, sampled_values
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
PAIRS = (1, 2, 4, 8, 16, 32)
ATTEMPTS_MAX = 100

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


def deal(seed: int, players: int, size: int, concentration: float | None) -> list[Samples]:
    """Return base, test and what each player has; skewed by class if there is a concentration."""
    with np.load(DIGITS) as stored:
        features = stored["pixels"].astype(np.int64) * (ONE // PIXEL_MAX)
        labels = stored["labels"].astype(np.int64)
    chance = np.random.default_rng(seed)
    order = list(chance.permutation(len(labels)))
    hands = [order[:BASE], order[BASE : BASE + TEST]]
    rest = order[BASE + TEST :]
    for _ in range(players):
        weights = np.ones(CLASSES)
        if concentration is not None:
            weights = chance.dirichlet(np.full(CLASSES, concentration)) + 1e-9
        keys = chance.random(len(rest)) ** (1 / weights[labels[rest]])
        chosen = set(np.argsort(-keys)[:size].tolist())
        hands.append([index for place, index in enumerate(rest) if place in chosen])
        rest = [index for place, index in enumerate(rest) if place not in chosen]
    return [(features[hand], labels[hand].copy()) for hand in hands]


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
        base, test, *hands = deal(seed, players, size, concentration)
        chance = np.random.default_rng(1_000 + seed)
        hands = [spoil(hand, NOISE[player], chance) for player, hand in enumerate(hands)]
        exact, cost = _value_exactly(base, test, hands)
        rows.setdefault("exact", []).append((1.0, 1.0, *cost))
        methods: list[tuple[str, Callable[[], tuple[list[Fraction], tuple[int, float]]]]] = [
            (f"{pairs} pairs", lambda pairs=pairs: _value_sampled(base, test, hands, pairs, seed))
            for pairs in PAIRS
        ]
        methods.append(("leave one out", lambda: _value_left_out(base, test, hands)))
        for name, method in methods:
            values, cost = method()
            agreement = (_pearson(exact, values), _pearson(_rank(exact), _rank(values)))
            rows.setdefault(name, []).append((*agreement, *cost))
    dealt = "alike" if concentration is None else f"Dirichlet {concentration}"
    print(f"\n{players} contributors, {size} samples each, dealt {dealt}, {seeds} seeds")
    print(
        f"{'':<16}{'Pearson':>9}{'lowest':>9}{'Spearman':>10}{'lowest':>9}{'measures':>10}{'ms':>8}"
    )
    for name, found in rows.items():
        pearson, spearman, measures, spent = zip(*found, strict=True)
        print(
            f"{name:<16}{statistics.mean(pearson):>9.3f}{min(pearson):>9.3f}"
            f"{statistics.mean(spearman):>10.3f}{min(spearman):>9.3f}"
            f"{statistics.mean(measures):>10.0f}{statistics.mean(spent):>8.0f}"
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
    base, test, *hands = deal(seed, 5, 80, None)
    sent = [(player, part) for player in range(4) for part in _cut(hands[player], 4)]
    chance = np.random.default_rng(2_000 + seed)
    own = cheat(hands, chance)
    # Everybody takes turns; whoever is the cheat comes last in each round.
    rounds = max(len(own), 4)
    mixed: list[tuple[int, Samples]] = []
    for turn in range(rounds):
        mixed += [sent[player * 4 + turn] for player in range(4) if turn < 4]
        mixed += own[turn : turn + 1]
    numbers: dict[int, int] = {}
    contributors = tuple(numbers.setdefault(player, len(numbers)) for player, _ in mixed)
    rule = get_valuation_rule(name)
    terms = ValuationTerms(bounty=BOUNTY, stake=STAKE, reset=rule.counts_answers)
    case = Case(contributors, TEST, terms, seed.to_bytes(32, "big"))
    bench = Bench(base, test)
    settlement = rule.settle(case, bench.play(rule, case, [part for _, part in mixed]))
    gained = sum(
        payout - STAKE
        for (player, _), payout in zip(mixed, settlement.payouts, strict=True)
        if player >= 4
    )
    return 1_000 * gained / BOUNTY


Cheat = Callable[[list[Samples], np.random.Generator], list[tuple[int, Samples]]]


def _honest(hands: list[Samples], _chance: np.random.Generator) -> list[tuple[int, Samples]]:
    return [(4, part) for part in _cut(hands[4], 4)]


def _split(accounts: int) -> Cheat:
    def cheat(hands: list[Samples], _chance: np.random.Generator) -> list[tuple[int, Samples]]:
        return [(4 + turn % accounts, part) for turn, part in enumerate(_cut(hands[4], 4))]

    return cheat


def _copy(hands: list[Samples], _chance: np.random.Generator) -> list[tuple[int, Samples]]:
    return [(4, part) for part in _cut(hands[0], 4)]


def _repeat(hands: list[Samples], _chance: np.random.Generator) -> list[tuple[int, Samples]]:
    return [(4, part) for part in _cut(hands[4], 4) * 2]


def _repeat_elsewhere(
    hands: list[Samples], _chance: np.random.Generator
) -> list[tuple[int, Samples]]:
    parts = _cut(hands[4], 4)
    return [(4 + turn // 4, part) for turn, part in enumerate(parts * 2)]


def _guess(hands: list[Samples], chance: np.random.Generator) -> list[tuple[int, Samples]]:
    features = chance.integers(0, ONE, hands[4][0].shape)
    return [(4, part) for part in _cut((features, chance.integers(0, CLASSES, 80)), 4)]


def _flip(hands: list[Samples], chance: np.random.Generator) -> list[tuple[int, Samples]]:
    return [(4, part) for part in _cut(spoil(hands[4], 1.0, chance), 4)]


CHEATS: dict[str, Cheat] = {
    "honest, one account": _honest,
    "the same over 2 accounts": _split(2),
    "the same over 4 accounts": _split(4),
    "everything twice, one account": _repeat,
    "everything twice, two accounts": _repeat_elsewhere,
    "copies the first contributor": _copy,
    "noise with guessed labels": _guess,
    "every label wrong": _flip,
}


def _cut(samples: Samples, parts: int) -> list[Samples]:
    features, labels = samples
    cuts = [slice(part, None, parts) for part in range(parts)]
    return [(np.ascontiguousarray(features[cut]), labels[cut].copy()) for cut in cuts]


def _value_exactly(
    base: Samples, test: Samples, hands: list[Samples]
) -> tuple[list[Fraction], tuple[int, float]]:
    bench, begun = Bench(base, test), time.perf_counter()
    players = len(hands)
    utilities = [
        bench.utility([hands[player] for player in range(players) if coalition >> player & 1])
        for coalition in range(1 << players)
    ]
    values = list(exact_values(players, utilities))
    return values, (bench.measures, 1_000 * (time.perf_counter() - begun))


def _value_sampled(
    base: Samples, test: Samples, hands: list[Samples], pairs: int, seed: int
) -> tuple[list[Fraction], tuple[int, float]]:
    bench, begun = Bench(base, test), time.perf_counter()
    players = len(hands)
    known: dict[int, int] = {}

    def utility(coalition: int) -> int:
        if coalition not in known:
            members = [hands[player] for player in range(players) if coalition >> player & 1]
            known[coalition] = bench.utility(members)
        return known[coalition]

    walks = []
    for number in range(2 * pairs):
        order = draw_order(seed.to_bytes(32, "big"), number // 2, players)
        order = order[::-1] if number % 2 else order
        walks.append(
            (order, [utility(sum(1 << p for p in order[: k + 1])) for k in range(players)])
        )
    values = list(sampled_values(players, utility(0), walks))
    return values, (bench.measures, 1_000 * (time.perf_counter() - begun))


def _value_left_out(
    base: Samples, test: Samples, hands: list[Samples]
) -> tuple[list[Fraction], tuple[int, float]]:
    bench, begun = Bench(base, test), time.perf_counter()
    everybody = bench.utility(hands)
    without = [bench.utility(hands[:out] + hands[out + 1 :]) for out in range(len(hands))]
    values = list(leave_one_out_values(everybody, without))
    return values, (bench.measures, 1_000 * (time.perf_counter() - begun))


def _batch(samples: Samples) -> Batch:
    return Batch(DenseSamples(samples[0]), samples[1], "labels", None)


def _rank(values: Sequence[Fraction | float]) -> list[float]:
    order = sorted(range(len(values)), key=lambda place: values[place])
    ranks = [0.0] * len(values)
    for rank, place in enumerate(order):
        ranks[place] = float(rank)
    return ranks


def _pearson(first: Sequence[Fraction | float], second: Sequence[Fraction | float]) -> float:
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
