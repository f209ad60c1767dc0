"""One running service that draws, and images to start from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image, ImageDraw

from models.catalog.catalog import HOUSE_FOLDER
from service.short_lived import running_service
from tests.tiny import build_tiny_controlnet, build_tiny_lora, build_tiny_sd

KEY = "a-key-for-clients-of-a1111"
CATALOG = f"""
default = "paint"
[models.paint]
folder = "{HOUSE_FOLDER}"
defaults = {{ width = 64, height = 64, num_inference_steps = 2, guidance_scale = 3, sampler = "DPM++ 2M" }}
[models.tiny]
folder = "tiny"
defaults = {{ width = 64, height = 64, num_inference_steps = 2 }}
limits = {{ max_steps = 999 }}
[models.broken]
folder = "nowhere"
"""


@pytest.fixture(scope="session")
def service_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    data = tmp_path_factory.mktemp("sdapi")
    build_catalog(data)
    with running_service(str(data), KEY, HF_HUB_OFFLINE="1", OMP_NUM_THREADS="1", PHOTOGRAM_LOG_LEVEL="WARNING") as url:
        yield url


def build_catalog(data: Path) -> None:
    build_tiny_sd(data / "tiny")
    build_tiny_controlnet(data / "controlnets" / "control_v11p_sd15_canny", data / "tiny")
    (data / "loras").mkdir()
    build_tiny_lora(data / "loras" / "more_details.safetensors", data / "tiny")
    (data / "catalog.toml").write_text(CATALOG)


@pytest.fixture
def http(service_url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service_url, auth=("anybody", KEY), timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def photo() -> Image.Image:
    """An image: a disc on a ground."""
    image = Image.new("RGB", (96, 64), (30, 60, 120))
    ImageDraw.Draw(image).ellipse((20, 10, 70, 55), fill=(220, 200, 40))
    return image


@pytest.fixture(scope="session")
def mask() -> Image.Image:
    """A mask: the left half is light."""
    image = Image.new("L", (96, 64), 0)
    ImageDraw.Draw(image).rectangle((0, 0, 47, 63), fill=255)
    return image
