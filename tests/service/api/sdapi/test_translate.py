"""The requests of A1111's clients, and the jobs that they become; nothing is generated."""

from __future__ import annotations

import pytest

from models.catalog.styles import STYLES
from models.jobs.params import Variation
from tests.service.api.sdapi.sdapi_calls import image

IMAGE = image()


@pytest.mark.parametrize(
    ("fields", "effective"),
    [
        ({"steps": 4, "cfg_scale": 6.5, "seed": 12, "width": 199, "height": 256.0},
         {"num_inference_steps": 4, "guidance_scale": 6.5, "seed": 12, "width": 192, "height": 256}),
        ({"steps": "4", "seed": "12", "width": None, "sampler_name": "", "sampler_index": None, "styles": None},
         {"num_inference_steps": 4, "seed": 12, "width": 128, "sampler": "DPM++ 2M"}),
        ({"sampler_name": "DPM++ 2M"}, {"sampler": "DPM++ 2M Karras"}),
        ({"sampler_name": "DPM++ 2M", "scheduler": "Uniform"}, {"sampler": "DPM++ 2M"}),
        ({"sampler_name": "DPM++ 2M Karras", "scheduler": "automatic"}, {"sampler": "DPM++ 2M Karras"}),
        ({"sampler_index": "k_euler_a", "scheduler": ""}, {"sampler": "Euler a"}),
        ({"sampler_name": "Euler", "sampler_index": "DDIM", "scheduler": "exponential"},
         {"sampler": "Euler Exponential"}),
        ({"force_task_id": "", "hr_upscaler": "", "hr_scheduler": "", "infotext": "", "styles": [""],
          "script_name": "", "hr_prompt": "", "negative_prompt": ""}, {"negative_prompt": ""}),
        ({"styles": ["anime"]}, {"style_preset": "anime", "prompt": "a cat"}),
        ({"styles": ["", "None"]}, {"style_preset": None}),
        ({"override_settings": {"CLIP_stop_at_last_layers": 1.0, "sd_vae": "Automatic", "samples_save": False,
                                "sd_model_checkpoint": "house.safetensors"}},
         {"clip_skip": 1, "model": "house"}),
        ({"eta": 1, "s_noise": 0, "s_tmax": 99, "subseed": 4, "image_cfg_scale": 2, "script_args": [1], "comments": {},
          "url": "http://x", "script_name": "", "refiner_checkpoint": "None", "tiling": None}, {"refiner": None}),
        ({"seed": 1, "subseed": 4, "subseed_strength": 0.3}, {"seed": 1, "variation": Variation(seed=4, strength=0.3)}),
        ({"seed": 2**60 + 3, "subseed": 2**64 - 1, "subseed_strength": 0.5},
         {"seed": 3, "variation": Variation(seed=2**53 - 1, strength=0.5)}),
        ({"subseed": 4, "subseed_strength": 0}, {"variation": None}),
        ({"infotext": "a cat\nSteps: 4, Sampler: Euler, CFG scale: 5, Seed: 1, Variation seed: 4, "
                      "Variation seed strength: 0.3, Size: 64x64"},
         {"seed": 1, "variation": Variation(seed=4, strength=0.3)}),
        ({"enable_hr": False, "hr_upscaler": "Latent", "hr_prompt": "other", "denoising_strength": 0},
         {"second_pass": None}),
    ],
)  # fmt: skip
def test_what_clients_send_is_understood(calls, fields, effective):
    params = calls.job("txt2img", **fields).params
    assert {name: getattr(params, name) for name in effective} == effective


@pytest.mark.parametrize(
    ("fields", "effective"),
    [
        ({}, {"scale": 2, "strength": 0.75, "upscaler": "Lanczos", "num_inference_steps": 20}),
        ({"hr_upscaler": "None", "hr_second_pass_steps": 7, "hr_scale": 1.5, "denoising_strength": 0.4},
         {"scale": 1.5, "strength": 0.4, "upscaler": "Lanczos", "num_inference_steps": 7}),
        ({"hr_upscaler": "nearest", "hr_resize_x": 200, "width": 160, "height": 80},
         {"scale": 1.25, "upscaler": "Nearest"}),
        ({"hr_resize_y": 192, "hr_resize_x": 192}, {"scale": 1.5}),
        ({"hr_sampler_name": "Use same sampler", "hr_scheduler": "Karras", "hr_checkpoint_name": "Use same checkpoint",
          "hr_prompt": "a cat", "scheduler": "karras", "sampler_name": "Euler"}, {"scale": 2}),
    ],
)  # fmt: skip
def test_the_hires_fix_is_a_second_pass(calls, fields, effective):
    second = calls.job("txt2img", enable_hr=True, **fields).params.second_pass
    assert {name: getattr(second, name) for name in effective} == effective


def test_several_styles_are_nested(calls):
    params = calls.job("txt2img", styles=["origami", "anime"], negative_prompt="rain").params
    inner = STYLES["origami"]
    assert params.style_preset == "anime"
    assert params.prompt == f"{inner.prefix} a cat, {inner.suffix}"
    assert params.negative_prompt == f"rain, {inner.negative}"


