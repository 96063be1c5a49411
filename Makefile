# make test       the test suite, lint and types        make demo   train, sample and draw the example
# make test-slow  the tests marked slow: about 15 minutes on 2 cores
# Each does its own set-up in .venv on a fresh machine; a second run starts at once.

PYTHON ?= python3
BIN    := .venv/bin
READY  := .venv/.ready

.PHONY: test test-slow lint format demo
.DELETE_ON_ERROR:

# torch goes first and by its exact version, so that no dependency can choose another build of it.
$(READY): pyproject.toml constraints.txt
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

test: lint
	$(BIN)/python -m pytest -q -n 2

test-slow: $(READY)
	$(BIN)/python -m pytest -q -n 2 -m 'slow and not gpu' --durations=20

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright

format: $(READY)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

DEMO_PROGRAM ?= examples/hope.nest
DEMO_DATA    ?= stdlib
DEMO_STEPS   ?= 400
DEMO_PROMPT  ?= import
DEMO_OUT     ?= runs/demo

# Of an earlier demo only what it wrote is removed: DEMO_OUT may be any folder.
demo: $(READY)
	$(BIN)/nestdsl check $(DEMO_PROGRAM)
	rm -f $(addprefix $(DEMO_OUT)/,checkpoint.safetensors checkpoint-[0-9]*.safetensors metrics.jsonl plan.yaml nesting.svg)
	$(BIN)/nestdsl train $(DEMO_PROGRAM) --data $(DEMO_DATA) --steps $(DEMO_STEPS) --batch 4 --tokens 512 --out $(DEMO_OUT)
	$(BIN)/nestdsl generate $(DEMO_OUT) --prompt '$(DEMO_PROMPT)'
	$(BIN)/nestdsl render $(DEMO_PROGRAM) --view nesting -o $(DEMO_OUT)/nesting.svg
