# Each target is one command on a fresh machine: it makes .venv and installs what it needs first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO_STORE ?= demo-store

.PHONY: demo test check bench bench-audio format install clean

install: $(READY)

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv || true
	if test -x $(BIN)/uv; \
	  then $(BIN)/uv pip install --compile-bytecode --python $(BIN)/python -c constraints.txt -e '.[all,dev]'; \
	  else $(BIN)/python -m pip install -c constraints.txt -e '.[all,dev]'; fi
	touch $(READY)

# Exit code 4 means "finished, and some rows failed": the demo data has broken files on purpose.
demo: $(READY)
	$(BIN)/pipeline run extract --dataset demo --store $(DEMO_STORE) --augment \
	  --features bert,clip,regions --set paraphrase.provider=rules \
	  --set engine.shard_rows=16 --set engine.max_failed=0.2 || test $$? -eq 4
	$(BIN)/pipeline features list --store $(DEMO_STORE)
	$(BIN)/pipeline report --store $(DEMO_STORE)
	$(BIN)/pipeline train text_tokens --dataset demo --store $(DEMO_STORE) --runs $(DEMO_STORE)-runs \
	  --set trainer.epochs=8
	$(BIN)/pipeline evaluate text_tokens --runs $(DEMO_STORE)-runs

test: $(READY)
	$(BIN)/python -m pytest

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy -p affectflow
	$(BIN)/python -m pytest tests/test_house_rules.py

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY)
	$(BIN)/python -m benchmarks.run

# Agreement with the reference recordings, speed per stage and memory of the covarep extractor.
bench-audio: $(READY)
	$(BIN)/python -m benchmarks.run audio

clean:
	rm -rf $(VENV) build dist *.egg-info src/*.egg-info $(DEMO_STORE)
