# Two commands for a fresh machine: `make demo` runs the main job, `make test` passes the suite.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
CORPUS ?=
export CORPUS

.PHONY: demo test test-all test-ep test-browser lint bench bench-nodes bench-simplify bench-readme bench-statistics docs clean help
help:
	@echo "make demo      install into .venv and optimise real models, printing the reports"
	@echo "make test      the whole suite (under 10 minutes on 2 cores)"
	@echo "make test-all  every onnx test case, every catalogue model, and CORPUS=DIR"
	@echo "make test-ep   the tests on OpenVINO, in .venv-ep: another onnxruntime than .venv has"
	@echo "make test-browser  the HTML report in chromium (CHROMIUM=PATH where it is elsewhere)"
	@echo "make bench     CPU time of whole commands, printed"
	@echo "make bench-nodes  nodes left of every model beside its peers' figures; CORPUS=DIR adds yours"
	@echo "make bench-simplify  graphopt beside its peers, in .venv-peers: nodes, correctness, time; CORPUS=DIR"
	@echo "make bench-readme  the README's table of models before and after, printed"
	@echo "make bench-statistics  how often the benchmarker is right, under load (half an hour)"
	@echo "make docs      writes docs/passes and the reports' JSON schemas from the docstrings"
	@echo "make lint      ruff, mypy --strict, import-linter"

# .venv is keyed to pyproject.toml: a changed dependency makes it anew.
STAMP := $(VENV)/.installed
$(STAMP): pyproject.toml
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

DEMO := build/demo
demo: $(STAMP)
	@mkdir -p $(DEMO)
	$(PY) -m graphopt optimize "$$($(PY) -m models.fetch --path silero_vad)" -o $(DEMO)/silero_vad.onnx
	$(PY) -m graphopt optimize models/resnet_20.onnx -o $(DEMO)/resnet_20.onnx

test: $(STAMP)
	@echo "left out: tests marked whole (make test-all), ep (make test-ep), browser (make test-browser)"
	$(PY) -m pytest -n 2 -m 'not whole and not ep and not browser'

test-all: $(STAMP)
	$(PY) -m pytest -n 2 -m 'not ep and not browser'

# OpenVINO's build of ONNX Runtime brings the same package `onnxruntime`: it needs its own place.
EP_VENV := .venv-ep
EP_PY := $(EP_VENV)/bin/python
EP_STAMP := $(EP_VENV)/.installed
$(EP_STAMP): pyproject.toml tests/ep/requirements.txt
	rm -rf $(EP_VENV)
	$(PYTHON) -m venv $(EP_VENV)
	$(EP_PY) -m pip install --quiet --disable-pip-version-check -r tests/ep/requirements.txt
	$(EP_PY) -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

test-ep: $(EP_STAMP)
	$(EP_PY) -m pytest -m ep tests/ep

CHROMIUM ?= $(shell command -v chromium)
test-browser: $(STAMP)
	@test -x "$(CHROMIUM)" || { echo "chromium is not installed: apt-get install chromium"; exit 1; }
	CHROMIUM="$(CHROMIUM)" $(PY) -m pytest -m browser tests/browser

bench: $(STAMP)
	$(PY) -m tests.benchmarks.command_line

bench-nodes: $(STAMP)
	$(PY) -m tests.benchmarks.node_counts

# The peers in a place of their own: pinned, and with one ONNX Runtime for all of them.
PEERS_VENV := .venv-peers
PEERS_PY := $(PEERS_VENV)/bin/python
PEERS_STAMP := $(PEERS_VENV)/.installed
$(PEERS_STAMP): pyproject.toml tests/benchmarks/simplify/requirements.txt
	rm -rf $(PEERS_VENV)
	$(PYTHON) -m venv $(PEERS_VENV)
	$(PEERS_PY) -m pip install --quiet --disable-pip-version-check -r tests/benchmarks/simplify/requirements.txt
	$(PEERS_PY) -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

# SIMPLIFY='--alone', '--only MODEL' or '--repeat 1' make it shorter.
bench-simplify: $(PEERS_STAMP)
	$(PEERS_PY) -m tests.benchmarks.simplify $(SIMPLIFY)
	$(PEERS_PY) -m tests.benchmarks.simplify.processor_time $(PROCESSOR)

bench-readme: $(STAMP)
	$(PY) -m tests.benchmarks.readme_table

bench-statistics: $(STAMP)
	$(PY) -m tests.benchmarks.comparisons

docs: $(STAMP)
	$(PY) -m tests.docs.pass_pages
	$(PY) -m tests.report.schema_file

lint: $(STAMP)
	$(PY) -m ruff check graphopt passes tests models
	$(PY) -m ruff format --check graphopt passes tests models
	$(PY) -m mypy graphopt tests models
	$(PY) -c 'from importlinter.cli import lint_imports_command as run; run()'

clean:
	rm -rf $(VENV) $(EP_VENV) $(PEERS_VENV) build dist *.egg-info
