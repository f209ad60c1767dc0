"""The tiny models, each built and loaded once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import KDPM2AncestralDiscreteScheduler, KDPM2DiscreteScheduler

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


@pytest.fixture(scope="session", autouse=True)
def timesteps_computed_once() -> Iterator[None]:
    """diffusers computes 2000 timesteps, one by one, whenever it makes a scheduler of DPM2: 0.4 s for each image."""
    with pytest.MonkeyPatch.context() as patch:
        for scheduler in (KDPM2DiscreteScheduler, KDPM2AncestralDiscreteScheduler):
            patch.setattr(scheduler, "_sigma_to_t", _computed_once(scheduler._sigma_to_t))
        yield


def _computed_once(compute: Callable[[Any, Any, Any], Any]) -> Callable[[Any, Any, Any], Any]:
    """``compute``, whose results are kept by the numbers that it is given."""
    kept: dict[tuple[type, object, float, bytes], Any] = {}

    def computed(self: Any, sigma: Any, log_sigmas: Any) -> Any:
        key = type(sigma), sigma.dtype, float(sigma), np.asarray(log_sigmas).tobytes()
        if key not in kept:
            kept[key] = compute(self, sigma, log_sigmas)
        return kept[key]

    return computed


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
