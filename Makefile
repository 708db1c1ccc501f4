# Every task of the project. Works with GNU make 3.81, so with the make that macOS has.
#   make book                              the book, executed, in _build/html/index.html
#   make check                             lint, types and the package's tests, in under two minutes: for daily work
#   make test                              everything that is checked at every change; make test-all: the slow checks too
#   make book PYTHON=/path/to/python3.12   with another Python
#   make book TORCH=installed PYTHON=...   keeps the torch which that Python already has
#   make book SOLUTIONS=0                  without the solutions of exercises

PYTHON ?= python3
TORCH ?=
SOLUTIONS ?= 1
PORT ?= 8000
OF_VAECORE = tests/equations tests/package
VENV = .venv/bin
# one thread, for the build runs at the same time: threads that outnumber the cores wait for each other
PYTEST = OMP_NUM_THREADS=1 $(VENV)/python -m pytest
ifeq ($(origin PYTHON),file)
KEEP = yes
endif

.PHONY: help book messages check test test-all test-versions setup lint format lock audit screenshots serve zip pdf linkcheck clean distclean
help:
	@echo "make book         builds the book into _build/html/index.html (SOLUTIONS=0: without solutions, for a class)"
	@echo "make check        lints, and runs the tests of vaecore that need no built book"
	@echo "make test         lints, builds cold, and runs the tests (make test-all: the slow ones too)"
	@echo "make test-versions  tests vaecore with the oldest and the newest Python and PyTorch that it supports"
	@echo "make serve        shows the built book at http://127.0.0.1:8000 (PORT=8001: at another port)"
	@echo "make messages     brings the .po files of the translation up to date with the pages"
	@echo "make zip          packs it into _build/variational-autoencoders.zip, to be read without a network"
	@echo "make pdf          prints it into _build/variational-autoencoders.pdf and -ja.pdf, which the first pages then offer"
	@echo "make linkcheck    asks whether the addresses that the book links to still answer; needs a network"
	@echo "make screenshots  every page, light and dark, wide and narrow, into _build/screenshots"
	@echo "make lock         renews requirements.txt from pyproject.toml (UV_ARGS=--upgrade takes newer versions)"
	@echo "make audit        asks whether a package of requirements.txt has a known vulnerability; needs a network"
	@echo "make clean        removes _build; make distclean: .venv too"

setup:
	@sh tools/setup.sh "$(PYTHON)" "$(TORCH)" "$(KEEP)"

book: setup
	@$(VENV)/python -m tools.build $(if $(filter 0,$(SOLUTIONS)),--no-solutions)

messages: book
	@$(VENV)/python -m tools.messages update

serve: book
	@$(VENV)/python -m http.server --bind 127.0.0.1 --directory _build/html $(PORT)

zip: book
	@$(VENV)/python -m tools.bundle _build/html _build/variational-autoencoders.zip

pdf: book
	@$(VENV)/python -m tools.pdf _build/html _build/variational-autoencoders.pdf
	@$(VENV)/python -m tools.pdf _build/html/ja _build/variational-autoencoders-ja.pdf

linkcheck: setup
	@$(VENV)/python -m tools.build --linkcheck

lint: setup
	$(VENV)/ruff check
	$(VENV)/ruff format --check
	$(VENV)/codespell book vaecore tests tools benchmarks .github *.md Makefile pyproject.toml
	$(VENV)/lint-imports --no-logo
	$(VENV)/basedpyright --project pyproject.toml  # else a pyrightconfig.json in a folder above would do
	$(VENV)/oxlint --deny-warnings vaecore/explorer/js

format: setup
	$(VENV)/ruff check --fix
	$(VENV)/ruff format

check: lint
	$(PYTEST) -q -m "not slow" $(OF_VAECORE)

test: lint
	$(PYTEST) --durations=10 -m "not slow"

test-all: lint
	$(PYTEST) -rs --durations=20 --record vaecore/results/tests.json

# the oldest versions that pyproject.toml allows, then the newest; uv takes the Pythons from PATH or fetches them
test-versions: setup
	@for pair in "3.11 lowest-direct" "3.13 highest"; do \
	  set -- $$pair; \
	  $(VENV)/uv venv --quiet --clear --python $$1 _build/versions/$$1 && \
	  $(VENV)/uv pip install --quiet --python _build/versions/$$1 --resolution $$2 -e ".[test]" && \
	  _build/versions/$$1/bin/python -c "import sys, torch; print('Python', sys.version, 'PyTorch', torch.__version__)" && \
	  _build/versions/$$1/bin/python -m pytest -m "not slow" $(OF_VAECORE) || exit 1; \
	done

screenshots: book
	$(VENV)/python -m tools.screenshots

lock: setup
	$(VENV)/uv pip compile pyproject.toml --extra book --extra test --universal --python-version 3.11 \
	  --generate-hashes --quiet --custom-compile-command "make lock" $(UV_ARGS) -o requirements.txt

# strict: a package that could not be asked about counts as a finding
audit: setup
	$(VENV)/uv tool run pip-audit==2.10.1 --requirement requirements.txt --disable-pip --require-hashes --strict

clean:
	rm -rf _build .pytest_cache .ruff_cache

distclean: clean
	rm -rf .venv vaecore.egg-info
