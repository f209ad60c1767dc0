"""Infotexts of other people's images: what is known is drawn, and the rest is left out with a comment."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.catalog.catalog import Catalog
from service.api.sdapi.infotext import with_infotext
from service.api.sdapi.schemas import SdTxt2ImgBody

TEXT = "a red apple\nNegative prompt: blurry\nSteps: 4, Sampler: Euler, CFG scale: 7, Seed: 1, Size: 128x128"


@pytest.mark.parametrize(
    ("more", "effective", "comment"),
    [
        ("Model hash: 0123abcd, Model: somebodysMix_v3", {"model": "house"}, "somebodysMix_v3"),
        ("Clip skip: 2", {"clip_skip": 1}, "Clip skip 2"),
        ("Clip skip: two", {"clip_skip": 1}, "clip skip"),
        ("Clip skip: 0, Version: v1.10.1", {"clip_skip": 1}, ""),
        ("Schedule type: Nobody's", {"sampler": "Euler"}, "Nobody's"),
        ("Denoising strength: 0.5, Hires upscale: 2, Hires upscaler: Latent (nearest-exact)", {}, "Latent"),
        ("Denoising strength: 0.5, Hires upscale: 2, Hires upscaler: 4x-UltraSharp", {}, "4x-UltraSharp"),
        ("Denoising strength: 0.5, Hires upscale: 2, Hires sampler: DDIM, Hires checkpoint: other, Hires prompt: z", {},
         "hr_checkpoint_name"),
        ("Tiling: True, Mask blur: many, RNG: CPU", {}, "tiling"),
        ("Refiner: sd_xl_refiner [7440042bbd], Refiner switch at: 0.8", {"refiner": None}, "sd_xl_refiner"),
        ("Denoising strength: 0.5, Hires upscale: 99", {}, "hr_scale"),
        ("Denoising strength: 9, Hires resize: 9999x9999", {}, "hr_resize_x"),
        ("Size: 0x0, Variation seed: 1, Variation seed strength: 7", {"width": 128, "variation": None}, "width"),
        (f"Seed: {2**70}, CFG scale: -1", {"guidance_scale": 3.0}, "seed"),
        ("Seed: " + "9" * 5000, {}, "seed"),
        ("Sampler: DPM++ 3M SDE Karras, Hires steps: 999, Hires upscale: 2", {}, "hr_second_pass_steps"),
        ("Style preset: nobody's", {"style_preset": None}, "nobody's"),
    ],
)  # fmt: skip
def test_what_is_not_known_is_left_out_with_a_comment(calls, more, effective, comment):
    (record,), answer = calls.jobs("/sdapi/v1/txt2img", infotext=f"{TEXT}, {more}")
    params = record.params
    assert (params.prompt, params.negative_prompt, params.num_inference_steps) == ("a red apple", "blurry", 4)
    assert {name: getattr(params, name) for name in effective} == effective
    assert comment in json.loads(answer["info"]).get("comments", "")


@pytest.mark.parametrize("sampler", ["Undefined", "DPM adaptive", "dpmpp_5m_sde_gpu", "9" * 500])
def test_an_unknown_sampler_is_the_models_own(calls, sampler):
    (record,), answer = calls.jobs("/sdapi/v1/txt2img", infotext=TEXT.replace("Euler", sampler))
    assert record.params.sampler == "DPM++ 2M" and sampler[:20] in json.loads(answer["info"]).get("comments", "")


def test_loras_that_are_not_here_are_left_out_of_the_text_only(client, calls):
    text = TEXT.replace("apple", "apple <lora:nobody_s:0.8> <lyco:other:1:1> <hypernet:x:1>")
    (record,), answer = calls.jobs("/sdapi/v1/txt2img", infotext=text)
    assert (record.params.prompt.strip(), record.params.loras) == ("a red apple", ())
    assert "nobody_s" in json.loads(answer["info"]).get("comments", "")
    asked = {"prompt": "a cat <lora:nobody_s:0.8>", "infotext": TEXT}
    assert client.post("/sdapi/v1/txt2img", json=asked).status_code == 422


def test_what_the_request_says_itself_is_never_left_out(client, calls):
    record = calls.job("txt2img", prompt="a cat", steps=6, sampler_name="DDIM", infotext=TEXT)
    assert (record.params.prompt, record.params.num_inference_steps, record.params.sampler) == ("a cat", 6, "DDIM")
    record = calls.job("txt2img", sampler_name="DDIM", infotext=f"{TEXT}, Schedule type: Karras")
    assert record.params.sampler == "DDIM"
    for wrong in ({"override_settings": {"sd_model_checkpoint": "somebodysMix"}}, {"refiner_checkpoint": "x"}):
        assert client.post("/sdapi/v1/txt2img", json={"infotext": TEXT, **wrong}).status_code == 422


LINES = st.lists(
    st.tuples(
        st.sampled_from(["Steps", "Sampler", "Schedule type", "Seed", "Size", "CFG scale", "Model", "Hires upscale",
                         "Hires steps", "Hires upscaler", "Mask blur", "Refiner", "Style preset", "Clip skip"]),
        st.text('a1.x -"\\{[', max_size=8),
    ), max_size=8,
)  # fmt: skip


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text("ab <lora:>\n", max_size=20), LINES)
def test_no_infotext_is_a_surprise(prompt, lines):
    text = f"{prompt}\n" + ", ".join(f"{name}: {value}" for name, value in lines)
    body = SdTxt2ImgBody.model_validate({"prompt": "asked", "infotext": text, "cfg_scale": "7"})
    completed = with_infotext(body, Catalog({}), {}, [])
    assert (completed.prompt, completed.cfg_scale) == ("asked", 7)
