# Needs Python 3.11 (with venv) and make; everything else is installed into .venv by the first target that needs it.
#   make run      the daemon with its sample flows, on http://127.0.0.1:5000
#   make test     the tests; one file: make test ARGS="tests/test_examples.py -x"
#   make check    formatting, lint, types, layers, generated pages, tests
#   make fix      repairs formatting and what lint can repair
#   make docs     writes the generated pages of docs/ anew
#   make soak     kills for an hour and all long tests, writes docs/reliability.md
#   make bench    measures the product and a peer, writes bench/RESULTS.md
#   make bench-schedules  ten thousand schedules: ticks, a start, one each second; takes a quarter of an hour
#   make bench-queues  items a second, how soon a run begins, a hundred thousand that wait; ARGS=--broker: with RabbitMQ
#   make bench-million  lists, start and pruning with a million runs; takes minutes and 1 GB, no part of bench

PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3)
BIN := .venv/bin
RUN_STAMP := .venv/.installed
DEV_STAMP := .venv/.installed-dev
ARGS ?=
# The whole suite in six processes, for many tests wait; what is named by ARGS in one, as pytest itself does it.
PARALLEL ?= $(if $(ARGS),,--numprocesses 6 --dist worksteal)

# Some images switch compiled files off. Then each of the processes that tests start compiles the program anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run test check lint fix docs soak bench bench-million bench-queues bench-schedules clean

help:
	@sed -n 's/^#   \(make .*\)/\1/p' Makefile

run: $(RUN_STAMP)
	@$(BIN)/python main.py $(ARGS)

test: $(DEV_STAMP)
	$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

check: lint test

lint: $(DEV_STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/generate.py --check

fix: $(DEV_STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(DEV_STAMP)
	$(BIN)/python docs/generate.py

soak: $(DEV_STAMP)
	$(BIN)/python -m tests.soak $(ARGS)
	$(if $(ARGS),,$(BIN)/python -m pytest -m soak)

bench: $(RUN_STAMP)
	$(BIN)/python bench/run.py $(ARGS)

bench-million: $(RUN_STAMP)
	$(BIN)/python bench/million.py $(ARGS)

bench-queues: $(RUN_STAMP)
	$(BIN)/python bench/queues.py $(ARGS)

bench-schedules: $(RUN_STAMP)
	$(BIN)/python bench/schedules.py $(ARGS)

clean:
	rm -rf .venv .venv-peer

# The product is installed in editable form, so that the `octospool` command is there and edits count at once; in compat
# mode by a path, for the finder of the other modes would cost every process 20 ms.
$(RUN_STAMP): requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --config-settings editable_mode=compat --editable .
	@touch $@

$(DEV_STAMP): $(RUN_STAMP) requirements-dev.txt requirements-extras.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@
