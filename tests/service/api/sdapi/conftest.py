"""Fixtures of the tests of A1111's API."""

from __future__ import annotations

import httpx
import pytest

from service.api.app import create_app
from service.backbone.ledger import Ledger
from service.backbone.store import ImageStore
from tests.service.api.sdapi.sdapi_calls import Calls
from tests.weight_files import FILES


@pytest.fixture
def calls(client, worker, redis) -> Calls:
    return Calls(client, worker, redis)


CATALOG = """
[faces]
restorer = { file = "a.pth" }
detector = { file = "b.onnx" }
[models.fine]
folder = "fine"
family = "sdxl"
[models."base one"]
folder = "base"
family = "sdxl"
defaults = { width = 128, height = 128 }
[controlnets]
canny = { file = "canny.safetensors", aliases = ["control_v11p_sd15_canny"] }
[embeddings]
good = { file = "good.safetensors" }
lost = { file = "lost.safetensors" }
[upscalers]
"R-ESRGAN 4x+" = { file = "sharp.safetensors" }
"""


@pytest.fixture
def cataloged(serve, settings, data, key, redis, worker):
    """The same with a server of its own, whose catalog has something of everything."""
    for name, table in (("canny", "controlnets"), ("good", "embeddings"), ("sharp", "upscalers")):
        (data / f"{name}.safetensors").write_bytes(FILES[table])
    for model in ("fine", "base"):
        (data / model).mkdir()
        (data / model / "model_index.json").write_text("{}")
    (data / "catalog.toml").write_text(CATALOG)
    hand = type(worker)(Ledger(redis, 3600), ImageStore(settings.images_folder))
    with serve(create_app(settings)) as url, httpx.Client(base_url=url, auth=("x", key), timeout=20) as client:
        yield Calls(client, hand, redis)
