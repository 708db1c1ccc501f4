# Every task of the project. Works with GNU make 3.81, so with the make that macOS has.
#   make book                              the book, executed, in _build/html/index.html
#   make test                              everything that is checked at every change; make test-all: the slow checks too
#   make book PYTHON=/path/to/python3.12   with another Python
#   make book TORCH=installed PYTHON=...   keeps the torch which that Python already has

PYTHON ?= python3
TORCH ?=
VENV = .venv/bin
ifeq ($(origin PYTHON),file)
KEEP = --keep-python
endif

.PHONY: help book test test-all setup lint format lock screenshots clean distclean
help:
	@echo "make book         builds the book into _build/html/index.html"
	@echo "make test         lints, builds cold, and runs the tests (make test-all: the slow ones too)"
	@echo "make screenshots  every page, light and dark, wide and narrow, into _build/screenshots"
	@echo "make lock         renews requirements.txt from pyproject.toml (UV_ARGS=--upgrade takes newer versions)"
	@echo "make clean        removes _build; make distclean: .venv too"

setup:
	@command -v "$(PYTHON)" >/dev/null 2>&1 || { \
	  echo "make: no '$(PYTHON)' was found; install Python 3.11, 3.12 or 3.13, or name it: make book PYTHON=/path/to/python3" >&2; \
	  exit 1; }
	@"$(PYTHON)" book/_ext/environment.py --torch "$(TORCH)" $(KEEP)

book: setup
	@$(VENV)/python book/_ext/build.py

lint: setup
	$(VENV)/ruff check
	$(VENV)/ruff format --check

format: setup
	$(VENV)/ruff check --fix
	$(VENV)/ruff format

test: lint
	$(VENV)/python -m pytest --durations=10 -m "not slow"

test-all: lint
	$(VENV)/python -m pytest

screenshots: book
	$(VENV)/python -m tests.screenshots

lock: setup
	$(VENV)/uv pip compile pyproject.toml --extra book --extra test --universal --python-version 3.11 \
	  --generate-hashes --quiet --custom-compile-command "make lock" $(UV_ARGS) -o requirements.txt

clean:
	rm -rf _build .pytest_cache .ruff_cache

distclean: clean
	rm -rf .venv vaecore.egg-info
