# Two commands do everything: `make demo` and `make test`. Each sets up what it needs in .venv.
# Another Python: make demo PYTHON=python3.12

PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3.14 python3,$(shell $(name) -c "import sys; sys.exit(sys.version_info < (3, 11))" 2>/dev/null && command -v $(name))))
BIN := .venv/bin
DEMO := demo/project_battery

.DEFAULT_GOAL := help
.PHONY: help demo test test-aws docs bench lint clean

help:
	@echo "make demo    generate a project and rehearse its whole pipeline on this machine"
	@echo "make test    run every check: ruff, mypy, pytest"
	@echo "make test-aws  the demo in a real account, compared with the rehearsal; asks first"
	@echo "make docs    build the documentation into site/, to be read without a network"
	@echo "make bench   measure speed and memory beside other libraries, in ten minutes"
	@echo "make lint    run ruff and mypy only"
	@echo "make clean   remove what these made, .venv included"

demo: .venv/.runtime
	@rm -rf $(DEMO)
	@mkdir -p demo
	@$(BIN)/batcat new --no-input --output-dir demo --example battery
	@$(BIN)/batcat rehearse -C $(DEMO)

test: lint
	$(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

docs: .venv/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "Open site/index.html"

# With your own credentials, and your own money: it says how much, and asks.
test-aws: .venv/.dev
	@test -n "$(ACCOUNT)" -a -n "$(REGION)" || { echo "Name both: make test-aws ACCOUNT=123456789012 REGION=eu-central-1"; exit 1; }
	$(BIN)/python -m tests.aws.suite --account "$(ACCOUNT)" --region "$(REGION)"

bench: .venv/.bench
	$(BIN)/python -m benchmarks $(BENCH)

lint: .venv/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

clean:
	rm -rf .venv demo site .bench

.venv/.runtime: pyproject.toml
	$(call setup,deploy,rehearse)

.venv/.bench: pyproject.toml
	$(call setup,bench)
	@touch .venv/.runtime

.venv/.docs: pyproject.toml
	$(call setup,docs)
	@touch .venv/.runtime

.venv/.dev: pyproject.toml
	$(call setup,dev)
	@touch .venv/.runtime .venv/.docs

comma := ,
define setup
	@test -n "$(PYTHON)" || { echo "BatCat needs Python 3.11 or later; name one: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12"; exit 1; }
	@echo "Setting up .venv with $$("$(PYTHON)" --version): two minutes, and only once."
	@test -x $(BIN)/python || "$(PYTHON)" -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[$(1)$(if $(2),$(comma)$(2))]"
	@touch $@
endef
