# A fresh machine needs nothing before these but Python 3.11 and a C++ compiler.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin

.PHONY: setup
setup: $(VENV)/.installed  ## make .venv and install the pinned dependencies

$(VENV)/.installed: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@# annoy is compiled here; without these flags its build is tied to this machine's CPU (-march=native).
	ANNOY_COMPILER_ARGS=$$($(BIN)/python resources/annoy_flags.py) \
	  $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@
