# Every target sets itself up on a bare machine.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: demo test slow fixtures lint format clean

$(STAMP): setup.py pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

demo: $(STAMP)
	$(BIN)/sensorium demo

test: $(STAMP) lint
	$(BIN)/pytest -n 2 --dist worksteal

# Parity against the originals needs $$SENSORIUM_PEERS/<owner>/<repository> checkouts.
slow: $(STAMP)
	$(BIN)/pip install --quiet torch==2.13.0 scikit-image opencv-python-headless
	$(BIN)/pytest -m 'parity or processes or soak'

# Exactly the tests that read the published checkpoints under $$SENSORIUM_FIXTURES.
fixtures: $(STAMP)
	$(BIN)/pytest -m fixtures

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright --level error

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv build dist *.egg-info
