# Every target sets itself up on a bare machine.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: demo test slow pages notebooks fixtures minimum figures gpu-programs \
	wheel lint format clean

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
	$(BIN)/pip install --quiet torch==2.13.0 scikit-image opencv-python-headless \
		submitit optuna
	$(BIN)/pytest -m 'parity or processes or soak'

# Pages of runs in headless Chromium, looked at by axe-core too.
pages: $(STAMP)
	npm install --prefix .pages --no-save --silent puppeteer-core@25 axe-core@4
	NODE_PATH=$(CURDIR)/.pages/node_modules $(BIN)/pytest -n 0 -m pages

# The notebooks of colabs/ from the first cell to the last, one after the other.
notebooks: $(STAMP)
	$(BIN)/pip install --quiet nbclient ipykernel '.[colab]'
	$(BIN)/pytest -n 0 -m notebooks

# Exactly the tests that read the published checkpoints under $$SENSORIUM_FIXTURES.
fixtures: $(STAMP)
	$(BIN)/pytest -m fixtures

# The core at exactly the lower bounds of setup.py, without pandas and other extras.
# Old packages use what newer ones have deprecated, which is no error here.
MINIMUM := .venv-minimum/bin
CORE := tests/hostile tests/training tests/io tests/test_door.py \
	tests/submission/test_without_pandas.py tests/run/test_workdir.py

minimum:
	test -x $(MINIMUM)/python || $(PYTHON) -m venv .venv-minimum
	sed -n 's/^ *"\([A-Za-z-]*\)>=\([0-9.]*\)",$$/\1==\2/p' setup.py > .venv-minimum/bounds
	$(MINIMUM)/pip install --quiet --constraint .venv-minimum/bounds \
		--editable . pytest pytest-xdist
	$(MINIMUM)/pytest -n 2 --dist worksteal -W default $(CORE)

# Every picture of docs/images.
figures: $(STAMP)
	$(BIN)/python experiments/figures.py

# Steps compiled for an H100 without one, and what their programs do. The CUDA plugin
# lies in a folder of its own: where it is installed, jax complains of the missing card.
CUDA ?= cuda12
PLUGINS := .gpu-programs

gpu-programs: $(STAMP)
	V=$$($(BIN)/python -c 'import jaxlib; print(jaxlib.__version__)') && \
	$(BIN)/pip install --quiet --no-deps --upgrade --target $(PLUGINS) \
		jax-$(CUDA)-pjrt==$$V jax-$(CUDA)-plugin==$$V
	PYTHONPATH=$(CURDIR)/$(PLUGINS) $(BIN)/python experiments/benchmarks/gpu_programs.py

# What is uploaded to an index, or named in the install cell of a notebook.
wheel: $(STAMP)
	$(BIN)/pip install --quiet build
	$(BIN)/python -m build

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright --level error

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .venv-minimum .pages .gpu-programs build dist *.egg-info
