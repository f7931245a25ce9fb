"""Warming up says how far it is."""

from ml_runtime.warmup import warm_up


def test_progress_ends_with_everything_done() -> None:
    seen: list[tuple[str, int, int]] = []
    warm_up(lambda name, done, total: seen.append((name, done, total)))
    assert seen[-1][1] == seen[-1][2] > 0
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)
