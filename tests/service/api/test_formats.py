"""Finished images as files of other formats: they look the same, and say the same of themselves."""

from __future__ import annotations

from io import BytesIO

import pytest
from PIL import Image, ImageChops

from models.jobs.params import DrawParams
from models.media import png
from service.api.errors import ApiError
from service.api.formats import JPEG, PNG, WEBP, ImageFormat, convert


def stored(prompt: str = "a café in 東京") -> bytes:
    image = Image.linear_gradient("L").resize((64, 48)).convert("RGB")
    params = DrawParams(
        prompt=prompt, negative_prompt="", model="house", sampler="Euler", num_inference_steps=4,
        guidance_scale=3.0, seed=77, width=64, height=48,
    )  # fmt: skip
    return png.encode(image, "txt2img", params)


def test_png_stays_as_it_is():
    assert convert(stored(), PNG) == stored()


@pytest.mark.parametrize("wanted", [JPEG, WEBP])
def test_an_image_keeps_its_looks_and_its_parameters(wanted: ImageFormat):
    data = convert(stored(), wanted)
    image = Image.open(BytesIO(data))
    assert image.get_format_mimetype() == wanted.media_type and image.size == (64, 48)
    difference = ImageChops.difference(image.convert("RGB"), Image.open(BytesIO(stored())))
    assert max(high for _, high in difference.getextrema()) < 16
    parameters, _ = png.read_texts(data)
    assert parameters.startswith("a café in 東京\n") and "Seed: 77," in parameters


def test_quality_and_progression_are_heeded():
    assert len(convert(stored(), JPEG, quality=20)) < len(convert(stored(), JPEG))
    assert "progressive" in Image.open(BytesIO(convert(stored(), JPEG, is_progressive=True))).info


@pytest.mark.parametrize("wanted", [JPEG, WEBP])
def test_parameters_that_do_not_fit_are_left_out(wanted: ImageFormat):
    assert png.read_texts(convert(stored("🍎" * 20_000), wanted))[0] == ""


def test_an_image_that_says_nothing_of_itself():
    buffer = BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG")
    assert Image.open(BytesIO(convert(buffer.getvalue(), JPEG))).size == (8, 8)


@pytest.mark.parametrize(("wanted", "side"), [(JPEG, 65_500), (WEBP, 16_383)])
def test_an_image_too_long_for_the_format_is_refused(wanted: ImageFormat, side: int):
    for size in ((side, 1), (1, side)):
        assert Image.open(BytesIO(convert(flat(size), wanted))).size == size
    for size in ((side + 1, 1), (1, side + 1)):
        with pytest.raises(ApiError, match=f"at most {side}"):
            convert(flat(size), wanted)


def flat(size: tuple[int, int]) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", size).save(buffer, "PNG")
    return buffer.getvalue()
