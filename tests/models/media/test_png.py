"""Images that carry how they were drawn: for us, for galleries, and for clients that search the bytes."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from io import BytesIO

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from models.catalog.families import IMG2IMG, INPAINT, TXT2IMG
from models.errors import UnreadableImage
from models.jobs.kinds import find_kind
from models.jobs.params import (
    PROMPT_MAX_CHARS,
    SEED_MAX,
    UPSCALE,
    Control,
    DrawParams,
    FaceRestoreParams,
    JobParams,
    LoraUse,
    Mask,
    Refiner,
    SecondPass,
    UpscaleParams,
)
from models.jobs.rewrite import Rewrite
from models.media import png
from models.media.infotext import a1111_parameters

PARAMS = DrawParams(
    prompt="a cat", negative_prompt="rain", model="house", sampler="DPM++ 2M Karras", num_inference_steps=20,
    guidance_scale=7.5, seed=4294967295, width=512, height=384,
)  # fmt: skip
IMAGE = Image.effect_noise((64, 48), 80).convert("RGB")


def opened(data: bytes) -> Image.Image:
    with Image.open(BytesIO(data)) as image:
        image.load()
        return image


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
    data = png.encode(IMAGE, TXT2IMG, params)
    request = png.read_request(data)
    assert request is not None and request["kind"] == "txt2img"
    assert DrawParams.from_payload(request["params"]) == params
    image = opened(data)
    assert image.tobytes() == IMAGE.tobytes()
    assert image.info["parameters"] == a1111_parameters(TXT2IMG, params)


def test_the_text_is_what_a1111_writes() -> None:
    assert a1111_parameters(TXT2IMG, PARAMS) == (
        "a cat\nNegative prompt: rain\n"
        "Steps: 20, Sampler: DPM++ 2M Karras, CFG scale: 7.5, Seed: 4294967295, Size: 512x384, Model: house, "
        "Version: Photogram"
    )
    assert a1111_parameters(TXT2IMG, replace(PARAMS, negative_prompt="", guidance_scale=7.0)).startswith(
        "a cat\nSteps: 20, Sampler: DPM++ 2M Karras, CFG scale: 7, Seed"
    )


RICH = replace(
    PARAMS,
    prompt="a hat",
    clip_skip=2,
    style_preset="anime",
    loras=(LoraUse(name="film", weight=0.5), LoraUse(name="grain", weight=-1.0)),
    image="input:0",
    strength=0.6,
    mask=Mask(image="input:1", only_masked=True, fill="latent_noise"),
    controls=(Control(model="canny, new", preprocessor="canny", threshold_a=10.0),),
    second_pass=SecondPass(scale=1.5, num_inference_steps=9),
    refiner=Refiner(model="fine", start=0.75),
    priority=2,
)


def test_the_text_of_everything_at_once_is_what_a1111_writes() -> None:
    prompt, _, settings = a1111_parameters(INPAINT, RICH).split("\n")
    assert prompt == "a hat <lora:film:0.5> <lora:grain:-1>"
    assert settings == (
        "Steps: 20, Sampler: DPM++ 2M Karras, CFG scale: 7.5, Seed: 4294967295, Size: 512x384, Model: house, "
        "Clip skip: 2, Style preset: anime, Denoising strength: 0.6, Mask blur: 4, Masked content: latent noise, "
        'Inpaint area: Only masked, Masked area padding: 32, ControlNet 0: "Module: canny, Model: canny, new, '
        'Weight: 1, Guidance Start: 0, Guidance End: 1, Control Mode: balanced, Resize Mode: crop", '
        "Hires denoising strength: 0.5, Hires upscale: 1.5, Hires steps: 9, Hires upscaler: Lanczos, "
        "Refiner: fine, Refiner switch at: 0.75, Version: Photogram"
    )
    hires = a1111_parameters(TXT2IMG, replace(PARAMS, second_pass=SecondPass(num_inference_steps=3)))
    assert ", Denoising strength: 0.5, Hires upscale: 2, Hires steps: 3" in hires


@pytest.mark.parametrize(
    ("kind", "params", "text"),
    [
        (IMG2IMG, replace(PARAMS, image="input:0", strength=0.5), "Denoising strength: 0.5"),
        (INPAINT, RICH, "Mask blur: 4"),
        (UPSCALE, UpscaleParams(image="input:0", scale=2, upscaler="Lanczos"), "Postprocess upscaler: Lanczos"),
        ("face_restore", FaceRestoreParams(image="input:0"), "Version: Photogram"),
    ],
)
def test_every_kind_comes_back_but_for_its_priority(kind: str, params: JobParams, text: str) -> None:
    data = png.encode(IMAGE, kind, params)
    request = png.read_request(data)
    assert request is not None and request["kind"] == kind and "priority" not in request["params"]
    assert find_kind(kind).params.from_payload(request["params"]) == replace(params, priority=0)
    assert text in opened(data).info["parameters"]


@pytest.mark.parametrize("prompt", ["a cat", "a cat in 東京"])
def test_old_clients_find_the_settings_in_the_first_bytes(prompt: str) -> None:
    head = png.encode(IMAGE, TXT2IMG, replace(PARAMS, prompt=prompt))[:4000].decode("utf-8", "replace")
    found = re.search(r"Seed: (\d+)", head)
    assert found and found[1] == "4294967295"
    for text in ("parameters", "Negative prompt: rain", "Steps: 20", "Sampler: DPM++ 2M Karras", "CFG scale: 7.5"):
        assert text in head
    assert "Size: 512x384" in head and "Model: house" in head


def foreign(**chunks: str) -> bytes:
    info, buffer = PngInfo(), BytesIO()
    for name, text in chunks.items():
        info.add_text(name, text)
    IMAGE.save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def test_an_image_of_somebody_else_has_no_request() -> None:
    assert png.read_request(foreign()) is None
    assert png.read_request(foreign(parameters="a cat\nSteps: 20", Software="other")) is None


def jpeg() -> bytes:
    buffer = BytesIO()
    IMAGE.save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x89PNG\r\n\x1a\n",
        b"no image at all",
        bytes(range(256)) * 20,
        png.encode(IMAGE, TXT2IMG, PARAMS)[:60],
        foreign(photogram="{"),
        foreign(photogram="[1, 2]"),
        foreign(photogram=json.dumps("text")),
        jpeg(),
    ],
)
def test_bytes_that_cannot_be_read_are_a_clear_error(data: bytes) -> None:
    with pytest.raises(UnreadableImage, match="image"):
        png.read_request(data)


def test_damage_at_any_byte_is_no_surprise() -> None:
    data = png.encode(IMAGE.resize((8, 8)), TXT2IMG, PARAMS)
    for place in range(0, len(data), 3):
        for broken in (data[:place], data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]):
            try:
                png.read_request(broken)
            except UnreadableImage:
                continue


@pytest.mark.parametrize("original", ["a cat", "eine Katze mit Hut, 猫"])
def test_an_image_of_a_rewritten_prompt_says_what_the_user_wrote(original: str) -> None:
    drawn = replace(PARAMS, prompt=f"{original}, golden hour")
    data = png.encode(IMAGE, TXT2IMG, drawn, original)
    assert opened(data).info["original_prompt"] == original
    request = png.read_request(data)
    assert request is not None and DrawParams.from_payload(request["params"]) == drawn
    assert "original_prompt" not in opened(png.encode(IMAGE, TXT2IMG, drawn)).info


def test_a_rewrite_is_applied_once_and_for_all() -> None:
    asked = replace(PARAMS, enhance_prompt=True, enhance_negative_prompt=True, negative_prompt="")
    drawn = Rewrite(status="applied", revised_prompt="a cat, rain", revised_negative_prompt="fog").applied_to(asked)
    assert (drawn.prompt, drawn.negative_prompt) == ("a cat, rain", "fog")
    assert not drawn.enhance_prompt and not drawn.enhance_negative_prompt
    assert Rewrite(status="timeout").applied_to(asked) == replace(
        asked, enhance_prompt=False, enhance_negative_prompt=False
    )


@pytest.mark.parametrize(
    ("metadata", "chunks"),
    [("full", {"parameters", "photogram", "original_prompt"}), ("drawn", {"parameters", "photogram"}), ("none", set())],
)
def test_a_file_says_no_more_than_the_job_allows(metadata: str, chunks: set[str]) -> None:
    source = IMAGE.copy()
    exif = Image.Exif()
    exif[0x010E] = "a secret of the source"
    source.info = {"comment": "a secret of the source", "icc_profile": b"a secret", "exif": exif.tobytes()}
    data = png.encode(source, TXT2IMG, replace(PARAMS, metadata=metadata), "what the user wrote")
    image = opened(data)
    assert set(image.info) == chunks and image.tobytes() == IMAGE.tobytes()
    assert b"secret" not in data and (b"what the user wrote" in data) is (metadata == "full")
    assert (b"a cat" in data) is (metadata != "none")
    assert source.info["comment"] == "a secret of the source", "the image itself is unchanged"


def test_metadata_is_not_a_part_of_the_request_in_a_file() -> None:
    drawn = png.read_request(png.encode(IMAGE, TXT2IMG, replace(PARAMS, metadata="drawn")))
    assert drawn == png.read_request(png.encode(IMAGE, TXT2IMG, PARAMS))
    assert "metadata" not in PARAMS.to_payload(), "records look as in earlier versions"
    for metadata in ("full", "drawn", "none"):
        params = replace(PARAMS, metadata=metadata)
        assert DrawParams.from_payload(params.to_payload()) == params


@pytest.mark.parametrize(("chunks", "kib"), [(1, 900), (20, 100), (60, 1000), (3, 1100)])
def test_texts_that_are_far_larger_than_the_file_are_left_out(chunks: int, kib: int) -> None:
    info = PngInfo()
    for number in range(chunks):
        info.add_text(f"chunk {number}", "x" * (kib << 10), zip=True)
    buffer = BytesIO()
    IMAGE.save(buffer, "PNG", pnginfo=info)
    data = buffer.getvalue()
    assert len(data) < 200_000
    try:
        texts = png.read_texts(data)[1]
    except UnreadableImage:
        assert (chunks, kib) == (60, 1000), "Pillow unpacks no more than 8 MiB"
        return
    assert sum(map(len, texts.values())) <= len(data) + (1 << 20)
    assert texts or kib > 1024


def test_long_texts_that_are_not_compressed_are_read() -> None:
    info = PngInfo()
    info.add_text("workflow", "x" * (3 << 20))
    buffer = BytesIO()
    IMAGE.save(buffer, "PNG", pnginfo=info)
    assert len(png.read_texts(buffer.getvalue())[1]["workflow"]) == 3 << 20
