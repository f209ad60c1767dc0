"""Tiny checkpoints of every version, and a vocabulary of single bytes that fits them."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.language.rwkv.model import VERSIONS, Model
from models.language.rwkv.vocabulary import Vocabulary
from tests.tiny.rwkv import save


@pytest.fixture(scope="session", params=list(VERSIONS))
def version(request: pytest.FixtureRequest) -> str:
    """Each version in turn."""
    return request.param


@pytest.fixture(scope="session")
def tiny_path(version: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint of the version, of 257 tokens."""
    return save(tmp_path_factory.mktemp("rwkv") / "tiny.pth", version)


@pytest.fixture(scope="session")
def tiny(tiny_path: Path) -> Model:
    """The checkpoint, loaded in float32."""
    return Model(tiny_path)


@pytest.fixture(scope="session")
def letters() -> Vocabulary:
    """The first 256 pieces of the World vocabulary, which are the single bytes."""
    return Vocabulary({token: bytes([token - 1]) for token in range(1, 257)})


@pytest.fixture(scope="session")
def world() -> Vocabulary:
    """The whole World vocabulary."""
    return Vocabulary.world()
