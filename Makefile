# Every target makes what it needs first: from a bare Python 3.11 or later, `make demo` is enough.
PYTHON ?= python3
BIN := .venv/bin
RUN := .cache/stamps
LOCK := $(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
  --no-header --no-annotate --quiet

.DEFAULT_GOAL := help
.PHONY: help install web demo up check test types reference chaos bench bench-service bench-core bench-gpu accuracy results screenshots lock clean
.DELETE_ON_ERROR:

help: ## show this list
	@echo "LASER lab. Targets:"
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'

install: $(RUN)/python $(RUN)/web ## virtual environment in .venv, and the built web UI
	@echo "install: ready, .venv/bin/laser and web/dist are up to date"

demo: install ## train plain and LASER models in pairs of seeds and compare them (about 4 minutes)
	@$(BIN)/laser demo $(ARGS)

up: install ## start the platform here and print its address
	@$(BIN)/laser up $(ARGS)

check: install ## formatting, lint, types, import rules, generated types, Compose file and Dockerfile
	@$(BIN)/python .ci/check.py

test: install ## every test that this machine can run (REQUIRE_BROWSER=1 makes none optional)
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile $(ARGS)

types: install ## generate the web UI's types from the API's schema
	@$(BIN)/python -m api.openapi > .cache/openapi.json
	@web/npm run --silent types
	@echo "types: web/src/api/types.ts follows the API"

reference: install ## write docs/reference anew: commands, settings, routes, fields, by the code's own words; and the notebook
	@$(BIN)/python docs/make_reference.py
	@$(BIN)/python docs/make_notebook.py
	@echo "reference: docs/reference follows the code, docs/examples/pairs.ipynb its script"

SEED ?= 1
FAULTS ?= 200
RUNS ?= 100
DB ?= sqlite
chaos: install ## strike a platform of its own FAULTS times over RUNS runs, check every promise; DB=postgres too (about an hour)
	@$(BIN)/python -m benchmarks.chaos --seed $(SEED) --faults $(FAULTS) --runs $(RUNS) --db $(DB) $(ARGS)

bench: install ## measure metric storage and a crowd of submits; raw results in docs/results
	@$(BIN)/python -m benchmarks.metric_storage
	@$(BIN)/python -m benchmarks.crowd
	@echo "bench: raw results are in docs/results"

bench-service: install ## the service under load beside MLflow's server; docs/results/bench-service.json (QUICK=1: within 20 minutes)
	@$(BIN)/python -m benchmarks.service $(if $(QUICK),--quick) $(ARGS)

bench-core: install ## every activation store's bytes, time and gradients; a file per block in docs/results (hours; trained weights are kept)
	@for block in attention mlp; do $(BIN)/python -m laser_core bench --blocks $$block \
	  --out docs/results/bench_core_$$block.json --depth-steps 200 $(ARGS) || exit; done

bench-gpu: ## the main stores at width 512, batch 768, on a GPU; needs a Python with torch, numpy and safetensors alone
	@$(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) -m laser_core bench --gpu --device cuda --out docs/results/bench_gpu.json $(ARGS)

accuracy: install ## train every store on paired seeds, on from where it stopped (hours); rows in docs/results
	@$(BIN)/python -m benchmarks.accuracy $(ARGS)
	@$(BIN)/python -m benchmarks.bitwise

results: install ## write the book docs/results/README.md anew from the raw files beside it
	@$(BIN)/python -m benchmarks.book $(ARGS)

screenshots: install ## take the pictures of docs/ from a real, running platform
	@$(BIN)/python docs/screenshots.py

lock: $(RUN)/python ## resolve both lock files anew from pyproject.toml
	@$(LOCK) --extra train-base --output-file requirements.lock
	@$(LOCK) --extra train-base --extra dev --constraint requirements.lock --output-file requirements-dev.lock
	@echo "lock: $$(grep -c '==' requirements.lock) packages to run, $$(grep -c '==' requirements-dev.lock) to develop"

clean: ## remove what the targets above made here (runs and their data stay in ~/.laser)
	@rm -rf .venv .cache web/dist web/node_modules
	@echo "clean: removed .venv, .cache, web/dist and web/node_modules"

$(RUN)/python: requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else \
	  "Python 3.11 or later is needed, this is %s: make PYTHON=/path/to/python3.11" % sys.version.split()[0])'
	@echo "install: creating .venv"
	@$(PYTHON) -m venv .venv || { echo "install: this Python can't make virtual environments; on Debian: apt install python3-venv"; exit 1; }
	@echo "install: 1/3 packages of requirements-dev.lock (about a minute)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-dev.lock
	@echo "install: 2/3 torch and this project"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --editable '.[train]'
	@mkdir -p $(RUN) && touch $@

web: $(RUN)/web
$(RUN)/web: $(RUN)/node_modules $(shell find web -type f -not -path '*/node_modules/*' -not -path '*/dist/*') | $(RUN)/python
	@echo "install: 3/3 building the web UI"
	@NO_COLOR=1 web/npm run --silent build -- --logLevel warn
	@touch $@

$(RUN)/node_modules: web/package-lock.json | $(RUN)/python
	@web/npm ci --silent
	@touch $@
