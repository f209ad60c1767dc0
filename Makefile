PYTHON ?= python3
PROMPT ?= a red apple
OUT ?=
BIN := .venv/bin
READY := .venv/.ready
DEV := .venv/.dev
PIP = $(BIN)/python -m pip install --no-compile --disable-pip-version-check -c constraints.txt

# Without the caches of bytecode, each process compiles torch, diffusers and all else that it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo serve test soak check deploy-matrix clean language

demo: $(READY)  ## Start everything, generate PROMPT and its rewrite, write OUT (photogram.png), stop everything.
	$(BIN)/python -m service.demo "$(PROMPT)" $(if $(OUT),--output "$(OUT)")

serve: $(READY) language  ## Start everything and keep it running.
	$(BIN)/photogram up

test: $(DEV) language  ## All tests.
	$(BIN)/python scripts/run_tests.py

soak: $(DEV)  ## Many made-up requests, then kill parts of the service under load, then watch its memory; an hour.
	PHOTOGRAM_SCHEMATHESIS_EXAMPLES=30 $(BIN)/python -m pytest -q tests/service/api/test_schemathesis.py
	$(BIN)/python -m tests.chaos.soak

check: $(DEV)  ## Style, types and import contracts.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/check_words.py

deploy-matrix: $(DEV)  ## Deploy every family to every backend, and write the table into docs/deploy.md; hours.
	$(BIN)/python -m scripts.deploy_matrix --resume

language: $(READY)  ## Install the language engine, which rewrites prompts; everything else works without it.
	@$(BIN)/photogram llm install || echo "Continuing without prompt rewriting; PHOTOGRAM_LLM=off skips this step." >&2

$(READY): pyproject.toml clients/python/pyproject.toml clients/runtime/pyproject.toml clients/mcp/pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing torch, then the server and what it needs ..."
	$(PIP) "torch==2.13.0"
	$(PIP) -e clients/runtime -e clients/python -e clients/mcp -e ".[worker,rwkv,gguf,safety,deploy,agent]"
	$(PIP) --no-deps spandrel  # its metadata requires torchvision
	touch $(READY)

$(DEV): $(READY) clients/discord/pyproject.toml
	@echo "Installing what tests and checks need ..."
	$(PIP) -e clients/discord -e ".[dev]"
	touch $(DEV)

clean:  ## Remove the environments and all build results.
	rm -rf .venv .venv-llm build .mypy_cache .ruff_cache .pytest_cache
