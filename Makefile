# `make` tells what there is. Each target sets up by itself what it needs.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
VENV ?= .venv
PYTEST := $(VENV)/bin/python -m pytest
TESTS ?= tests/unit tests/integration tests/claims
export VENV

.PHONY: help install lint types imports shell test test-unit test-claims test-machine demo soak lock picture reference address-table clean

help: ## Tell what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: ## The development environment in .venv, from the hashed locks
	@scripts/setup_dev.sh

lint: install ## ruff: everything on, each exception explained in pyproject.toml
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check --quiet .
	$(VENV)/bin/shellcheck --external-sources .ci/run scripts/*.sh

types: install ## mypy, strict
	$(VENV)/bin/mypy

imports: install ## The borders between the zones
	$(VENV)/bin/lint-imports

test: lint types imports ## All checks and tests that need no Docker, no root, no browser
	@scripts/setup_fuzz.sh
	scripts/offline.sh $(PYTEST) $(TESTS)

test-unit: install ## The unit tests alone
	scripts/offline.sh $(PYTEST) tests/unit

test-claims: install ## Each claim's attack alone
	scripts/offline.sh $(PYTEST) tests/claims

test-machine: install ## Tests that need root, a browser or the whole machine
	@scripts/setup_machine.sh
	# A test may install from a registry or drive a browser: ten minutes, where three are the limit otherwise.
	$(PYTEST) -o faulthandler_timeout=600 tests/machine

demo: install ## A tour without any account: an agent, a credential that it never sees, attacks, the ledger
	$(VENV)/bin/mycelos demo

soak: install ## Properties in depth, and half an hour of fuzzing
	@scripts/setup_fuzz.sh
	# One test may take half an hour in depth, where three minutes are the limit otherwise.
	MYCELOS_TEST_DEPTH=deep scripts/offline.sh $(PYTEST) -o faulthandler_timeout=1800 tests/unit tests/integration tests/claims

lock: install ## Write requirements/*.txt anew, nothing newer than a week
	scripts/lock.sh

picture: install ## docs/images/chat.png and audit.png from a running system
	@scripts/setup_machine.sh
	$(VENV)/bin/python scripts/take_picture.py "$$($(VENV)/bin/mycelos open --print)"
	$(VENV)/bin/python scripts/take_picture.py "$$($(VENV)/bin/mycelos open --print)" --page audit --height 1300

reference: install ## docs/reference from the code
	$(VENV)/bin/python scripts/generate_reference.py

address-table: install ## The proxy's table of addresses from scripts/registries
	$(VENV)/bin/python scripts/generate_address_table.py

clean: ## Remove caches; the environment and the data folder stay
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist
	find src tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +
