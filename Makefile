# Every target makes the virtual environment by itself when it is missing or when the lock file changed.
# `make` alone lists the targets. Arguments for a command go into ARGS: make devnet ARGS='--validators 7'.

VENV ?= .venv
BIN := $(VENV)/bin
PACKAGES := primitives ml_runtime incentives ledger consensus p2p node quorate
COVERED := primitives incentives ledger consensus
WORKERS ?= 2
BENCH := .bench
RIVER := 0.26.1
NARWHALS := 2.28.0
ARGS ?=

# The first interpreter that fits requires-python and can make virtual environments.
PYTHON ?= $(shell for name in python3.11 python3.12 python3; do \
	"$$name" -c 'import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' \
	2>/dev/null && command -v "$$name" && break; done)

# The environment is ready when this file exists. Its name carries the checksum of what was installed, so that a
# checkout which changes the lock is noticed whatever the times of its files say.
READY := $(VENV)/.ready-$(shell cat requirements/development.lock pyproject.toml | cksum | cut -d ' ' -f 1)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules
.PHONY: help setup devnet test check format format-check lint types imports dead-code tidy pytest coverage simulate twins \
	model-check bench bench-models incentives not-run test-javascript test-processes test-docker image lock clean clean-all

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

setup: $(READY) ## make the virtual environment from the lock file

$(READY):
	@test -n "$(PYTHON)" || { echo "Quorate needs Python 3.11 or 3.12 with its venv module, and found neither." \
		"Name one: make PYTHON=/path/to/python3.11 setup" >&2; exit 1; }
	@test -x $(BIN)/python || { echo "Making $(VENV) with $(PYTHON)"; $(PYTHON) -m venv $(VENV); }
	@echo "Installing the locked requirements (about a minute, first time only)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/development.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@rm -f $(VENV)/.ready-* && touch $@

devnet: $(READY) ## four validators on this machine and the demonstration; Ctrl-C stops them
	@$(BIN)/quorate devnet $(or $(ARGS),--demo)

test: format-check lint types imports dead-code not-run pytest ## everything that must hold before a commit

check: format-check lint types imports dead-code tidy ## the fast part: format, lint, types, imports, dead code, tidiness

format: $(READY) ## rewrite the files in the project's format, sort imports
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format .

format-check: $(READY)
	@$(BIN)/ruff format --check .

lint: $(READY) ## ruff
	@$(BIN)/ruff check .

types: $(READY) ## mypy --strict
	@$(BIN)/mypy

imports: $(READY) ## who may import whom
	@$(BIN)/lint-imports

dead-code: $(READY) ## vulture
	@$(BIN)/vulture

tidy: $(READY) ## sizes, names, floats, documents
	@$(BIN)/pytest tests/test_tidy.py tests/test_documents.py tests/test_start_up.py $(ARGS)

pytest: $(READY)
	@$(BIN)/pytest -n $(WORKERS) $(ARGS)

not-run:
	@command -v node >/dev/null || echo "NOT RUN here, Node is missing: make test-javascript (encoders in JavaScript)"
	@command -v promtool >/dev/null || echo "NOT RUN here, promtool is missing: the check of /metrics with it; make test-docker does it too"
	@echo "NOT RUN here, they need root and more: make test-processes (network namespaces), make test-docker (Docker, Prometheus)"

coverage: $(READY) ## branches of the packages that validators agree through: all of them, or it fails
	@$(BIN)/pytest -n $(WORKERS) $(COVERED:%=tests/%) $(COVERED:%=--cov=%) \
		--cov-branch --cov-fail-under=100 --cov-report=term-missing:skip-covered $(ARGS)

simulate: $(READY) ## the real core under seeded faults: make simulate MINUTES=20 WORKERS=2 SEED=0
	@$(BIN)/python -m tests.simulator --seed $(or $(SEED),0) $(and $(MINUTES),--minutes $(MINUTES) --workers $(WORKERS)) $(ARGS)

twins: $(READY) ## 100,000 scenarios in which one validator runs twice; ARGS='--bugs' plants bugs
	@$(BIN)/python -m tests.twins $(ARGS)

model-check: $(READY) ## search the real core, 4 validators and 3 views, breadth first; about 15 minutes
	@$(BIN)/python -m tests.model_check $(ARGS)

bench: $(READY) ## every benchmark of the network in turn; each prints a table
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python "$$script" || exit 1; done

bench-models: $(READY) $(BENCH)/.ready-$(RIVER) ## every model family beside its twin in scikit-learn or river, in one table; ARGS=--quick
	@PYTHONPATH=$(BENCH) $(BIN)/python -m benchmarks.models $(ARGS)

incentives: $(READY) ## the tables and pictures of docs/incentives.md, at five seeds or more; about 20 minutes
	@$(BIN)/python -m benchmarks.incentives $(ARGS)

# River is measured against only, so it stays out of the environment and its lock. Without its dependencies: of those the
# environment has numpy and scipy, and others beside them would hide them.
$(BENCH)/.ready-$(RIVER): $(READY)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target $(BENCH) \
		river==$(RIVER) narwhals==$(NARWHALS)
	@rm -f $(BENCH)/.ready-* && touch $@

image: ## build the container image: make image ARGS='--build-arg BASE=…'
	docker build $(ARGS) --tag quorate .

test-javascript: $(READY) ## the JavaScript twin of the encoders over the vectors of the Python one; needs Node
	@command -v node >/dev/null || { echo "test-javascript: Node is missing; tests/ml_runtime/install-node installs it" >&2; exit 1; }
	@$(BIN)/pytest tests/ml_runtime/test_encoders.py -k javascript $(ARGS)

test-processes: $(READY) ## real validators in network namespaces: cut, stopped, killed; needs root and iproute2
	@$(BIN)/python -m tests.processes $(ARGS)

test-docker: $(READY) ## the image; a network in containers, joined, watched, restarted; needs a Docker engine and Prometheus
	@$(BIN)/python -m tests.docker.check_containers $(ARGS)

lock: $(READY) ## resolve pyproject.toml anew into requirements/*.lock
	@$(BIN)/python requirements/lock.py $(ARGS)

clean: ## remove caches, build products and the local network
	rm -rf .devnet .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage* htmlcov dist build
	find $(PACKAGES) tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

clean-all: clean ## remove the virtual environment too
	rm -rf $(VENV) $(BENCH)
