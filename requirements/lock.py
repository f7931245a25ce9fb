"""Resolve pyproject.toml into the lock files beside this script.

Each lock holds exact versions with hashes for every supported Python and names no index, so that
an installation takes its packages from whatever index the machine is configured for. uv does the
resolving, in an environment of its own that is thrown away afterwards: ``make lock``
(``ARGS=--upgrade`` to take newer versions).
"""

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOWEST_PYTHON = "3.11"
OPTIONS = (
    "--quiet",
    "--universal",
    f"--python-version={LOWEST_PYTHON}",
    "--fork-strategy=fewest",
    "--generate-hashes",
    "--no-emit-index-url",
    "--custom-compile-command=make lock",
)

# Later locks are constrained by the first, so that all of them agree on every version.
LOCKS = (
    ("runtime.lock", ("pyproject.toml",)),
    ("build.lock", ("--constraint=requirements/runtime.lock", "requirements/build.in")),
    (
        "development.lock",
        (
            "--constraint=requirements/runtime.lock",
            "--extra=dev",
            "pyproject.toml",
            "requirements/build.in",
        ),
    ),
)


def main(extra_options: list[str]) -> None:
    """Write every lock; `extra_options` go to uv as they are."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        programs = Path(folder, "bin")
        subprocess.run([programs / "pip", "install", "--quiet", "uv>=0.9"], check=True)
        for name, sources in LOCKS:
            command = [programs / "uv", "pip", "compile", *OPTIONS, *extra_options, *sources]
            subprocess.run([*command, f"--output-file=requirements/{name}"], check=True, cwd=ROOT)
            print(f"requirements/{name}")


if __name__ == "__main__":
    main(sys.argv[1:])
