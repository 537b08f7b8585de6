# What people type: `make serve`, `make test`, `make check`. Needs Python >= 3.11 and make, nothing else.
# Everything is installed into .venv, in versions pinned by constraints.txt; the second time there is nothing to do.

.DEFAULT_GOAL := help
SHELL := /bin/sh

# The first of these that is new enough; `make PYTHON=/path/to/python serve` overrules it.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo "$$p" && break; done)

BIN := .venv/bin
# setuptools warns of every editable installation.
PIP := PYTHONWARNINGS=ignore PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore $(BIN)/python -m pip install --quiet --constraint constraints.txt
SOURCES := actors storage chat scripts tests
# Most tests wait or think on one core. Each process has a Postgres of its own.
TEST_PROCESSES ?= 2
# Of flake8-async, what ruff does not have.
ASYNC_RULES := ASYNC101,ASYNC102,ASYNC113,ASYNC120,ASYNC121

.PHONY: help serve test check format bench clean

help: ## This list.
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' Makefile

serve: .venv/.installed ## Serve on http://127.0.0.1:8000; PARLEY_... variables and ARGS="--port 9000" count.
	@exec $(BIN)/parley serve $(ARGS)

test: .venv/.installed-dev ## Run the whole suite, Postgres tests included; ARGS="-k name" chooses.
	$(BIN)/python -m pytest --numprocesses $(TEST_PROCESSES) --dist loadfile $(ARGS)

check: .venv/.installed-dev ## Format, lint and types, as CI does.
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/flake8-async --enable $(ASYNC_RULES) $$(find $(SOURCES) -name '*.py')
	$(BIN)/mypy
	$(BIN)/pyright

format: .venv/.installed-dev ## Format, and fix what can be fixed.
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

bench: .venv/.installed-dev ## Measure the budgets (ARGS), then Parley beside its peers (PEERS="--quick").
	$(BIN)/python -m scripts.bench $(ARGS)
	$(BIN)/python -m scripts.bench peers $(PEERS)

clean: ## Remove what was installed and cached; ./data stays.
	rm -rf .venv .bench .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.created:
	@test -n "$(PYTHON)" && "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "parley needs Python 3.11 or newer (found: $$("$(or $(PYTHON),python3)" --version 2>/dev/null || echo none)); \
	name one: make PYTHON=/path/to/python3.12 serve" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) lacks the venv module; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "creating .venv with $$("$(PYTHON)" --version)"
	@"$(PYTHON)" -m venv --clear .venv
	@touch $@

# Named versions of pip and setuptools first: pip then knows dependency groups, and nothing is built in isolation,
# where constraints would not count.
.venv/.installed: .venv/.created pyproject.toml constraints.txt
	@echo "installing parley into .venv"
	@$(PIP) pip setuptools
	@$(PIP) --no-build-isolation --editable .
	@touch $@

.venv/.installed-dev: .venv/.installed
	@echo "installing the tools into .venv"
	@$(PIP) --group dev
	@touch $@
