# make demo: the whole way on photographs that come with the installed packages. make test: the tests. make bench: speed.
# Each makes its own virtual environment from requirements.lock. Another torch: make demo TORCH=torch==2.11.0

PYTHON ?= python3
VENV ?= .venv
TORCH ?= $(shell grep '^torch==' requirements.lock)
OUT ?= wildsr-demo

.PHONY: help demo test bench lint wheel lock clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    train, measure, upscale and report on sample photographs (three to seven minutes on two cores)"
	@echo "make test    run the tests"
	@echo "make bench   measure how fast it is, beside the plain way (under ten minutes, on a machine that does nothing else)"
	@echo "make lint    ruff and pyright"
	@echo "make wheel   build the wheel and run it from an empty environment"

demo: $(VENV)/installed
	$(VENV)/bin/wildsr demo --out $(OUT)

test: $(VENV)/installed
	$(VENV)/bin/python -m pytest -q -n 2 --dist loadfile

bench: $(VENV)/installed
	$(VENV)/bin/python benchmarks/speed.py

lint: $(VENV)/installed
	$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check . && $(VENV)/bin/pyright

wheel: $(VENV)/installed
	rm -rf dist
	$(VENV)/bin/python -m pip wheel -q --no-deps --no-build-isolation -w dist .
	$(PYTHON) -m venv dist/empty
	grep -vE '^(torch|#)' requirements.lock > dist/constraints.txt
	dist/empty/bin/python -m pip install -q -c dist/constraints.txt "$(TORCH)" dist/*.whl
	cd dist && empty/bin/wildsr --help && empty/bin/wildsr train quick --dry-run > /dev/null

# pip takes what the lock names and nothing else: spandrel would ask for torchvision, which the tests replace. The project itself is
# installed in place.
$(VENV)/installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "wildsr needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	grep -v '^torch==' requirements.lock > $(VENV)/others.txt
	$(VENV)/bin/python -m pip install -q --disable-pip-version-check "$(TORCH)"
	$(VENV)/bin/python -m pip install -q --disable-pip-version-check --no-deps -r $(VENV)/others.txt
	$(VENV)/bin/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

# Writes down what is installed, after a change of pyproject.toml has been installed by hand.
lock:
	$(VENV)/bin/python -m pip freeze --exclude-editable --exclude wildsr | sed 's/+cpu//' > requirements.lock

clean:
	rm -rf $(VENV) dist build wildsr-demo
