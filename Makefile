# Everything a newcomer needs. `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The integration tests wait more than they compute: more of them at once than there are cores.
JOBS ?= 4
READY := $(VENV)/.ready

.PHONY: help demo test setup lint format bench chaos lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(READY) ## run the whole pipeline on this machine until Ctrl-C (DURATION=30 ends it by itself)
	@$(BIN)/sigmawatch up $(if $(DURATION),--duration $(DURATION))

test: $(READY) ## all tests, on the most real broker and database that this machine has
	@$(BIN)/python -m deploy.images.warm
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

setup: $(READY) ## create .venv from the hashed lock

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Sigmawatch needs Python 3.11 or later, this is " + sys.version) if sys.version_info < (3, 11) else 0'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@echo "compiling the loops, once (half a minute)"
	@$(BIN)/python -m deploy.images.warm
	@touch $@

lint: $(READY) ## ruff, mypy --strict and the import rule
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY) ## let ruff put the code in order
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: $(READY) ## CPU seconds per million readings: the processor beside plain Faust, the producers beside bare confluent-kafka
	$(BIN)/python -m tests.bench.processor
	$(BIN)/python -m tests.bench.producing

chaos: $(READY) ## the long kill-and-rebalance runs
	$(BIN)/python -m pytest tests/faults -m chaos $(PYTEST_ARGS)

lock: ## renew requirements.lock from pyproject.toml (needs uv)
	uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-annotate --extra dev \
	  --custom-compile-command 'make lock' pyproject.toml lock-extra.in --output-file requirements.lock

clean: ## remove .venv and what tools left behind
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
