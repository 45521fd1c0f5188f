# Needs only make and Python 3.11 or newer with pip. What is installed goes into .venv and nowhere else.
VENV ?= .venv
PYTHON ?=
TEST_ARGS ?=
DEMO_SECONDS ?=

py := $(VENV)/bin/python
pip := $(py) -m pip --disable-pip-version-check install --quiet --quiet
compile := CUSTOM_COMPILE_COMMAND="make lock" $(py) -m piptools compile --quiet --generate-hashes --strip-extras \
	--allow-unsafe --no-emit-index-url --no-emit-find-links --no-emit-trusted-host
export PYTHONUTF8 := 1

.PHONY: help install test check serve demo prove prove-long docs lock bench clean

help:  ## these words
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' Makefile | while IFS='|' read -r word what; do printf '  %-11s %s\n' "$$word" "$$what"; done

install: $(VENV)/.dev  ## set up .venv for development, everything pinned and checked by hash

demo: $(VENV)/.core  ## simulate a fleet, train, serve, stream it and show it (DEMO_SECONDS=20 to end by itself)
	@$(VENV)/bin/limen demo $(if $(DEMO_SECONDS),--seconds $(DEMO_SECONDS))

serve: $(VENV)/.core  ## start the service on 127.0.0.1:8000 (settings: LIMEN_...)
	@$(VENV)/bin/limen serve

test: $(VENV)/.dev  ## run the tests (TEST_ARGS="--cov -k shard")
	@$(py) -m pytest $(TEST_ARGS)

check: $(VENV)/.dev  ## lint, format and types
	@$(py) -m ruff check .
	@$(py) -m ruff format --check .
	@$(py) -m mypy

prove: $(VENV)/.dev  ## kill, starve, damage and start it: crashes, faults, power loss, hostile load, containers
	@$(py) -m pytest -m prove $(TEST_ARGS)

prove-long: $(VENV)/.dev  ## what takes longer: a thousand kills, a long soak, an empty clone, every Python found
	@$(py) -m pytest -m prove_long $(TEST_ARGS)

bench: $(VENV)/.dev  ## measure serving, training and recovery
	@$(py) benchmarks/serving.py
	@$(py) benchmarks/training.py
	@$(py) benchmarks/recovery.py

docs: $(VENV)/.dev  ## write options, settings, metrics and errors into the README anew
	@$(py) -m tests.readme

lock: $(VENV)/.dev  ## pin anew what pyproject.toml allows
	$(compile) --upgrade --output-file requirements.lock pyproject.toml
	$(compile) --upgrade --extra dev --constraint requirements.lock --output-file requirements-dev.lock pyproject.toml
	@if grep -nE '://|^-|find-links| @ ' requirements.lock requirements-dev.lock; then echo 'a lock file names an address' >&2; exit 1; fi

clean:  ## remove what was built or cached, and .venv
	rm -rf $(VENV) build dist htmlcov .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.core: requirements.lock pyproject.toml | $(py)
	@echo 'Installing what serving and training need (pinned, checked by hash) ...'
	@$(pip) --require-hashes -r requirements.lock
	@$(pip) --no-deps --editable .
	@touch $@

$(VENV)/.dev: requirements-dev.lock requirements.lock pyproject.toml | $(py)
	@echo 'Installing what development needs (pinned, checked by hash) ...'
	@$(pip) --require-hashes -r requirements-dev.lock
	@$(pip) --no-deps --editable .
	@touch $(VENV)/.core $@

# Where Python has no ensurepip (Debian without python3-venv), the pip that is there installs itself into the new place.
$(py):
	@found=; for python in $(or $(PYTHON),python3 python3.13 python3.12 python3.11 python); do \
	  if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo 'Python 3.11 or newer is needed; none of $(or $(PYTHON),python3 python3.13 python3.12 python3.11 python) is.' >&2; \
	  echo 'Install it (Debian: apt-get install python3 python3-pip), or say where it is: make PYTHON=/path/to/python ...' >&2; \
	  exit 1; \
	fi; \
	echo "Setting up $(VENV) with $$($$found --version) ..."; \
	$$found -m venv --clear $(VENV) >/dev/null 2>&1 || { \
	  $$found -m venv --clear --without-pip $(VENV) && $$found -m pip --python $(py) install --quiet pip; \
	} || { rm -rf $(VENV); echo "$$found has neither ensurepip nor pip 22.3 or newer; install python3-venv or python3-pip" >&2; exit 1; }
