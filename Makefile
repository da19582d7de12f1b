# The two commands: `make run` and `make test`. Everything else is listed by `make help`.
# `make run ARGS=--once` ends by itself; `make prove NAME=kill ARGS="--rounds 300"` runs one long proof, `make fuzz
# NAME=server ARGS="--cpu-minutes 20"` looks for input that breaks a promise.

PYTHON ?= python3
ARGS ?=
NAME ?=
WORKERS ?= $(shell expr $$(nproc) + 2)
BIN := .venv/bin
export PYTHON

.PHONY: help run test check format bench accuracy prove fuzz features pictures deb lock clean setup setup-dev peers

help:
	@echo "make run       start the gateway on 127.0.0.1:2525 with an embedded downstream server and sample mails"
	@echo "make test      set everything up and run the tests"
	@echo "make check     formatting, lint, types, manual pages and completion, layers"
	@echo "make bench     speed, side by side with the peers that are installed"
	@echo "make accuracy  how well spam is told from wanted mail, beside the peers that are installed (ARGS=--quick)"
	@echo "make prove     long proofs: NAME=agreement, api, bombs, doors, kill, package, pages, power, release, scale, tracking, tricks, updates (all when not named)"
	@echo "make fuzz      look for input that breaks a promise: NAME=server… (all targets when not named)"
	@echo "make features  rows of the acceptance list that tests cover"
	@echo "make pictures  the picture in the README, from a real run"
	@echo "make deb       the Debian package, in build/deb"
	@echo "make lock      re-make the lock files from requirements/*.in"

setup:
	@tools/setup.sh base

setup-dev: setup
	@tools/setup.sh dev

peers:
	@tools/peers.sh

run: setup
	@$(BIN)/gatepost demo --state var $(ARGS)

# Modules of tests are spread over WORKERS processes: more than cores, because many tests wait (docs/testing.md).
test: setup-dev peers
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

check: setup-dev
	@$(BIN)/ruff format --check src tests tools fuzz
	@$(BIN)/ruff check src tests tools fuzz
	@$(BIN)/mypy
	@$(BIN)/python tools/man_pages.py --check
	@$(BIN)/python -m pytest tests/unit/test_layers.py

format: setup-dev
	@$(BIN)/ruff format src tests tools fuzz
	@$(BIN)/ruff check --fix src tests tools fuzz

bench: setup-dev
	@$(BIN)/python tools/bench.py $(ARGS)

accuracy: setup-dev
	@$(BIN)/python tools/accuracy.py $(ARGS)

prove: setup-dev
	@$(BIN)/python tools/prove.py $(NAME) $(ARGS)

fuzz: setup-dev
	@$(BIN)/python tools/fuzz.py $(NAME) $(ARGS)

features: setup-dev
	@$(BIN)/python tools/features.py $(ARGS)

pictures: setup-dev
	@$(BIN)/python tools/pictures.py

deb: setup
	@$(BIN)/python tools/build_deb.py $(ARGS)

lock: setup-dev
	@cd requirements && for kind in base sources ocr dev; do \
	  sources="$$kind.in"; [ $$kind = base ] && sources="base.in build.in"; \
	  ../$(BIN)/uv pip compile -q --generate-hashes --universal --python-version 3.11 --no-emit-index-url --no-annotate \
	    --no-header $$sources -o $$kind.lock || exit 1; done

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache
