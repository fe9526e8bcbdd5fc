# Each target sets up .venv first when it is missing or out of date.
#   PYTHON=...   the interpreter that .venv is made from (default: python3.11, then python3)
#   VENV=...     another place for it

VENV := .venv
CONSTRAINTS := constraints.txt
BIN := $(VENV)/bin
PY := $(BIN)/python
STAMP := $(VENV)/.installed
EXTRAS := test,hub,sweep,fasttext
PYTHON ?=
CANDIDATES := $(or $(PYTHON),python3.11 python3)

TEST := OMP_NUM_THREADS=1 $(PY) -m pytest -rs -n logical --maxprocesses 4 --dist worksteal

# Nothing here may wait for the Hugging Face hub.
test pytest test-fast demo notebooks: export HF_HUB_OFFLINE = 1

.DEFAULT_GOAL := help
.PHONY: help setup demo test pytest test-fast test-lowest lint docs notebooks bench clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9.%-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' Makefile

setup: $(STAMP) ## make .venv with the versions of constraints.txt

demo: $(STAMP) ## train a small BERT on planted pairs, explain 100 of them three ways
	$(PY) train.py model=bert_tiny dataset=planted
	$(PY) explain.py experiment=demo

test: lint pytest ## lint, then every test, one process and thread a core

pytest: $(STAMP)
	$(TEST)

test-fast: $(STAMP) ## every test that takes no seconds, for while you write
	$(TEST) -m "not slow"

test-python3.%: ## every test on another Python, such as test-python3.13, in a .venv-... of its own
	$(MAKE) pytest VENV=.venv-python3.$* PYTHON=python3.$*

test-lowest: .venv-lowest.txt ## every test on the lowest versions that setup.cfg promises
	$(MAKE) pytest VENV=.venv-lowest CONSTRAINTS=$<

.venv-lowest.txt: setup.cfg
	sed -nE 's/^    ([A-Za-z0-9_-]+)>=([0-9.]+).*/\1==\2/p' $< > $@

lint: $(STAMP) ## ruff, mypy and the import contracts
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(STAMP) ## the site of the documents, in build/site; a warning is an error
	$(PY) -c "import latex2mathml, material, mkdocstrings_handlers.python" 2>/dev/null \
		|| $(PY) -m pip install -c $(CONSTRAINTS) -e ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict

notebooks: $(STAMP) ## every notebook of docs/notebooks anew, its outputs stored in it
	$(PY) -c "import ipykernel, nbclient" 2>/dev/null \
		|| $(PY) -m pip install -c $(CONSTRAINTS) -e ".[docs]"
	$(PY) docs/run_notebooks.py

bench: $(STAMP) ## every script of benchmarks/, one after the other
	set -e; for name in estimators references growth utilisation kinds; do echo "$$name"; $(PY) -m benchmarks.$$name; done

clean: ## remove every .venv, builds and caches; outputs/ is yours and stays
	rm -rf .venv .venv-* build dist *.egg-info .hypothesis .import_linter_cache .mypy_cache \
		.pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp says that an install went through: it goes first and comes back last, and without it
# .venv is made anew, so that a half-finished install never stays.
$(STAMP): setup.cfg setup.py pyproject.toml $(CONSTRAINTS)
	@set -e; \
	if test -f $(STAMP); then \
		rm -f $(STAMP); \
	else \
		for python in $(CANDIDATES) none; do \
			"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; \
		done; \
		if test "$$python" = none; then \
			echo "Python 3.11 or newer is needed; not found under the name(s): $(CANDIDATES)" >&2; \
			echo "Install it, or say where it is: make setup PYTHON=/path/to/python3.11" >&2; \
			exit 1; \
		fi; \
		echo "Making $(VENV) with $$("$$python" --version): a few minutes, once."; \
		"$$python" -m venv --clear $(VENV); \
	fi
	$(PY) -m pip install -c $(CONSTRAINTS) -e ".[$(EXTRAS)]"
	$(PY) -m pip check
	@touch $(STAMP)
