# Everything is set up from Python packages: what is needed is make, a shell and Python 3.11 or newer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN := $(BIN)/python -m
LOCKED := $(VENV)/.locked
READY := $(VENV)/.ready
BENCHES := $(filter-out bench/figures.py bench/table.py bench/traffic.py,$(sort $(wildcard bench/*.py)))
COMPILED := $(shell sed -n '/^compiled = /,/^]/s/^ *"\(.*\)",$$/\1/p' pyproject.toml)
UV := $(RUN) uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate \
      --no-emit-index-url --no-emit-find-links --python-version 3.11

.DEFAULT_GOAL := help
.PHONY: help demo test lint format bench versions conformance clients bench-policy bench-tap mutants fuzz scim keycloak lock clean

help: ## Show this
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /make \1\t/' | expand -t 16

demo: $(READY) ## Start a whole stack on this machine and play the story
	$(BIN)/taprail demo

test: lint ## Lint, types, then every test on real parts
	@$(RUN) taprail.connectors.local.artifacts # downloads once, before any test's clock runs
	$(RUN) pytest --durations=15

lint: $(READY) ## Check style and types: ruff, mypy --strict
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy

format: $(READY) ## Format the code
	$(RUN) ruff check --fix .
	$(RUN) ruff format .

bench: $(READY) ## Measure; each figure stands beside its baseline
	@rm -rf bench/out && mkdir -p bench/out
	@for bench in $(BENCHES); do echo "== $$bench"; $(BIN)/python $$bench || exit 1; done
	@$(BIN)/python bench/table.py

versions: $(READY) ## Run the tap's tests at the wire against PostgreSQL 14 to 18 (minutes)
	$(RUN) tests.postgres_versions

conformance: $(READY) ## Run PostgreSQL's and drivers' own test suites directly and through the tap; any difference must be reviewed
	$(RUN) tests.conformance

clients: $(READY) ## Try the clients that people use, directly and through the tap (downloads them once)
	$(RUN) tests.clients

bench-policy: $(READY) ## Measure what policies cost beside none and beside plain Python
	@$(BIN)/python bench/policy.py

bench-tap: $(READY) ## Measure the tap beside pgbouncer and the server itself
	@mkdir -p bench/out
	@$(BIN)/python bench/tap.py

mutants: $(READY) ## Switch off each defence of the tap in turn; a test must turn red
	@$(RUN) tests.mutants.run

fuzz: $(READY) ## Send the tap any bytes for some minutes
	TAPRAIL_FUZZ_EXAMPLES=20000 $(RUN) pytest --timeout=1800 tests/fuzz/test_oracle.py
	@$(RUN) pip install --quiet --no-deps --upgrade --target $(VENV)/fuzz atheris==3.0.0
	PYTHONPATH=$(VENV)/fuzz $(RUN) tests.fuzz.coverage_guided -max_total_time=120 -max_len=4096 -verbosity=0

scim: $(READY) ## Run scim2-tester's conformance checks against the SCIM service
	@$(RUN) pip install --quiet --disable-pip-version-check --upgrade --target $(VENV)/scim -r tests/scim/requirements.txt
	@PYTHONPATH=$(VENV)/scim $(RUN) tests.scim

keycloak: $(READY) ## Sign in with a real Keycloak: device flow, groups, keys, revocation, SCIM (two minutes)
	$(RUN) pytest --timeout=300 tests/keycloak/sign_in_with_keycloak.py

# Hashes only, no addresses: where packages come from is pip's own configuration.
lock: $(READY) ## Lock the newest versions that pyproject.toml allows
	$(RUN) pip install --quiet uv
	$(UV) --upgrade --extra local --extra dev --output-file requirements.lock pyproject.toml
	$(UV) --constraint requirements.lock --output-file deploy/requirements.lock pyproject.toml

clean: ## Remove what was built here; stacks and caches elsewhere stay
	rm -rf $(VENV) dist bench/out .hypothesis .mypy_cache .pytest_cache .ruff_cache .dev/*.so
	find schemas connectors streams -name '*.so' -delete

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "taprail needs Python 3.11 or newer: there is no $(PYTHON). \
	Install one, or name it: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "taprail needs Python 3.11 or newer: \
	$(PYTHON) is $$($(PYTHON) -V 2>&1). Name another: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) lacks its venv module: install it \
	(on Debian and Ubuntu the package python3-venv)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(LOCKED): requirements.lock | $(BIN)/python
	@echo "installing $$(grep -c == requirements.lock) locked packages into $(VENV); every file is checked by its hash"
	@$(RUN) pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

# What is compiled is built here: a copy that is older than its source would win over it.
$(READY): $(LOCKED) pyproject.toml hatch_build.py $(COMPILED)
	@$(RUN) pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
