# Everything a person does here, from a bare machine with Python >= 3.11, make and a package index.
# PYTHON=... chooses the interpreter of .venv; ARGS=... is passed on to the command.

.DEFAULT_GOAL := help
.PHONY: help install run test fuzz check format bench lock clean
ARGS ?=
BIN := .venv/bin

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' Makefile

install: ## make .venv from the hash locks (the other targets do it when needed)
	@scripts/bootstrap test

run: ## start everything, take one payment, show receipt and proof, stay up (ARGS=--once: stop after it)
	@scripts/bootstrap runtime
	@$(BIN)/strongroom run $(ARGS)

test: ## run the tests (ARGS="tests/vault -x" narrows)
	@scripts/bootstrap test
	@$(BIN)/pytest $(ARGS)

fuzz: ## fuzz every parser (ARGS="urls --seconds 600": one of them, for so long)
	@scripts/bootstrap test
	@$(BIN)/python -m tests.fuzz $(or $(ARGS),--seconds 60)

check: ## lint, types, import contracts, house rules
	@scripts/bootstrap test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/pytest -q tests/tidy

format: ## let ruff format and mend what it can
	@scripts/bootstrap test
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench: ## measure (ARGS=--json, ARGS=--grow)
	@scripts/bootstrap test
	@$(BIN)/python -m bench $(ARGS)

lock: ## compile requirements/*.in into hash locks (ARGS=--upgrade renews versions)
	@scripts/bootstrap test
	scripts/lock $(ARGS)

clean: ## remove .venv and caches; never a data directory
	rm -rf .venv .cache .pytest_cache .ruff_cache .hypothesis .schemathesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
