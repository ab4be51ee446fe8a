# Every target sets up .venv first when it is missing.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
EXPERIMENT ?= experiments/phantom.yaml
RUN ?= runs/demo

.PHONY: help setup demo test grid report notebooks bench lint slow
help:
	@echo "make demo                      the whole study on the synthetic phantom, under 20 minutes on 2 cores"
	@echo "make test                      the tests, under 8 minutes on 2 cores"
	@echo "make grid EXPERIMENT=...       an experiment file (default: $(EXPERIMENT)); resumes"
	@echo "make report RUN=...            figures and report of a run folder again (default: $(RUN))"
	@echo "make notebooks RUN=...         the notebooks, executed on a run folder (default: $(RUN))"
	@echo "make bench                     speed and memory as ratios, written to experiments/benchmarks, about an hour"
	@echo "make lint | slow | setup       checks of the code | the slow tests | .venv only"

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "ssl_zoo needs Python 3.10 or newer; name one with make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing into .venv (PyTorch is large: a few minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	@touch $(READY)

PHANTOM := data/phantom-e7bb4a7e

demo: $(READY)
	@$(BIN)/ssl-zoo run experiments/demo.yaml
	@test -e runs/demo/.shown || { \
		$(BIN)/ssl-zoo explain runs/demo --init random --init simclr --mode linear && \
		$(BIN)/ssl-zoo predict runs/demo $(PHANTOM)/scans/S00[1-4]-1.mp4 --init simclr --mode linear \
			--truth $(PHANTOM)/truth/scans --out runs/demo/predictions --for-report && \
		$(BIN)/ssl-zoo report runs/demo && touch runs/demo/.shown; }

test: $(READY)
	@$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

slow: $(READY)
	@$(BIN)/python -m pytest -n 2 --dist worksteal -m slow

grid: $(READY)
	@$(BIN)/ssl-zoo run $(EXPERIMENT)

report: $(READY)
	@$(BIN)/ssl-zoo report $(RUN)

notebooks: $(READY)
	@$(BIN)/python -m experiments.notebooks $(RUN)

bench: $(READY)
	@$(BIN)/python -m experiments.benchmarks.throughput
	@$(BIN)/python -m experiments.benchmarks.against_lightly
	@$(BIN)/python -m experiments.benchmarks.memory
	@$(BIN)/python -m experiments.benchmarks.profile_step
	@$(BIN)/python -m experiments.benchmarks.diverse
	@$(BIN)/python -m experiments.benchmarks.ingest
	@$(BIN)/python -m experiments.benchmarks.probe
	@$(BIN)/python -m experiments.benchmarks.finetuning
	@$(BIN)/python -m experiments.benchmarks.planning
	@$(BIN)/python -m experiments.benchmarks.predict
	@$(BIN)/python -m experiments.benchmarks.tables

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports
	@$(BIN)/pyright
