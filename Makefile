# SPDX-License-Identifier: Apache-2.0
# Each target does its own set-up. Variables:
#   PYTHON=…                    the interpreter that .venv is made with (and that `make gpu` uses)
#   WARPHASH_CUDA=ON|OFF|AUTO   the CUDA half; AUTO: where nvcc is found
#   ARGS=…                      goes to the bench or to pytest
SHELL := /bin/sh
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?=
WARPHASH_CUDA ?= AUTO
WARPHASH_CUDA_ARCHITECTURES ?=
ARGS ?=
OUT ?= results/gpu
TORCH_VERSIONS ?=
MODES ?= plain asan races
export WARPHASH_CUDA WARPHASH_CUDA_ARCHITECTURES

VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/stamps
# cmake and ninja of the pins come before the machine's own.
export PATH := $(CURDIR)/$(BIN):$(PATH)
PIP := $(BIN)/python -m pip --disable-pip-version-check
CXX_FILES := $(shell find csrc tests -name '*.cpp' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh')
BUILD_INPUTS := CMakeLists.txt pyproject.toml $(shell find cmake csrc -type f) $(shell find python -name __init__.py)

.PHONY: help
help:
	@echo 'make bench     benches of every kernel against its peers: table, results/bench.json, results/roofline_ROOM.png'
	@echo 'make test      the tests (ARGS: options of pytest)'
	@echo 'make build     .venv with pinned requirements, and the package in it'
	@echo 'make emulate   the CUDA kernels on the CPU: plain, AddressSanitizer + UBSan, race detector'
	@echo 'make asan      the CPU kernels under AddressSanitizer and UBSan'
	@echo 'make lint      ruff, clang-format, mypy --strict'
	@echo 'make audit     stable-ABI audit of the compiled modules'
	@echo 'make registers registers and spills of the CUDA kernels (nvcc, no GPU)'
	@echo 'make abi       one wheel under several torch versions: TORCH_VERSIONS="2.10.0 2.13.0 newest" (several GB)'
	@echo 'make gpu       on a machine with a GPU: build, test, sanitize, bench into OUT=folder, without .venv and network'
	@echo 'make profile   torch.profiler traces of our kernels and of the pure-Python baselines into results/profile'
	@echo 'make readme    writes the numbers of results/bench.json (or RESULTS=...) into README.md and docs/benchmarks.md'
	@echo 'make docs      the documentation into site/'
	@echo 'make wheel     wheel and sdist into dist/'
	@echo 'make clean     removes what was built; make distclean: .venv too'

# ---- set-up ------------------------------------------------------------------------------------------------------------
$(STAMPS)/venv:
	@python=$$(sh scripts/check_machine.sh "$(PYTHON)") && $$python -m venv $(VENV)
	@mkdir -p $(STAMPS) && touch $@

# A set of pins: requirements/NAME.txt.
$(STAMPS)/build: requirements/build.txt $(STAMPS)/venv
	$(PIP) install -q -r $<
	@touch $@

$(STAMPS)/test $(STAMPS)/lint $(STAMPS)/audit $(STAMPS)/docs: $(STAMPS)/%: requirements/%.txt $(STAMPS)/build
	$(PIP) install -q -r $<
	@touch $@

# Peers are compared with where they are to be had: one that does not install is named, not fatal.
$(STAMPS)/bench: requirements/bench.txt $(STAMPS)/build
	@sh scripts/install_peers.sh $(BIN)/python $<
	@touch $@

# The build again where a variable that it was made with has changed.
$(STAMPS)/settings: FORCE | $(STAMPS)/venv
	@echo '$(WARPHASH_CUDA) $(WARPHASH_CUDA_ARCHITECTURES)' | cmp -s - $@ || \
	  echo '$(WARPHASH_CUDA) $(WARPHASH_CUDA_ARCHITECTURES)' > $@
.PHONY: FORCE
FORCE:

$(STAMPS)/package: $(BUILD_INPUTS) $(STAMPS)/build $(STAMPS)/settings
	$(PIP) install -q --no-build-isolation --no-deps -e .
	@touch $@

# ---- what people run -----------------------------------------------------------------------------------------------------
.PHONY: build bench profile readme test emulate asan
build: $(STAMPS)/package
	@$(BIN)/python -m warphash info

bench: $(STAMPS)/package $(STAMPS)/bench
	$(BIN)/python -m bench --json results/bench.json --plot results/roofline.png $(ARGS)

profile: $(STAMPS)/package $(STAMPS)/bench
	$(BIN)/python -m bench --profile results/profile $(ARGS)

readme: $(STAMPS)/venv
	$(BIN)/python scripts/results_table.py $(if $(RESULTS),$(RESULTS),results/bench.json) README.md docs/benchmarks.md

test: $(STAMPS)/package $(STAMPS)/test $(STAMPS)/bench
	$(BIN)/python -m pytest $(ARGS)

emulate: $(STAMPS)/package $(STAMPS)/test
	for mode in $(MODES); do \
	  echo "== emulated CUDA kernels: $$mode" && \
	  $(BIN)/python tests/cuda_emulation/run.py --mode $$mode -- --ignore-glob='*test_nvcc.py' $(ARGS) || exit 1; \
	done

asan: $(STAMPS)/test $(STAMPS)/bench
	bash scripts/asan.sh $(BIN)/python $(ARGS)

# ---- checks --------------------------------------------------------------------------------------------------------------
.PHONY: lint audit registers abi
lint: $(STAMPS)/lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run -Werror $(CXX_FILES)
	$(BIN)/mypy

audit: $(STAMPS)/package $(STAMPS)/audit
	$(BIN)/python scripts/audit.py

registers: $(STAMPS)/build
	$(BIN)/python scripts/kernel_resources.py

abi: $(STAMPS)/build
	bash scripts/abi.sh $(BIN)/python $(TORCH_VERSIONS)

# ---- a machine with a GPU: the Python that holds torch, nothing installed but the package ----------------------------------
.PHONY: gpu
gpu:
	$(if $(PYTHON),$(PYTHON),python3) scripts/gpu.py --out $(OUT) $(ARGS)

# ---- what is given out ---------------------------------------------------------------------------------------------------
.PHONY: docs wheel
docs: $(STAMPS)/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo 'site/index.html'

wheel: $(STAMPS)/build
	mkdir -p dist
	$(PIP) wheel -q --no-build-isolation --no-deps -w dist .
	$(BIN)/python -c 'import scikit_build_core.build as backend; print(backend.build_sdist("dist"))'
	@ls -l dist

.PHONY: clean distclean
clean:
	rm -rf build dist site results .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	rm -f $(STAMPS)/package

distclean: clean
	rm -rf $(VENV)
