"""One running service that draws, and images to start from."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

import httpx
import pytest
from PIL import Image, ImageDraw

from models.catalog.catalog import HOUSE_FOLDER
from service.short_lived import running_service
from tests.tiny import build_tiny_controlnet, build_tiny_lora, build_tiny_sd, build_tiny_sdxl

KEY = "a-key-for-clients-of-prodia-v1-0000"
CATALOG = """
default = "paint"
unknown = "tiny"
[aliases]
"v1-5-pruned-emaonly.safetensors" = "paint"
[models.paint]
folder = "{house}"
defaults = {{ width = 64, height = 64, num_inference_steps = 2, guidance_scale = 3 }}
[models.tiny]
folder = "tiny"
defaults = {{ width = 64, height = 64, num_inference_steps = 2 }}
[models.tiny-xl]
folder = "xl"
family = "sdxl"
defaults = {{ width = 64, height = 64, num_inference_steps = 2 }}
"""


@dataclass(frozen=True)
class Service:
    """A service that runs, and what its catalog holds."""

    url: str
    key: str = KEY

    @property
    def base(self) -> str:
        """What clients call the base URL."""
        return f"{self.url}/v1"

    def image(self, job: dict[str, str]) -> Image.Image:
        """The image of a job that succeeded, by its link; it is a whole PNG, and not of one colour."""
        answer = httpx.get(job["imageUrl"])
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
        assert httpx.get(f"{self.url}/{job['job']}.png", params={"download": "1"}).content == answer.content
        image = Image.open(BytesIO(answer.content))
        image.load()
        assert any(low < high for low, high in image.convert("RGB").getextrema())
        return image


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    data = tmp_path_factory.mktemp("prodia-v1")
    build_tiny_sd(data / "tiny")
    build_tiny_sdxl(data / "xl")
    build_tiny_controlnet(data / "controlnets" / "control_v11p_sd15_canny", data / "tiny")
    (data / "loras").mkdir()
    build_tiny_lora(data / "loras" / "more_details_v10.safetensors", data / "tiny")
    (data / "catalog.toml").write_text(CATALOG.format(house=HOUSE_FOLDER))
    variables = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PHOTOGRAM_PRODIA_KEYLESS": "1"}
    with running_service(str(data), KEY, PHOTOGRAM_LOG_LEVEL="WARNING", **variables) as url:
        yield Service(url)


def in_base64(image: Image.Image) -> str:
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return b64encode(buffer.getvalue()).decode()


@pytest.fixture(scope="session")
def image_data() -> str:
    """An image in Base64: a disc on a ground."""
    image = Image.new("RGB", (96, 64), (30, 60, 120))
    ImageDraw.Draw(image).ellipse((20, 10, 70, 55), fill=(220, 200, 40))
    return in_base64(image)


@pytest.fixture(scope="session")
def mask_data() -> str:
    """A mask in Base64: the left half is light."""
    image = Image.new("L", (96, 64), 0)
    ImageDraw.Draw(image).rectangle((0, 0, 47, 63), fill=255)
    return in_base64(image)
