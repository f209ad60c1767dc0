"""Bodies of Prodia's v1 as real clients fill them, in our words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from models.catalog.auxiliary import AuxiliaryModel
from models.catalog.catalog import Catalog, Limits, ModelSpec
from models.catalog.families import FLUX, SDXL
from models.errors import InvalidTicket
from models.jobs.params import Control, DrawRequest, FaceRestoreRequest, Mask, SecondPass, UpscaleRequest
from models.jobs.tickets import complete
from service.api.prodia_v1.schemas import (
    ProdiaControlNetBody,
    ProdiaFaceRestoreBody,
    ProdiaGenerateBody,
    ProdiaInpaintingBody,
    ProdiaPhotoMakerBody,
    ProdiaTransformBody,
    ProdiaUpscaleBody,
)
from service.api.prodia_v1.translate import to_request, wire_name

SD = ModelSpec(name="sd15", family="stable-diffusion", file=Path("/w/dreamshaper_8.safetensors"))
XL = ModelSpec(name="xl", family=SDXL, folder=Path("/w/xl"), limits=Limits(max_px=1536))
FLOW = ModelSpec(name="flow", family=FLUX, folder=Path("/w/flux"), limits=Limits(min_px=72))
CATALOG = Catalog({"sd15": SD, "xl": XL, "flow": FLOW}, default="sd15", aliases={"v1-5-pruned.ckpt": "house"})
NO_XL = Catalog({"sd15": SD})
URL = "https://example.com/image.png"


def words(catalog: Catalog = CATALOG, is_sdxl: bool = False, **fields: object) -> DrawRequest:
    return to_request(ProdiaGenerateBody.model_validate({"prompt": "x", **fields}), catalog, is_sdxl=is_sdxl)


@pytest.mark.parametrize(
    ("name", "model"),
    [
        (None, "sd15"), ("house", "house"), ("dreamshaper_8.safetensors [9d40847d]", "sd15"),
        ("v1-5-pruned.ckpt [81761151]", "house"), ("sdv1_4.ckpt [7460a6fa]", "sd15"), ("", "sd15"), ("xl", "xl"),
    ],
)  # fmt: skip
def test_model_names(name, model):
    assert words(model=name).model == model


@pytest.mark.parametrize(
    ("catalog", "name", "model"),
    [(CATALOG, None, "xl"), (CATALOG, "sd_xl_base_1.0.safetensors [be9edd61]", "xl"), (CATALOG, "sd15", "sd15"),
     (NO_XL, None, "house"), (NO_XL, "sd_xl_base_1.0.safetensors [be9edd61]", "house"),
     (Catalog({"sd15": SD, "xl": XL, "xl2": replace(XL, name="xl2")}, default="xl2"), None, "xl2")],
)  # fmt: skip
def test_model_names_of_sdxl(catalog, name, model):
    assert words(catalog, is_sdxl=True, model=name).model == model


def test_unknown_names_may_mean_another_model():
    catalog = Catalog({"sd15": SD}, unknown="sd15")
    assert (words(catalog, model="sdv1_4.ckpt").model, words(catalog).model) == ("sd15", "house")


@pytest.mark.parametrize(
    ("asked_px", "model", "drawn_px"),
    [(512, "sd15", 512), (513, "sd15", 512), ("519.0", "sd15", 512), (1, "sd15", 64), (63, "sd15", 64),
     (79, "flow", 80), (1, "flow", 80), (1030, "sd15", 1024), (2000, "sd15", 2000), (0, "sd15", 0), (-8, "sd15", -8),
     (None, "sd15", None)],
)  # fmt: skip
def test_sides_are_rounded_to_what_the_model_draws(asked_px, model, drawn_px):
    request = words(model=model, width=asked_px)
    assert (request.width, request.height) == (drawn_px, None)


@pytest.mark.parametrize(
    ("asked", "drawn"),
    [(5, 5), ("5", 5), (5.0, 5), (0, 0), (-1, None), ("-1.0", None), (None, None), (2**32 + 7, 2**32 + 7),
     (9_999_999_999_999, 9_999_999_999_999), (2**53 - 1, 2**53 - 1), (2**53, 0), (2**53 + 5, 5), (2**64 - 1, 2**53 - 1),
     (2**64, 2**64)],
)  # fmt: skip
def test_seeds(asked, drawn):
    assert words(seed=asked).seed == drawn


@pytest.mark.parametrize(
    ("fields", "changes"),
    [
        ({"upscale": True}, {"second_pass": SecondPass(scale=2.0)}),
        ({"upscale": "True"}, {"second_pass": SecondPass(scale=2.0)}),
        ({"upscale": "false"}, {}),
        ({"style_preset": "fantasty-art"}, {"style_preset": "fantasty-art"}),
        ({"sampler": "dpm++ 2m karras"}, {"sampler": "DPM++ 2M Karras"}),
        ({"sampler": "Euler z"}, {"sampler": "Euler z"}),
        ({"cfg_scale": "7.5", "steps": 20.0}, {"guidance_scale": 7.5, "num_inference_steps": 20}),
        ({"aspect_ratio": "portrait"}, {"width": 512, "height": 768}),
        ({"imageUrl": URL, "unheard_of": {}}, {}),
        (dict.fromkeys(ProdiaGenerateBody.model_fields.keys() - {"prompt"}), {}),
        (dict.fromkeys(ProdiaGenerateBody.model_fields.keys() - {"prompt", "negative_prompt"}, ""), {}),
        (dict.fromkeys(ProdiaGenerateBody.model_fields.keys() - {"prompt", "negative_prompt"}, " "), {}),
        ({"negative_prompt": ""}, {"negative_prompt": ""}),
    ],
)
def test_words(fields, changes):
    assert words(**fields) == replace(words(), **changes)


def test_the_misspelt_style_is_drawn():
    assert complete(words(style_preset="fantasty-art"), CATALOG).style_preset == "fantasy-art"


@pytest.mark.parametrize(
    ("fields", "image"),
    [({"imageUrl": URL}, URL), ({"imageUrl": f" {URL}\n"}, URL), ({"imageData": "aGVs\nbG8=\n"}, "aGVsbG8="),
     ({"imageUrl": None, "imageData": "aGVsbG8="}, "aGVsbG8="), ({"imageUrl": "", "imageData": "aGVsbG8="}, "aGVsbG8="),
     ({"imageUrl": URL, "imageData": "aGVsbG8="}, URL), ({}, None)],
)  # fmt: skip
def test_images(fields, image):
    request = to_request(ProdiaTransformBody.model_validate({"prompt": "x", **fields}), CATALOG, is_sdxl=False)
    assert (request.kind, request.image, request.strength, request.resize_mode) == ("img2img", image, 0.7, "stretch")


@pytest.mark.parametrize(
    ("fields", "mask"),
    [
        ({}, Mask(image=URL)),
        ({"mask_blur": "6", "inpainting_fill": 0}, Mask(image=URL, blur_px=6, fill="fill")),
        ({"inpainting_fill": 1, "inpainting_mask_invert": 0}, Mask(image=URL)),
        ({"inpainting_fill": "2", "inpainting_mask_invert": 1}, Mask(image=URL, fill="latent_noise", invert=True)),
        ({"inpainting_fill": 3.0, "inpainting_mask_invert": "1"},
         Mask(image=URL, fill="latent_nothing", invert=True)),
        ({"inpainting_full_res": True}, Mask(image=URL, only_masked=True)),
        ({"inpainting_full_res": "true"}, Mask(image=URL, only_masked=True)),
        ({"inpainting_full_res": 1, "mask_blur": None}, Mask(image=URL, only_masked=True)),
        ({"inpainting_full_res": "false", "inpainting_fill": None}, Mask(image=URL)),
    ],
)  # fmt: skip
def test_masks(fields, mask):
    body = {"prompt": "x", "imageUrl": URL, "maskUrl": URL, "denoising_strength": "0.4", **fields}
    request = to_request(ProdiaInpaintingBody.model_validate(body), CATALOG, is_sdxl=False)
    assert (request.kind, request.image, request.mask, request.strength) == ("inpaint", URL, mask, 0.4)


@pytest.mark.parametrize(
    ("fields", "control"),
    [
        ({}, {}),
        ({"control_mode": 1}, {"mode": "prompt"}),
        ({"controlnet_mode": 2}, {"mode": "control"}),
        ({"resize_mode": 0}, {"resize_mode": "stretch"}),
        ({"resize_mode": "2"}, {"resize_mode": "fill"}),
        ({"controlnet_module": "canny", "threshold_a": 50, "threshold_b": 150},
         {"preprocessor": "canny", "threshold_a": 50, "threshold_b": 150}),
        ({"controlnet_module": "canny", "threshold_a": 0, "threshold_b": 300}, {"preprocessor": "canny"}),
        ({"controlnet_module": "color", "threshold_a": 100, "threshold_b": 200}, {"preprocessor": "color"}),
        ({"controlnet_module": "tile_resample", "threshold_a": 100}, {"preprocessor": "tile_resample"}),
        ({"controlnet_module": "nobody's", "threshold_a": 100}, {"preprocessor": "nobody's"}),
    ],
)  # fmt: skip
def test_controls(fields, control):
    name = "control_v11p_sd15_canny [d14c016b]"
    body = {"prompt": "x", "imageUrl": URL, "controlnet_model": name, **fields}
    request = to_request(ProdiaControlNetBody.model_validate(body), CATALOG, is_sdxl=False)
    assert request == replace(words(), controls=(Control(model=name, image=URL, **control),))


def test_what_clients_leave_out_of_an_upscale():
    weights = AuxiliaryModel(name="ESRGAN_4x", path=Path("/w/ESRGAN_4x.pth"))
    able = Catalog({}, extras={"upscalers": {"ESRGAN_4x": weights}})
    body = ProdiaUpscaleBody.model_validate({"imageUrl": URL})
    assert to_request(body, CATALOG, is_sdxl=False) == UpscaleRequest(image=URL)
    assert to_request(body, able, is_sdxl=False) == UpscaleRequest(image=URL, upscaler="ESRGAN_4x")
    named = ProdiaUpscaleBody.model_validate({"imageUrl": URL, "resize": 4.0, "model": "Nearest"})
    assert to_request(named, able, is_sdxl=False) == UpscaleRequest(image=URL, scale=4, upscaler="Nearest")


def test_calls_on_faces():
    body = ProdiaFaceRestoreBody.model_validate({"imageData": "aGVsbG8="})
    assert to_request(body, CATALOG, is_sdxl=False) == FaceRestoreRequest(image="aGVsbG8=")
    person = ProdiaPhotoMakerBody.model_validate({"imageUrls": [URL], "imageData": [], "prompt": "man img"})
    with pytest.raises(InvalidTicket, match="request: photomaker is not available"):
        to_request(person, CATALOG, is_sdxl=False)


@pytest.mark.parametrize("body", [ProdiaUpscaleBody, ProdiaFaceRestoreBody])
def test_an_image_is_needed(body):
    with pytest.raises(InvalidTicket, match="imageUrl: is required, or imageData"):
        to_request(body.model_validate({}), CATALOG, is_sdxl=False)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("num_inference_steps", "steps"), ("guidance_scale", "cfg_scale"), ("second_pass.strength", "upscale"),
     ("second_pass", "upscale"), ("controls[0].preprocessor", "controlnet_module"), ("width", "width")],
)  # fmt: skip
def test_errors_name_prodias_fields(ours, theirs):
    assert wire_name(ours) == theirs
