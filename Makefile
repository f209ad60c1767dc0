PYTHON ?= python3
PROMPT ?= a red apple
OUT ?=
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo serve test check clean language

demo: $(READY) language  ## Start everything, generate PROMPT, write OUT (photogram.png), stop everything.
	$(BIN)/python -m service.demo "$(PROMPT)" $(if $(OUT),--output "$(OUT)")

serve: $(READY) language  ## Start everything and keep it running.
	$(BIN)/photogram up

test: $(READY) language  ## All tests.
	$(BIN)/python scripts/run_tests.py

check: $(READY)  ## Style, types and import contracts.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/check_words.py

language: $(READY)  ## Install the language engine, which rewrites prompts; everything else works without it.
	@$(BIN)/photogram llm install || echo "Continuing without prompt rewriting; PHOTOGRAM_LLM=off skips this step." >&2

$(READY): pyproject.toml clients/python/pyproject.toml clients/discord/pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt "torch==2.13.0"
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e clients/python -e clients/discord -e ".[dev,rwkv,gguf]"
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt --no-deps spandrel  # its metadata requires torchvision
	touch $(READY)

clean:  ## Remove the environments and all build results.
	rm -rf .venv .venv-llm build .mypy_cache .ruff_cache .pytest_cache