def test_seeds_follow_one_another(calls):
    records, answer = calls.jobs("/sdapi/v1/txt2img", 6, prompt="a cat", batch_size=3, n_iter=2, seed=2**32)
    assert sorted(record.params.seed for record in records) == [2**32 + index for index in range(6)]
    assert len({repr({**record.params.to_payload(), "seed": 0}) for record in records}) == 1
    assert len(answer["images"]) == 6
    drawn, _ = calls.jobs("/sdapi/v1/txt2img", 2, prompt="a cat", batch_size=2, seed=-1)
    assert abs(drawn[0].params.seed - drawn[1].params.seed) == 1


@pytest.mark.parametrize(
    ("fields", "effective"),
    [
        ({}, {"strength": 0.75, "resize_mode": "stretch", "mask": None}),
        ({"resize_mode": 1, "denoising_strength": 0.5}, {"strength": 0.5, "resize_mode": "crop"}),
        ({"resize_mode": 2, "initial_noise_multiplier": 1, "inpainting_fill": 2, "mask": ""},
         {"resize_mode": "fill", "mask": None}),
    ],
)  # fmt: skip
def test_an_image_to_start_from(calls, fields, effective):
    split = f"data:image/png;base64,{IMAGE[:40]}\n{IMAGE[40:]}\n"
    record = calls.job("img2img", init_images=[split], **fields)
    assert record.kind == "img2img" and record.params.image.startswith("input:")
    assert {name: getattr(record.params, name) for name in effective} == effective


def test_a_mask_and_all_that_belongs_to_it(calls):
    plain = calls.job("img2img", init_images=[IMAGE], mask=IMAGE)
    mask = plain.params.mask
    assert plain.kind == "inpaint" and mask.image == plain.params.image
    assert (mask.blur_px, mask.fill, mask.invert, mask.only_masked, mask.padding_px) == (4, "fill", False, True, 0)
    rich = {"mask_blur_x": 9, "mask_blur_y": 9, "inpainting_fill": 3, "inpainting_mask_invert": True,
            "inpaint_full_res": 0, "inpaint_full_res_padding": 12}  # fmt: skip
    mask = calls.job("img2img", init_images=[IMAGE], mask=image((16, 16)), **rich).params.mask
    assert (mask.blur_px, mask.fill, mask.invert, mask.only_masked, mask.padding_px) == (
        9, "latent_nothing", True, False, 12)  # fmt: skip


def test_a_link_is_left_to_the_worker(calls):
    record = calls.job("img2img", init_images=["https://example.org/a cat.png".replace(" ", "%20")])
    assert record.params.image == "https://example.org/a%20cat.png"


def test_a_refiner_draws_the_end(cataloged):
    base = {"override_settings": {"sd_model_checkpoint": "base one"}}
    refiner = cataloged.job("txt2img", refiner_checkpoint="fine.safetensors", **base).params.refiner
    assert (refiner.model, refiner.start) == ("fine", 0.8)
    refiner = cataloged.job("txt2img", refiner_checkpoint="fine", refiner_switch_at=0.6, **base).params.refiner
    assert refiner.start == 0.6


@pytest.mark.parametrize(
    ("fields", "effective"),
    [
        ({"width": 128.5, "height": "200.9", "steps": 4.7, "seed": 7.2},
         {"width": 128, "height": 200, "num_inference_steps": 4, "seed": 7}),
        ({"steps": "6.", "seed": "12.0", "batch_size": 1.9, "n_iter": "1"}, {"num_inference_steps": 6, "seed": 12}),
        ({"alwayson_scripts": {"Sampler": {"args": [5, "Euler", "Karras"]}, "Seed": {"args": [9, False, -1, 0, 0, 0]}}},
         {"num_inference_steps": 5, "sampler": "Euler Karras", "seed": 9}),
        ({"alwayson_scripts": {"Sampler": {"args": [5, "Euler", "Karras"]}}, "steps": 7, "sampler_index": "DDIM",
          "scheduler": "Automatic"}, {"num_inference_steps": 7, "sampler": "DDIM"}),
        ({"seed_resize_from_w": 64, "seed_resize_from_h": 72, "width": 64, "height": 72, "script_name": "None",
          "s_min_uncond": -1}, {"width": 64}),
        ({"override_settings": {"forge_additional_modules": [], "upcast_attn": False, "sd_unet": "Automatic",
                                "somebody_s_option": None, "another": "None", "third": ["None"], "randn_source": "GPU",
                                "uni_pc_skip_type": "time_uniform", "forge_preset": "xl"}}, {"model": "house"}),
        ({"override_settings": {"CLIP_stop_at_last_layers": 12}}, {"clip_skip": 1}),
    ],
)  # fmt: skip
def test_what_changes_nothing_never_stops_an_image(calls, fields, effective):
    params = calls.job("txt2img", **fields).params
    assert {name: getattr(params, name) for name in effective} == effective


@pytest.mark.parametrize("upscaler", ["Latent", "Latent (bicubic antialiased)", "latent (nearest-exact)"])
def test_a_latent_upscaler_is_lanczos_with_a_comment(calls, upscaler):
    (record,), answer = calls.jobs("/sdapi/v1/txt2img", prompt="a cat", enable_hr=True, hr_upscaler=upscaler)
    assert record.params.second_pass.upscaler == "Lanczos" and upscaler in answer["info"]


def test_fields_of_a_mask_matter_with_a_mask(calls):
    without = {"init_images": [IMAGE], "mask_blur_x": 1, "mask_round": False, "resize_mode": 3}
    (record,), answer = calls.jobs("/sdapi/v1/img2img", prompt="a cat", **without)
    assert record.params.resize_mode == "stretch" and "resize_mode 3" in answer["info"]
