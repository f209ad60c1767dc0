"""One cache of exported graphs for all tests: the tiny UNets always have the same weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.diffusion.backends.cache import GraphCache


@pytest.fixture(scope="session")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("graphs")


@pytest.fixture(scope="session")
def cache(graphs: Path) -> GraphCache:
    return GraphCache(graphs)
