# make demo | test | test-slow | bench | lint | clean.  The first of them sets up .venv; later ones find it done.
# PYTHON chooses the interpreter (3.11 or later); JOBS the number of test processes.

PYTHON ?= python3
JOBS ?= 2
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test test-slow bench lint clean

demo test test-slow bench: export OMP_NUM_THREADS = 1

demo: .venv/ready
	$(BIN)/pcm demo

test: .venv/ready
	$(BIN)/python -m pytest -q -n $(JOBS) -m "not slow and not bench"

test-slow: .venv/ready
	$(BIN)/python -m pytest -q -n $(JOBS) -m "slow"

bench: .venv/ready-bench
	$(BIN)/python -m pytest -q -s -p no:xdist -m bench -o python_files="bench_*.py" tests/bench

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright

clean:
	rm -rf .venv build dist ./*.egg-info .pytest_cache .ruff_cache .hypothesis .import_linter_cache .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("pcm needs Python 3.11 or later; $(PYTHON) is " + sys.version.split()[0] + ". Name another one: make PYTHON=python3.11 $(MAKECMDGOALS)")'
	$(PYTHON) -m venv .venv

.venv/ready: pyproject.toml constraints.txt | .venv/bin/python
	@echo "Setting up .venv (once; a minute or two)"
	@$(PIP) -e '.[data,dev,private,private-training]'
	@touch $@

.venv/ready-bench: .venv/ready
	@$(PIP) -e '.[bench]'
	@touch $@
