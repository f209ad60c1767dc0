"""A scripted language engine on a real port."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from models.language.client import LanguageEngine
from tests.engine_stub import EngineStub
from tests.workers.agent.thinking.parts import preset
from workers.agent.thinking.engine_model import EngineModel

KEY = "sk-engine-key-that-nobody-sees"


@pytest.fixture
def stub() -> Iterator[EngineStub]:
    with EngineStub() as stub:
        yield stub


@pytest.fixture
async def engine(stub: EngineStub) -> AsyncIterator[LanguageEngine]:
    engine = LanguageEngine(stub.url, key=KEY)
    yield engine
    await engine.aclose()


@pytest.fixture
def model_of(engine: LanguageEngine) -> Callable[..., EngineModel]:
    """A model of one dialect over the scripted engine."""

    def make(dialect: str, **how: object) -> EngineModel:
        return EngineModel(engine, preset(dialect), **{"pauses_s": (), "timeout_s": 30.0, **how})  # type: ignore[arg-type]

    return make
