"""The server of a tiny random model on a real port."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from models.language.rwkv.engine import Engine
from models.language.rwkv.model import Model
from models.language.rwkv.vocabulary import Vocabulary
from service.rwkv_server.app import create_app
from service.rwkv_server.settings import Limits
from tests.serving import serving
from tests.tiny.rwkv import save

LIMITS = Limits(body_bytes=20_000, prompt_tokens=1000, completion_tokens=600, waiting=8)


@pytest.fixture(scope="session")
def serve_rwkv() -> Callable[[FastAPI], AbstractContextManager[str]]:
    """Serves an application while a ``with`` block lasts; gives its URL."""
    return serving


@pytest.fixture(scope="session")
def byte_engine(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Engine]:
    """Makes engines of a model whose tokens are single bytes."""
    path = save(tmp_path_factory.mktemp("rwkv") / "tiny.pth", "6")
    letters = Vocabulary({token: bytes([token - 1]) for token in range(1, 257)})
    return lambda **options: Engine(Model(path), letters, **options)


@pytest.fixture(scope="session")
def rwkv_url(byte_engine: Callable[..., Engine]) -> Iterator[str]:
    """The server that tests share, of the model ``tiny``, four answers at a time."""
    with serving(create_app(byte_engine(max_sequences=4), "tiny", LIMITS)) as url:
        yield url


@pytest.fixture
def rwkv_client(rwkv_url: str) -> Iterator[httpx.Client]:
    """A client of it."""
    with httpx.Client(base_url=rwkv_url, timeout=30) as client:
        yield client


@pytest.fixture(scope="session")
def world_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint with all tokens of the World vocabulary, 69 MB of version 7."""
    return save(tmp_path_factory.mktemp("rwkv") / "world.pth", "7", vocabulary=65536)
