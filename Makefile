# The two commands of the README. Needs Python 3.11 to 3.13 and make; installs into .venv only.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: try test check clean

try: $(STAMP)            ## rehearse: a two-node Atlas A3 practice cluster, brought up and proven
	$(BIN)/qnext-provision rehearse try

test: $(STAMP)           ## every test that this machine can run
	$(BIN)/python -m tests.run

check: $(STAMP)          ## the quick check: lint, types, pure and rehearsal tests
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/python -m tests.run pure rehearsal

$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { echo "needs Python 3.11 to 3.13; name one with: make PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[rehearsal,test]'
	touch $@

clean:                   ## remove the virtual environment and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
