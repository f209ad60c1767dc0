"""The tiny models, each built and loaded once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from models.catalog.families import SDXL
from tests.models.diffusion.rig import Studio
from tests.tiny import build_tiny_house, build_tiny_sd, build_tiny_sdxl


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Models this small are slower on several threads, and very much so beside another program."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def tiny_sd(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return Studio.open(build_tiny_sd(tmp_path_factory.mktemp("models") / "sd"))


@pytest.fixture(scope="session")
def tiny_house(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return Studio.open(build_tiny_house(tmp_path_factory.mktemp("models") / "house"))


@pytest.fixture(scope="session")
def tiny_distilled(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return Studio.open(build_tiny_sd(tmp_path_factory.mktemp("models") / "lcm", time_cond_proj_dim=16))


@pytest.fixture(scope="session")
def tiny_sdxl(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return Studio.open(build_tiny_sdxl(tmp_path_factory.mktemp("models") / "sdxl"), SDXL)


@pytest.fixture
def own_folder(tmp_path: Path) -> Path:
    """A tiny model that the test may damage."""
    return build_tiny_sd(tmp_path / "sd")
