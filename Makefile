# `make run` and `make test` set everything up; they need Python 3.11 or later, git and make.
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3,$(shell command -v $(name) 2>/dev/null)))
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
RUN ?= runs/first
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: run test check bench docs clean

run: .venv/run.done  ## train LeNet-5 on MNIST, write the report, read a digit
	@test -e $(RUN)/recipe.json || $(BIN)/lamina train lenet5 --fast --data mnist --out $(RUN)
	@$(BIN)/lamina predict $(RUN) examples/seven.png
	@echo "the report of the run is $(RUN)/report.html"

test: .venv/dev.done  ## run the tests
	$(BIN)/python -m pytest

check: .venv/dev.done  ## formatting, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: .venv/bench.done  ## measure against other libraries, and write benchmarks/records
	$(BIN)/python -m benchmarks

docs: .venv/run.done  ## write docs/results.md and the table in README.md from the records
	$(BIN)/lamina reproduce --table docs/results.md
	$(BIN)/lamina reproduce --table README.md

clean:  ## remove what was installed and built
	rm -rf .venv build *.egg-info

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/run.done: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) torch
	$(PIP) --editable '.[report]'
	@touch $@

.venv/dev.done: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) torch
	$(PIP) --editable '.[dev]'
	@touch $@

.venv/bench.done: .venv/dev.done benchmarks/requirements.txt
	$(PIP) --requirement benchmarks/requirements.txt
	@touch $@
