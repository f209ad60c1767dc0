"""The unmodified ``webuiapi`` client from PyPI, through every call that it has on images, lists and options."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import numpy as np
import pytest
import webuiapi
from PIL import Image

from models.catalog.styles import STYLES
from tests.contract.sdapi.conftest import KEY

FAST = {"steps": 2, "width": 64, "height": 64, "seed": 7}
INFO_KEYS = {
    "prompt", "all_prompts", "negative_prompt", "all_negative_prompts", "seed", "all_seeds", "subseed", "all_subseeds",
    "subseed_strength", "width", "height", "sampler_name", "cfg_scale", "steps", "batch_size", "restore_faces",
    "face_restoration_model", "sd_model_name", "sd_model_hash", "sd_vae_name", "sd_vae_hash", "seed_resize_from_w",
    "seed_resize_from_h", "denoising_strength", "extra_generation_params", "index_of_first_image", "infotexts",
    "styles", "job_timestamp", "clip_skip", "is_using_inpainting_conditioning", "version",
}  # fmt: skip


def connect(url: str, password: str) -> webuiapi.WebUIApi:
    place = urlsplit(url)
    return webuiapi.WebUIApi(host=place.hostname, port=place.port, username="anybody", password=password)


@pytest.fixture
def api(service_url: str) -> Iterator[webuiapi.WebUIApi]:
    client = connect(service_url, KEY)
    yield client
    client.set_options({"sd_model_checkpoint": "paint", "CLIP_stop_at_last_layers": 1})
    client.session.close()


def opened(image: Image.Image, size: tuple[int, int] = (64, 64)) -> np.ndarray:
    """The pixels of an image of that size, which shows something."""
    assert image.size == size
    pixels = np.asarray(image.convert("RGB")).astype(int)
    assert pixels.std() > 2
    return pixels


def draw(api: webuiapi.WebUIApi, prompt: str = "a red apple", **fields: object) -> webuiapi.WebUIApiResult:
    # The client keeps scripts of one call for the next unless they are given.
    return api.txt2img(prompt=prompt, alwayson_scripts={}, **{**FAST, **fields})


def test_images_and_all_about_them(api):
    drawn = draw(api, negative_prompt="rain", batch_size=2, n_iter=2, sampler_name="DPM++ 2M", scheduler="Karras")
    assert len(drawn.images) == 4 and len({opened(image).tobytes() for image in drawn.images}) == 4
    assert set(drawn.info) == INFO_KEYS
    assert drawn.info["all_seeds"] == [7, 8, 9, 10] and drawn.info["seed"] == 7
    assert drawn.info["all_prompts"] == ["a red apple"] * 4 and drawn.info["all_negative_prompts"] == ["rain"] * 4
    assert (drawn.info["sd_model_name"], drawn.info["sampler_name"]) == ("paint", "DPM++ 2M Karras")
    assert [image.info["parameters"] for image in drawn.images] == drawn.info["infotexts"]
    assert drawn.info["infotexts"][3] == (
        "a red apple\nNegative prompt: rain\nSteps: 2, Sampler: DPM++ 2M Karras, CFG scale: 7, Seed: 10, Size: 64x64, "
        "Model: paint, Version: Photogram"
    )
    assert (drawn.parameters["prompt"], drawn.parameters["seed"], drawn.parameters["n_iter"]) == ("a red apple", 7, 2)


def test_the_second_image_is_the_one_of_its_seed(api):
    second = draw(api, batch_size=2).images[1]
    assert np.abs(opened(second) - opened(draw(api, seed=8).image)).max() <= 1


def test_sizes_are_rounded_down(api):
    opened(draw(api, width=79, height=71).image, (72, 64))


def test_styles_are_put_around_the_prompt(api):
    style = STYLES["anime"]
    info = draw(api, styles=["origami", "anime", "None"]).info
    assert info["prompt"].startswith(style.prefix) and "folded paper sculpture of a red apple" in info["prompt"]
    assert info["negative_prompt"].endswith(style.negative) and info["styles"] == ["origami", "anime", "None"]
    assert [each["name"] for each in api.get_prompt_styles()] == list(STYLES)


def test_a_lora_in_the_prompt(api):
    assert [each["name"] for each in api.get_loras()] == ["more_details"]
    api.util_set_model("tiny")
    with_lora, without = draw(api, "a cat <lora:more_details:0.8>"), draw(api, "a cat")
    assert np.abs(opened(with_lora.image) - opened(without.image)).max() > 3
    assert "<lora:more_details:0.8>" in with_lora.info["infotexts"][0]


def test_the_hires_fix_and_its_upscalers(api):
    names = [each["name"] for each in api.get_upscalers()]
    assert names == ["None", "Lanczos", "Nearest"] and api.get_latent_upscale_modes() == []
    drawn = draw(api, enable_hr=True, hr_upscaler="Nearest", hr_scale=1.5, denoising_strength=0.5)
    opened(drawn.image, (96, 96))
    assert drawn.info["extra_generation_params"]["Hires upscaler"] == "Nearest"
    opened(draw(api, enable_hr=True, hr_upscaler="None", hr_resize_x=128, hr_resize_y=128).image, (128, 128))


def test_an_image_is_drawn_over(api, photo):
    drawn = api.img2img([photo], prompt="a pear", denoising_strength=0.6, **{**FAST, "steps": 4})
    opened(drawn.image)
    assert drawn.info["denoising_strength"] == 0.6 and drawn.parameters["init_images"] is None
    kept = api.img2img([photo], prompt="a pear", include_init_images=True, resize_mode=1, **{**FAST, "steps": 4})
    assert kept.parameters["init_images"][0].startswith("data:image/png;base64,")


@pytest.mark.parametrize("fill", [0, 1, 2, 3])
def test_only_the_masked_part_is_drawn_over(api, photo, mask, fill):
    given = {**FAST, "width": 96, "steps": 4, "mask_image": mask, "mask_blur": 0, "inpainting_fill": fill}
    drawn = api.img2img([photo], prompt="a pear", inpaint_full_res=False, **given)
    before, after = opened(photo, (96, 64)), opened(drawn.image, (96, 64))
    assert np.abs(before - after)[:, 56:].max() <= 1 < np.abs(before - after)[:, :40].max()
    inverted = api.img2img([photo], prompt="a pear", inpainting_mask_invert=1, inpaint_full_res_padding=8, **given)
    assert np.abs(before - opened(inverted.image, (96, 64)))[:, :40].max() <= 1


def test_a_controlnet_steers(api, photo):
    (model,) = api.controlnet_model_list()
    assert model.startswith("control_v11p_sd15_canny [") and "canny" in api.controlnet_module_list()
    api.util_set_model("tiny")
    unit = webuiapi.ControlNetUnit(image=photo, module="canny", model=model, control_mode=2)
    drawn = api.txt2img(prompt="a cat", alwayson_scripts={}, controlnet_units=[unit], **FAST)
    assert np.abs(opened(drawn.image) - opened(draw(api, "a cat").image)).max() > 3
    assert "Module: canny, Model: control_v11p_sd15_canny" in drawn.info["infotexts"][0]
    off = webuiapi.ControlNetUnit(image=photo, module="canny", model=model, enabled=False)
    plain = api.txt2img(prompt="a cat", alwayson_scripts={}, controlnet_units=[off], **FAST)
    assert np.abs(opened(plain.image) - opened(draw(api, "a cat").image)).max() <= 1


def test_images_are_enlarged(api, photo):
    enlarged = api.extra_single_image(photo, upscaler_1=webuiapi.Upscaler.Lanczos, upscaling_resize=2)
    opened(enlarged.image, (192, 128))
    assert enlarged.info.startswith("<p>Postprocess upscale by: 2, Postprocess upscaler: Lanczos")
    to_size = {"resize_mode": 1, "upscaling_resize_w": 384, "upscaling_resize_h": 256}
    opened(api.extra_single_image(photo, upscaler_1="Nearest", **to_size).image, (384, 256))
    several = api.extra_batch_images([photo, photo.rotate(180)], upscaler_1="Nearest")
    first, second = (opened(image, (192, 128)) for image in several.images)
    assert np.array_equal(first, second[::-1, ::-1])


def test_a_model_is_chosen_for_later_calls(api):
    assert api.util_get_model_names() == sorted(each["title"] for each in api.get_sd_models())
    assert not any("broken" in name for name in api.util_get_model_names())
    assert api.util_get_current_model().startswith("paint.safetensors [")
    api.util_set_model("tiny")
    assert api.util_get_current_model().startswith("tiny.safetensors [")
    assert draw(api).info["sd_model_name"] == "tiny"
    assert draw(api, override_settings={"sd_model_checkpoint": "paint"}).info["sd_model_name"] == "paint"
    assert api.util_get_current_model().startswith("tiny.safetensors [")


def test_every_list_and_every_sampler_in_it(api):
    assert {"Euler a", "DPM++ 2M Karras"} <= set(api.util_get_sampler_names())
    assert api.util_get_scheduler_names() == [
        "align_your_steps", "automatic", "beta", "ddim", "exponential", "karras", "kl_optimal", "normal",
        "polyexponential", "sgm_uniform", "simple", "uniform",
    ]  # fmt: skip
    for scheduler in api.util_get_scheduler_names():
        said = api.png_info(draw(api, steps=2, sampler_name="Euler a", scheduler=scheduler).image).parameters
        assert said["Sampler"].startswith("Euler a")
    assert api.get_embeddings() == {"loaded": {}, "skipped": {}}
    for empty in (api.get_sd_vae, api.get_hypernetworks, api.get_realesrgan_models, api.get_face_restorers):
        assert empty() == []
    assert api.get_scripts() == {"txt2img": ["controlnet"], "img2img": ["controlnet"]}
    assert api.get_memory()["ram"]["total"] > 0 and api.get_cmd_flags()["api"] is True
    assert api.controlnet_version() == 2 and api.refresh_checkpoints() is None
    for each in api.get_samplers():
        opened(draw(api, sampler_name=each["name"], scheduler=each["options"].get("scheduler")).image)


def test_nothing_is_under_way(api):
    api.util_wait_for_ready()
    assert api.interrupt() == {} and api.skip() is None
    assert api.get_progress()["state"]["job_count"] == 0


def test_variations_are_drawn_and_can_be_drawn_again(api, photo):
    drawn = draw(api, seed=7, subseed=20, subseed_strength=0.25, batch_size=2)
    assert (drawn.info["all_seeds"], drawn.info["all_subseeds"]) == ([7, 7], [20, 21])
    assert drawn.info["subseed_strength"] == 0.25
    said = api.png_info(drawn.images[1]).parameters
    assert {"Seed": "7", "Variation seed": "21", "Variation seed strength": "0.25"}.items() <= said.items()
    again = draw(api, seed=7, subseed=21, subseed_strength=0.25)
    assert again.image.tobytes() == drawn.images[1].tobytes() != drawn.images[0].tobytes()


def test_what_an_image_says_is_read(api, photo):
    drawn = draw(api, sampler_name="DPM++ 2M", scheduler="Uniform")
    said = api.png_info(drawn.image)
    assert said.info == drawn.info["infotexts"][0]
    expected = {"Prompt": "a red apple", "Seed": "7", "Size-1": "64", "Schedule type": "Uniform"}
    assert expected.items() <= said.parameters.items()
    assert api.png_info(photo).info == ""


@pytest.mark.parametrize(
    ("call", "status", "words"),
    [
        (lambda api, photo: draw(api, tiling=True), 422, '["body", "tiling"], "msg": "not available'),
        (lambda api, photo: draw(api, restore_faces=True), 422, "gfpgan_visibility"),
        (lambda api, photo: draw(api, subseed_strength=1.5), 422, '"subseed_strength"], "msg": "must be from 0'),
        (lambda api, photo: draw(api, script_name="x/y/z plot"), 422, "script_name"),
        (lambda api, photo: draw(api, steps=0), 422, '["body", "steps"], "msg": "must be from 1'),
        (lambda api, photo: draw(api, sampler_name="nobody's"), 400, '"detail": "Sampler not found"'),
        (lambda api, photo: draw(api, sampler_name="DPM adaptive"), 422, "chooses the number of its steps"),
        (lambda api, photo: draw(api, override_settings={"sd_model_checkpoint": "x"}), 422, "there is no model 'x'"),
        (lambda api, photo: draw(api, adetailer=[webuiapi.ADetailer(ad_model="face")]), 422, "runs no scripts"),
        (lambda api, photo: api.img2img([], prompt="x"), 404, '"detail": "Init image not found"'),
        (lambda api, photo: api.interrogate(photo), 422, "no model that describes images"),
        (lambda api, photo: api.controlnet_detect([photo], "canny"), 422, "controlnet_module"),
        (lambda api, photo: api.extra_single_image(photo), 422, "nothing to do"),
        (lambda api, photo: api.extra_single_image(photo, upscaler_1="ESRGAN_4x"), 422, "needs weights"),
        (lambda api, photo: api.extra_single_image(photo, gfpgan_visibility=1), 422, "GFPGANv1.4.pth"),
    ],
)  # fmt: skip
def test_what_cannot_be_had_is_refused_with_the_reason(api, photo, call, status, words):
    with pytest.raises(RuntimeError) as refused:
        call(api, photo)
    assert refused.value.args[0] == status and words in refused.value.args[1]


def test_a_wrong_password_is_refused(service_url):
    stranger = connect(service_url, "wrong")
    with pytest.raises(RuntimeError) as refused:
        draw(stranger)
    assert refused.value.args[0] == 401 and "Incorrect username or password" in refused.value.args[1]
    stranger.session.close()
