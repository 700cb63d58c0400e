PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.DEFAULT_GOAL := help
.PHONY: help demo test lint format bench lock clean

help: ## What there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

demo: $(READY) ## Start a whole stack on this machine and play the story
	$(BIN)/taprail demo

test: lint ## Lint, types, and every test on real parts
	$(BIN)/python -m pytest --durations=15

lint: $(READY) ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY) ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY) ## Measure, each figure beside its baseline; JSON lines go to bench/out
	mkdir -p bench/out
	for bench in bench/[a-z]*.py; do $(BIN)/python $$bench || exit 1; done

# rows.py is listed because its compiled copy is built here: an edit rebuilds it.
$(READY): requirements.lock pyproject.toml hatch_build.py connectors/postgres/rows.py
	@$(PYTHON) -c 'import sys; sys.exit("taprail needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# The newest versions that pyproject.toml allows. Hashes only: where they come from is pip's own configuration.
lock: $(READY) ## Lock the newest versions
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes --no-header --no-annotate \
	    --no-emit-index-url --no-emit-find-links --python-version 3.11 --extra local --extra dev \
	    --output-file requirements.lock pyproject.toml

clean: ## Remove what was built here; data and caches elsewhere stay
	rm -rf .venv dist bench/out .mypy_cache .pytest_cache .ruff_cache connectors/postgres/*.so
