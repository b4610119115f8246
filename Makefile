# `make demo` and `make dev` are all a newcomer needs; both do the whole set-up first.
# PYTHON: which Python makes the virtual environment, 3.11 to 3.13.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps
export PYTHONUNBUFFERED := 1
# Where the machine asks for no bytecode: each worker of the tests, and each process they start, would compile everything.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo dev test lab test-pythons lint types bench bench-all bench-checks bench-nights bench-polls bench-startup bench-log kill-lab mutants trace-chunk soak memory docs lock down clean

help: ## What can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

$(VENV)/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] <= (3, 13) else "Python 3.11 to 3.13 is needed, this is " + sys.version.split()[0] + "; name another with make PYTHON=python3.12 …")'
	@echo "installing into $(VENV), about 1.5 minutes the first time"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP_INSTALL) -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m compileall -q st_pipeline
	@touch $@

$(VENV)/installed-dev: requirements-dev.lock $(VENV)/installed
	@echo "installing the tools for tests and checks"
	@$(PIP_INSTALL) -r requirements-dev.lock
	@touch $@

setup: $(VENV)/installed ## The virtual environment with everything pinned

demo: $(VENV)/installed ## Sync four simulated tenants from nothing and prove the result
	@$(BIN)/st-pipeline demo

dev: $(VENV)/installed ## The Dagster UI on simulated companies that move on; Ctrl-C ends it
	@$(BIN)/st-pipeline dev

test: $(VENV)/installed-dev ## The test suite (7 minutes)
	@$(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile

lab: $(VENV)/installed-dev ## The tests that take long: kills, a real backfill, memory, fuzz, every entity in every mode (10 minutes)
	@$(BIN)/pytest -m lab --numprocesses auto --maxprocesses 4 --dist loadfile

test-pythons: ## The test suite on Python 3.12 and 3.13, where they are installed
	@status=0; for version in 3.12 3.13; do \
		found=; \
		for python in python$$version "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/$$version.*/bin/python; do \
			if "$$python" --version >/dev/null 2>&1; then found=$$python; break; fi; \
		done; \
		if [ -z "$$found" ]; then echo "Python $$version is not installed: not tested"; continue; fi; \
		echo "Python $$version"; \
		$(MAKE) --no-print-directory test VENV=.venv-$$version PYTHON="$$found" || status=1; \
	done; exit $$status

lint: $(VENV)/installed-dev ## ruff, formatting, import layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-cache

types: $(VENV)/installed-dev ## mypy, strict
	@$(BIN)/mypy
	@MYPYPATH=benchmarks $(BIN)/mypy benchmarks/*.py

bench: $(VENV)/installed ## What a sync costs in CPU, beside a bare program; fails when it is too much (12 minutes)
	@$(BIN)/python benchmarks/sync.py

bench-all: $(VENV)/installed ## What each entity costs: 200,000 records loaded, nothing changed, 1 % changed (2 minutes)
	@$(BIN)/python benchmarks/all_entities.py

bench-checks: $(VENV)/installed ## What a night of checks and a tick cost at 1,000 tenants; fails when it is too much (20 minutes)
	@$(BIN)/python benchmarks/checks.py

bench-nights: $(VENV)/installed ## What a first load, a whole read and a night between two cost; fails when it is too much (4 minutes)
	@$(BIN)/python benchmarks/nights.py

bench-log: $(VENV)/installed ## How quickly the sync log answers with 1,000,000 syncs of 10,000 tenants in it; fails when too slowly
	@$(BIN)/python benchmarks/sync_log.py

bench-startup: $(VENV)/installed ## What a sync that finds nothing costs in a process of its own: CPU seconds (1 minute)
	@$(BIN)/python benchmarks/startup.py

trace-chunk: $(VENV)/installed ## The files that a chunk passes, and what of them while its transaction is open
	@$(BIN)/python benchmarks/trace_chunk.py

kill-lab: $(VENV)/installed-dev ## Kill N syncs with -9 (N=1000, SEED=7) and check that nothing is lost, doubled or left
	@$(BIN)/python -m st_pipeline_tests.kill_lab --kills $(or $(N),100) $(if $(SEED),--seed $(SEED)) $(if $(SERIES),--series $(SERIES))

mutants: $(VENV)/installed-dev ## Break the path of a chunk in N small ways (N=40, SEED=7, ONLY=leases); a test must fail each time
	@$(BIN)/python -m st_pipeline_tests.mutants --count $(or $(N),40) $(if $(SEED),--seed $(SEED)) $(if $(ONLY),--only "$(ONLY)")

soak: $(VENV)/installed-dev ## Poll TENANTS=1000 tenants for ROUNDS=12 rounds of five minutes while everything goes wrong (SEED=7); all must be equal at the end
	@$(BIN)/python -m st_pipeline_tests.soak --tenants $(or $(TENANTS),1000) --rounds $(or $(ROUNDS),12) $(if $(SEED),--seed $(SEED))

bench-polls: $(VENV)/installed ## What polls of 1,000 tenants cost; fails when it is too much (15 minutes)
	@$(BIN)/python benchmarks/polls.py

memory: $(VENV)/installed ## Peak memory of a sync of 10,000 and of 500,000 invoices
	@$(BIN)/python benchmarks/memory.py

docs: $(VENV)/installed ## Write the parts of docs/ that are made from code
	@$(BIN)/python -m st_pipeline.tools.documentation

down: ## Stop the embedded Postgres, the demo's and its simulator; data stays
	@$(BIN)/st-pipeline down

lock: ## Pin again after pyproject.toml changed; needs uv
	uv pip compile pyproject.toml --group build --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-header --quiet -o requirements.lock
	uv pip compile --group dev pyproject.toml -c requirements.lock --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-header --quiet -o requirements-dev.lock

clean: ## Stop everything and delete the environment and the embedded data
	@if [ -x $(BIN)/st-pipeline ]; then $(BIN)/st-pipeline down --delete-data --yes; fi
	@rm -rf $(VENV) .venv-3.* .st-pipeline .env
