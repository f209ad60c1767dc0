"""One running service that draws with the built-in model, as clients of Prodia's v2 see it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import psutil
import pytest
from PIL import Image, ImageDraw

from models.catalog.catalog import HOUSE_FOLDER
from models.jobs.records import JobRecord
from service.backbone.connections import connect
from service.backbone.keyspace import record_key
from service.backbone.records import read_hash
from service.short_lived import running_service
from tests.tiny import build_tiny_sdxl

KEY = "a-key-for-clients-of-prodia-v2"
CATALOG = """
default = "paint"
[models.paint]
folder = "{house}"
defaults = {{ width = 128, height = 128, num_inference_steps = 2, guidance_scale = 3 }}
limits = {{ max_steps = 1000 }}
[models.tiny-xl]
folder = "xl"
family = "sdxl"
defaults = {{ width = 64, height = 64, num_inference_steps = 2 }}
"""


@dataclass(frozen=True)
class Service:
    """A service that runs."""

    url: str
    data: Path
    key: str = KEY

    @property
    def base(self) -> str:
        """What clients call the base URL."""
        return f"{self.url}/v2"

    def newest_job(self, wanted: Callable[[JobRecord], bool]) -> JobRecord | None:
        """The job that was accepted last of those that are ``wanted``, as the service's own Valkey has it."""
        environments = (process.info["environ"] or {} for process in psutil.process_iter(["environ"]))
        ours = (each for each in environments if each.get("PHOTOGRAM_DATA") == str(self.data) and "REDIS_URL" in each)
        with connect(next(ours)["REDIS_URL"], "photogram-test") as connection:
            records = [read_hash(connection.hgetall(key)) for key in connection.scan_iter(record_key(36 * "?"))]
        return max(filter(wanted, records), key=lambda record: record.created_at, default=None)


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    data = tmp_path_factory.mktemp("prodia-v2")
    build_tiny_sdxl(data / "xl")
    (data / "catalog.toml").write_text(CATALOG.format(house=HOUSE_FOLDER))
    variables = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PHOTOGRAM_LOG_LEVEL": "WARNING"}
    with running_service(str(data), KEY, **variables) as url:
        yield Service(url, data)


def as_png(image: Image.Image) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="session")
def disc() -> bytes:
    """An image to start from: a disc on a ground."""
    image = Image.new("RGB", (128, 96), (30, 60, 120))
    ImageDraw.Draw(image).ellipse((20, 10, 90, 80), fill=(220, 200, 40))
    return as_png(image)


@pytest.fixture(scope="session")
def left_half() -> bytes:
    """A mask: the left half is light."""
    image = Image.new("L", (128, 96), 0)
    ImageDraw.Draw(image).rectangle((0, 0, 63, 95), fill=255)
    return as_png(image)


def opened(data: bytes) -> Image.Image:
    """The image in ``data``; it is whole, and not of one colour."""
    image = Image.open(BytesIO(data))
    image.load()
    assert any(low < high for low, high in image.convert("RGB").getextrema())
    return image
