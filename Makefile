# make demo: set up, then the controlled experiment end to end.   make test: set up, then the tests.
VENV := .venv
PYTHON ?= python3
BIN := $(VENV)/bin

.PHONY: setup demo test check

setup: $(VENV)/.ready

$(VENV)/.ready: requirements.txt pyproject.toml setup.sh
	PYTHON="$(PYTHON)" VENV="$(VENV)" sh setup.sh
	touch $@

demo: setup
	$(BIN)/python scripts/study.py tiny

test: setup
	$(BIN)/python -m pytest

check: setup
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python
