# `make up` and `make test` do everything on a machine that has Python 3.11, pip, a C/C++ compiler
# and make. The rest are steps of theirs.

# Python 3.11 is sometimes only called python3.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
PEERLLM := $(VENV)/bin/peerllm
ARGS ?=

.PHONY: up test install dev lint types tests lock clean

up: install
	@$(PEERLLM) up $(ARGS)

test: dev lint types tests

install:
	@$(PYTHON) install.py

# mypy does not follow the editable install's finder: a link to the rooms stands in for it. libp2p
# brings stubs of an old trio, which a link to trio's own types overrules.
dev: install
	@$(PYTHON) install.py --display-libraries
	@mkdir -p .typing
	@ln -sfn .. .typing/peerllm
	@ln -sfn "$$($(VENV)/bin/python -c 'import pathlib, trio; print(pathlib.Path(trio.__file__).parent)')" .typing/trio

lint: dev
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .

types: dev
	@$(VENV)/bin/mypy

tests: dev
	@$(VENV)/bin/pytest $(ARGS)

# Needs `uv`; writes versions and hashes only.
lock:
	uv pip compile pyproject.toml --extra coordinator --extra host --extra desktop --extra legacy --extra dev --generate-hashes --no-emit-index-url \
		--universal --python-version 3.11 --output-file locks/dev.lock
	uv pip compile locks/build.in --generate-hashes --no-emit-index-url \
		--universal --python-version 3.11 --output-file locks/build.lock

clean:
	rm -rf $(VENV) .typing .peerllm build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache \
		.hypothesis
