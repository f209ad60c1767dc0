"""Engines are shared by the tests of a file, for each takes half a minute to start."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from models.language.client import LanguageEngine
from tests.llm.engines import KEY, Engine, python_or_skip


@pytest.fixture(scope="session")
def engine_interpreter() -> Path:
    """What runs vLLM; without it the test is skipped, and in CI it fails."""
    return python_or_skip()


@pytest.fixture
async def client(engine: Engine) -> AsyncIterator[LanguageEngine]:
    """What the server's own parts ask engines with."""
    made = LanguageEngine(f"{engine.url}/v1", key=KEY)
    yield made
    await made.aclose()
