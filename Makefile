# make demo: the first surrogate, end to end.  make test: the whole test suite.
# PYTHON chooses the interpreter that makes the environment: make env PYTHON=python3.12

PYTHON ?= python3
ENV := .venv
BIN := $(ENV)/bin
STAMP := $(ENV)/.complete
OUT := results/obstacle-flow
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help env demo test lint bench clean

help:  ## list the targets
	@grep -E '^[a-z]+: .*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  \1\t/' | expand -t 10

env: $(STAMP)  ## make .venv with the versions of constraints.txt

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "sciml needs Python 3.11 or later, and $(PYTHON) is" \
	    "$$($(PYTHON) --version 2>&1); choose another: make $(or $(MAKECMDGOALS),env) PYTHON=python3.12" >&2; \
	  exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(ENV)
	@echo "installing sciml and what it needs into $(ENV); this takes a minute or two"
	@$(BIN)/python -m pip install -qq --no-compile --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: env  ## run obstacle-flow (smoke tier) and say where the report is
	@$(BIN)/sciml run obstacle-flow --tier smoke --out $(OUT)
	@echo "the report is $(CURDIR)/$(OUT)/report.html"

test: env  ## run the whole test suite, in two processes
	@$(BIN)/python -m pytest --numprocesses 2 --dist worksteal

lint: env  ## ruff, mypy and import-linter
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: env  ## run every benchmark (minutes); each prints its ratios to its peers
	@$(BIN)/python -m pip install -qq --constraint constraints.txt --editable '.[bench]'
	@for file in benchmarks/*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

clean:  ## remove the environment, results and caches
	@rm -rf $(ENV) results dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
