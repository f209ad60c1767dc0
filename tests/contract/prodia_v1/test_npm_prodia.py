"""The unmodified npm packages ``prodia`` (its v1) and ``prodia.js``, through every call that they have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models.catalog.samplers import LISTED

HERE = Path(__file__).parent
CONTROLNET = "control_v11p_sd15_canny [d14c016b]"
WORDS = {"prompt": "a red apple", "steps": 2, "cfg_scale": 3, "seed": 5, "sampler": "Euler"}
EMPTY_ID = "00000000-0000-4000-8000-000000000000"
INPAINTING = {"mask_blur": 2, "inpainting_fill": 1, "inpainting_mask_invert": 0, "inpainting_full_res": "false"}

Ask = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def prodia(node: Any, service: Any) -> Ask:
    """Makes calls of ``prodia`` at the same time."""
    return lambda *calls, key=service.key: node(HERE / "prodia.cjs", calls, service.base, key)


@pytest.fixture
def prodia_js(node: Any, service: Any) -> Ask:
    """Makes calls of ``prodia.js`` at the same time."""
    return lambda *calls, key=service.key: node(HERE / "prodia_js.cjs", calls, service.base, key)


def images(service: Any, answers: list[dict[str, Any]]) -> list[Any]:
    """The images of all calls, each of which was queued first."""
    for answer in answers:
        assert answer["first"] == {"job": answer["last"]["job"], "status": "queued"}, answer
        assert answer["last"]["status"] == "succeeded"
    return [service.image(answer["last"]) for answer in answers]


def test_prodia_draws(prodia, service, image_data, mask_data):
    control = {"controlnet_model": CONTROLNET, "controlnet_module": "canny", "resize_mode": 1, "model": "tiny"}
    drawn = images(service, prodia(
        ["generate", {**WORDS, "model": "v1-5-pruned-emaonly.safetensors [d7049739]", "upscale": True}, True],
        ["generate", {**WORDS, "aspect_ratio": "landscape", "model": "tiny"}, True],
        ["transform", {**WORDS, "imageData": image_data, "denoising_strength": 0.6}, True],
        ["controlnet", {**WORDS, **control, "imageData": image_data, "threshold_a": 100, "threshold_b": 200}, True],
        ["inpainting", {**WORDS, **INPAINTING, "imageData": image_data, "maskData": mask_data}, True],
        ["xlGenerate", {**WORDS, "model": "sd_xl_base_1.0.safetensors [be9edd61]"}, True],
    ))  # fmt: skip
    assert [image.size for image in drawn] == [(128, 128), (768, 512), (64, 64), (64, 64), (64, 64), (64, 64)]
    texts = [image.info["parameters"] for image in drawn]
    assert ["Model: paint" in text for text in texts] == [True, False, True, False, True, False]
    assert "Model: tiny-xl" in texts[5] and "Module: canny" in texts[3]


def test_prodia_lists_and_fails(prodia, service):
    answers = prodia(
        ["listModels", None, False],
        ["generate", {"prompt": "x", "steps": 0}, False],
        ["getJob", EMPTY_ID, False],
        ["transform", {**WORDS, "imageUrl": "http://nothing.invalid/nothing.png"}, True],
    )
    assert answers[0]["first"] == ["house", "paint", "tiny"]
    assert [answer["error"] for answer in answers[1:3]] == ["Bad Prodia Response: 400", "Bad Prodia Response: 404"]
    assert answers[3]["last"]["status"] == "failed"
    assert prodia(["generate", WORDS, True], key="wrong") == [{"error": "Bad Prodia Response: 401"}]


def test_prodia_js_draws(prodia_js, service, image_data, mask_data):
    control = {"controlnet_model": CONTROLNET, "controlnet_module": "canny", "control_mode": 1, "model": "tiny"}
    mask = {**INPAINTING, "inpainting_full_res": True, "maskData": mask_data, "imageData": image_data}
    drawn = images(service, prodia_js(
        ["generateImage", {**WORDS, "width": 127, "height": 71, "style_preset": "fantasty-art"}, True],
        ["transform", {**WORDS, "imageData": image_data}, True],
        ["inpainting", {**WORDS, **mask}, True],
        ["controlNet", {**WORDS, **control, "imageData": image_data}, True],
        ["generateImageSDXL", {**WORDS, "style_preset": "photographic"}, True],
        ["transformSDXL", {**WORDS, "imageData": image_data}, True],
        ["inpaintingSDXL", {**WORDS, **mask}, True],
        ["upscale", {"imageData": image_data, "resize": 4, "model": "Nearest"}, True],
    ))  # fmt: skip
    sizes = [(120, 64), (64, 64), (96, 64), (64, 64), (64, 64), (64, 64), (96, 64), (384, 256)]
    assert [image.size for image in drawn] == sizes
    assert "Style preset: fantasy-art" in drawn[0].info["parameters"]
    assert "Denoising strength: 0.7" in drawn[1].info["parameters"]
    assert "Inpaint area: Only masked" in drawn[2].info["parameters"]


def test_prodia_js_lists_and_fails(prodia_js, service):
    lists = {
        "getModels": ["house", "paint", "tiny"], "getSDXLModels": ["tiny-xl"], "getSamplers": list(LISTED),
        "getSDXLSamplers": list(LISTED), "getLoras": ["more_details_v10.safetensors"],
        "getSDXLLoras": ["more_details_v10.safetensors"], "getEmbeddings": [], "getSDXLEmbeddings": [],
    }  # fmt: skip
    assert [answer["first"] for answer in prodia_js(*([call, None, False] for call in lists))] == list(lists.values())
    invalid = "The provided parameters are invalid."
    url = "https://example.com/image.png"
    assert prodia_js(
        ["generateImage", {**WORDS, "steps": 0}, False],
        ["faceSwap", {"sourceUrl": url, "targetUrl": url}, True],
        ["faceRestore", {"imageUrl": url}, True],
        ["getJob", EMPTY_ID, False],
        ["transform", {**WORDS, "imageUrl": "http://nothing.invalid/nothing.png"}, True],
    ) == [
        {"error": invalid}, {"error": invalid}, {"error": invalid},
        {"error": "Failed to receive a valid response."}, {"error": "Failed to generate image."},
    ]  # fmt: skip
    assert prodia_js(["generateImage", WORDS, True], key="wrong") == [{"error": "The provided API key is invalid."}]
