# make demo   the main job on the embedded models: no key, and no network once installed
# make test   the tests               make check   lint, format, types, import directions
# make test-real   the program against a real small model, fetched once (100 MB)
# make test-consumers   exports read by the libraries that train on them (2 GB, kept apart)
# make fix    mend and format         make studio  the graph in LangGraph's server
# Works on a bare machine with Python 3.11 or newer, make and git.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock

.PHONY: setup demo test test-real test-consumers check fix studio

setup: .venv/installed-dev

demo: .venv/installed
	$(BIN)/autodata demo

test: .venv/installed-dev
	$(BIN)/pytest -n 2 --dist loadfile

# The whole program against a real small model, served by llama.cpp on this machine (minutes).
test-real: .venv/installed-real
	$(BIN)/pytest -m real tests/real

# What is exported, read by the libraries that train on it. They want other releases of what we use,
# so that they have an environment of their own.
test-consumers: .venv-consumers/installed
	.venv-consumers/bin/pytest -m consumers tests/consumers

check: .venv/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: .venv/installed-dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# The variables keep the server silent; it reads them before langgraph.json. A job is a document: it
# waits for models nearly all of its time, and endpoints have limits of their own, so eight at once
# (as many as the embedded models work on in a run) keep them busy without crowding the drawing.
studio: .venv/installed-dev
	LANGSMITH_TRACING=false LANGGRAPH_CLI_NO_ANALYTICS=1 LANGGRAPH_NO_VERSION_CHECK=true \
		$(BIN)/langgraph dev --no-browser --n-jobs-per-worker 8

$(BIN)/python:
	@test -n '$(PYTHON)' || { echo 'autodata needs Python 3.11 or newer, and finds none'; exit 1; }
	@$(PYTHON) -m venv .venv || { rm -rf .venv; \
		echo '$(PYTHON) cannot make virtual environments: install its venv package'; exit 1; }

# A stamp makes the second call instant; a changed list of dependencies installs again.
.venv/installed: $(BIN)/python pyproject.toml requirements.lock
	@echo 'Installing into .venv (a minute or less) ...'
	@$(INSTALL) -e .
	@touch $@

.venv/installed-dev: $(BIN)/python pyproject.toml requirements.lock
	@echo 'Installing into .venv, with what development needs (two minutes or less) ...'
	@$(INSTALL) -e '.[dev]'
	@touch $@ .venv/installed

.venv/installed-real: .venv/installed-dev
	@$(INSTALL) -e '.[dev,local]'
	@$(BIN)/autodata models serve --fetch --yes
	@touch $@

# The build of torch for processors alone is small; where pip is not told of a place that has it
# (PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS), the usual one serves, with some gigabytes for graphics cards.
CONSUMERS := .venv-consumers/bin/python -m pip install --quiet --disable-pip-version-check \
	-c requirements-consumers.lock
.venv-consumers/installed: pyproject.toml requirements-consumers.lock
	@test -n '$(PYTHON)' || { echo 'autodata needs Python 3.11 or newer, and finds none'; exit 1; }
	@echo 'Installing into .venv-consumers what reads the exports (some minutes) ...'
	@test -x .venv-consumers/bin/python || $(PYTHON) -m venv .venv-consumers
	@$(CONSUMERS) 'torch==2.13.0+cpu' 2>/dev/null || $(CONSUMERS) 'torch>=2.6'
	@$(CONSUMERS) -e '.[consumers]'
	@touch $@
