"""From OpenAI's terms to ours: models, sizes, qualities, styles, and what is transparent in an image."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from models.catalog.catalog import Catalog, Limits, ModelSpec, house_spec
from models.jobs.params import LoraUse, Mask
from service.api.openai.errors import OpenAiError
from service.api.openai.form_images import FormImages, mask_of_alpha, upright_size
from service.api.openai.response_format import ResponseFormat
from service.api.openai.schemas import EditForm, GenerateBody, VariationForm
from service.api.openai.translate import edit, find_model, fitted, generation, variation

CATALOG = Catalog({"dall-e-2": ModelSpec(name="dall-e-2", family="sdxl", folder=Path("/nowhere"))})
IMAGES = FormImages(image="input:1", mask=None, size=(300, 200), prompt=None)


def form(model: type, **fields: object):
    return model.model_validate({"image": [b"x"], **fields}, strict=False)


def png(image: Image.Image, **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()


def test_openais_names_mean_the_default_model_unless_the_catalog_has_them():
    for name in (
        "", "default", "auto", "openai/dall-e-3", "azure/gpt-image-1", "openai/default", "openai/house", "HOUSE",
        "DALL-E-3", " house ", "dalle-3", "litellm_proxy/openai/gpt-image-1",
    ):  # fmt: skip
        assert find_model(name, CATALOG).name == "house"
    for name in (None, "dall-e-3", "gpt-image-1", "gpt-image-2.5-flare-2026-09-08", "chatgpt-image-latest", "house"):
        assert find_model(name, CATALOG).name == "house"
    assert find_model("dall-e-2", CATALOG).name == find_model("openai/dall-e-2", CATALOG).name == "dall-e-2"
    for name in ("gpt-4o", "openai/nobody", "dall-e-4"):
        with pytest.raises(OpenAiError) as caught:
            find_model(name, CATALOG)
        assert (caught.value.status, caught.value.wire_code) == (404, "model_not_found")


@pytest.mark.parametrize(
    ("quality", "steps"),
    [(None, None), ("auto", None), ("standard", None), ("medium", None), ("low", 10), ("high", 40), ("hd", 40),
     ("xhigh", 60), ("max", 80)],
)  # fmt: skip
def test_the_quality_is_a_share_of_the_usual_steps(quality, steps):
    assert generation(GenerateBody(prompt="x", quality=quality), CATALOG).num_inference_steps == steps


def test_the_quality_stays_below_what_the_model_may_take():
    short = replace(house_spec(), name="short", limits=Limits(max_steps=30))
    body = GenerateBody(prompt="x", quality="max", model="short")
    assert generation(body, Catalog({"short": short})).num_inference_steps == 30


def test_everything_of_a_request_arrives():
    body = GenerateBody(
        prompt="x", size="512x768", style="vivid", quality="medium", steps=5, seed=1, negative_prompt="y",
        guidance_scale=2, sampler="k_euler_a", clip_skip=2, priority=1, loras=[{"name": "film", "weight": 0.5}],
    )  # fmt: skip
    request = generation(body, CATALOG)
    assert (request.width, request.height, request.style_preset) == (512, 768, "cinematic")
    assert (request.num_inference_steps, request.seed, request.negative_prompt) == (5, 1, "y")
    assert (request.guidance_scale, request.sampler, request.clip_skip, request.priority) == (2, "Euler a", 2, 1)
    assert request.loras == (LoraUse(name="film", weight=0.5),)


def test_an_edit_is_img2img_or_inpaint_at_the_size_of_the_image():
    whole = edit(form(EditForm, prompt="x", input_fidelity="high"), IMAGES, CATALOG)
    assert (whole.kind, whole.strength, whole.width, whole.height) == ("img2img", 0.5, 304, 200)
    masked = edit(form(EditForm, prompt="x", input_fidelity="high"), replace(IMAGES, mask="input:2"), CATALOG)
    assert (masked.kind, masked.strength, masked.mask) == ("inpaint", None, Mask(image="input:2"))
    text = form(EditForm, prompt="x", n="2", stream="true", strength="0.3", loras='[{"name": "film"}]', size="64x64")
    assert (text.n, text.stream, text.loras[0].name) == (2, True, "film")
    assert edit(text, IMAGES, CATALOG).strength == 0.3


def test_a_variation_takes_its_words_from_the_request_or_the_image():
    recorded = replace(IMAGES, prompt="a cat")
    assert variation(form(VariationForm, prompt="a dog"), recorded, CATALOG).prompt == "a dog"
    of_ours = variation(form(VariationForm), recorded, CATALOG)
    assert (of_ours.prompt, of_ours.guidance_scale, of_ours.strength) == ("a cat", None, 0.5)
    of_others = variation(form(VariationForm), IMAGES, CATALOG)
    assert (of_others.prompt, of_others.guidance_scale) == ("an image", 1.0)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((300, 200), (304, 200)), ((4000, 2000), (2048, 1024)), ((10, 20), (64, 128)), ((5000, 2), (2048, 64)),
     ((1, 1), (64, 64)), ((1024, 1023), (1024, 1024))],
)  # fmt: skip
def test_sizes_are_brought_within_the_limits_and_keep_their_shape(size, expected):
    assert fitted(size, house_spec()) == expected


def test_a_mask_is_light_where_the_image_is_fully_transparent():
    image = Image.new("RGBA", (4, 1), (9, 9, 9, 255))
    image.putpixel((0, 0), (9, 9, 9, 0))
    image.putpixel((1, 0), (9, 9, 9, 1))
    with Image.open(BytesIO(mask_of_alpha(png(image), "mask"))) as found:
        assert (found.mode, list(found.tobytes())) == ("L", [255, 0, 0, 0])
    palette = Image.new("P", (2, 1), 1)
    palette.putpixel((1, 0), 0)
    with Image.open(BytesIO(mask_of_alpha(png(palette, transparency=0), "mask"))) as found:
        assert list(found.tobytes()) == [0, 255]
    for without in (Image.new("RGB", (4, 1)), Image.new("RGBA", (4, 1), (0, 0, 0, 9))):
        assert mask_of_alpha(png(without), "mask") is None


def test_images_are_measured_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert upright_size(png(Image.new("RGB", (30, 20)), exif=exif)) == (20, 30)


def test_the_model_decides_between_links_and_base64_where_the_request_does_not():
    assert ResponseFormat.of(GenerateBody(prompt="x")).is_url
    assert ResponseFormat.of(GenerateBody(prompt="x", model="dall-e-3")).is_url
    assert not ResponseFormat.of(GenerateBody(prompt="x", model="gpt-image-1-mini")).is_url
    assert ResponseFormat.of(GenerateBody(prompt="x", model="gpt-image-1", response_format="url")).is_url
    assert not ResponseFormat.of(GenerateBody(prompt="x", stream=True)).is_url


@pytest.mark.parametrize(
    ("size", "expected"),
    [("512x768", (512, 768)), ("512X768", (512, 768)), ("512 × 768", (512, 768)), (" 512*768 ", (512, 768)),
     ("300x200", (304, 200)), ("65x2047", (64, 2048)), ("16:9", (168, 96)), ("9:16", (96, 168)), ("1:1", (128, 128)),
     ("1K", (1024, 1024)), ("2k", (2048, 2048)), ("8K", (2048, 2048)), ("auto", (None, None)), ("", (None, None)),
     ("AUTO", (None, None)), ("512px x 768px", (512, 768))],
)  # fmt: skip
def test_sizes_are_read_as_clients_write_them(size, expected):
    request = generation(GenerateBody(prompt="x", size=size), CATALOG)
    assert (request.width, request.height) == expected


@pytest.mark.parametrize("size", ["63x64", "64x4096", "1x1"])
def test_a_size_beyond_the_limits_is_refused(size):
    with pytest.raises(OpenAiError, match=r"^size: each side must have from 64 to 2048 pixels for house$"):
        generation(GenerateBody(prompt="x", size=size), CATALOG)


@pytest.mark.parametrize("size", ["512", "x", "512x", "0:0", "1:0", "9K", "0K", "-1x5", "1e3x5", "512x768x3", "large"])
def test_a_size_of_no_form_is_refused(size):
    with pytest.raises(OpenAiError, match="size: must be auto"):
        generation(GenerateBody(prompt="x", size=size), CATALOG)


def test_width_and_height_stand_for_a_size():
    request = generation(GenerateBody(prompt="x", width=300), CATALOG)
    assert (request.width, request.height) == (304, 128)
    with pytest.raises(OpenAiError, match="together with width"):
        generation(GenerateBody(prompt="x", width=300, size="64x64"), CATALOG)


@pytest.mark.parametrize(("seed", "expected"), [(-1, None), (-7, None), (0, 0), (2**53, 0), (2**64 - 1, 2**53 - 1)])
def test_seeds_of_other_programs_are_folded(seed, expected):
    assert generation(GenerateBody(prompt="x", seed=seed), CATALOG).seed == expected


def test_other_names_of_a_parameter_agree_or_are_refused():
    request = generation(GenerateBody(prompt="x", steps=3, step=3, cfg_scale=2.5, guidance_scale=2.5), CATALOG)
    assert (request.num_inference_steps, request.guidance_scale) == (3, 2.5)
    for wrong in ({"steps": 3, "step": 4}, {"cfg_scale": 1, "guidance_scale": 2}):
        with pytest.raises(OpenAiError, match="send only one"):
            generation(GenerateBody(prompt="x", **wrong), CATALOG)
