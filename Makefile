# Two commands do everything on a fresh machine with only Python: `make demo` and `make test`.
# Each makes its own .venv as needed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
endif

.PHONY: demo test lint types layers unit soak bench clean

demo: $(VENV)/.installed
	@$(BIN)/kallista demo

test: lint types layers unit

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

layers: $(VENV)/.installed-dev
	$(BIN)/lint-imports

unit: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -q -n 2 --maxfail 50

# Long proof: a simulation of 20,000 stories, a list of 100,000 items, then real programs killed, frozen
# and starved.
# They mostly wait, so three kinds of faults at a time are quickest on two cores; each takes longer.
soak: $(VENV)/.installed-dev
	$(BIN)/python -m tests.simulation --seeds 20000 --jobs 2
	$(BIN)/python tests/engine/long_list.py 100000
	$(BIN)/python tests/crash/soak.py --jobs 3 --minutes 60

# Kallista beside its peers, each in an environment of its own: PEERS=dbos,absurd ROWS=W1,W2 ROUNDS=1.
bench: $(VENV)/.installed-dev
	$(BIN)/python -m bench $(if $(PEERS),--peers $(PEERS)) $(if $(ROWS),--rows $(ROWS)) $(if $(ROUNDS),--rounds $(ROUNDS))

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -r requirements-dev.txt
	@touch $@
