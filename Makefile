# `make run` and `make test` are all that a fresh Debian machine needs; both install what they use, once.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup setup-run setup-test run test check lint format e2e bench fuzz constraints dist clean

BIN := .venv/bin
# What the type checker reads, as far as it is there.
TYPED := $(wildcard exporter bench)
# SHORT=1 asks for the short forms that CI runs.
export NETPROC_SHORT := $(SHORT)

help:  ## show this list
	@sed -nE 's/^([a-z0-9-]+):.*## (.*)/  \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|' 2>/dev/null || cat $(MAKEFILE_LIST)

setup: setup-run setup-test  ## install everything that running and testing need

setup-run:
	@tools/setup-run.sh

setup-test:
	@tools/setup-test.sh

run: setup-run  ## start the exporter on its defaults; ARGS="--web.listen-address :9999" adds flags
	@exec $(BIN)/netproc-exporter run $(ARGS)

test: setup-test lint check  ## lint, then the whole test suite with branch coverage

check: setup-test  ## the test suite alone; ARGS="-k name" selects
	$(BIN)/python -m pytest --cov --cov-report=term:skip-covered -m "not e2e and not bench" $(ARGS)

lint: setup-test  ## ruff, mypy and the import contracts
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy $(TYPED)
	$(BIN)/lint-imports --no-logo

format: setup-test  ## mend what ruff can mend by itself
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

e2e: setup-test  ## real servers and clients in network namespaces; SHORT=1 for the short form
	$(BIN)/python -m pytest -m e2e $(ARGS)

bench: setup-test  ## the benchmarks; a table, and bench/results.json; SHORT=1 for the short form
	$(BIN)/python -m bench $(if $(SHORT),--short) $(ARGS)

fuzz: setup-test  ## mutated frames, streams and files; SHORT=1 for the short form
	$(BIN)/python -m tests.fuzz $(if $(SHORT),--short) $(ARGS)

constraints: setup-test  ## resolve all dependencies anew and write constraints.txt
	tools/constraints.sh

dist: setup-test  ## the wheel and the source archive, in dist/
	$(BIN)/python -m hatchling build

clean:  ## remove what was made here, .venv too
	rm -rf .venv .venv.lock build dist htmlcov .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache \
	    .pytest_cache .ruff_cache bench/results.json
	find . -name __pycache__ -prune -exec rm -rf {} +
