# Everything for a fresh machine. `make help` lists the targets.

# 3.11 first: the pinned torch is certain to have a wheel for it.
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3; do \
	command -v $$name >/dev/null 2>&1 && $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$name && break; done)
# On Linux x86-64 the registry's torch brings CUDA. To get the smaller one:
#   make demo PIP_FLAGS="--extra-index-url https://download.pytorch.org/whl/cpu"
PIP_FLAGS ?=
BUNDLE ?= bundles/minilm

# make matrix MATRIX_FLAGS="--only llama" or "--resume"
MATRIX_WORKERS ?= $(shell nproc 2>/dev/null || echo 1)
MATRIX_FLAGS ?=

# make bench-peers PEERS_FLAGS="--peers openvino --models minilm --replicates 11"
PEERS_FLAGS ?=

# Files of tests run side by side in so many processes, those that share the build of MiniLM in one of them
# (tests/scheduling.py); in the order of their names, so that small files come last and both end together. A thread
# each: more threads than CPUs wait for each other.
TEST_WORKERS ?= 2
PYTEST = EDGEKIT_THREADS=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(TEST_WORKERS) --dist loadfile \
	--no-loadscope-reorder

VENV := .venv
BIN := $(VENV)/bin
DEMO_EXTRAS := export,demo
DEV_EXTRAS := export,demo,dev
DEMO_READY := $(VENV)/.ready-demo
DEV_READY := $(VENV)/.ready-dev
# `edgekit demo` has an environment of its own: Gradio asks for an older Pillow than the build side.
UI_READY := .venv-ui/.ready
JS_READY := js/node_modules/.ready
SOURCES := edgekit tests benchmarks models fuzz website

# make fuzz FUZZ_SECONDS=600
FUZZ_SECONDS ?= 120
FUZZ_TARGETS ?= manifest packed signature graph golden

.DEFAULT_GOAL := help
.PHONY: help demo demo-summarize models test test-all test-wheel js test-js docs lint format bench bench-peers matrix fuzz clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

demo: $(DEMO_READY) ## fresh machine to a verified bundle of MiniLM for all targets, then use it
	$(BIN)/edgekit export minilm -t all -o $(BUNDLE) --replace
	$(BIN)/edgekit verify $(BUNDLE)
	$(BIN)/edgekit inspect $(BUNDLE)
	$(BIN)/edgekit run $(BUNDLE) "The film was dreadful." "I hated that movie." "The film was developed."
	$(BIN)/edgekit bench $(BUNDLE)

models: $(DEMO_READY) ## train the reference models that are not in the cache yet (a quarter of an hour) and print what they reach
	$(BIN)/python models/all.py

demo-summarize: $(DEMO_READY) ## train the docstring summarizer (minutes, once), export it, and let the bundle write a summary
	$(BIN)/edgekit export docstring-summarizer -t all -o bundles/docstring-summarizer --replace
	$(BIN)/edgekit run bundles/docstring-summarizer --file docs/some-docstrings.txt

test: lint $(UI_READY) ## lint and types, then every test but the long ones
	$(PYTEST) -m "not long"

test-all: lint $(UI_READY) ## the same, the long tests too
	$(PYTEST)

test-wheel: $(DEV_READY) ## build the wheel and use what it holds
	$(BIN)/python -m pytest tests/integration/test_wheel.py

js: $(JS_READY) ## compile the JavaScript package (Node 20 or newer; docs/javascript.md)
	cd js && npm run --silent build

test-js: js $(DEV_READY) ## its own tests, then the same answers as Python's in Node and in headless Chromium
	cd js && npm test --silent
	$(BIN)/python -m pytest tests/integration/test_js.py tests/integration/test_js_browser.py

docs: $(DEV_READY) ## the documentation site in build/site, strictly and without network; open build/site/index.html
	$(BIN)/python -m website
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

lint: $(DEV_READY) ## ruff and mypy
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy

format: $(DEV_READY) ## let ruff fix what it can
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

bench: $(DEMO_READY) ## the figures of README.md, measured here (peers are installed beside, into benchmarks/envs)
	PIP_FLAGS="$(PIP_FLAGS)" $(BIN)/python benchmarks/figures.py

bench-peers: $(DEMO_READY) ## edgekit beside torch, ONNX Runtime, optimum, OpenVINO, Olive, genai and llama.cpp (hours; docs/benchmarks.md)
	PIP_FLAGS="$(PIP_FLAGS)" $(BIN)/python -m benchmarks.peers $(PEERS_FLAGS)

matrix: $(DEV_READY) ## prove every architecture on a tiny random model, write docs/architectures.md (long)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.matrix --workers $(MATRIX_WORKERS) $(MATRIX_FLAGS)

fuzz: $(DEV_READY) ## feed the readers of bundles with what atheris makes up (Linux; 2 minutes a target, FUZZ_SECONDS=600 for ten)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'atheris>=3'
	for target in $(FUZZ_TARGETS); do \
		$(BIN)/python fuzz/run.py $$target -max_total_time=$(FUZZ_SECONDS) -max_len=65536 -timeout=5 -rss_limit_mb=1024 || exit 1; done

clean: ## remove environments, bundles and caches
	rm -rf $(VENV) .venv-ui build dist js/dist js/node_modules bundles benchmarks/envs .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamps: a second `make` installs nothing unless pyproject.toml changed.
$(DEMO_READY): pyproject.toml
	$(call install,$(DEMO_EXTRAS))
	@touch $@

$(DEV_READY): pyproject.toml
	$(call install,$(DEV_EXTRAS))
	@touch $(DEMO_READY) $@

$(UI_READY): pyproject.toml
	test -x .venv-ui/bin/python || $(PYTHON) -m venv .venv-ui
	.venv-ui/bin/python -m pip install --quiet --disable-pip-version-check --no-compile $(PIP_FLAGS) -e '.[ui]'
	@touch $@

$(JS_READY): js/package-lock.json
	cd js && npm ci --silent --ignore-scripts
	@touch $@

define install
@test -n "$(PYTHON)" || { echo "no Python 3.11 or newer found; name one: make PYTHON=/path/to/python" >&2; exit 2; }
@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
@echo "installing edgekit[$(1)] into $(VENV) (torch is large: minutes on a slow line)"
@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS) -e '.[$(1)]'
endef
