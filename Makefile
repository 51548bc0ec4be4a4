# A fresh machine needs nothing before these but Python 3.11 and a C++ compiler.
PYTHON ?= python3.11
SIZE ?= demo
VENV := .venv
BIN := $(VENV)/bin
export OMP_NUM_THREADS ?= 1

.PHONY: help setup demo ui test lint types unit test-team docs wheel clean
.DEFAULT_GOAL := help

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

setup: $(VENV)/.installed  ## make .venv and install the pinned dependencies

$(VENV)/.installed: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@# annoy is compiled here; without these flags its build is tied to this machine's CPU (-march=native).
	ANNOY_COMPILER_ARGS=$$($(BIN)/python -P resources/annoy_flags.py) \
	  $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: setup  ## the whole graph on a synthesised library (SIZE=tiny: in a minute; AUDIO=DIR EVENTS=FILE: on your own)
	@$(BIN)/ai-assets demo --size $(SIZE)

ui: setup  ## the Dagster UI, daemon, sensors and the MLflow UI on the same data
	@$(BIN)/ai-assets ui

test: setup lint types unit  ## lint, types, rules of imports and all tests that need no service

lint: setup
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/lint-imports && $(BIN)/vulture

types: setup
	@$(BIN)/mypy

unit: setup
	@$(BIN)/python -m pytest -n auto --dist loadfile -m "not team and not benchmark" tests

test-team: setup  ## tests with PostgreSQL, Redis and RabbitMQ, kills and full disks
	@$(BIN)/python -m pytest -m "team and not matrix" tests

docs: setup  ## the reference pages in docs/, from the code
	@$(BIN)/python -m tools.docs

wheel: setup  ## dist/*.whl, as it is released
	@$(BIN)/pip wheel --quiet --disable-pip-version-check --no-deps -w dist .

clean:  ## remove the virtual environment and caches; data stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
