# The two commands of the README are `make run` and `make test`; each sets up what it needs.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3

.DEFAULT_GOAL := help
.PHONY: help install run test coverage test-slow test-live bench lint clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(VENV)/.installed: requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "ecovisor needs Python 3.11 or newer; name one with 'make PYTHON=python3.12 …'"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --no-index --editable .
	$(BIN)/python -m ecovisor.engine.warm
	touch $@

install: $(VENV)/.installed  ## make .venv with everything a developer needs

run: install  ## a complete ecovisor on this machine: three apps, a live table, a dashboard; Ctrl-C ends it
	@$(BIN)/ecovisor demo

# Three workers on two cores: many tests wait for processes, clocks and sockets.
test: install lint  ## style, types, import contracts, and the quick tests
	$(BIN)/python -m pytest -n 3 --dist worksteal -m "not slow and not live"

# Tracing doubles the time of tests, so that only those run under it whose subject is what everything rests on.
coverage: install  ## lines that the tests of the core cover; 95 % at least
	$(BIN)/python -m pytest -q -n 3 --dist worksteal -m "not slow and not live" --cov --cov-report=term:skip-covered \
		tests/model tests/physics tests/library tests/policies tests/workloads tests/engine tests/independent tests/claims tests/contracts
	$(BIN)/python scripts/coverage_floor.py

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

test-slow: install  ## the longer tests
	$(BIN)/python -m pytest -n 2 -m slow

# The dashboard is opened in Debian's Chromium; elsewhere, or without root, that test says why it is skipped.
test-live: install  ## the tests that need real parts: control groups, a browser
	@command -v chromium >/dev/null || [ "$$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null || \
		{ apt-get -o DPkg::Lock::Timeout=600 update -q && apt-get -o DPkg::Lock::Timeout=600 install -y -q --no-install-recommends chromium; } >/dev/null || \
		echo "chromium cannot be installed; its test will be skipped"
	$(BIN)/python -m pytest -m live

$(VENV)/.bench: requirements/bench.txt $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/bench.txt
	touch $@

bench: $(VENV)/.bench  ## the benchmarks, with their ratios against the peer
	$(BIN)/ecovisor bench

clean:  ## remove what the other targets made
	rm -rf $(VENV) runs
