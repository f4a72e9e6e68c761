# make demo   set up, then compare four topologies on real processes
# make test   set up, then run the tests of every part, with real nodes over loopback
# make test-system  the commands as a user runs them: whole runs of real processes, restarts, certificates
# make bench  set up Flower in an environment of its own, then print and write docs/benchmarks.md
# make test-long  what takes minutes: every way of relaying with every lie and many cuts
# make storm  kill nodes of every tier at random moments, for some minutes
# make image  the image of `--launcher containers`, for Docker; BASE=... in place of python:3.12-slim
# make image-offline  the same where no registry of images is in reach
# make test-emulation  every backend of links with every launcher; needs root, Docker with that image, sshd, and
#                      the kernel below, which it builds
# make lab-kernel  build the kernel of the virtual-time lab once, about ten minutes (`--links lab`)
# make setup  a virtual environment in .venv with the pinned versions of deploy/constraints.txt
#
# torch: the CPU build where no NVIDIA GPU is found, since the ordinary Linux build brings gigabytes of CUDA.
# TORCH=cuda takes the ordinary build, TORCH=cpu the CPU build, whatever is found.

PYTHON ?= python3
TORCH ?= $(shell command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L >/dev/null 2>&1 && echo cuda || echo cpu)
TORCH_VERSION := $(shell sed -n 's/^torch==//p' deploy/constraints.txt)
TORCH_CPU_INDEX ?= https://download.pytorch.org/whl/cpu

BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
READY := .venv/.ready-$(TORCH)

IMAGE ?= hffm
BASE ?= python:3.12-slim

.PHONY: demo test test-system test-long storm test-emulation bench lint proto image image-offline lab-kernel setup clean

demo: setup
	$(BIN)/hffm compare deploy/scenarios/quickstart.yaml

test: setup
	$(BIN)/python -m pytest --durations 25 --ignore tests/system --ignore tests/long --ignore tests/emulation

test-system: setup
	$(BIN)/python -m pytest tests/system

test-long: setup
	$(BIN)/python -m pytest tests/long

test-emulation: setup lab-kernel
	$(BIN)/python -m pytest tests/emulation

bench: setup .venv-peers/.ready
	$(BIN)/python -m tests.benchmarks --peers .venv-peers/bin/python

.venv-peers/.ready: tests/benchmarks/peers/requirements.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

storm: setup
	HFFM_STORM=1 $(BIN)/python -m pytest -s tests/chaos

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

proto: setup  # regenerate the stubs after a change to proto/
	cd proto && ../$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. --grpc_python_out=. hffm/v1/*.proto

image:
	docker build -f deploy/images/Dockerfile -t $(IMAGE) --build-arg BASE=$(BASE) .

image-offline: setup
	deploy/images/offline.sh $(IMAGE)

lab-kernel: setup  # kept in ~/.cache/hffm; NICE=0 to build with full priority
	nice -n $${NICE:-10} $(BIN)/python -m deploy.links.uml.build

setup: $(READY)

$(READY): pyproject.toml deploy/constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) is older than 3.11: set PYTHON=python3.11 or newer" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' || \
	  { echo "error: $(PYTHON) cannot make virtual environments: apt install python3-venv" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
ifeq ($(TORCH),cpu)
	@# A CPU wheel that pip is set up to find, else the one from PyTorch's own index; macOS has no other build.
	$(PIP) --only-binary torch "torch==$(TORCH_VERSION)+cpu" 2>/dev/null || \
	  $(PIP) --only-binary torch --extra-index-url $(TORCH_CPU_INDEX) "torch==$(TORCH_VERSION)+cpu" || \
	  { test "$$(uname)" = Darwin && $(PIP) "torch==$(TORCH_VERSION)"; }
else
	$(PIP) "torch==$(TORCH_VERSION)"
endif
	$(PIP) -c deploy/constraints.txt -e '.[train,lora,datasets,digits,orchestrator,dev]'
	@rm -f .venv/.ready-* && touch $@

clean:
	rm -rf .venv .venv-peers runs build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
