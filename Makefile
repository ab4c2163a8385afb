# Everything runs in .venv; the recipes say what they do.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: install start test test-long test-slurm-releases lint format cluster cluster-down bench clean

install: $(STAMP)

$(STAMP): pyproject.toml hatch_build.py hpclaunch/storage/chunks.c $(wildcard hpclaunch/storage/*.h)
	@echo "installing hpclaunch with JupyterLab, Dask and the test tools into $(VENV)"
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { rm -rf $(VENV); $(PYTHON) -m venv $(VENV); } || \
		{ rm -rf $(VENV); echo 'error: $(PYTHON) cannot make a virtual environment'; \
		echo 'hint: install its venv module (Debian and Ubuntu: apt install python3-venv)'; exit 1; } >&2
	@$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --editable '.[test]'
	@touch $@

start: install
	@$(BIN)/python -m hpclaunch.cli.tryout

test: install
	@tests/install_system_packages.sh
	@$(BIN)/python tests/run_tiers.py

test-long: install
	@tests/install_system_packages.sh --long
	@$(BIN)/python tests/run_tiers.py --long

# The cluster tier on each release of SLURM; `make test` has the first of them.
test-slurm-releases: install
	@tests/install_system_packages.sh
	@failed=; for release in 22.05 24.11 26.05; do \
		echo "=== SLURM $$release ==="; docker/cluster down; export SLURM=$$release; \
		$(BIN)/python tests/run_tiers.py --require-all --tier cluster || failed="$$failed $$release"; \
	done; docker/cluster down; \
	if [ -n "$$failed" ]; then echo "failed on SLURM$$failed" >&2; exit 1; fi

lint: install
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python tests/lint_shell.py

format: install
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format .

cluster:
	@docker/cluster up

cluster-down:
	@docker/cluster down

bench: install
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --editable '.[bench]'
	@$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
