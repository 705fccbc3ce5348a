# `make demo`, `make train-demo` and `make test` set themselves up on a fresh machine with Python >= 3.11 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORE := $(VENV)/.core-installed
DEV := $(VENV)/.dev-installed
UNIT := not integration and not paper and not nightly

.PHONY: demo train-demo test unit web-test nightly lint results paper clean

demo: $(CORE)
	@$(BIN)/python examples/demo.py

train-demo: $(DEV)
	@$(BIN)/python examples/train_demo.py

# All tests, a process for each core: first the unit tests, whose coverage may not fall below the bound in
# pyproject.toml, then the others, without the cost of measuring.
test: lint
	@$(BIN)/python -m pytest -n auto --dist worksteal -m "$(UNIT)" --cov=a2f
	@$(BIN)/python -m pytest -n auto --dist worksteal -m "(integration or paper) and not nightly"

# The unit tests alone: under a minute of one core.
unit: $(DEV)
	@$(BIN)/python -m pytest -m "$(UNIT)"

# The page, the site and the npm package of web/, in Chromium; `make test` does so too where there are Node and Chromium.
web-test: $(DEV)
	@command -v npm >/dev/null || { echo "Node 20.19 or newer with npm is missing: apt-get install nodejs npm, or nodejs.org"; exit 1; }
	@command -v chromium >/dev/null || test -n "$$CHROMIUM" || { echo "Chromium is missing: apt-get install chromium, or set CHROMIUM to its path"; exit 1; }
	@A2F_WEBGPU=1 $(BIN)/python -m pytest tests/web/test_browser.py

# The slow tests, and new examples for the tests of Hypothesis; `make nightly SEED=...` tries those of a seed again.
# Then 1,000 damaged files of each container.
nightly: $(DEV)
	@seed=$${SEED:-$$($(BIN)/python -c 'import random; print(random.randrange(2**32))')}; \
	echo "Hypothesis with the seed $$seed: make nightly SEED=$$seed tries the same examples again"; \
	$(BIN)/python -m pytest -m "nightly or hypothesis" --hypothesis-profile=nightly --hypothesis-seed=$$seed
	@$(BIN)/python tests/mutations.py --count 1000

lint: $(DEV)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/codespell
	@$(BIN)/rumdl check --quiet .

results: $(DEV)
	@$(BIN)/python -m benchmarks.quality --write
	@$(BIN)/python -m benchmarks.jpeg --write
	@$(BIN)/python -m benchmarks.learning --write

# The tables and figures of docs/paper.md; PAPER="--sets DIR --official DIR --peers DIR --lpips FILE" names the folders.
paper: $(DEV)
	@$(BIN)/python -m benchmarks.paper --measure --write $(PAPER)

$(CORE): pyproject.toml
	@echo "Installing a2f into $(VENV) (core only, no torch) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(DEV): $(CORE) constraints.txt
	@echo "Installing the development extras into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --requirement requirements-dev.txt --editable '.[train,eval,openvino,formats,video,web,remote,ray]'
	@touch $@

clean:
	rm -rf $(VENV) demo train-demo build dist
