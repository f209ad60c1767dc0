"""Tiny pipelines with two ControlNets each, and one that pools its residuals."""

from __future__ import annotations

from pathlib import Path

import pytest
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline

from tests.models.diffusion.control.rig import ControlStudio
from tests.tiny import build_tiny_controlnet, build_tiny_sd, build_tiny_sdxl


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Where all of them are."""
    root = tmp_path_factory.mktemp("controlled")
    built = {"sd": build_tiny_sd(root / "sd"), "sdxl": build_tiny_sdxl(root / "sdxl")}
    for name in tuple(built):
        for number, letter in enumerate("ab"):
            built[f"{name} {letter}"] = build_tiny_controlnet(root / f"{name}-{letter}", built[name], seed=number)
    built["sd pooled"] = build_tiny_controlnet(root / "sd-pooled", built["sd"], seed=2, pooled=True)
    return built


@pytest.fixture(scope="session")
def sd(folders: dict[str, Path]) -> ControlStudio:
    nets = {letter: folders[f"sd {letter}"] for letter in ("a", "b", "pooled")}
    return ControlStudio.open(StableDiffusionPipeline, folders["sd"], nets)


@pytest.fixture(scope="session")
def sdxl(folders: dict[str, Path]) -> ControlStudio:
    nets = {letter: folders[f"sdxl {letter}"] for letter in "ab"}
    return ControlStudio.open(StableDiffusionXLPipeline, folders["sdxl"], nets)
