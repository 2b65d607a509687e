# make smoke     sets everything up and runs the built-in run: data, training, evaluation
# make test      sets everything up and runs the core tests
# make test-all  tests that need environments of their own: PyTorch, the TPU compiler
# make lint      checks style and format
# make clean     removes what these made

PYTHON ?= python3
MIXCON3D_SMOKE_DIR ?= smoke_run
export MIXCON3D_SMOKE_DIR

VENV := .venv
BIN := $(VENV)/bin
TORCH_BIN := .venv-torch/bin
TPU_BIN := .venv-tpu/bin

.PHONY: smoke control test test-all lint clean

# One stamp an environment: it is made anew only when setup.py has changed.
$(VENV)/.ready: setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "error: $(PYTHON) is older than Python 3.11; say PYTHON=python3.11 (or newer)"; exit 2; }
	@echo "installing into $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@

.venv-torch/.ready: setup.py tests/parity/requirements.txt
	@echo "installing into .venv-torch ..."
	@$(PYTHON) -m venv .venv-torch
	@$(TORCH_BIN)/pip install --quiet --requirement tests/parity/requirements.txt --editable '.[dev]'
	@touch $@

.venv-tpu/.ready: setup.py
	@echo "installing into .venv-tpu ..."
	@$(PYTHON) -m venv .venv-tpu
	@$(TPU_BIN)/pip install --quiet --editable '.[dev,tpu]'
	@touch $@

smoke: $(VENV)/.ready
	@$(BIN)/python -m data_prep.smoke --output=$(MIXCON3D_SMOKE_DIR)

control: $(VENV)/.ready
	@$(BIN)/python -m data_prep.smoke --output=$(MIXCON3D_SMOKE_DIR) --control

test: $(VENV)/.ready
	@$(BIN)/python -m pytest -q --ignore=tests/parity --ignore=tests/tpu

test-all: .venv-torch/.ready .venv-tpu/.ready
	@$(TORCH_BIN)/python -m pytest -q tests/parity
	@$(TPU_BIN)/python -m pytest -q tests/tpu

lint: $(VENV)/.ready
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

clean:
	rm -rf $(VENV) .venv-torch .venv-tpu smoke_run .pytest_cache .ruff_cache .hypothesis *.egg-info
