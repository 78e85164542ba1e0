PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DEMO := $(VENV)/.installed-demo
INSTALL := $(BIN)/pip install --disable-pip-version-check
AUDIT := .venv-audit

# Processes by the hundred start here: each would compile all of Playhead again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test faults lint types bench reference audit lock clean

demo: $(if $(wildcard $(INSTALLED)),$(INSTALLED),$(DEMO))  ## The whole product on embedded servers, in a fresh directory
	$(BIN)/playhead demo

test: TESTS ?= tests
test: $(INSTALLED)  ## Every test, on embedded servers
	$(BIN)/pytest -n auto --dist worksteal $(TESTS)

faults: SCALE ?= 1
faults: TESTS ?= tests/faults
faults: PROCESSES ?= $(shell $(PYTHON) -c 'import os; print(3 * os.cpu_count())')  # they wait more than they compute
faults: $(INSTALLED)  ## Every fault in full counts (SCALE=0.1 a tenth), on every server, into docs/reliability.md
	$(BIN)/pytest $(TESTS) --full-faults --fault-scale $(SCALE) -n $(PROCESSES) --dist worksteal --timeout 7200

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(INSTALLED)
	$(BIN)/pyright

bench: $(INSTALLED)  ## Ratios against this machine's limits, written to docs/benchmarks.md
	$(BIN)/python -m benchmarks

reference: $(INSTALLED)  ## Write docs/reference.md from the docstrings of the public API
	$(BIN)/python -m tests.support.reference

audit: $(AUDIT)/.installed  ## Bill of materials of what users install (sbom.json), and known vulnerabilities in it
	$(AUDIT)/bin/cyclonedx-py requirements requirements.lock --pyproject pyproject.toml --output-reproducible -o sbom.json
	@for lock in requirements.lock requirements-build.lock; do \
		$(AUDIT)/bin/pip-audit --strict --progress-spinner off --disable-pip --require-hashes -r $$lock || { \
			echo "make audit: $$lock has vulnerabilities, or could not be compared with the advisories of pypi.org; see above" >&2; \
			exit 1; \
		}; \
	done

lock:  ## Resolve the dependencies again (needs uv)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
		--extra recordings pyproject.toml -o requirements.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
		--all-extras pyproject.toml -o requirements-dev.lock
	printf 'hatchling\neditables\n' | uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header \
		--no-emit-index-url --extra recordings --extra embedded --constraint requirements-dev.lock pyproject.toml - \
		-o requirements-demo.lock
	echo hatchling | uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
		--constraint requirements-dev.lock - -o requirements-build.lock
	printf 'cyclonedx-bom\npip-audit\n' | uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header \
		--no-emit-index-url - -o requirements-audit.lock

$(DEMO): requirements-demo.lock pyproject.toml | $(BIN)
	@echo 'Installing what the demo needs into $(VENV), once: about 110 MB to download, 360 MB on the disk'
	$(INSTALL) --require-hashes -r requirements-demo.lock
	$(INSTALL) --quiet --no-deps --no-build-isolation --editable .
	touch $@

$(INSTALLED): requirements-dev.lock pyproject.toml | $(BIN)
	@echo 'Installing what the tests need into $(VENV), once: about 500 MB to download, 1.5 GB on the disk'
	$(INSTALL) --require-hashes -r requirements-dev.lock
	$(INSTALL) --quiet --no-deps --no-build-isolation --editable .
	touch $@

$(BIN):
	@$(PYTHON) -c 'import sys; sys.exit("Playhead needs Python 3.11 or later: make PYTHON=python3.11 ...") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

$(AUDIT)/.installed: requirements-audit.lock
	$(PYTHON) -m venv $(AUDIT)
	$(AUDIT)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-audit.lock
	touch $@

clean:
	rm -rf $(VENV) $(AUDIT) .venv-newest sbom.json
