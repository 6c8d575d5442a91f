# Everything a person needs; `make help` lists it. Each target sets itself up first.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
DEMO   := outputs/demo
# One thread per process: tests and voting scale by processes, and rounding is then the same everywhere.
TESTENV := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow lint type bench clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

install: $(VENV)/.installed ## virtual environment in .venv with mmcert and its development tools

$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "mmcert needs Python 3.11 or newer; $(PYTHON) is older. Try: make $(MAKECMDGOALS) PYTHON=python3.11"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -e ".[cluster,dev,video]"
	@touch $@

demo: install ## the main job on synthetic roads, from data to report (outputs/demo), about 8 minutes
	scripts/demo.sh $(DEMO)

test: install ## everything not marked slow, and one slow smoke test per command
	$(TESTENV) $(BIN)/python -m pytest -m "not slow or smoke"

test-slow: install ## the slow tests: coverage simulations, power, sweeps, two processes
	$(TESTENV) $(BIN)/python -m pytest -m "slow and not smoke"

lint: install ## ruff: lint and format
	$(BIN)/ruff check src tests scripts
	$(BIN)/ruff format --check src tests scripts

type: install ## mypy: strict on theory, records, certification
	$(BIN)/mypy

bench: install ## measure the speed and memory claims (medians of alternating runs)
	$(TESTENV) $(BIN)/python scripts/bench.py
	$(TESTENV) $(BIN)/python scripts/bench_frontier.py
	$(TESTENV) $(BIN)/python scripts/bench_voting.py

clean: ## remove caches and build products (keeps .venv, data and outputs)
	rm -rf dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find src tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +
