"""Warming up makes every kernel ready."""

from ml_runtime import kernels
from ml_runtime.warmup import warm_up


def test_every_kernel_is_compiled() -> None:
    assert warm_up() == len(kernels.__all__)
    assert all(getattr(kernels, name).signatures for name in kernels.__all__)
