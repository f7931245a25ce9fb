"""Compiled kernels and their plain twins compute the same bits; frozen digests hold everywhere."""

import hashlib
import importlib
import json
import math
import os
import pkgutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ml_runtime.kernels
from ml_runtime.fixed_point import ONE
from ml_runtime.kernels import scalars
from ml_runtime.kernels.reference import scalars as plain_scalars
from ml_runtime.tables import EXP2_TABLE, LOG2_TABLE, TABLES_SHA256
from tests.ml_runtime.kernel_cases import LIMITS, RUNS, run

ROOT = Path(__file__).resolve().parent.parent.parent
VECTORS = ROOT / "tests" / "vectors" / "ml.json"
COMPILED, PLAIN = "ml_runtime.kernels", "ml_runtime.kernels.reference"


def compute_digests(package: str = COMPILED) -> dict[str, str]:
    """Return one digest for each array that a file's case writes, over all limits."""
    digests: dict[str, hashlib._Hash] = {}
    for name in RUNS:
        for limit in LIMITS:
            for array_name, array in run(name, package, 1, limit).items():
                digest = digests.setdefault(f"{name}: {array_name}", hashlib.sha256())
                digest.update(array.astype("<i8").tobytes())
    return {name: digest.hexdigest() for name, digest in digests.items()}


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("name", RUNS)
def test_kernels_equal_their_twins(name: str, seed: int, limit: int) -> None:
    compiled, plain = run(name, COMPILED, seed, limit), run(name, PLAIN, seed, limit)
    assert compiled.keys() == plain.keys()
    for array_name, array in compiled.items():
        assert np.array_equal(array, plain[array_name]), array_name


def test_every_kernel_has_a_twin_and_a_case() -> None:
    files = {each.name for each in pkgutil.iter_modules(ml_runtime.kernels.__path__)}
    assert files - {"reference", "scalars"} == set(RUNS)
    for name in files - {"reference"}:
        module = importlib.import_module(f"{COMPILED}.{name}")
        twin = importlib.import_module(f"{PLAIN}.{name}")
        kernels = {each for each in module.__all__ if hasattr(getattr(module, each), "py_func")}
        # Rounding and clamping have their twins in ml_runtime/fixed_point.py.
        missing = kernels - set(twin.__all__) - {"clamp", "divide_rounded", "square_root"}
        assert missing == set(), name


@given(st.integers(1, 2**62))
@settings(max_examples=500)
def test_logarithm_equals_its_twin_and_is_close(value: int) -> None:
    result = int(scalars.log2_q16(value, LOG2_TABLE))
    assert result == plain_scalars.log2_q16(value, LOG2_TABLE)
    assert abs(result / ONE - math.log2(value)) < 5e-5


@given(st.integers(-40 * ONE, 0))
@settings(max_examples=500)
def test_power_equals_its_twin_and_is_close(value: int) -> None:
    result = int(scalars.exp2_q16(value, EXP2_TABLE))
    assert result == plain_scalars.exp2_q16(value, EXP2_TABLE)
    assert abs(result / ONE - 2 ** (value / ONE)) < 5e-5


@given(st.integers(0, 2**63 - 1))
@settings(max_examples=500)
def test_root_is_the_largest_whose_square_is_at_most_the_number(value: int) -> None:
    assert int(scalars.square_root(value)) == math.isqrt(value)


@given(st.integers(0, 2**64 - 1))
def test_chance_equals_its_twin(counter: int) -> None:
    assert int(scalars.mix64(np.uint64(counter))) == plain_scalars.mix64(counter)


@pytest.mark.parametrize("value", [0, -1, -(2**62)])
def test_logarithm_of_what_has_none_is_that_of_one(value: int) -> None:
    assert int(scalars.log2_q16(value, LOG2_TABLE)) == 0
    assert plain_scalars.log2_q16(value, LOG2_TABLE) == 0


def test_tables_are_those_of_the_specification() -> None:
    data = b"".join(
        int(entry).to_bytes(8, "little") for table in (LOG2_TABLE, EXP2_TABLE) for entry in table
    )
    assert hashlib.sha256(data).hexdigest() == TABLES_SHA256
    steps = np.arange(257) / 256
    assert np.abs(LOG2_TABLE - np.log2(1 + steps) * ONE).max() <= 0.5 + 1e-6
    assert np.abs(EXP2_TABLE - 2**steps * ONE).max() <= 0.5 + 1e-6


def test_digests_are_the_frozen_ones() -> None:
    assert compute_digests() == json.loads(VECTORS.read_text())["kernels"]


def test_digests_of_the_plain_twins_are_the_same() -> None:
    assert compute_digests(PLAIN) == json.loads(VECTORS.read_text())["kernels"]


def test_digests_are_the_same_from_many_threads_at_once() -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: compute_digests(), range(8)))
    assert all(each == found[0] for each in found)
    assert found[0] == json.loads(VECTORS.read_text())["kernels"]


@pytest.mark.slow
@pytest.mark.parametrize("processor", ["generic", "x86-64-v3"])
def test_digests_do_not_depend_on_the_processor(tmp_path: Path, processor: str) -> None:
    environment = {
        **os.environ,
        "NUMBA_CPU_NAME": processor,
        "NUMBA_CPU_FEATURES": "",
        "NUMBA_CACHE_DIR": str(tmp_path),
        "OPENBLAS_NUM_THREADS": "1" if processor == "generic" else "2",
    }
    command = [sys.executable, "-m", "tests.ml_runtime.test_kernels"]
    finished = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert json.loads(finished.stdout) == json.loads(VECTORS.read_text())["kernels"]


def test_files_of_kernels_name_the_scalars_they_were_compiled_with() -> None:
    """The compiler's cache looks at a kernel's own file alone, so a change has to show there."""
    folder = ROOT / "ml_runtime" / "kernels"
    wanted = {
        name: hashlib.sha256((folder / f"{name}.py").read_bytes()).hexdigest()[:12]
        for name in ("scalars", "gradient", "bayes")
    }
    for path in folder.glob("*.py"):
        text = path.read_text()
        for name, digest in wanted.items():
            if path.stem != name and f"from ml_runtime.kernels.{name} import" in text:
                assert f"# {name}.py {digest}" in text, (
                    f"{path.name} was compiled with another {name}.py; write there:"
                    f" # {name}.py {digest}"
                )


if __name__ == "__main__":
    print(json.dumps(compute_digests(), indent=2))
