# Two commands: `make run` starts the dashboard, `make test` runs the tests. Both install what they need, once.
PYTHON ?= python3
BIN := .venv/bin
PORT ?= 8501

.PHONY: run test test-fast check audit screenshots clean

run: .venv/installed
	$(BIN)/streamlit run dashboard.py --server.port $(PORT)

# Each file by one process: what a file trains or serves is made once. In the order of tests/conftest.py.
TWO_AT_A_TIME := -n 2 --dist loadfile --no-loadscope-reorder --instafail

test: .venv/installed-dev
	$(BIN)/python -m pytest $(TWO_AT_A_TIME)

# No browser, no worker process, no cluster, no database server: for while one works.
test-fast: .venv/installed-dev
	$(BIN)/python -m pytest $(TWO_AT_A_TIME) -m fast

check: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry . --config .ci/deptry.toml
	$(BIN)/python -m pip check

# Asks the public database of known vulnerabilities about all that is installed, so it needs a network; what it could not
# ask about is a failure. `make check` does what can be done without.
audit: .venv/installed-dev
	$(BIN)/pip-audit --strict --progress-spinner off

.venv/bin/python:
	@$(PYTHON) -c "import sys; v = sys.version_info; (3, 11) <= v < (3, 14) or sys.exit('KD Lab runs on Python 3.11, 3.12 and 3.13 (what it stands on has no other), got %d.%d: make PYTHON=python3.13' % v[:2])"
	$(PYTHON) -m venv --upgrade-deps .venv

.venv/installed: requirements.txt | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

.venv/installed-dev: requirements-dev.txt .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

# For KD_ENGINE=ray, see docs/clusters.md; the tests that need it are skipped without.
.venv/installed-ray: requirements-ray.txt .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-ray.txt
	touch $@

clean:
	rm -rf .venv static

screenshots: .venv/installed-dev
	$(BIN)/python -m docs.screenshots
