"""One running service with the built-in model, and OpenAI's own client pointed at it."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest

from models.catalog.catalog import HOUSE_FOLDER
from service.short_lived import running_service

KEY = "a-key-for-openai-clients"
CATALOG = f"""
[models."someone/house"]
folder = "{HOUSE_FOLDER}"
defaults = {{ width = 64, height = 64, num_inference_steps = 2 }}
[models.broken]
folder = "nowhere"
"""


@pytest.fixture(scope="session")
def base_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    data = tmp_path_factory.mktemp("openai")
    (data / "catalog.toml").write_text(CATALOG)
    with running_service(str(data), KEY, HF_HUB_OFFLINE="1", OMP_NUM_THREADS="1", PHOTOGRAM_LOG_LEVEL="WARNING") as url:
        yield f"{url}/v1"


@pytest.fixture
def client(base_url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=base_url, api_key=KEY, max_retries=0, timeout=60) as client:
        yield client
