"""Pictures that carry how they were drawn: for us, for galleries, and for clients that search the bytes."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from io import BytesIO

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from models import png
from models.errors import UnreadablePicture
from models.params import PROMPT_MAX_CHARS, SEED_MAX, Txt2ImgParams

PARAMS = Txt2ImgParams(
    prompt="a cat", negative_prompt="rain", model="house", sampler="DPM++ 2M Karras", num_inference_steps=20,
    guidance_scale=7.5, seed=4294967295, width=512, height=384,
)  # fmt: skip
PICTURE = Image.effect_noise((64, 48), 80).convert("RGB")


def opened(data: bytes) -> Image.Image:
    with Image.open(BytesIO(data)) as picture:
        picture.load()
        return picture


@pytest.mark.parametrize(
    "prompt",
    [
        "a cat",
        "café, naïve",
        "東京の猫 😀 \u202e\u0301",
        "one\ntwo\r\n\tthree\n",
        "Negative prompt: x\nSteps: 1, Seed: 2",
        '"quoted", \\back\\slash\\, {json}',
        "x" * PROMPT_MAX_CHARS,
        "é" * PROMPT_MAX_CHARS,
        "😀" * PROMPT_MAX_CHARS,
    ],
)
def test_parameters_come_back_as_they_went_in(prompt: str) -> None:
    params = replace(PARAMS, prompt=prompt, negative_prompt=prompt, seed=SEED_MAX)
    data = png.encode(PICTURE, params)
    request = png.read_request(data)
    assert request == {"kind": "txt2img", "params": params.to_payload()}
    assert Txt2ImgParams.from_payload(request["params"]) == params
    picture = opened(data)
    assert picture.tobytes() == PICTURE.tobytes()
    assert picture.info["parameters"] == png.a1111_parameters(params)


def test_the_text_is_what_a1111_writes() -> None:
    assert png.a1111_parameters(PARAMS) == (
        "a cat\nNegative prompt: rain\n"
        "Steps: 20, Sampler: DPM++ 2M Karras, CFG scale: 7.5, Seed: 4294967295, Size: 512x384, Model: house, "
        "Version: Photogram"
    )
    assert png.a1111_parameters(replace(PARAMS, negative_prompt="", guidance_scale=7.0)).startswith(
        "a cat\nSteps: 20, Sampler: DPM++ 2M Karras, CFG scale: 7, Seed"
    )


@pytest.mark.parametrize("prompt", ["a cat", "a cat in 東京"])
def test_old_clients_find_the_settings_in_the_first_bytes(prompt: str) -> None:
    head = png.encode(PICTURE, replace(PARAMS, prompt=prompt))[:4000].decode("utf-8", "replace")
    found = re.search(r"Seed: (\d+)", head)
    assert found and found[1] == "4294967295"
    for text in ("parameters", "Negative prompt: rain", "Steps: 20", "Sampler: DPM++ 2M Karras", "CFG scale: 7.5"):
        assert text in head
    assert "Size: 512x384" in head and "Model: house" in head


def foreign(**chunks: str) -> bytes:
    info, buffer = PngInfo(), BytesIO()
    for name, text in chunks.items():
        info.add_text(name, text)
    PICTURE.save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def test_a_picture_of_somebody_else_has_no_request() -> None:
    assert png.read_request(foreign()) is None
    assert png.read_request(foreign(parameters="a cat\nSteps: 20", Software="other")) is None


def jpeg() -> bytes:
    buffer = BytesIO()
    PICTURE.save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x89PNG\r\n\x1a\n",
        b"no picture at all",
        bytes(range(256)) * 20,
        png.encode(PICTURE, PARAMS)[:60],
        foreign(photogram="{"),
        foreign(photogram="[1, 2]"),
        foreign(photogram=json.dumps("text")),
        jpeg(),
    ],
)
def test_bytes_that_cannot_be_read_are_a_clear_error(data: bytes) -> None:
    with pytest.raises(UnreadablePicture, match="picture"):
        png.read_request(data)


def test_damage_at_any_byte_is_no_surprise() -> None:
    data = png.encode(PICTURE.resize((8, 8)), PARAMS)
    for place in range(0, len(data), 3):
        for broken in (data[:place], data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]):
            try:
                png.read_request(broken)
            except UnreadablePicture:
                continue
