# Each target sets up .venv first when it is missing or out of date.
#   PYTHON=...   the interpreter that .venv is made from (default: python3.11, then python3)

VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
STAMP := $(VENV)/.installed
EXTRAS := test,hub,sweep,fasttext
PYTHON ?=
CANDIDATES := $(or $(PYTHON),python3.11 python3)

TEST := OMP_NUM_THREADS=1 $(PY) -m pytest -n logical --maxprocesses 4 --dist worksteal

# Nothing here may wait for the Hugging Face hub.
test test-fast demo: export HF_HUB_OFFLINE = 1

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast lint bench clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' Makefile

setup: $(STAMP) ## make .venv with the versions of constraints.txt

demo: $(STAMP) ## train a small BERT on planted pairs, explain 100 of them three ways
	$(PY) train.py model=bert_tiny dataset=planted
	$(PY) explain.py experiment=demo

test: lint ## lint, then every test, one process and thread a core
	$(TEST)

test-fast: $(STAMP) ## every test that takes no seconds, for while you write
	$(TEST) -m "not slow"

lint: $(STAMP) ## ruff, mypy and the import contracts
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP) ## every script of benchmarks/, one after the other
	set -e; for name in estimators references growth utilisation; do echo "$$name"; $(PY) -m benchmarks.$$name; done

clean: ## remove .venv, builds and caches; outputs/ is yours and stays
	rm -rf $(VENV) build dist *.egg-info .hypothesis .import_linter_cache .mypy_cache \
		.pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp says that an install went through: it goes first and comes back last, and without it
# .venv is made anew, so that a half-finished install never stays.
$(STAMP): setup.cfg pyproject.toml constraints.txt
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
	$(PY) -m pip install -c constraints.txt -e ".[$(EXTRAS)]"
	$(PY) -m pip check
	@touch $(STAMP)
