"""Tiny models of timm with random weights, each made and saved once."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest
import torch

from tests.models.vision.rig import Folder, save


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Models this small are slower on several threads, and very much so beside another program."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Gives the folder, in timm's layout, of a model by timm's name."""
    root = tmp_path_factory.mktemp("vision")
    return cache(lambda name: save(name, root / name))
