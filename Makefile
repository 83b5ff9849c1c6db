# make repro: set up and regenerate all results, JOBS=n runs at a time (default: one a core).
# make verify: train and measure some of results/ again and compare the bytes; make verify ALL=1: all of them.
# make test: set up and check everything. make bench: speed and memory. make kills: runs killed at random moments.
# make docs: the documentation site, into site/.
# make gpu: on a machine with an NVIDIA GPU, its kernels' tests, its benchmarks and the paper's runs; SECONDS=n for each of these.
# make study: the tables and pictures of docs/study, of the tables of runs there.
# make fuzz: readers, for an hour. make audit: known weaknesses of the pinned packages.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: setup repro verify test docs gpu study fuzz bench audit kills lock clean

setup: $(VENV)/installed

# the environment is made from the exact pins, and refreshed when they or the project's metadata change
$(VENV)/installed: requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

repro: setup
	python pipelines/repro.py $(if $(JOBS),--jobs $(JOBS))

verify: setup
	bpsta verify results/train/*/ $(if $(ALL),,--sample 3)

test: setup
	ruff check .
	ruff format --check .
	mypy
	lint-imports
	python -m pytest --numprocesses logical --maxprocesses 4 --dist loadfile

docs: setup # strictly: a link that leads nowhere is an error
	NO_MKDOCS_2_WARNING=1 python -m mkdocs build --strict

gpu: setup # the paper's own settings in the order of their size; what is not done in time goes on at the next call
	python -c "import sys, torch; torch.cuda.is_available() or sys.exit('no GPU that torch finds: bpsta doctor says why')"
	python -m pytest tests/kernels
	python -m benchmarks --device cuda --out results/gpu/benchmark
	for runs in mnist cifar10-middle cifar10-resnet34; do \
		python pipelines/grid.py pipelines/paper.yaml --out results/gpu/train --jobs $(or $(JOBS),2) \
			--only "^$$runs-(stbp|bpsa|bpsta)-T16-s0" --deadline $(or $(SECONDS),inf) || test $$? -eq 3 || exit 1; \
	done
	bpsta report results/gpu/train/*-s0 --out results/gpu/report

STUDY := python pipelines/compare.py docs/study/runs.csv \
	$(foreach name,cifar10 cifar10-small fsdd mnist mnist-narrow n-mnist synthetic-gestures synthetic-speech,--recipe $(name)) \
	$(foreach name,stbp stbp-lean bpsa bpsta,--method $(name))

study: setup
	$(STUDY) --out docs/study
	made=$$(mktemp -d) && trap 'rm -r "$$made"' EXIT && $(STUDY) --out "$$made" --baseline stbp-lean && \
	for kind in csv md; do \
		cp "$$made/comparison.$$kind" docs/study/against-lean.$$kind && \
		cp "$$made/over-data.$$kind" docs/study/against-lean-over-data.$$kind || exit 1; \
	done
	python pipelines/compare.py docs/study/wide/runs.csv --out docs/study/wide

fuzz: setup # every reader for a minute each, with inputs made by chance: CONTRIBUTING.md
	BPSTA_FUZZ_SECONDS=$(or $(SECONDS),60) python -m pytest tests/bad_input --durations=0

bench: setup # speed and memory beside other packages: benchmarks/README.md
	python -m benchmarks

kills: setup # kills at random moments: none may change a result. COUNT=n trials
	python -m tests.kills --count $(or $(COUNT),200)

audit: # told, and no failure, where pip-audit is not installed or its data base is not reached
	python pipelines/audit.py requirements.lock

lock: # exact pins of the whole tree, for every Python the project supports
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --upgrade \
		--no-header --no-annotate --no-emit-index-url --no-emit-find-links --output-file requirements.lock

clean:
	rm -rf $(VENV)
