PYTHON ?= python3
VENV ?= .venv
ARGS ?=

BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# A process per core, but for the memory of TensorFlow no more than four; the tests of a
# file stay together, since they share what is slow to make. ARGS="-n 0" for one process.
WORKERS := -n auto --maxprocesses=4 --dist=loadfile
FLAGFILES := $(sort $(wildcard experiments/flags/*/*.flags))

# experiments/flags/<script>/<configuration>.flags -> <script>-<configuration>,
# underscores as hyphens; the configuration `default` adds nothing.
target = $(subst _,-,$(subst /,-,$(patsubst experiments/flags/%.flags,%,$(patsubst %/default.flags,%.flags,$1))))
script = experiments.$(notdir $(patsubst %/,%,$(dir $1)))

.DEFAULT_GOAL := help
.PHONY: help test test-all lint format clean distclean

help: ## this list
	@echo "Usage: make TARGET [ARGS=\"--steps=10 --out_dir=DIR\"]"
	@echo
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile \
	  | awk -F '\t' '{printf "  %-36s %s\n", $$1, $$2}'
	@echo
	@echo "Experiments (one flagfile each, in experiments/flags/):"
	@$(foreach file,$(FLAGFILES),sed -n '1s/^# *//p' $(file) \
	  | awk '{printf "  %-36s %s\n", "$(call target,$(file))", $$0}';)

test: $(INSTALLED) ## the tests, without those marked slow
	$(BIN)/python -m pytest $(WORKERS) $(ARGS)

test-all: $(INSTALLED) ## all tests, the slow ones too
	$(BIN)/python -m pytest -m "" $(WORKERS) $(ARGS)

lint: $(INSTALLED) ## style: ruff check and ruff format --check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(INSTALLED) ## rewrite the sources in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove caches and build outputs; runs/ stays
	rm -rf build dist .pytest_cache .ruff_cache *.egg-info
	find experiments gan_transfer restoration tests -name __pycache__ -prune -exec rm -rf {} +

distclean: clean ## clean, and remove the virtual environment
	rm -rf $(VENV)

$(INSTALLED): setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, found " + sys.version.split()[0] + "; name one: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	@echo "Installing into $(VENV) (TensorFlow and what it needs: about 2 GB, a few minutes)"
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $@

define experiment
.PHONY: $(call target,$1)
$(call target,$1): $(INSTALLED)
	$(BIN)/python -m $(call script,$1) --flagfile=$1 $$(ARGS)
endef
$(foreach file,$(FLAGFILES),$(eval $(call experiment,$(file))))
