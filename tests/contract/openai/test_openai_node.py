"""The unmodified Node clients: OpenAI's own ``openai``, and Vercel's AI SDK."""

from __future__ import annotations

import base64
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.contract.openai.conftest import KEY

SCRIPT = Path(__file__).parent / "openai.mjs"


def size_of(text: str) -> tuple[int, int]:
    """Width and height of the image in ``text``, which shows something."""
    with Image.open(BytesIO(base64.b64decode(text))) as image:
        assert np.asarray(image.convert("L")).std() > 5
        return image.size


def test_nodes_clients_draw_edit_vary_stream_and_list(base_url: str, node: Any) -> None:
    found = node(SCRIPT, {"prompt": "a red apple", "steps": 4}, base_url, KEY)
    assert [size_of(text) for text in found["generated"]] == [(128, 128)] * 2
    assert (size_of(found["edited"]), size_of(found["varied"])) == ((64, 64), (128, 128))
    assert [kind for kind, _ in found["streamed"]] == ["image_generation.partial_image", "image_generation.completed"]
    assert [size_of(text) for _, text in found["streamed"]] == [(128, 128)] * 2
    assert found["models"] == ["house", "someone/house", "broken"]
    assert found["model"]["object"] == "model"
    assert found["refused"] == [True, "invalid_value", "n"]
    assert (size_of(found["vercel"]), size_of(found["vercelEdited"])) == ((64, 64), (128, 128))
