# Needs Python 3.11 or 3.12 and make; everything else is installed into .venv, at the versions in constraints.txt.
PYTHON ?= $(shell for p in python3.12 python3.11 python3; do \
  $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
RUN = $(VENV)/bin/python

# What `make test` and `make test-slow` run: all, or some as in `make test TESTS=tests/train`.
TESTS ?=
# A module's tests stay together, as they share fixtures; modules start in the order that tests/conftest.py gives them.
PYTEST = $(RUN) -m pytest --numprocesses auto --dist loadscope --no-loadscope-reorder

.PHONY: demo docs test test-slow lint clean test-3.11 test-3.12 benchmark-gpu

demo: $(VENV)/installed
	$(RUN) launch.py --config=configs/demo.py

# Programs that a test run has compiled serve the next one too.
test test-slow: export JAX_COMPILATION_CACHE_DIR ?= $(abspath $(VENV))/compiled
test test-slow: export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS ?= 0

test: $(VENV)/installed
	$(PYTEST) -m "not slow" $(TESTS)

# What takes long by its nature, and what needs the packages of the extra `test-all`, Chromium or npm. With EXTRAS= a
# test that lacks one of these is skipped and listed; otherwise it fails.
EXTRAS ?= --require-extras
test-slow: $(VENV)/installed-all
	$(PYTEST) -m "slow or extra" $(EXTRAS) $(TESTS)

# The same on a Python of one's choice, in an environment of its own: jax 0.10 on 3.11, jax 0.12 on 3.12.
test-3.11 test-3.12: test-%:
	@if python$* -c 'import ensurepip' 2>/dev/null; then $(MAKE) test PYTHON=python$* VENV=.venv-$*; \
	else echo "SKIPPED: there is no python$* on this machine"; fi

# On a machine with a GPU, PyTorch and the packages of the base; nothing is installed. Writes benchmark-gpu/table.md.
MINUTES ?= 9
benchmark-gpu:
	python3 benchmarks/gpu.py --minutes $(MINUTES) --out benchmark-gpu

# The documentation and an API reference as a site in build/docs; warnings are errors.
docs: $(VENV)/installed
	$(RUN) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[docs]'
	$(RUN) -m mkdocs build --quiet --strict --config-file docs/site/mkdocs.yml

lint: $(VENV)/installed
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

$(VENV)/installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 or 3.12 found; name one with make PYTHON=..." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	touch $@

$(VENV)/installed-all: $(VENV)/installed
	$(RUN) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test-all]'
	touch $@

clean:
	rm -rf $(VENV) .venv-3.11 .venv-3.12 runs
