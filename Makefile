# make smoke     sets everything up and runs the built-in run: data, training, evaluation
# make control   the same with texts and views shuffled across shapes: accuracy falls to chance
# make test      sets everything up and runs the core tests
# make test-all  tests that need environments of their own: PyTorch, the TPU compiler, Apache Beam,
#                a browser
# make lint      checks style and format
# make clean     removes the environments, caches and smoke_run/ (no other MIXCON3D_SMOKE_DIR)
#
# Variables, as in `make smoke PYTHON=python3.12`:
#   PYTHON              the interpreter that the environments are made with; 3.11 or newer
#   MIXCON3D_SMOKE_DIR  where `make smoke` and `make control` write
#   TORCH_INDEX         where `make test-all` looks for PyTorch beside pip's own indexes; PyPI's
#                       build for Linux brings gigabytes of CUDA, this one runs on the CPU

PYTHON ?= python3
MIXCON3D_SMOKE_DIR ?= smoke_run
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
export MIXCON3D_SMOKE_DIR

VENV := .venv
BIN := $(VENV)/bin
TORCH_BIN := .venv-torch/bin
TPU_BIN := .venv-tpu/bin
BEAM_BIN := .venv-beam/bin
BROWSER_BIN := .venv-browser/bin

# Modules are compiled when they are first imported; most of an environment never is.
PIP_FLAGS := --quiet --no-compile

.PHONY: smoke control test test-all lint environments clean

# $(call new_environment,FOLDER) makes an empty one.
define new_environment
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
  || { echo "error: $(PYTHON) is older than Python 3.11; say PYTHON=python3.11 (or newer)"; exit 2; }
@echo "installing into $(1) ..."
@$(PYTHON) -m venv $(1)
endef

# One stamp an environment: it is made anew only when what it is made from has changed.
$(VENV)/.ready: setup.py
	$(call new_environment,$(VENV))
	@$(BIN)/pip install $(PIP_FLAGS) --editable '.[dev]'
	@touch $@

# PyTorch comes first and alone: pip then asks the other index about one package, and where it can't
# be reached (hence no retries) any build that pip knows of will do.
.venv-torch/.ready: setup.py tests/parity/requirements.txt
	$(call new_environment,.venv-torch)
	@$(TORCH_BIN)/pip install $(PIP_FLAGS) --no-deps --retries 0 --extra-index-url '$(TORCH_INDEX)' \
	  --requirement tests/parity/requirements.txt
	@$(TORCH_BIN)/pip install $(PIP_FLAGS) --requirement tests/parity/requirements.txt --editable '.[dev]'
	@touch $@

.venv-tpu/.ready: setup.py
	$(call new_environment,.venv-tpu)
	@$(TPU_BIN)/pip install $(PIP_FLAGS) --editable '.[dev,tpu]'
	@touch $@

.venv-beam/.ready: setup.py tests/beam/requirements.txt
	$(call new_environment,.venv-beam)
	@$(BEAM_BIN)/pip install $(PIP_FLAGS) --requirement tests/beam/requirements.txt --editable '.[dev]'
	@touch $@

.venv-browser/.ready: setup.py tests/browser/requirements.txt
	$(call new_environment,.venv-browser)
	@$(BROWSER_BIN)/pip install $(PIP_FLAGS) --requirement tests/browser/requirements.txt \
	  --editable '.[dev,demo]'
	@touch $@

smoke: $(VENV)/.ready
	@$(BIN)/python -m data_prep.smoke --output="$(MIXCON3D_SMOKE_DIR)"

control: $(VENV)/.ready
	@$(BIN)/python -m data_prep.smoke --output="$(MIXCON3D_SMOKE_DIR)" --control

# Most of the time goes into compiling programs that run for a moment: LLVM does not optimise them.
test: $(VENV)/.ready
	@XLA_FLAGS="$$XLA_FLAGS --xla_backend_optimization_level=0" $(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder \
	  --ignore=tests/parity --ignore=tests/tpu --ignore=tests/beam --ignore=tests/browser

OWN_ENVIRONMENTS := .venv-torch .venv-tpu .venv-beam .venv-browser

# `make --jobs=5 environments` makes them at the same time.
environments: $(VENV)/.ready $(OWN_ENVIRONMENTS:=/.ready)

test-all: $(OWN_ENVIRONMENTS:=/.ready)
	@$(TORCH_BIN)/python -m pytest -q -n 2 --dist loadfile tests/parity
	@$(TPU_BIN)/python -m pytest -q -n 2 --dist loadfile tests/tpu
	@$(BEAM_BIN)/python -m pytest -q tests/beam
	@$(BROWSER_BIN)/python -m pytest -q tests/browser

lint: $(VENV)/.ready
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

clean:
	rm -rf $(VENV) $(OWN_ENVIRONMENTS) smoke_run build dist *.egg-info
	rm -rf .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
